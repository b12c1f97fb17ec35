package finetune

import (
	"context"
	"fmt"
	"time"

	"cps/examples/internal/digits"
	"cps/grpo"
	"cps/grpo/trainer"
	"cps/noise"
	"cps/sampler"
)

// A Trainer fine-tunes a network. It serves one goroutine at a time; several trainers
// may run at once.
type Trainer struct {
	// Remote, unless nil, replaces the trainer in drawing and scoring the samples of an
	// iteration, for example on other machines. For every part it must store what
	// [Config.Draw] returns, bit for bit, by [Rollout.Put].
	Remote func(ctx context.Context, r *Rollout) error

	config  Config
	policy  *policy
	past    *grpo.Tracker[int]
	loop    *trainer.Trainer[[]float32]
	rollout *Rollout // of the iteration, if Remote drew it

	history           []Iteration
	total, evaluation time.Duration
}

// An Iteration holds the statistics of one iteration. Its rewards are those of the policy
// before its updates.
type Iteration struct {
	Number     int
	Start, End int // the steps that were trained

	Reward  float64 // mean, of samples drawn with the rule
	Std     float64 // of these rewards
	ZeroStd float64 // fraction of groups whose rewards are all equal

	OnPolicy     float64 // greatest |ratio - 1| of the first minibatch; should be 0
	Loss         float64 // mean over minibatches, like the next three
	KL           float64 // from the reference policy, in the form of Config.KL; 0 if Beta is 0
	ApproxKL     float64 // from the policy that drew the samples
	ClipFraction float64
	Deviation    float64 // greatest |ratio - 1| of all minibatches
	Updates      int     // steps of the optimiser
	Stopped      bool    // whether Config.Stop ended the iteration early

	Eval *Evaluation `json:",omitempty"` // before the first update, at every Config.Every-th iteration
}

// New returns a trainer at iteration 0. Bad settings are errors.
func New(c Config) (*Trainer, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	var net *digits.Net
	if c.Net != nil {
		c.Net = c.Net.Clone() // which nobody changes
		net = c.Net.Clone()
	} else if net, err = digits.Velocity(); err != nil {
		return nil, err
	}
	t := &Trainer{config: c, policy: newPolicy(net, c.Rate), past: &grpo.Tracker[int]{Norm: c.Norm, Limit: c.History}}
	prompts := make([]int, c.Prompts)
	t.policy.digit = func(row int) int { return prompts[row/c.Group] }
	loop := trainer.Config[[]float32]{
		Key:         noise.Key(c.Seed),
		Sampling:    c.sampling(),
		Window:      c.Window,
		Dim:         digits.Dim,
		SharedStart: c.SharedStart,
		Prompts:     c.Prompts,
		Group:       c.Group,
		Prompt: func(_ context.Context, iteration int, all []int) error {
			for p := range all {
				all[p] = c.class(iteration, p)
			}
			copy(prompts, all)
			return nil
		},
		Rollout: func(ctx context.Context, s *sampler.Sampler, b sampler.Batch, run *sampler.Trajectory[[]float32], model sampler.Model[[]float32]) error {
			t.rollout = nil
			if t.Remote == nil {
				return sampler.Rollout(ctx, sampler.CPU{}, s, b, run, model)
			}
			classes := make([]int, len(b.Rows))
			for row := range classes {
				classes[row] = t.policy.digit(row)
			}
			t.rollout = newRollout(t.loop.Iteration(), t.policy.net, b, run, classes)
			if err := t.Remote(ctx, t.rollout); err != nil {
				return err
			}
			return t.rollout.complete()
		},
		Reward: func(_ context.Context, dst []float64, x []float32, classes []int) error {
			if t.rollout != nil {
				copy(dst, t.rollout.rewards)
				return nil
			}
			c.Reward.Score(dst, x, classes)
			return nil
		},
		Estimator:   c.Norm,
		Limit:       c.Limit,
		Form:        c.Form,
		Objective:   trainer.Clip(c.Objective),
		KL:          trainer.Divergence(c.KL),
		Stop:        c.Stop,
		Epochs:      c.Epochs,
		Minibatches: c.Minibatches,
		Average:     c.Average,
		Follow:      c.Follow,
	}
	if c.History > 0 {
		loop.Tracker = t.past
	}
	if t.loop, err = trainer.New(sampler.CPU{}, trainer.Policy[[]float32](t.policy), loop); err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	return t, nil
}

// Config returns the configuration, with defaults filled in.
func (t *Trainer) Config() Config { return t.config }

// Iteration returns the number of iterations done.
func (t *Trainer) Iteration() int { return t.loop.Iteration() }

// History returns the iterations done so far. It is the trainer's own slice, not a copy.
func (t *Trainer) History() []Iteration { return t.history }

// Net returns the network that is evaluated: the policy, or its average if Config.Average
// is set. It is the trainer's own network, not a copy.
func (t *Trainer) Net() *digits.Net { return t.policy.mean }

// Run does iterations until Iteration returns until. After each it calls observe, unless
// nil. It stops at the first error of Step or observe. When ctx is done, it stops as Step
// does.
func (t *Trainer) Run(ctx context.Context, until int, observe func(Iteration) error) error {
	for t.Iteration() < until {
		it, err := t.Step(ctx)
		if err != nil {
			return err
		}
		if observe != nil {
			if err := observe(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// Step does one iteration. When ctx is done before the first update, Step returns the
// error of ctx and t is unchanged. Updates are not interrupted. After another error t must
// not be used any more.
func (t *Trainer) Step(ctx context.Context) (Iteration, error) {
	began := time.Now()
	var eval *Evaluation
	var spent time.Duration
	if n, every := t.Iteration(), t.config.Every; every > 0 && n%every == 0 {
		e, err := t.Evaluate(ctx)
		if err != nil {
			return Iteration{}, fmt.Errorf("finetune: iteration %d: %w", n, err)
		}
		eval = &e
		spent = time.Since(began)
	}
	l, err := t.loop.Step(ctx)
	if err != nil {
		return Iteration{}, fmt.Errorf("finetune: %w", err)
	}
	it := Iteration{
		Number: l.Number, Start: l.Steps[0], End: l.Steps[len(l.Steps)-1] + 1,
		Reward: l.Reward, Std: l.Std, ZeroStd: l.ZeroStd,
		OnPolicy: l.OnPolicy, Loss: l.Loss, KL: l.KL, ApproxKL: l.ApproxKL, ClipFraction: l.ClipFraction,
		Deviation: l.Deviation, Updates: l.Updates, Stopped: l.Stopped,
		Eval: eval,
	}
	t.history = append(t.history, it)
	t.evaluation += spent
	t.total += time.Since(began)
	return it, nil
}

// CheckBackward compares the network's gradient with differences of its output along the
// gradient. It changes nothing.
func (t *Trainer) CheckBackward(ctx context.Context) error {
	trained := t.policy.trained
	defer func() { t.policy.trained = trained }()
	if err := t.loop.CheckBackward(ctx); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}

// CheckOnPolicy draws the samples of the next iteration and replays them, in one batch and
// in the minibatches of training. It returns nil if every sum of squares equals the stored
// one bit for bit, so every ratio is exactly 1. It changes nothing. Every iteration also
// checks its first minibatch.
func (t *Trainer) CheckOnPolicy(ctx context.Context) error {
	if err := t.loop.CheckOnPolicy(ctx); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}
