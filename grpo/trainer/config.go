package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"cps/grpo"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/sampler/guidance"
)

// ErrConfig reports a setting that is missing or out of range, or that needs an interface
// which the policy lacks. Errors of other packages about their settings are passed on.
var ErrConfig = errors.New("bad configuration")

// A Config says how to train. Sampling, Dim, Prompts, Group and Reward must be set. All
// other zero values work: what they mean stands in brackets. The paper is arXiv 2509.05952.
type Config[B any] struct {
	Key noise.Key // for everything random; every iteration derives a key of its own

	// Sampling.
	Sampling    sampler.Config    // of the rollouts; a Window below sets its Window
	Window      grpo.Strategy     // which of the trainable transitions are stochastic and trained [nil: all]
	LastStep    bool              // also train a step to noise 0, if the rule draws noise there [no, as published]
	Dim         int               // elements of a sample
	Guidance    guidance.Guidance // of the policy and its reference, in rollouts and training [none]
	SharedStart bool              // samples of a group share their initial latent

	// Prompts are numbers. Only Prompt, Reward and the policy know what they mean.
	Prompts  int  // number of groups in an iteration, on this rank
	Group    int  // number of samples in a group, at least 2
	ByPrompt bool // compare all samples of a prompt, over groups and ranks [compare within a group]

	// Prompt stores the prompt of every group of an iteration. A Call names rows of the
	// run, and row r belongs to group r/Group, so the policy learns its conditions here.
	// CheckOnPolicy calls Prompt for an iteration that Step draws again. [group g has
	// prompt rank·Prompts + g]
	Prompt func(ctx context.Context, iteration int, prompts []int) error

	// Clean stores what runs start from if Sampling.Start is not FromNoise: clean samples,
	// or the latents of another part. prompts has one entry a row.
	Clean func(ctx context.Context, dst B, prompts []int) error

	// Rollout, unless nil, replaces sampler.Rollout, for example to run on other machines.
	// It must leave the bits of sampler.Rollout in the latents and sums of t. Where
	// transitions look back, these bits depend on the type of t.Scratch. That is the type
	// of latents and outputs if they have one type, and float32 otherwise.
	Rollout func(ctx context.Context, s *sampler.Sampler, b sampler.Batch, t *sampler.Trajectory[B], model sampler.Model[B]) error

	// Reward stores in dst the reward of every sample for its prompt. samples is row-major
	// [len(prompts), Dim], in the memory of the device; Reward downloads what it needs. It
	// must not change samples.
	Reward func(ctx context.Context, dst []float64, samples B, prompts []int) error

	Estimator grpo.Estimator     // computes the advantages [grpo.FlowGRPO]
	Tracker   *grpo.Tracker[int] // replaces Estimator: also compares with earlier rewards of a prompt
	Limit     float64            // clamps the advantages to [-Limit, Limit] [none]

	// Loss.
	Form      logprob.Form   // what log p means [the paper's form]
	Objective Objective      // in the units of Form and Dim: see Clip [Clip{}, which does not clip]
	KL        Divergence     // penalty from the reference policy; the policy must be a Referrer [none]
	Stop      grpo.EarlyStop // ends the inner epochs [never]
	Tolerance float64        // largest |ratio - 1| before the first update [sums of squares must be equal bit for bit]

	// Updates.
	Epochs      int              // inner epochs of an iteration [1]
	Minibatches grpo.Minibatches // one step of the optimiser each; the trainer sets Key [one of all transitions]
	Shape       Shape            // of the Calls; larger minibatches are cut into micro-batches [any]
	Average     grpo.EMA         // of the parameters; the policy must be an Averager; EMA{Every: 1} copies at every step [none]
	Follow      grpo.EMA         // moves the reference policy; the policy must be a Follower; EMA{Every: 1} copies at every step [it stays]

	Output   sampler.Storage // the type of the policy's output [Float32]
	Gradient sampler.Storage // the type of ∂loss/∂v [Float32]

	Ranks Ranks // connects several processes [one rank]

	// Label describes whatever else determines a run: names of rewards, prompts and
	// network, the learning rate. A checkpoint holds it, and Restore compares it.
	Label string
}

func bad(format string, args ...any) error {
	return fmt.Errorf("trainer: %w: %w", ErrConfig, fmt.Errorf(format, args...))
}

