package trainer

import (
	"context"
	"fmt"
	"time"

	"cps/grpo"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
)

// A Run holds the samples of an iteration. It is the [Task] of training by their rewards.
// It is valid until the next [Trainer.Draw], which reuses its memory.
type Run[B any] struct {
	Iteration  int
	Key        noise.Key
	Sampler    *sampler.Sampler
	Steps      []int                  // the trained transitions, ascending
	Prompts    []int                  // the prompt of every row
	Batch      sampler.Batch          // only the samples of its rows matter
	Trajectory *sampler.Trajectory[B] // with the latents before and after the trained transitions, and those that they look back at

	Rewards, Advantages []float64   // of every row, after Judge
	Old                 [][]float64 // log p by transition and row, after Prepare; nil for transitions that are not trained
	Reference           []B         // after Prepare, if there is a penalty: the reference policy's outputs by transition, where training evaluates
	Past                []B         // likewise of the policy that drew the samples, if the objective needs them

	t       *Trainer[B]
	asks    []bool // by transition: whether training evaluates the policy there
	history history

	all    []int     // rows of the run
	times  []float64 // of a Call about them
	groups []int
	logp   [][]float64
	starts sampler.Batch
}

var _ Task[[]float32] = (*Run[[]float32])(nil)

// Draw draws the samples of the next iteration. It changes nothing else in the trainer.
// When ctx is done, it stops between two steps with the error of ctx.
func (t *Trainer[B]) Draw(ctx context.Context) (*Run[B], error) {
	r, err := t.draw(ctx)
	if err != nil {
		return nil, t.fail("samples", err)
	}
	return r, nil
}

func (t *Trainer[B]) draw(ctx context.Context) (*Run[B], error) {
	c, r := t.config, &t.run
	r.t, r.Iteration, r.Key = t, t.iteration, c.Key.Derive(uint64(t.iteration)+1)
	var err error
	if r.Sampler, r.Steps, err = c.Plan(t.iteration); err != nil {
		return nil, err
	}
	rank, _ := c.Ranks.Rank()
	n := c.rows()
	first := rank * n
	if len(r.all) != n {
		r.all, r.times, r.Prompts, r.groups = make([]int, n), make([]float64, n), make([]int, n), make([]int, c.Prompts)
		for i := range r.all {
			r.all[i] = i
		}
	}
	if err := c.Prompt(ctx, t.iteration, r.groups); err != nil {
		return nil, fmt.Errorf("config: Prompt: %w", err)
	}
	samples := make([]uint64, n)
	for i := range samples {
		samples[i] = uint64(first + i)
		r.Prompts[i] = r.groups[i/c.Group]
	}
	r.Batch = r.Sampler.Batch(c.Dim, r.Key, samples...)
	r.findHistory()
	if r.Trajectory, err = t.trajectory(r); err != nil {
		return nil, err
	}
	r.Old, r.Reference, r.Past = nil, nil, nil
	if c.Objective.Divergence() != Unused && c.Rollout == nil {
		if err := t.keepOutputs(r); err != nil {
			return nil, err
		}
	}

	began, policy := time.Now(), t.timing.Policy
	x := r.Trajectory.Latents[0]
	if c.Clean != nil {
		if err := c.Clean(ctx, x, r.Prompts); err != nil {
			return nil, fmt.Errorf("config: Clean: %w", err)
		}
	}
	var none B
	r.starts = r.Batch
	r.starts.Rows = append([]sampler.Row(nil), r.Batch.Rows...)
	for i := range r.starts.Rows {
		if c.SharedStart {
			r.starts.Rows[i].Sample = uint64((first + i) / c.Group)
		}
	}
	t.m.Step(x, x, none, r.starts, nil)
	if c.Rollout != nil {
		err = c.Rollout(ctx, r.Sampler, r.Batch, r.Trajectory, t.model)
	} else {
		err = sampler.Rollout(ctx, sampler.Device[B](t.m), r.Sampler, r.Batch, r.Trajectory, t.model)
	}
	if err != nil {
		return nil, err
	}
	t.timing.Sampling += time.Since(began) - (t.timing.Policy - policy)
	return r, nil
}

