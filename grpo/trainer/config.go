package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"cps/grpo"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/sampler/guidance"
)

// ErrConfig reports a setting that is missing, out of range, or asks for what the policy
// lacks. Errors of other packages about their settings are passed on.
var ErrConfig = errors.New("bad configuration")

// A Config says how to train. Sampling, Dim, Prompts, Group and Reward must be set; other
// zero values work, in the meaning in brackets.
type Config[B any] struct {
	Key noise.Key // of everything random; every iteration derives one of its own

	// Sampling.
	Sampling    sampler.Config    // of the rollouts; its Window and Set are left alone, unless there is a strategy. No trained step may look back ([sampler.Solver])
	Window      grpo.Strategy     // the stochastic and trained transitions, of all that can be trained [nil: all]
	LastStep    bool              // train a step to noise 0 too, if the rule draws noise there [no: as published]
	Dim         int               // elements of a sample
	Guidance    guidance.Guidance // of the policy and its reference, in rollouts and training [none]
	SharedStart bool              // samples of a group share their initial latent

	// Prompts, which are numbers: their meaning is between Prompt, Reward and the policy.
	Prompts  int  // groups of an iteration, on this rank
	Group    int  // samples of a group, at least 2
	ByPrompt bool // samples of one prompt compete wherever they stand, on all ranks [those of a group]

	// Prompt stores the prompt of every group of an iteration. Row r of the run, which is
	// what a Call names, belongs to group r/Group: here the policy learns its conditions.
	// It is called again for an iteration that is checked first. [group g has prompt
	// rank·Prompts + g]
	Prompt func(ctx context.Context, iteration int, prompts []int) error

	// Clean stores, if Sampling.Start is not FromNoise, what runs start from: clean samples,
	// or the latents of another part. prompts has an entry a row.
	Clean func(ctx context.Context, dst B, prompts []int) error

	// Rollout, unless nil, runs the samples in place of sampler.Rollout, on other machines
	// perhaps: it must leave the bits of sampler.Rollout in the latents and sums of t.
	Rollout func(ctx context.Context, s *sampler.Sampler, b sampler.Batch, t *sampler.Trajectory[B], model sampler.Model[B]) error

	// Reward stores the rewards of samples, row-major [len(prompts), Dim], for the prompt of
	// each. On a device it downloads them itself.
	Reward func(ctx context.Context, dst []float64, samples B, prompts []int) error

	Estimator grpo.Estimator     // of the advantages [grpo.FlowGRPO]
	Tracker   *grpo.Tracker[int] // in its place: compares with earlier rewards of a prompt, too
	Limit     float64            // of the advantages, to both sides [none]

	// Loss.
	Form      logprob.Form   // of log p; the zero Form is the paper's
	Objective Objective      // in the units of Form [Clip{}: no clip]
	KL        Divergence     // from the reference policy; a Referrer
	Stop      grpo.EarlyStop // of the inner epochs [never]
	Tolerance float64        // of |ratio - 1| before the first update [0: sums of squares equal to the bit]

	// Updates.
	Epochs      int              // inner epochs of an iteration [1]
	Minibatches grpo.Minibatches // a step of the optimiser each; their Key is the trainer's to set
	Shape       Shape            // of the Calls; minibatches of more rows accumulate micro-batches
	Average     grpo.EMA         // an Averager [none]
	Follow      grpo.EMA         // of the reference policy; a Follower [it stays]

	Output   sampler.Storage // the type of the policy's output
	Gradient sampler.Storage // the type of ∂loss/∂v

	Ranks Ranks // [one]

	// Label is whatever else a run is a function of, for checkpoints: the names of rewards,
	// prompts and network, the learning rate.
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
		return c, bad("Group %d is not at least 2: a single sample has nothing to be compared with", c.Group)
	case c.Prompts > math.MaxInt32/c.Group:
		return c, bad("%d Prompts of %d samples are too many", c.Prompts, c.Group)
	case c.Epochs < 1:
		return c, bad("Epochs %d is not positive", c.Epochs)
	case c.Shape.Rows < 0:
		return c, bad("Shape.Rows %d is negative", c.Shape.Rows)
	case c.Shape.Fixed && c.Shape.Rows == 0:
		return c, bad("Shape is Fixed without Rows")
	case !(c.KL.Beta >= 0 && c.KL.Beta <= math.MaxFloat64):
		return c, bad("KL.Beta %v is not a finite number ≥ 0", c.KL.Beta)
	case !(c.Limit >= 0):
		return c, bad("Limit %v is not a number ≥ 0", c.Limit)
	case !(c.Tolerance >= 0):
		return c, bad("Tolerance %v is not a number ≥ 0", c.Tolerance)
	case c.Output > sampler.Float16 || c.Gradient > sampler.Float16:
		return c, bad("Output %v or Gradient %v is no type", c.Output, c.Gradient)
	case c.Sampling.Start != sampler.FromNoise && c.Clean == nil:
		return c, bad("Sampling.Start is %v and Clean is nil", c.Sampling.Start)
	case c.Sampling.Start == sampler.FromNoise && c.Clean != nil:
		return c, bad("Clean is set and Sampling.Start is FromNoise, which starts from pure noise")
	case c.Window != nil && (c.Sampling.Set != nil || c.Sampling.Window != sampler.Window{}):
		return c, bad("both Window, a strategy, and Sampling's Window or Set say what is stochastic")
	case ranks < 1 || rank < 0 || rank >= ranks:
		return c, bad("rank %d of %d", rank, ranks)
	}
	return c, c.try()
}