// withDefaults returns c with its defaults, checked as far as it can be without a policy.
func (c Config[B]) withDefaults() (Config[B], error) {
	if c.Epochs == 0 {
		c.Epochs = 1
	}
	if c.Estimator == nil {
		c.Estimator = grpo.FlowGRPO
	}
	if c.Objective == nil {
		c.Objective = Clip{}
	}
	if c.Ranks == nil {
		c.Ranks = alone{}
	}
	rank, ranks := c.Ranks.Rank()
	if c.Prompt == nil {
		first := rank * c.Prompts
		c.Prompt = func(_ context.Context, _ int, prompts []int) error {
			for g := range prompts {
				prompts[g] = first + g
			}
			return nil
		}
	}
	switch {
	case c.Reward == nil:
		return c, bad("Reward is nil")
	case c.Dim < 1 || uint64(c.Dim) > sampler.MaxDim:
		return c, bad("Dim %d is not in [1, 2³⁴]", c.Dim)
	case c.Prompts < 1:
		return c, bad("Prompts %d is not positive", c.Prompts)
	case c.Group < 2:
		return c, bad("Group %d is not at least 2: one sample alone has no advantage", c.Group)
	case c.Prompts > math.MaxInt32/c.Group:
		return c, bad("%d Prompts of %d samples are too many", c.Prompts, c.Group)
	case c.Epochs < 1:
		return c, bad("Epochs %d is not positive", c.Epochs)
	case c.Shape.Rows < 0:
		return c, bad("Shape.Rows %d is negative", c.Shape.Rows)
	case c.Shape.Fixed && c.Shape.Rows == 0:
		return c, bad("Shape is Fixed and Rows is 0: set Rows")
	case !(c.KL.Beta >= 0 && c.KL.Beta <= math.MaxFloat64):
		return c, bad("KL.Beta %v is not a finite number ≥ 0", c.KL.Beta)
	case !(c.Limit >= 0):
		return c, bad("Limit %v is not a number ≥ 0", c.Limit)
	case !(c.Tolerance >= 0):
		return c, bad("Tolerance %v is not a number ≥ 0", c.Tolerance)
	case c.Output > sampler.Float16 || c.Gradient > sampler.Float16:
		return c, bad("Output %v or Gradient %v is not a storage type", c.Output, c.Gradient)
	case c.Sampling.Start != sampler.FromNoise && c.Clean == nil:
		return c, bad("Sampling.Start is %v and Clean is nil: set Clean", c.Sampling.Start)
	case c.Sampling.Start == sampler.FromNoise && c.Clean != nil:
		return c, bad("Clean is set and Sampling.Start is FromNoise, which starts from pure noise: leave Clean nil, or set Start")
	case c.Window != nil && (c.Sampling.Set != nil || c.Sampling.Window != sampler.Window{}):
		return c, bad("both Window and Sampling.Window or Sampling.Set are set: set one of them")
	case ranks < 1 || rank < 0 || rank >= ranks:
		return c, bad("Ranks.Rank returns rank %d of %d ranks", rank, ranks)
	}
	return c, c.try()
}

// try passes settings to the packages that check them, before there are samples.
func (c Config[B]) try() error {
	_, trained, err := c.Plan(0)
	if err != nil {
		return err
	}
	one, two := []float64{0}, []float64{0, 1}
	terms := Terms{
		Batch: sampler.Batch{Dim: 1, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1, V: 1, Eps: 1}}}},
		LogP:  one, Old: one, Advantages: one, KL: []float64{0}, Scratch: []float64{0},
	}
	if _, err := c.Objective.Loss([]float64{0}, terms); err != nil {
		return fmt.Errorf("trainer: Objective: %w", err)
	}
	if c.Tracker != nil {
		trial := grpo.Tracker[int]{Norm: c.Tracker.Norm, Limit: c.Tracker.Limit, MinCount: c.Tracker.MinCount}
		if _, err := trial.Advantages([]float64{0, 0}, two, []int{0, 0}); err != nil {
			return fmt.Errorf("trainer: Tracker: %w", err)
		}
	} else if _, err := c.Estimator.Advantages([]float64{0, 0}, two, grpo.Groups{}); err != nil {
		return fmt.Errorf("trainer: Estimator: %w", err)
	}
	if _, err := c.Stop.Reached(grpo.Stats{}); err != nil {
		return fmt.Errorf("trainer: Stop: %w", err)
	}
	for name, e := range map[string]grpo.EMA{"Average": c.Average, "Follow": c.Follow} {
		if _, err := e.Weight(0); err != nil {
			return fmt.Errorf("trainer: %s: %w", name, err)
		}
	}
	if _, err := c.Minibatches.Epoch(0, c.rows(), trained); err != nil {
		return fmt.Errorf("trainer: Minibatches: %w", err)
	}
	return nil
}

// checkPolicy returns an error if a setting needs an interface that p lacks.
func (c Config[B]) checkPolicy(p Policy[B]) error {
	_, averages := p.(Averager)
	_, refers := p.(Referrer[B])
	_, follows := p.(Follower)
	switch {
	case c.Average != (grpo.EMA{}) && !averages:
		return bad("Average is set and %T is no Averager: implement it, or leave Average zero", p)
	case c.KL.Beta > 0 && !refers:
		return bad("KL.Beta is set and %T is no Referrer: implement it, since the penalty needs a reference policy", p)
	case c.Follow != (grpo.EMA{}) && !follows:
		return bad("Follow is set and %T is no Follower: implement it, or leave Follow zero", p)
	}
	return nil
}

