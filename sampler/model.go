package sampler

import (
	"context"
	"math"
)

// A Call asks a model about some rows of a run.
//
// Rows names the rows of the run, so that the model finds their conditions (a prompt, a class). ^r
// stands for row r without its condition, as classifier-free guidance asks for it. A row may occur
// more than once. Times has one time for each row, in the units of the model: see [Clock]. The
// spans of one sample are consecutive rows.
//
// A model reads X, Rows and Times, and writes V. It must not keep any of them.
type Call[B any] struct {
	Dim   int       // elements of a row
	V, X  B         // output and latents, row-major [len(Rows), Dim]
	Rows  []int     // of the run; ^r is row r without its condition
	Times []float64 // one for each row
}

// A Model stores its output for the latents c.X in c.V. [Rollout] and [Replay] wrap its error with
// the step. Other inputs, such as conditions, belong to the closure.
type Model[B any] func(ctx context.Context, c Call[B]) error

// OneTime makes a [Model] of a network that takes one time for all rows and no conditions. v and x
// are V and X of the [Call], and time is its one time. A Call is an error (ErrCall) if it has no
// rows, if its times differ or are NaN, or if it asks for a row without its condition (^r, as
// guidance does). OneTime of nil is nil, which [Rollout] refuses.
//
// [Rollout] and [Replay] ask for all rows of the run in order. [CheckOnPolicy] and trainers do not.
// So a network whose conditions differ by row needs a Model that finds them by c.Rows.
func OneTime[B any](f func(v, x B, time float64) error) Model[B] {
	if f == nil {
		return nil
	}
	return func(_ context.Context, c Call[B]) error {
		if len(c.Times) == 0 {
			return fail(ErrCall, "sampler: the call has no times: a model from OneTime takes one, so ask it about at least one row")
		}
		for i, r := range c.Rows {
			if r < 0 {
				return fail(ErrCall, "sampler: row %d of the call is row %d without its condition (^r): a model from OneTime takes no conditions, so write a Model that finds them by Call.Rows", i, ^r)
			}
		}
		for i, t := range c.Times {
			if math.IsNaN(t) {
				return fail(ErrCall, "sampler: the time of row %d of the call is NaN", i)
			}
			if t != c.Times[0] {
				return fail(ErrCall, "sampler: rows 0 and %d of the call have the times %v and %v: a model from OneTime takes one time, so write a Model that takes a time for each row", i, c.Times[0], t)
			}
		}
		return f(c.V, c.X, c.Times[0])
	}
}
