package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A NonFiniteError reports a sum of squares that is NaN or infinite. Either the model's
// output or the latents before the transition are not finite, or the latents after it
// overflow the storage type, or the sum overflows float32.
type NonFiniteError struct {
	Step   int    // of the scheduler, the first that failed
	Row    int    // of the batch, the first that failed
	Sample uint64 // of that row
	cause  string // empty if several are possible
}

// Error names the step, the row and the sample. It names the cause, as far as the kept
// latents tell it, or else the possible ones.
func (e *NonFiniteError) Error() string {
	cause := e.cause
	if cause == "" {
		cause = "the model's output there, first latents that were not written (Device.Step with Sampler.Batch), or a number beyond the storage type or float32"
	}
	return fmt.Sprintf("sampler: step %d, row %d (sample %d): NaN or infinity: %s", e.Step, e.Row, e.Sample, cause)
}

// Rollout runs the rows of b from t.Latents[0] through len(t.Latents)-1 transitions, from
// transition t.First on. For each transition it calls the model on all rows, and takes
// the step into the next latents. Entries of t.Latents may share a buffer: if all are one
// buffer, only the last latents remain. Rollout reads the samples and the blocks of b's
// rows, and sets the rest.
//
// The caller makes the first latents, usually by d.Step of [Sampler.Batch] into
// t.Latents[0]. Rollout rounds them in place to the storage type of the run.
//
// Between transitions, Rollout stops when ctx is done, with an error that wraps
// ctx.Err(). It also stops at the first error of the model, and wraps it with the step.
// What was done until then is in t. Rollout reports a device's error and a
// [NonFiniteError] at the end, so that it need not wait for the device between steps.
func Rollout[B any](ctx context.Context, d Device[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B]) (err error) {
	r, err := newWalk(d, s, b, t, model)
	if err != nil {
		return err
	}
	defer func() { err = r.close(err) }()
	if s.storage != Float32 {
		var none B
		d.Step(t.Latents[0], t.Latents[0], none, r.rounding(), nil)
	}
	sums := t.sums(len(b.Rows))
	return r.finish(sums, r.each(ctx, sums, func(k int, from B) error {
		if t.Observe != nil {
			o := Observation[B]{Transition: t.First + k, Batch: r.b, X: t.Latents[k], V: t.V}
			if err := t.Observe(ctx, o); err != nil {
				return fmt.Errorf("sampler: Observe at step %d: %w", s.steps[o.Transition].Step, err)
			}
		}
		d.Step(t.Latents[k+1], from, t.V, r.b, sums[k])
		return nil
	}))
}

// Replay evaluates a model on the stored latents of t, as training does. For every
// transition whose entry of t.SumSquares is not nil, it calls the model and stores the
// sums of squares there. With the model that made the latents, the sums equal those of
// [Rollout] bit for bit, and the ratio of probabilities is exactly 1. The latents before
// and after such a transition must be two buffers (ErrTrajectory). Other errors are those
// of Rollout.
//
// Where a transition looks back, Replay also asks the model about the evaluations that it
// looks back at, once each. So their latents must be kept. Latents are data, and outputs
// are not: the sums are those of the density of the latents, and the policy in training
// makes its own history. Consecutive transitions need one evaluation each. A transition
// that stands alone needs its own evaluation and those that it looks back at.
func Replay[B any](ctx context.Context, d Device[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B]) (err error) {
	r, err := newWalk(d, s, b, t, model)
	if err != nil {
		return err
	}
	defer func() { err = r.close(err) }()
	return r.replay(ctx, t.SumSquares)
}

// A walk takes a model along a trajectory.
type walk[B any] struct {
	d     Device[B]
	s     *Sampler
	b     Batch // with rows of its own
	t     *Trajectory[B]
	model Model[B]
	rows  []int
	times []float64

	h       History[B]
	scratch []B
	made    bool // the walk made scratch
}

