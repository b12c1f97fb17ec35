package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A Model stores in v its output for the latents x at one time. It must not write
// to x or keep either buffer. Conditions belong to the closure.
type Model[B any] func(v, x B, time float64) error

// A Trajectory is the memory of a run of len(Latents)-1 transitions, the caller's
// own. [Keep] makes one of slices.
type Trajectory[B any] struct {
	First   int         // transition the run starts with
	Latents []B         // latents before and after each transition
	V       B           // the model's output
	Squares [][]float64 // of each transition, one a row; nil: not wanted
}

// Keep returns a trajectory of slices for all n transitions of a run of b that
// keeps the latents and the sums of squares of transitions in w, all for the zero
// Window. Points that no kept transition touches share one buffer; the last
// latents are valid after a run whatever w is, so the empty Window{n, n} keeps them
// alone. It panics unless 0 ≤ w.Start ≤ w.End ≤ n.
func Keep(b Batch, n int, w Window) *Trajectory[[]float32] {
	if w == (Window{}) {
		w.End = n
	}
	if w.Start < 0 || w.Start > w.End || w.End > n {
		panic("sampler: window is not within the transitions")
	}
	t := &Trajectory[[]float32]{
		Latents: make([][]float32, n+1),
		V:       make([]float32, b.Len()),
		Squares: make([][]float64, n),
	}
	var shared []float32
	for i := range t.Latents {
		if w.Start < w.End && w.Start <= i && i <= w.End {
			t.Latents[i] = make([]float32, b.Len())
			continue
		}
		if shared == nil {
			shared = make([]float32, b.Len())
		}
		t.Latents[i] = shared
	}
	for i := w.Start; i < w.End; i++ {
		t.Squares[i] = make([]float64, len(b.Rows))
	}
	return t
}

// A NonFiniteError reports a sum of squares that is NaN or infinite, because the
// model's output or the latents before the transition are, because the latents after
// it overflow the storage type, or because the sum overflows float32.
type NonFiniteError struct {
	Step   int    // the transition, the first at fault
	Row    int    // of the batch, the first at fault
	Sample uint64 // of that row
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("sampler: step %d, row %d (sample %d): NaN or infinity, from the model's output or the latents, or beyond the storage type", e.Step, e.Row, e.Sample)
}

// Rollout runs the rows of b from t.Latents[0] through len(t.Latents)-1
// transitions, starting with t.First. For each it calls the model on the latents,
// with the time of the transition's start, and takes the step into the next ones.
// Points of t may share a buffer: a trajectory whose entries are all one buffer
// keeps the last latents only. Of the rows of b only the samples matter.
//
// The initial latents are the caller's to make, usually by d.Step of
// [Sampler.Batch] into t.Latents[0].
//
// Rollout stops between transitions when ctx is done, returning an error that wraps
// ctx.Err(), and at the first error of the model, wrapped with the step; what was
// done till then is in t. A device's error and a [NonFiniteError] are reported at
// the end, so that a device need not be waited for between steps.
func Rollout[B any](ctx context.Context, d Device[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B]) error {
	if err := t.check(s, b); err != nil {
		return err
	}
	sums := t.sums(len(b.Rows))
	return t.run(ctx, d, s, b, model, sums, true, func(b Batch, k int) {
		d.Step(t.Latents[k+1], t.Latents[k], t.V, b, sums[k])
	})
}

// Replay evaluates a model on the stored latents of t, as training does: for every
// transition whose entry of t.Squares is not nil it calls the model and stores the
// sums of squares of the transition there. For the model that made the latents they
// are the bits of [Rollout], and the ratio of probabilities is exactly 1. The
// latents around such a transition must not share a buffer; for slices that is an
// error (ErrTrajectory). Other errors are as for Rollout.
func Replay[B any](ctx context.Context, d Device[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B]) error {
	if err := t.check(s, b); err != nil {
		return err
	}
	return t.replay(ctx, d, s, b, model, t.Squares)
}

// CheckOnPolicy replays t with the model that made it and returns an error that
// names the first transition and row whose sum of squares is not the stored one to
// the bit (ErrOffPolicy). A trainer calls it once at start-up: it finds dropout, a
// batch-dependent model, a wrong time or storage type before they bias the ratio. The
// noise is not drawn again: what it was is in the latents.
// Other errors are as for Replay.
func CheckOnPolicy[B any](ctx context.Context, d Device[B], s *Sampler, b Batch, t *Trajectory[B], model Model[B]) error {
	if err := t.check(s, b); err != nil {
		return err
	}
	again := make([][]float64, len(t.Squares))
	for k, sq := range t.Squares {
		if sq != nil {
			again[k] = make([]float64, len(sq))
		}
	}
	if err := t.replay(ctx, d, s, b, model, again); err != nil {
		return err
	}
	for k := range again {
		for row, sq := range again[k] {
			if was := t.Squares[k][row]; sq != was {
				return fail(ErrOffPolicy, "sampler: step %d, row %d (sample %d): replay gives the sum of squares %v, the rollout %v: the policy is not the one that made the trajectory",
					t.First+k, row, b.Rows[row].Sample, sq, was)
			}
		}
	}
	return nil
}

