package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A NonFiniteError reports a sum of squares that is NaN or infinite, because the
// model's output or the latents before the transition are, because the latents after
// it overflow the storage type, or because the sum overflows float32.
type NonFiniteError struct {
	Step   int    // of the scheduler, the first at fault
	Row    int    // of the batch, the first at fault
	Sample uint64 // of that row
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("sampler: step %d, row %d (sample %d): NaN or infinity, from the model's output or the latents, or beyond the storage type", e.Step, e.Row, e.Sample)
}

// Rollout runs the rows of b from t.Latents[0] through len(t.Latents)-1
// transitions, starting with t.First. For each it calls the model on all rows, and
// takes the step into the next latents. Points of t may share a buffer: a trajectory
// whose entries are all one buffer keeps the last latents only. Of the rows of b only
// the samples and the blocks matter.
//
// The first latents are the caller's to make, usually by d.Step of [Sampler.Batch] into
// t.Latents[0]. Rollout rounds them in place to the storage type of the run.
//
// Rollout stops between transitions when ctx is done, returning an error that wraps
// ctx.Err(), and at the first error of the model, wrapped with the step; what was
// done till then is in t. A device's error and a [NonFiniteError] are reported at
// the end, so that a device need not be waited for between steps.
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

// Replay evaluates a model on the stored latents of t, as training does: for every
// transition whose entry of t.SumSquares is not nil it calls the model and stores the
// sums of squares of the transition there. With the model that made the latents, the
// sums equal those of [Rollout] bit for bit, and the ratio of probabilities is exactly
// 1. The latents around such a transition must not be one buffer (ErrTrajectory).
// Other errors are as for Rollout.
//
// Latents are data, outputs are not: where a transition looks back, the model is asked
// about the evaluations that it looks back at too, once each, and their latents must be
// kept. So the sums are those of the density of the latents, and the policy in training
// makes its own history. Transitions that follow on each other take one evaluation each,
// one that stands alone as many more as it looks back at.
func Replay[B any](ctx context.Context, d Device[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B]) (err error) {
	r, err := newWalk(d, s, b, t, model)
	if err != nil {
		return err
	}
	defer func() { err = r.close(err) }()
	return r.replay(ctx, t.SumSquares)
}

// A walk is a model on its way along a trajectory.
type walk[B any] struct {
	d     Device[B]
	s     *Sampler
	b     Batch // rows of its own
	t     *Trajectory[B]
	model Model[B]
	rows  []int
	times []float64

	h       History[B]
	scratch []B
	made    bool // scratch is the walk's own
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

// makeScratch finds memory for what transitions look back at.
func (r *walk[B]) makeScratch() error {
	if r.scratch = r.t.Scratch; len(r.scratch) > 0 || !r.looks() {
		return nil
	}
	m, ok := r.d.(Memory[B])
	if !ok {
		return fail(ErrTrajectory, "sampler: transitions look back, the trajectory has no Scratch, and the device makes no memory: set Scratch to %d buffers", r.s.Scratch())
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

// close gives back the memory of the walk, and returns the error err that ended it, or else
// its own.
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

// kept is the buffer of a kept vector of the evaluation of transition k.
func (r *walk[B]) kept(scratch []B, k, vector int) B {
	return scratch[1+k%r.s.depth*r.s.vectors+vector]
}

// from returns what the rows of b, which stand at transition k, step from, and keeps
// what later transitions look back at. x and v are the latents and outputs there.
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

// evaluations tells at which transitions the model is asked for the sums that are wanted,
// and checks that their latents are there.
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

// rounding returns the batch that rounds latents to the storage type of the run.
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

// each asks the model about every transition that has an entry in sums, and about what
// these look back at, moves the batch there, and calls do with what the transition steps
// from.
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

// finish waits for the device after a walk that ended with err, and checks its sums.
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
				return &NonFiniteError{Step: r.s.steps[r.t.First+k].Step, Row: row, Sample: r.b.Rows[row].Sample}
			}
		}
	}
	return nil
}

// replay stores the sums of squares of the stored latents in the entries of sums.
func (r *walk[B]) replay(ctx context.Context, sums [][]float64) error {
	t := r.t
	if !slices.ContainsFunc(sums, func(sq []float64) bool { return sq != nil }) {
		return fail(ErrTrajectory, "sampler: SumSquares asks for no transition")
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

// checkHistory reports latents that a wanted transition looks back at and that later ones
// have overwritten.
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
				continue // evaluations says so
			}
			if i := identity(r.t.Latents[a]); i != nil && last[i] > a {
				return fail(ErrTrajectory, "sampler: Latents[%d] and Latents[%d] are one buffer, so transition %d, which needs the former, cannot be replayed", a, last[i], r.t.First+k)
			}
		}
	}
	return nil
}
