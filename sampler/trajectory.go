package sampler

import (
	"context"
	"fmt"
	"math"
	"reflect"
)

// A Trajectory holds a run of len(Latents)-1 transitions, in the caller's own memory.
// [NewTrajectory] makes one of slices.
type Trajectory[B any] struct {
	First      int         // the transition with which the run starts
	Latents    []B         // before and after each transition
	V          B           // the model's output
	SumSquares [][]float64 // of each transition, one for each row; nil: not wanted

	// Scratch is memory for transitions that look back: for their base, and for kept
	// vectors of earlier evaluations. It holds [Sampler.Scratch] buffers like V. If it is
	// empty and needed, and the device is a [Memory], [Rollout] and [Replay] make the
	// buffers and free them at the end.
	Scratch []B

	// Rollout calls Observe, unless it is nil, at every transition, after the model and
	// before the step. An error of Observe ends the run, wrapped with the step.
	Observe func(ctx context.Context, o Observation[B]) error
}

// An Observation is a transition of a rollout between the model's output and the step. On
// a device that queues calls, X and V are valid after its Sync. Observe must either sync
// before it reads them, or queue its own work as the model does. Observe must neither
// write nor keep any of it.
type Observation[B any] struct {
	Transition int   // index of the sampler's transition: At, Time and PredictedSample tell more
	Batch      Batch // moved to that transition
	X, V       B     // the latents before it, and the model's output for them
}

// NewTrajectory returns a trajectory of slices for all n transitions ([Sampler.Steps]) of a
// run of b. It keeps the latents and the sums of squares of the transitions in w; the zero
// Window keeps all. w counts transitions of this run, and not steps of the scheduler as the
// Window of a [Config] does: [Sampler.Transitions] converts steps to transitions.
//
// All other points share one buffer. Every w keeps the last latents, and the empty
// Window{n, n} keeps them alone. The first latents and V hold NaN until they are written, so
// a forgotten write ends in a [NonFiniteError]. NewTrajectory panics unless
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
	// NaN shows first latents that nobody made, and a model that writes nothing.
	for i := range t.V {
		t.Latents[0][i], t.V[i] = float32(math.NaN()), float32(math.NaN())
	}
	return t
}

// sums returns t.SumSquares with memory in every entry. A rollout needs all sums to find
// values that are not finite.
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

// check returns an error if t does not fit a run of b with s.
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
		return fail(ErrTrajectory, "sampler: Storage of the batch is %v, and that of the Config is %v: make the batch with Sampler.Batch", b.Storage, s.storage)
	case len(b.Rows) == 0:
		return fail(ErrTrajectory, "sampler: the batch has no rows")
	case n < 1:
		return fail(ErrTrajectory, "sampler: Latents has %d entries, and a transition takes two", len(t.Latents))
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

// Scratch returns the number of buffers that [Trajectory.Scratch] takes, or 0 if no
// transition of s looks back.
func (s *Sampler) Scratch() int {
	if s.depth == 0 {
		return 0
	}
	return 1 + s.depth*s.vectors
}

// identity returns a value that is equal for two buffers if they are one.
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

// length returns the number of elements of a slice, and -1 of any other buffer, whose
// length only its device knows.
func length(b any) int {
	if v := reflect.ValueOf(b); v.Kind() == reflect.Slice {
		return v.Len()
	}
	return -1
}

// sameBuffer reports whether two buffers are one. Two slices are one if they share an
// element. Other buffers are one if they are equal.
func sameBuffer[B any](x, y B) bool {
	v, w := reflect.ValueOf(x), reflect.ValueOf(y)
	if v.Kind() != reflect.Slice {
		return v.IsValid() && v.Comparable() && w.Comparable() && v.Equal(w)
	}
	size := v.Type().Elem().Size()
	return v.Pointer() < w.Pointer()+uintptr(w.Len())*size && w.Pointer() < v.Pointer()+uintptr(v.Len())*size
}

// inPart reports whether two slices share some elements but not all.
func inPart[B any](x, y B) bool {
	v, w := reflect.ValueOf(x), reflect.ValueOf(y)
	return v.Kind() == reflect.Slice && v.Pointer() != w.Pointer() && sameBuffer(x, y)
}
