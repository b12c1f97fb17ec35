package sampler

import (
	"context"
	"fmt"
	"math"
	"reflect"
)

// A Trajectory is the memory of a run of len(Latents)-1 transitions, the caller's
// own. [NewTrajectory] makes one of slices.
type Trajectory[B any] struct {
	First      int         // transition the run starts with
	Latents    []B         // latents before and after each transition
	V          B           // the model's output
	SumSquares [][]float64 // of each transition, one a row; nil: not wanted

	// Scratch is memory for transitions that look back ([Sampler.Scratch] buffers like V):
	// what they step from, and what is kept of earlier evaluations. Where there are such
	// transitions and it is nil, [Rollout] and [Replay] make buffers like V and free them
	// at the end, if the device is a [Memory].
	Scratch []B

	// Observe, unless nil, is called by [Rollout] at every transition after the model
	// and before the step. Its error ends the run, wrapped with the step.
	Observe func(ctx context.Context, o Observation[B]) error
}

// An Observation is a transition of a rollout between the model's output and the step.
// On a device that queues calls, X and V are valid after its Sync; the Observe that
// reads them syncs, or queues what it does as the model does. Nothing of it may be
// written, or kept.
type Observation[B any] struct {
	Transition int   // of the sampler: At, Time and PredictedSample tell more
	Batch      Batch // at that transition
	X, V       B     // the latents before it, and the model's output for them
}

// NewTrajectory returns a trajectory of slices for all n transitions ([Sampler.Steps]) of a
// run of b. It keeps the latents and the sums of squares of the transitions in w, all for the
// zero Window. w counts transitions of this run, and not steps of the scheduler as that of a
// [Config] does: [Sampler.Transitions] tells those of steps.
//
// All other points share one buffer. The last latents are valid after a run whatever w
// is, so the empty Window{n, n} keeps them alone. The first latents and V hold NaN until
// they are written, so that a [NonFiniteError] tells what was forgotten. It panics unless
// 0 ≤ w.Start ≤ w.End ≤ n.
func NewTrajectory(b Batch, n int, w Window) *Trajectory[[]float32] {
	if w == (Window{}) {
		w.End = n
	}
	if w.Start < 0 || w.Start > w.End || w.End > n {
		panic(fmt.Sprintf("sampler: NewTrajectory: window [%d, %d) is not within the %d transitions", w.Start, w.End, n))
	}
	t := &Trajectory[[]float32]{
		Latents:    make([][]float32, n+1),
		V:          make([]float32, b.Len()),
		SumSquares: make([][]float64, n),
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
		t.SumSquares[i] = make([]float64, len(b.Rows))
	}
	// First latents that nobody makes, and a model that writes nothing, must show.
	for i := range t.V {
		t.Latents[0][i], t.V[i] = float32(math.NaN()), float32(math.NaN())
	}
	return t
}

// sums returns t.SumSquares with memory for the entries that are not wanted, which a
// rollout needs to find what is not finite.
func (t *Trajectory[B]) sums(rows int) [][]float64 {
	all := make([][]float64, len(t.Latents)-1)
	copy(all, t.SumSquares)
	for k := range all {
		if all[k] == nil {
			all[k] = make([]float64, rows)
		}
	}
	return all
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
	case t.First < 0 || t.First > s.Steps()-n:
		return fail(ErrTrajectory, "sampler: the %d transitions from %d on are not within the %d of the run", n, t.First, s.Steps())
	case len(t.SumSquares) != 0 && len(t.SumSquares) != n:
		return fail(ErrTrajectory, "sampler: SumSquares has %d entries for %d transitions", len(t.SumSquares), n)
	}
	for k, sq := range t.SumSquares {
		if sq != nil && len(sq) != len(b.Rows) {
			return fail(ErrTrajectory, "sampler: SumSquares[%d] has %d entries for %d rows", k, len(sq), len(b.Rows))
		}
	}
	if n := length(t.V); n >= 0 && n != b.Len() {
		return fail(ErrTrajectory, "sampler: V has %d elements for %d rows of %d", n, len(b.Rows), b.Dim)
	}
	if n := len(t.Scratch); n != 0 && n != s.Scratch() {
		return fail(ErrTrajectory, "sampler: Scratch has %d buffers, and the sampler needs %d", n, s.Scratch())
	}
	for i, x := range t.Scratch {
		if n := length(x); n >= 0 && n != b.Len() {
			return fail(ErrTrajectory, "sampler: Scratch[%d] has %d elements for %d rows of %d", i, n, len(b.Rows), b.Dim)
		}
		for j, y := range t.Scratch[:i] {
			if sameBuffer(x, y) {
				return fail(ErrTrajectory, "sampler: Scratch[%d] and Scratch[%d] are one buffer", j, i)
			}
		}
		if sameBuffer(x, t.V) {
			return fail(ErrTrajectory, "sampler: Scratch[%d] and V are one buffer", i)
		}
	}
	for k, x := range t.Latents {
		for i, y := range t.Scratch {
			if sameBuffer(x, y) {
				return fail(ErrTrajectory, "sampler: Latents[%d] and Scratch[%d] are one buffer", k, i)
			}
		}
		if n := length(x); n >= 0 && n != b.Len() {
			return fail(ErrTrajectory, "sampler: Latents[%d] has %d elements for %d rows of %d", k, n, len(b.Rows), b.Dim)
		}
		switch {
		case sameBuffer(x, t.V):
			return fail(ErrTrajectory, "sampler: Latents[%d] and V share memory, so the model's output would overwrite its input", k)
		case k > 0 && inPart(x, t.Latents[k-1]):
			return fail(ErrTrajectory, "sampler: Latents[%d] and Latents[%d] overlap in part: make them one buffer or apart", k-1, k)
		}
	}
	return nil
}

// Scratch returns how many buffers [Trajectory.Scratch] has: 0 where no transition of s
// looks back.
func (s *Sampler) Scratch() int {
	if s.depth == 0 {
		return 0
	}
	return 1 + s.depth*s.vectors
}

// identity returns what is equal for buffers that are one.
func identity(b any) any {
	v := reflect.ValueOf(b)
	switch {
	case v.Kind() == reflect.Slice && v.Len() > 0:
		return v.Pointer()
	case v.IsValid() && v.Comparable():
		return b
	}
	return nil
}

// length returns the number of elements of a slice, and -1 of any other buffer: that is
// its device's to know.
func length(b any) int {
	if v := reflect.ValueOf(b); v.Kind() == reflect.Slice {
		return v.Len()
	}
	return -1
}

// sameBuffer reports whether two buffers are one: slices that share an element, or equal
// values of another type.
func sameBuffer[B any](x, y B) bool {
	v, w := reflect.ValueOf(x), reflect.ValueOf(y)
	if v.Kind() != reflect.Slice {
		return v.IsValid() && v.Comparable() && w.Comparable() && v.Equal(w)
	}
	size := v.Type().Elem().Size()
	return v.Pointer() < w.Pointer()+uintptr(w.Len())*size && w.Pointer() < v.Pointer()+uintptr(v.Len())*size
}

// inPart reports whether two slices share some elements and not all.
func inPart[B any](x, y B) bool {
	v, w := reflect.ValueOf(x), reflect.ValueOf(y)
	return v.Kind() == reflect.Slice && v.Pointer() != w.Pointer() && sameBuffer(x, y)
}