// trajectory returns memory for a run. The run keeps the latents and sums of trained
// transitions. It also keeps the latents that these, and the rollout itself, look back at.
func (t *Trainer[B]) trajectory(r *Run[B]) (*sampler.Trajectory[B], error) {
	c, n, size := t.config, r.Sampler.Steps(), r.Batch.Len()
	p := &sampler.Trajectory[B]{Latents: make([]B, n+1), SumSquares: make([][]float64, n)}
	var err error
	if p.V, err = t.output.Of(t.m, size, c.Output); err != nil {
		return nil, err
	}
	keep := make([]bool, n+1)
	copy(keep, r.asks)
	for _, i := range r.Steps {
		keep[i+1] = true
		p.SumSquares[i] = make([]float64, len(r.Batch.Rows))
	}
	kept := 0 // points that are not kept share buffer 0
	for i := range p.Latents {
		at := 0
		if keep[i] {
			kept++
			at = kept
		}
		if p.Latents[i], err = t.latents.at(t.m, at, size, c.Sampling.Storage); err != nil {
			return nil, err
		}
	}
	for i := range r.Sampler.Scratch() {
		x, err := t.scratch.at(t.m, i, size, c.between())
		if err != nil {
			return nil, err
		}
		p.Scratch = append(p.Scratch, x)
	}
	return p, nil
}

// keepOutputs makes the rollout keep the policy's outputs where training asks for them.
func (t *Trainer[B]) keepOutputs(r *Run[B]) error {
	past, err := t.outputs(&t.past, r)
	if err != nil {
		return err
	}
	var whole sampler.Batch
	uniform(&whole, t.config.Dim, len(r.all), sampler.Affine{X: 1})
	r.Past = past
	r.Trajectory.Observe = func(_ context.Context, o sampler.Observation[B]) error {
		if k := o.Transition; r.asks[k] {
			var none B
			t.m.Step(past[k], o.V, none, whole, nil)
		}
		return nil
	}
	return nil
}

// outputs returns memory for outputs where training asks for them.
func (t *Trainer[B]) outputs(of *rooms[B], r *Run[B]) ([]B, error) {
	all := make([]B, r.Sampler.Steps())
	kept := 0
	for i, ask := range r.asks {
		if !ask {
			continue
		}
		var err error
		if all[i], err = of.at(t.m, kept, r.Batch.Len(), t.config.Output); err != nil {
			return nil, err
		}
		kept++
	}
	return all, nil
}

// trained reports whether transition i is trained.
func (r *Run[B]) trained(i int) bool {
	return i >= 0 && i < len(r.Trajectory.SumSquares) && r.Trajectory.SumSquares[i] != nil
}

// Prepare computes log p under the policy that drew the samples. If there is a penalty, it
// also computes the outputs of the reference policy as it is now, for the whole iteration.
func (t *Trainer[B]) Prepare(ctx context.Context, r *Run[B]) error {
	if err := t.prepare(ctx, r); err != nil {
		return t.fail("before training", err)
	}
	return nil
}

func (t *Trainer[B]) prepare(ctx context.Context, r *Run[B]) error {
	c := t.config
	began := time.Now()
	r.Old = make([][]float64, r.Sampler.Steps())
	for len(r.logp) < len(r.Steps) {
		r.logp = append(r.logp, nil)
	}
	for k, i := range r.Steps {
		r.logp[k] = grow(r.logp[k], len(r.all))
		old, err := logprob.OfRun(r.logp[k], c.Form, r.Sampler, r.Batch, r.Trajectory, i)
		if err != nil {
			return err
		}
		r.Old[i] = old
	}
	since(&t.timing.LogProb, began)
	var err error
	if c.KL.Beta > 0 {
		if r.Reference, err = t.outputs(&t.references, r); err != nil {
			return err
		}
		if err := t.evaluate(ctx, r, r.Reference, t.reference); err != nil {
			return fmt.Errorf("reference policy: %w", err)
		}
	}
	if c.Objective.Divergence() != Unused && r.Past == nil {
		if r.Past, err = t.outputs(&t.past, r); err != nil {
			return err
		}
		return t.evaluate(ctx, r, r.Past, t.model)
	}
	return nil
}

// evaluate stores in v the model's outputs for all rows at all transitions where training
// evaluates.
func (t *Trainer[B]) evaluate(ctx context.Context, r *Run[B], v []B, model sampler.Model[B]) error {
	for i, ask := range r.asks {
		if !ask {
			continue
		}
		for k := range r.times {
			r.times[k] = r.Sampler.Time(i)
		}
		c := sampler.Call[B]{Dim: t.config.Dim, V: v[i], X: r.Trajectory.Latents[i], Rows: r.all, Times: r.times}
		if err := model(ctx, c); err != nil {
			return fmt.Errorf("step %d: %w", r.Sampler.At(i).Step, err)
		}
	}
	return nil
}

// Minibatches implements [Task]. It returns the minibatches of Config.Minibatches, with a
// new shuffle for every iteration and epoch.
func (r *Run[B]) Minibatches(epoch int) ([][]grpo.Item, error) {
	cut := r.t.config.Minibatches
	cut.Key = uint64(r.Key.Derive(0))
	return cut.Epoch(epoch, len(r.all), r.Steps)
}