// try passes settings to the packages that know better, before there are samples.
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

// checkPolicy reports a setting that needs what p lacks.
func (c Config[B]) checkPolicy(p Policy[B]) error {
	_, averages := p.(Averager)
	_, refers := p.(Referrer[B])
	_, follows := p.(Follower)
	switch {
	case c.Average != (grpo.EMA{}) && !averages:
		return bad("Average is set and %T is no Averager", p)
	case c.KL.Beta > 0 && !refers:
		return bad("KL.Beta is set and %T is no Referrer: it has no reference policy", p)
	case c.Follow != (grpo.EMA{}) && !follows:
		return bad("Follow is set and %T is no Follower", p)
	}
	return nil
}

// rows is the number of samples of an iteration on this rank.
func (c Config[B]) rows() int { return c.Prompts * c.Group }

// Plan returns the sampler of an iteration, and the transitions that it trains, ascending.
// They are functions of Sampling, Window, LastStep and the iteration: a machine that rolls
// out for Config.Rollout needs no more of c.
func (c Config[B]) Plan(iteration int) (*sampler.Sampler, []int, error) {
	s, err := sampler.New(c.Sampling)
	if err != nil {
		return nil, nil, fmt.Errorf("trainer: Sampling: %w", err)
	}
	trained := c.trainable(s)
	if len(trained) == 0 {
		return nil, nil, bad("Sampling: no step draws noise and reads the model's output, which leaves nothing to train: its Rule is %s%+v", sampler.FactsOf(c.Sampling.Rule).Name, c.Sampling.Rule)
	}
	if c.Window == nil {
		return s, trained, c.checkDepth(s, trained)
	}
	if n := len(trained); trained[n-1] != n-1 {
		return nil, nil, bad("Sampling: Rule %s%+v draws no noise at step %d, which leaves nothing to train there: a strategy moves over the first steps of the run",
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
	return s, trained[start:end], c.checkDepth(s, trained[start:end])
}

// checkDepth returns an error if a trained transition looks back at earlier evaluations.
func (c Config[B]) checkDepth(s *sampler.Sampler, trained []int) error {
	for _, i := range trained {
		if t := s.At(i); len(t.Past) > 0 {
			return bad("Sampling: Rule %s%+v looks back at earlier evaluations at step %d, and a minibatch holds one evaluation a transition: train a rule of first order, as FlowCPS or DPMSDEPlus; a Solver that looks back may be Outside",
				sampler.FactsOf(c.Sampling.Rule).Name, c.Sampling.Rule, t.Step)
		}
	}
	return nil
}

// trainable returns the transitions of s that can be trained.
func (c Config[B]) trainable(s *sampler.Sampler) []int {
	set := s.Stochastic()
	if n := len(set); n > 0 && !c.LastStep && s.At(set[n-1]).To.Noise == 0 {
		set = set[:n-1]
	}
	return set
}

// missing returns the first number that is not in set, ascending from 0.
func missing(set []int) int {
	for i, x := range set {
		if x != i {
			return i
		}
	}
	return len(set)
}

// String describes everything that a run is a function of, but for functions, one field a
// line. A checkpoint holds it, so that no run goes on with other settings.
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
