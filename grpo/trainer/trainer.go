package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"cps/grpo"
	"cps/internal/room"
	"cps/sampler"
	"cps/sampler/guidance"
)

// A Trainer trains a policy. It serves one goroutine at a time; several trainers may run at
// once.
type Trainer[B any] struct {
	m      sampler.Memory[B]
	config Config[B]
	policy Policy[B] // raw with Guidance and Shape
	raw    Policy[B] // the caller's own

	iteration, updates int
	failed             error
	timing             Timing
	unseen             Mover // whose Update CheckBackward could not call; nil: none

	model, reference sampler.Model[B]
	run              Run[B]
	latents          rooms[B]
	output           room.Room[B]
	scratch          rooms[B] // of a rollout whose transitions look back
	references, past rooms[B] // outputs of the reference policy, and of the one that drew the samples
	batches          []*Minibatch[B]
}

// An Iteration holds the statistics of one iteration. Its rewards are those of the policy
// before its updates.
type Iteration struct {
	Number int
	Steps  []int // the transitions that were trained

	Reward  float64 // mean over the samples of all ranks
	Std     float64 // sample standard deviation of these rewards (n-1)
	ZeroStd float64 // fraction of groups whose rewards are all equal, which train nothing; 1 is no error, and the reward does not tell samples apart

	OnPolicy     float64 // greatest |ratio - 1| before the first update; should be 0
	Loss         float64 // mean over minibatches, like the next three; 0 on policy, up to rounding and the penalty, so watch Reward
	KL           float64 // from the reference policy, in the units of Config.KL
	ApproxKL     float64 // from the policy that drew the samples
	ClipFraction float64 // fraction of ratios outside the clip range; above .5 the range is too small for Form and Dim: see grpo, Units
	Deviation    float64 // greatest |ratio - 1| of all minibatches
	Minibatches  int     // number of minibatches, including the one at which Config.Stop ended the iteration
	Updates      int     // steps of the optimiser
	Stopped      bool    // whether Config.Stop ended the iteration early
}

// New returns a trainer at iteration 0. Bad settings are errors. New allocates nothing on
// m.
func New[B any](m sampler.Memory[B], p Policy[B], c Config[B]) (*Trainer[B], error) {
	switch {
	case m == nil:
		return nil, bad("the memory m is nil")
	case p == nil:
		return nil, bad("the policy p is nil")
	}
	c, err := c.withDefaults()
	if err == nil {
		err = c.checkPolicy(p)
	}
	if err != nil {
		return nil, err
	}
	t := &Trainer[B]{m: m, config: c, raw: p, policy: p}
	if c.Guidance != (guidance.Guidance{}) {
		if t.policy, err = Guided(m, p, c.Guidance); err != nil {
			return nil, fmt.Errorf("trainer: Guidance: %w", err)
		}
	}
	t.policy = Shaped(m, t.policy, c.Shape)
	t.model = t.timed(t.policy.Velocity)
	if r, ok := t.policy.(Referrer[B]); ok {
		t.reference = t.timed(r.Reference)
	}
	return t, nil
}

// timed returns f with its time counted as the policy's.
func (t *Trainer[B]) timed(f sampler.Model[B]) sampler.Model[B] {
	return func(ctx context.Context, c sampler.Call[B]) error {
		defer func(began time.Time) { since(&t.timing.Policy, began) }(time.Now())
		return f(ctx, c)
	}
}

// Config returns the configuration, with defaults filled in.
func (t *Trainer[B]) Config() Config[B] { return t.config }

// Iteration returns the number of iterations done.
func (t *Trainer[B]) Iteration() int { return t.iteration }

// Updates returns the number of steps of the optimiser done.
func (t *Trainer[B]) Updates() int { return t.updates }

