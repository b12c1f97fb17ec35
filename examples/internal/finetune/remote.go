package finetune

import (
	"context"
	"fmt"
	"slices"

	"cps/examples/internal/digits"
	"cps/grpo"
	"cps/grpo/trainer"
	"cps/noise"
	"cps/sampler"
)

// A Part names some samples of an iteration, which any machine may draw and score. The
// samples are a function of the Part, a Config and the policy's weights.
type Part struct {
	Iteration int
	Key       noise.Key // the key of the iteration
	Samples   []uint64
	Classes   []int // the digit of each sample
}

// An Outcome has what training needs of the samples of a Part. Lists are row-major, with
// the shapes in brackets.
type Outcome struct {
	Latents    []float32 // [points, samples, digits.Dim]: before and after trained steps, except the first latents of a run, which are noise
	SumSquares []float64 // [trained steps, samples]
	Rewards    []float64 // [samples]
}

// A Shape has the lengths of the lists of an Outcome.
type Shape struct{ Latents, SumSquares, Rewards int }

// Shape returns the lengths that o has.
func (o *Outcome) Shape() Shape {
	return Shape{len(o.Latents), len(o.SumSquares), len(o.Rewards)}
}

// Shape returns the lengths that the outcome of a part of n samples has.
func (c Config) Shape(iteration, n int) (Shape, error) {
	c, err := c.withDefaults()
	if err != nil {
		return Shape{}, err
	}
	_, steps, err := c.plan(iteration)
	if err != nil {
		return Shape{}, err
	}
	return Shape{len(points(steps)) * n * digits.Dim, len(steps) * n, n}, nil
}

// plan returns the sampler of an iteration and its trained transitions, which follow on each
// other.
func (c Config) plan(iteration int) (*sampler.Sampler, []int, error) {
	return trainer.Config[[]float32]{Sampling: c.sampling(), Window: c.Window}.Plan(iteration)
}

// points returns the points of a run whose latents an Outcome has.
func points(steps []int) []int {
	var all []int
	for i := max(1, steps[0]); i <= steps[len(steps)-1]+1; i++ {
		all = append(all, i)
	}
	return all
}

// Draw draws and scores the samples of a part with a network. They have the bits of the
// rollout of a [Trainer] with this configuration and these weights, whatever other samples
// are in the part. It may be called concurrently.
func (c Config) Draw(ctx context.Context, net *digits.Net, p Part) (*Outcome, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	n := len(p.Samples)
	if n == 0 || len(p.Classes) != n {
		return nil, fmt.Errorf("finetune: a part of %d samples has %d classes", n, len(p.Classes))
	}
	if i := slices.IndexFunc(p.Classes, func(c int) bool { return c < 0 || c >= digits.Classes }); i >= 0 {
		return nil, fmt.Errorf("finetune: sample %d has class %d, which is not in [0, %d]", p.Samples[i], p.Classes[i], digits.Classes-1)
	}
	s, steps, err := c.plan(p.Iteration)
	if err != nil {
		return nil, fmt.Errorf("finetune: iteration %d: %w", p.Iteration, err)
	}
	b := s.Batch(digits.Dim, p.Key, p.Samples...)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{Start: steps[0], End: steps[len(steps)-1] + 1})
	start := b
	start.Rows = slices.Clone(b.Rows)
	if c.SharedStart {
		for i := range start.Rows {
			start.Rows[i].Sample = p.Samples[i] / uint64(c.Group)
		}
	}
	cpu := sampler.CPU{}
	cpu.Step(run.Latents[0], nil, nil, start, nil)
	pass := digits.NewPass(net, n)
	err = sampler.Rollout(ctx, cpu, s, b, run, func(_ context.Context, call sampler.Call[[]float32]) error {
		pass.Forward(call.V, call.X, p.Classes, call.Times)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("finetune: iteration %d: %w", p.Iteration, err)
	}
	o := &Outcome{Rewards: make([]float64, n)}
	for _, i := range points(steps) {
		o.Latents = append(o.Latents, run.Latents[i]...)
	}
	for _, i := range steps {
		o.SumSquares = append(o.SumSquares, run.SumSquares[i]...)
	}
	c.Reward.Score(o.Rewards, run.Latents[s.Steps()], p.Classes)
	return o, o.finite()
}