func (t *Trajectory[B]) replay(ctx context.Context, d Device[B], s *Sampler, b Batch, model Model[B], sums [][]float64) error {
	if !slices.ContainsFunc(sums, func(sq []float64) bool { return sq != nil }) {
		return fail(ErrTrajectory, "sampler: Squares asks for no transition")
	}
	if t, ok := any(t).(*Trajectory[[]float32]); ok {
		for k, sq := range sums {
			if sq != nil && &t.Latents[k][0] == &t.Latents[k+1][0] {
				return fail(ErrTrajectory, "sampler: Latents[%d] and Latents[%d] are one buffer, so transition %d cannot be replayed", k, k+1, t.First+k)
			}
		}
	}
	return t.run(ctx, d, s, b, model, sums, false, func(b Batch, k int) {
		d.Squares(sums[k], t.Latents[k+1], t.Latents[k], t.V, b)
	})
}

// run calls the model and then step for every transition, or for every one with an
// entry in sums, and checks sums.
func (t *Trajectory[B]) run(ctx context.Context, d Device[B], s *Sampler, b Batch, model Model[B], sums [][]float64, every bool, step func(b Batch, k int)) error {
	switch {
	case d == nil:
		return fail(ErrConfig, "sampler: the device is nil")
	case model == nil:
		return fail(ErrConfig, "sampler: the model is nil")
	}
	b.Rows = append([]Row(nil), b.Rows...)
	err := func() error {
		for k := range len(t.Latents) - 1 {
			if !every && (k >= len(sums) || sums[k] == nil) {
				continue
			}
			i := t.First + k
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("sampler: stopped before step %d: %w", i, err)
			}
			time := s.steps[i].From.Time
			if err := model(t.V, t.Latents[k], time); err != nil {
				return fmt.Errorf("sampler: model at step %d (time %v): %w", i, time, err)
			}
			s.Move(b, i)
			step(b, k)
		}
		return nil
	}()
	if e := d.Sync(); e != nil {
		return errors.Join(err, fmt.Errorf("sampler: device: %w", e))
	}
	if err != nil {
		return err
	}
	for k, sq := range sums {
		for row, x := range sq {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return &NonFiniteError{Step: t.First + k, Row: row, Sample: b.Rows[row].Sample}
			}
		}
	}
	return nil
}

// check reports how t does not fit a run of b with s.
func (t *Trajectory[B]) check(s *Sampler, b Batch) error {
	switch {
	case s == nil:
		return fail(ErrConfig, "sampler: the sampler is nil")
	case t == nil:
		return fail(ErrConfig, "sampler: the trajectory is nil")
	}
	n := len(t.Latents) - 1
	switch {
	case b.Storage != s.storage:
		return fail(ErrTrajectory, "sampler: the batch is stored as %v, the run as %v", b.Storage, s.storage)
	case len(b.Rows) == 0:
		return fail(ErrTrajectory, "sampler: the batch has no rows")
	case n < 1:
		return fail(ErrTrajectory, "sampler: %d latents hold no transition", len(t.Latents))
	case t.First < 0 || t.First+n > s.Steps():
		return fail(ErrTrajectory, "sampler: transitions %d to %d are not within the %d of the run", t.First, t.First+n-1, s.Steps())
	case len(t.Squares) != 0 && len(t.Squares) != n:
		return fail(ErrTrajectory, "sampler: Squares has %d entries for %d transitions", len(t.Squares), n)
	}
	for k, sq := range t.Squares {
		if sq != nil && len(sq) != len(b.Rows) {
			return fail(ErrTrajectory, "sampler: Squares[%d] has %d entries for %d rows", k, len(sq), len(b.Rows))
		}
	}
	// The lengths of other buffers are their device's to know.
	if t, ok := any(t).(*Trajectory[[]float32]); ok {
		for k, x := range t.Latents {
			if len(x) != b.Len() {
				return fail(ErrTrajectory, "sampler: Latents[%d] has %d elements for %d rows of %d", k, len(x), len(b.Rows), b.Dim)
			}
		}
		if len(t.V) != b.Len() {
			return fail(ErrTrajectory, "sampler: V has %d elements for %d rows of %d", len(t.V), len(b.Rows), b.Dim)
		}
	}
	return nil
}

// sums returns t.Squares with memory for the entries that are not wanted, which a
// rollout needs to find what is not finite.
func (t *Trajectory[B]) sums(rows int) [][]float64 {
	n := max(0, len(t.Latents)-1)
	all := make([][]float64, n)
	copy(all, t.Squares)
	for k := range all {
		if all[k] == nil {
			all[k] = make([]float64, rows)
		}
	}
	return all
}
