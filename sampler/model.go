package sampler

import (
	"context"
	"math"
)

// A Call asks a model about some rows of a run.
//
// Rows says which rows of the run these are, so that the model finds their conditions
// (a prompt, a class). ^r stands for row r without its condition, as classifier-free
// guidance asks it. One row may occur more than once. Times has one time a row, in the
// model's own units: see [Clock]. Rows that are spans of one sample stand together.
//
// A model reads X, Rows and Times, writes V, and keeps none of them.
type Call[B any] struct {
	Dim   int       // elements of a row
	V, X  B         // output and latents, row-major [len(Rows), Dim]
	Rows  []int     // of the run; ^r is row r without its condition
	Times []float64 // one a row
}

// A Model stores its output for the latents c.X in c.V. It returns an error that
// [Rollout] and its kind wrap with the step. Whatever else it needs belongs to the
// closure.
type Model[B any] func(ctx context.Context, c Call[B]) error

// OneTime makes a [Model] of a network that takes one time for all rows and no
// conditions: v and x are V and X of the [Call], and time is its one time. A Call without
// rows, one whose times differ or are NaN, and one that asks for a row without its
// condition (^r, as guidance does) are errors (ErrCall). [Rollout] and [Replay] ask for all rows of the run
// in order, but [CheckOnPolicy] and trainers do not: a network whose conditions go by
// the row needs a Model, which finds them by c.Rows.
func OneTime[B any](f func(v, x B, time float64) error) Model[B] {
	if f == nil {
		return nil
	}
	return func(_ context.Context, c Call[B]) error {
		if len(c.Times) == 0 {
			return fail(ErrCall, "sampler: the call has no times, and a model from OneTime takes one: ask it about a row or more")
		}
		for i, r := range c.Rows {
			if r < 0 {
				return fail(ErrCall, "sampler: row %d of the call is row %d without its condition (^r), and a model from OneTime takes no conditions: write a Model that finds them by Call.Rows", i, ^r)
			}
		}
		for i, t := range c.Times {
			if math.IsNaN(t) {
				return fail(ErrCall, "sampler: the time of row %d of the call is NaN", i)
			}
			if t != c.Times[0] {
				return fail(ErrCall, "sampler: rows 0 and %d of the call have the times %v and %v, and a model from OneTime takes one: write a Model that takes a time a row", i, c.Times[0], t)
			}
		}
		return f(c.V, c.X, c.Times[0])
	}
}