// newWalk checks the arguments of a walk.
func newWalk[B any](d Device[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B]) (*walk[B], error) {
	if err := t.check(s, b); err != nil {
		return nil, err
	}
	switch {
	case d == nil:
		return nil, fail(ErrConfig, "sampler: the device is nil")
	case keeps(d) != s.storage && keeps(d) != Float32:
		return nil, fail(ErrConfig, "sampler: the device keeps latents as %v, and Storage of the Config is %v: name the device's type there", keeps(d), s.storage)
	case model == nil:
		return nil, fail(ErrConfig, "sampler: the model is nil")
	}
	b.Rows = slices.Clone(b.Rows)
	r := &walk[B]{d: d, s: s, b: b, t: t, model: model, rows: make([]int, len(b.Rows))}
	for i := range r.rows {
		r.rows[i] = i
	}
	r.h = History[B]{Device: d, Sampler: s}
	if err := r.makeScratch(); err != nil {
		return nil, err
	}
	return r, nil
}

// looks reports whether a transition of the trajectory looks back.
func (r *walk[B]) looks() bool {
	n := len(r.t.Latents) - 1
	return slices.ContainsFunc(r.s.steps[r.t.First:][:n], func(t Transition) bool { return t.Base != nil })
}

// makeScratch finds memory for the base and for kept vectors, if a transition looks back.
func (r *walk[B]) makeScratch() error {
	if r.scratch = r.t.Scratch; len(r.scratch) > 0 || !r.looks() {
		return nil
	}
	m, ok := r.d.(Memory[B])
	if !ok {
		return fail(ErrTrajectory, "sampler: the rule looks back, and the device is no Memory: set Scratch of the trajectory to %d buffers like V", r.s.Scratch())
	}
	r.made = true
	for range r.s.Scratch() {
		b, err := m.Like(r.t.V, r.b.Len())
		if err != nil {
			return r.close(fmt.Errorf("sampler: memory for what transitions look back at: %w", err))
		}
		r.scratch = append(r.scratch, b)
	}
	return nil
}

// close frees the memory of the walk. It returns err, which ended the walk, or else its
// own error.
func (r *walk[B]) close(err error) error {
	if !r.made {
		return err
	}
	for _, b := range r.scratch {
		if e := r.d.(Memory[B]).Free(b); err == nil && e != nil {
			err = fmt.Errorf("sampler: memory of what transitions look back at: %w", e)
		}
	}
	r.made = false
	return err
}

// kept returns the buffer of a kept vector of the evaluation of transition k.
func (r *walk[B]) kept(scratch []B, k, vector int) B {
	return scratch[1+k%r.s.depth*r.s.vectors+vector]
}

// from returns what the rows of b at transition k step from. It keeps what later
// transitions look back at. x and v are the latents and outputs there.
func (r *walk[B]) from(scratch []B, k int, x, v B, b Batch) B {
	t, from := &r.s.steps[r.t.First+k], x
	if t.Base != nil {
		from = scratch[0]
		r.h.Base(from, x, func(back, vector int) B { return r.kept(scratch, k-back, vector) }, b)
	}
	if len(scratch) > 0 {
		for i := range t.Keep {
			r.h.Keep(r.kept(scratch, k, i), i, x, v, b)
		}
	}
	return from
}

// evaluations returns at which transitions to ask the model, given the sums that are
// wanted. It returns an error if latents of an evaluation are missing.
func (r *walk[B]) evaluations(sums [][]float64) (asked []bool, err error) {
	t := r.t
	asked = make([]bool, len(sums))
	for k, sq := range sums {
		if sq == nil {
			continue
		}
		asked[k] = true
		for _, term := range r.s.steps[t.First+k].Base {
			if term.Back > k {
				return nil, fail(ErrTrajectory, "sampler: transition %d looks back at transition %d, which is before the trajectory", t.First+k, t.First+k-term.Back)
			}
			asked[k-term.Back] = true
		}
	}
	return asked, nil
}

// rounding returns a batch whose Step rounds latents to the storage type of the run.
func (r *walk[B]) rounding() Batch {
	b := r.b.WithAffine(Affine{X: 1})
	b.Storage = r.s.storage
	return b
}

// ask asks the model about some rows at transition k.
func (r *walk[B]) ask(ctx context.Context, k int, rows []int, x, v B) error {
	t := &r.s.steps[r.t.First+k]
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sampler: stopped before step %d: %w", t.Step, err)
	}
	r.times = r.times[:0]
	for range rows {
		r.times = append(r.times, r.s.times[r.t.First+k])
	}
	if err := r.model(ctx, Call[B]{Dim: r.b.Dim, V: v, X: x, Rows: rows, Times: r.times}); err != nil {
		return fmt.Errorf("sampler: model at step %d (time %v): %w", t.Step, r.times[0], err)
	}
	return nil
}