// finite returns an error that names the first number that is not finite, or the first sum of
// squares below 0.
func (o *Outcome) finite() error {
	for i, x := range o.Latents {
		if notFinite(float64(x)) {
			return fmt.Errorf("finetune: latent %d is %v: %w", i, x, grpo.ErrNotFinite)
		}
	}
	for i, x := range o.SumSquares {
		if notFinite(x) {
			return fmt.Errorf("finetune: sum of squares %d is %v: %w", i, x, grpo.ErrNotFinite)
		}
		if x < 0 {
			return fmt.Errorf("finetune: sum of squares %d is %v", i, x)
		}
	}
	for i, x := range o.Rewards {
		if notFinite(x) {
			return fmt.Errorf("finetune: reward %d is %v: %w", i, x, grpo.ErrNotFinite)
		}
	}
	return nil
}

// A Rollout has the samples of an iteration that [Trainer.Remote] must draw. It is valid
// until Remote returns.
type Rollout struct {
	Net *digits.Net // the policy; do not change it

	all    Part
	points []int // points of the run that outcomes have
	steps  []int
	run    *sampler.Trajectory[[]float32]

	rewards []float64
	done    []bool // which samples are stored
}

func newRollout(iteration int, net *digits.Net, b sampler.Batch, run *sampler.Trajectory[[]float32], classes []int) *Rollout {
	r := &Rollout{Net: net, all: Part{Iteration: iteration, Key: b.Key, Classes: classes}, run: run}
	for _, row := range b.Rows {
		r.all.Samples = append(r.all.Samples, row.Sample)
	}
	for i, sq := range run.SumSquares {
		if sq != nil {
			r.steps = append(r.steps, i)
		}
	}
	r.points = points(r.steps)
	r.rewards, r.done = make([]float64, len(classes)), make([]bool, len(classes))
	return r
}

// Iteration returns the number of the iteration.
func (r *Rollout) Iteration() int { return r.all.Iteration }

// Len returns the number of samples.
func (r *Rollout) Len() int { return len(r.all.Samples) }

// Part returns samples first to end of the rollout as a part. It shares memory with r.
func (r *Rollout) Part(first, end int) Part {
	p := r.all
	p.Samples, p.Classes = p.Samples[first:end:end], p.Classes[first:end:end]
	return p
}

// Put stores the outcome of Part(first, first + len(o.Rewards)). An outcome of another
// shape, or with a number that is not finite, is an error, and nothing is stored. A second
// outcome of a sample replaces the first.
func (r *Rollout) Put(first int, o *Outcome) error {
	n := len(o.Rewards)
	if first < 0 || n == 0 || n > r.Len()-first {
		return fmt.Errorf("finetune: an outcome has %d samples from %d on, and the rollout has %d", n, first, r.Len())
	}
	if got, want := o.Shape(), (Shape{len(r.points) * n * digits.Dim, len(r.steps) * n, n}); got != want {
		return fmt.Errorf("finetune: an outcome has the shape %+v, want %+v", got, want)
	}
	if err := o.finite(); err != nil {
		return err
	}
	for k, i := range r.points {
		copy(r.run.Latents[i][first*digits.Dim:], o.Latents[k*n*digits.Dim:][:n*digits.Dim])
	}
	for k, i := range r.steps {
		copy(r.run.SumSquares[i][first:], o.SumSquares[k*n:][:n])
	}
	copy(r.rewards[first:], o.Rewards)
	for i := range n {
		r.done[first+i] = true
	}
	return nil
}

// complete returns an error that names the first missing sample.
func (r *Rollout) complete() error {
	if i := slices.Index(r.done, false); i >= 0 {
		return fmt.Errorf("finetune: Remote returned without sample %d", r.all.Samples[i])
	}
	return nil
}