// rows returns the number of samples of an iteration on this rank.
func (c Config[B]) rows() int { return c.Prompts * c.Group }

// Plan returns the sampler of an iteration and its trained transitions, ascending. They
// are functions of Sampling, Window, LastStep and the iteration. A machine that rolls out
// for Config.Rollout needs nothing else of c.
func (c Config[B]) Plan(iteration int) (*sampler.Sampler, []int, error) {
	s, err := sampler.New(c.Sampling)
	if err != nil {
		return nil, nil, fmt.Errorf("trainer: Sampling: %w", err)
	}
	trained := c.trainable(s)
	if len(trained) == 0 {
		return nil, nil, bad("Sampling: Rule %s%+v leaves nothing to train: no step draws noise and reads the model's output", sampler.FactsOf(c.Sampling.Rule).Name, c.Sampling.Rule)
	}
	if c.Window == nil {
		return s, trained, nil
	}
	if n := len(trained); trained[n-1] != n-1 {
		return nil, nil, bad("Sampling: Rule %s%+v draws no noise at step %d, so the step cannot be trained: a Window strategy needs every step from the first one on",
			sampler.FactsOf(c.Sampling.Rule).Name, c.Sampling.Rule, s.At(missing(trained)).Step)
	}
	start, end, err := c.Window.Window(iteration, len(trained))
	if err != nil {
		return nil, nil, fmt.Errorf("trainer: Window: %w", err)
	}
	if start < 0 || start >= end || end > len(trained) {
		return nil, nil, bad("Window: %T gives [%d, %d) of %d transitions", c.Window, start, end, len(trained))
	}
	c.Sampling.Window = sampler.Window{Start: s.At(start).Step, End: s.At(end-1).Step + 1}
	if s, err = sampler.New(c.Sampling); err != nil {
		return nil, nil, fmt.Errorf("trainer: Sampling: %w", err)
	}
	// If Rule and Outside take different numbers of evaluations, the transitions have
	// other indices now.
	w := s.Transitions(c.Sampling.Window)
	return s, slices.DeleteFunc(c.trainable(s), func(i int) bool { return i < w.Start || i >= w.End }), nil
}

// between is the type of bases and of kept predictions, which transitions that look back
// use. They have the size of latents and are made of outputs.
func (c Config[B]) between() sampler.Storage {
	if c.Sampling.Storage == c.Output {
		return c.Output
	}
	return sampler.Float32
}

// trainable returns the transitions of s that can be trained.
func (c Config[B]) trainable(s *sampler.Sampler) []int {
	set := s.Stochastic()
	if n := len(set); n > 0 && !c.LastStep && s.At(set[n-1]).To.Noise == 0 {
		set = set[:n-1]
	}
	return set
}

// missing returns the lowest number from 0 that is not in set. set is ascending.
func missing(set []int) int {
	for i, x := range set {
		if x != i {
			return i
		}
	}
	return len(set)
}

// String returns all settings that determine a run, except functions, one field a line. A
// checkpoint holds this text, so no run goes on with other settings.
func (c Config[B]) String() string {
	var b strings.Builder
	field := func(name string, value any) { fmt.Fprintf(&b, "%s: %T%+v\n", name, value, value) }
	_, ranks := c.Ranks.Rank()
	field("Label", c.Label)
	field("Key", c.Key)
	field("Sampling", c.Sampling)
	field("Window", c.Window)
	field("LastStep", c.LastStep)
	field("Dim", c.Dim)
	field("Guidance", c.Guidance)
	field("SharedStart", c.SharedStart)
	field("Prompts", c.Prompts)
	field("Group", c.Group)
	field("ByPrompt", c.ByPrompt)
	if c.Tracker != nil {
		field("Tracker.Norm", c.Tracker.Norm)
		field("Tracker.Limit", c.Tracker.Limit)
		field("Tracker.MinCount", c.Tracker.MinCount)
	} else {
		field("Estimator", c.Estimator)
	}
	field("Limit", c.Limit)
	field("Form", c.Form)
	field("Objective", c.Objective)
	field("KL", c.KL)
	field("Stop", c.Stop)
	field("Tolerance", c.Tolerance)
	field("Epochs", c.Epochs)
	field("Minibatches", c.Minibatches)
	field("Shape", c.Shape)
	field("Average", c.Average)
	field("Follow", c.Follow)
	field("Output", c.Output)
	field("Gradient", c.Gradient)
	field("Ranks", ranks)
	return b.String()
}