// each asks the model about every transition that has an entry in sums, and about those
// that it looks back at. For every such entry it moves the batch to the transition and
// calls do with the buffer from which the transition steps.
func (r *walk[B]) each(ctx context.Context, sums [][]float64, do func(k int, from B) error) error {
	asked, err := r.evaluations(sums)
	if err != nil {
		return err
	}
	t := r.t
	for k, ask := range asked {
		if !ask {
			continue
		}
		if err := r.ask(ctx, k, r.rows, t.Latents[k], t.V); err != nil {
			return err
		}
		r.s.SetStep(r.b, t.First+k)
		from := r.from(r.scratch, k, t.Latents[k], t.V, r.b)
		if sums[k] == nil {
			continue
		}
		if err := do(k, from); err != nil {
			return err
		}
	}
	return nil
}

// finish waits for the device after a walk that ended with err. It returns an error for
// sums that are not finite.
func (r *walk[B]) finish(sums [][]float64, err error) error {
	if e := r.d.Sync(); e != nil {
		return errors.Join(err, fmt.Errorf("sampler: device: %w", e))
	}
	if err != nil {
		return err
	}
	for k, sq := range sums {
		for row, x := range sq {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return &NonFiniteError{r.s.steps[r.t.First+k].Step, row, r.b.Rows[row].Sample, r.cause(k, row)}
			}
		}
	}
	return nil
}

// cause says why the sum of a row at transition k is not finite, or nothing if the latents
// before it are overwritten or the row does not step from them.
func (r *walk[B]) cause(k, row int) string {
	x := r.t.Latents[k]
	if r.s.steps[r.t.First+k].Base != nil || slices.ContainsFunc(r.t.Latents[k+1:], func(y B) bool { return sameBuffer(x, y) }) {
		return ""
	}
	var none B
	sq := make([]float64, len(r.b.Rows))
	r.d.SumSquares(sq, x, none, none, r.b.WithAffine(Affine{}))
	switch {
	case r.d.Sync() != nil:
		return ""
	case finite(sq[row]):
		return "the model's output there, or a number beyond the storage type or float32: the latents before are finite"
	case k == 0:
		return "in the first latents of the trajectory: were they written (Device.Step with Sampler.Batch)?"
	}
	return "in the latents before it"
}

// replay stores the sums of squares of the stored latents in the entries of sums.
func (r *walk[B]) replay(ctx context.Context, sums [][]float64) error {
	t := r.t
	if !slices.ContainsFunc(sums, func(sq []float64) bool { return sq != nil }) {
		return fail(ErrTrajectory, "sampler: all entries of SumSquares are nil, so there is nothing to replay")
	}
	for k, sq := range sums {
		if sq != nil && sameBuffer(t.Latents[k], t.Latents[k+1]) {
			return fail(ErrTrajectory, "sampler: Latents[%d] and Latents[%d] are one buffer, so transition %d cannot be replayed", k, k+1, t.First+k)
		}
	}
	if err := r.checkHistory(sums); err != nil {
		return err
	}
	return r.finish(sums, r.each(ctx, sums, func(k int, from B) error {
		r.d.SumSquares(sums[k], t.Latents[k+1], from, t.V, r.b)
		return nil
	}))
}

// checkHistory returns an error if a wanted transition looks back at latents that later
// latents have overwritten.
func (r *walk[B]) checkHistory(sums [][]float64) error {
	if len(r.scratch) == 0 {
		return nil
	}
	last := map[any]int{} // of the latents in every buffer
	for k, x := range r.t.Latents {
		last[identity(x)] = k
	}
	for k, sq := range sums {
		if sq == nil {
			continue
		}
		for _, term := range r.s.steps[r.t.First+k].Base {
			a := k - term.Back
			if a < 0 {
				continue // evaluations reports this
			}
			if i := identity(r.t.Latents[a]); i != nil && last[i] > a {
				return fail(ErrTrajectory, "sampler: Latents[%d] and Latents[%d] are one buffer, so the former are lost, and transition %d, which looks back at them, cannot be replayed", a, last[i], r.t.First+k)
			}
		}
	}
	return nil
}