// Run does iterations until Iteration returns until. After each it calls observe, unless
// nil. Run stops at the first error of Step or observe. When ctx is done, it stops as Step
// does.
func (t *Trainer[B]) Run(ctx context.Context, until int, observe func(Iteration) error) error {
	for t.iteration < until {
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

// Step does one iteration. If ctx is done or an error occurs while samples are drawn and
// scored, Step returns the error and t is unchanged. Training afterwards ignores that ctx
// is done, so an iteration is done in whole or not at all. If training fails, the policy is
// between two iterations. Step then returns the error again until [Trainer.Restore].
func (t *Trainer[B]) Step(ctx context.Context) (Iteration, error) {
	it := Iteration{Number: t.iteration}
	if t.failed != nil {
		return it, fmt.Errorf("trainer: iteration %d failed in the middle: restore the policy and the trainer: %w", t.iteration, t.failed)
	}
	began := time.Now()
	r, err := t.Draw(ctx)
	if err == nil {
		err = t.Judge(ctx, r, &it)
	}
	if err != nil {
		return it, err
	}
	ctx = context.WithoutCancel(ctx)
	if err = t.Prepare(ctx, r); err == nil {
		err = t.Train(ctx, r, &it)
	}
	if err != nil {
		t.failed = err
		return it, err
	}
	t.Done()
	since(&t.timing.Total, began)
	return it, nil
}

// Done ends an iteration whose parts were called one by one. The next Draw is then of the
// next iteration.
func (t *Trainer[B]) Done() {
	t.iteration++
	t.timing.Iterations++
}

// fail returns err with the iteration and what failed.
func (t *Trainer[B]) fail(what string, err error) error {
	return fmt.Errorf("trainer: iteration %d: %s: %w", t.iteration, what, err)
}

// Judge computes the rewards and advantages of r, over all ranks, and stores the statistics
// of the rewards in it. A reward or an advantage that is not finite is an error that names
// the sample (grpo.ErrNotFinite). A reward that Reward does not store is NaN. A Tracker
// remembers the rewards, unless its own call fails.
func (t *Trainer[B]) Judge(ctx context.Context, r *Run[B], it *Iteration) error {
	c := t.config
	n := c.rows()
	rank, ranks := c.Ranks.Rank()
	began := time.Now()
	r.Rewards, r.Advantages = grow(r.Rewards, n), grow(r.Advantages, n)
	for i := range r.Rewards {
		r.Rewards[i] = math.NaN() // shows a reward that Reward does not store
	}
	last := r.Trajectory.Latents[len(r.Trajectory.Latents)-1]
	if err := c.Reward(ctx, r.Rewards, last, r.Prompts); err != nil {
		return t.fail("Reward", err)
	}
	if err := ctx.Err(); err != nil {
		return t.fail("rewards", err)
	}
	since(&t.timing.Reward, began)

	defer func(began time.Time) { since(&t.timing.Gradients, began) }(time.Now())
	rewards, prompts := r.Rewards, r.Prompts
	if ranks > 1 {
		var err error
		if rewards, prompts, err = gather(ctx, c.Ranks, ranks, rewards, prompts); err != nil {
			return t.fail("Ranks.Gather", err)
		}
	}
	groups, err := grpo.BySize(len(rewards), c.Group)
	if c.ByPrompt {
		groups, err = grpo.ByID(prompts)
	}
	if err != nil {
		return t.fail("groups", err)
	}
	spread, err := grpo.MeasureSpread(rewards, groups)
	if err != nil {
		if slices.ContainsFunc(r.Rewards, math.IsNaN) {
			err = fmt.Errorf("%w: did Reward write it?", err)
		}
		return t.fail("rewards", err)
	}
	it.ZeroStd = spread.ZeroStd
	it.Reward, it.Std = meanStd(rewards)
	adv := r.Advantages
	if ranks > 1 {
		adv = make([]float64, len(rewards))
	}
	if c.Tracker != nil {
		adv, err = c.Tracker.Advantages(adv, rewards, prompts)
	} else {
		adv, err = c.Estimator.Advantages(adv, rewards, groups)
	}
	if err == nil && len(adv) != len(rewards) {
		err = fmt.Errorf("%T returns %d advantages for %d samples", c.Estimator, len(adv), len(rewards))
	}
	if err != nil {
		return t.fail("advantages", err)
	}
	if c.Limit > 0 {
		if adv, err = grpo.Clamp(adv, adv, c.Limit); err != nil {
			return t.fail("advantages", err)
		}
	}
	for i, a := range adv {
		if math.IsNaN(a) || math.IsInf(a, 0) {
			return t.fail("advantages", fmt.Errorf("advantage of sample %d is %v: %w", i, a, grpo.ErrNotFinite))
		}
	}
	copy(r.Advantages, adv[rank*n:])
	return nil
}

// gather returns the rewards and prompts of all ranks.
func gather(ctx context.Context, r Ranks, ranks int, rewards []float64, prompts []int) (all []float64, ids []int, err error) {
	n := len(rewards)
	all = make([]float64, ranks*n)
	if err := r.Gather(ctx, all, rewards); err != nil {
		return nil, nil, err
	}
	mine, numbers := make([]float64, n), make([]float64, ranks*n)
	for i, p := range prompts {
		if mine[i] = float64(p); int(mine[i]) != p {
			return nil, nil, fmt.Errorf("prompt %d is beyond 2⁵³", p)
		}
	}
	if err := r.Gather(ctx, numbers, mine); err != nil {
		return nil, nil, err
	}
	ids = make([]int, len(numbers))
	for i, x := range numbers {
		ids[i] = int(x)
	}
	return all, ids, nil
}

// meanStd returns the mean and the sample standard deviation.
func meanStd(x []float64) (mean, std float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		d := v - mean
		std += float64(d*d) / (n - 1)
	}
	return mean, math.Sqrt(std)
}

// Close gives back the memory of the device. Earlier Runs and Minibatches of t cannot be
// used afterwards. If t goes on, it makes memory anew.
func (t *Trainer[B]) Close() error {
	var errs []error
	for _, all := range []rooms[B]{t.latents, t.scratch, t.references, t.past, {t.output}} {
		for i := range all {
			errs = append(errs, all[i].Free(t.m))
		}
	}
	t.output = room.Room[B]{}
	for _, b := range t.batches {
		errs = append(errs, b.Free())
	}
	t.batches = nil
	if s, ok := t.policy.(interface{ free() error }); ok {
		errs = append(errs, s.free())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("trainer: Close: %w", err)
	}
	return nil
}
