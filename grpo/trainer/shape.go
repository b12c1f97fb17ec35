package trainer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"cps/internal/room"
	"cps/sampler"
)

// A Shape says how many rows a policy's Calls have. The zero Shape allows any number.
//
// Fixed is for compiled graphs, which have one size. Every Call then has Rows rows. If
// there are fewer rows, the Call's first row is repeated at the end. This padding exists
// only in the Call: its ∂loss/∂v is 0, and its output is dropped.
type Shape struct {
	Rows  int  // largest number of rows [any]
	Fixed bool // every Call has exactly Rows rows
}

// Shaped returns p with Calls of a shape. It cuts larger Calls, and pads smaller ones if
// the shape is fixed. It serves rollouts, replays and training alike. If p is a
// [Referrer], the result is one too. It has no other interfaces of p.
func Shaped[B any](m sampler.Memory[B], p Policy[B], s Shape) Policy[B] {
	if s.Rows < 1 {
		return p
	}
	q := &shaped[B]{Policy: p, m: m, Shape: s}
	if r, ok := p.(Referrer[B]); ok {
		return &shapedReferrer[B]{q, r}
	}
	return q
}

type shaped[B any] struct {
	Policy[B]
	Shape
	m        sampler.Memory[B]
	x, v, dv room.Room[B]
	rows     []int
	times    []float64
	copy     copier[B]
	zero     sampler.Batch
}

type shapedReferrer[B any] struct {
	*shaped[B]
	of Referrer[B]
}

// Reference implements [Referrer].
func (s *shapedReferrer[B]) Reference(ctx context.Context, c sampler.Call[B]) error {
	return s.forward(ctx, c, s.of.Reference)
}

// Velocity implements [Policy].
func (s *shaped[B]) Velocity(ctx context.Context, c sampler.Call[B]) error {
	return s.forward(ctx, c, s.Policy.Velocity)
}

func (s *shaped[B]) forward(ctx context.Context, c sampler.Call[B], f sampler.Model[B]) error {
	for lo := 0; lo < len(c.Rows); lo += s.Rows {
		hi := min(lo+s.Rows, len(c.Rows))
		part, padded, err := s.part(c, lo, hi)
		if err == nil {
			err = f(ctx, part)
		}
		if err != nil {
			return err
		}
		for i := lo; padded && i < hi; i++ {
			s.copy.row(c.V, i, part.V, i-lo)
		}
	}
	return nil
}

// Backward implements [Policy].
func (s *shaped[B]) Backward(ctx context.Context, c sampler.Call[B], dv B) error {
	for lo := 0; lo < len(c.Rows); lo += s.Rows {
		hi := min(lo+s.Rows, len(c.Rows))
		part, padded, err := s.part(c, lo, hi)
		if err != nil {
			return err
		}
		d := dv
		if !padded {
			d = s.m.Slice(dv, lo*c.Dim, hi*c.Dim)
		} else {
			if d, err = s.dv.Like(s.m, s.Rows*c.Dim, dv); err != nil {
				return fmt.Errorf("trainer: %w", err)
			}
			var none B
			s.m.Step(d, none, none, uniform(&s.zero, c.Dim, s.Rows, sampler.Affine{}), nil)
			for i := range s.Rows {
				if lo+i >= hi {
					s.copy.row(part.V, i, c.V, lo)
					continue
				}
				s.copy.row(part.V, i, c.V, lo+i)
				s.copy.row(d, i, dv, lo+i)
			}
		}
		if err := s.Policy.Backward(ctx, part, d); err != nil {
			return err
		}
	}
	return nil
}

// part returns rows lo to hi-1 of c as a Call of the shape, and whether it is padded. The
// buffers of a padded Call are copies.
func (s *shaped[B]) part(c sampler.Call[B], lo, hi int) (part sampler.Call[B], padded bool, err error) {
	if hi-lo == s.Rows || !s.Fixed {
		return sampler.Call[B]{
			Dim: c.Dim, Rows: c.Rows[lo:hi], Times: c.Times[lo:hi],
			X: s.m.Slice(c.X, lo*c.Dim, hi*c.Dim), V: s.m.Slice(c.V, lo*c.Dim, hi*c.Dim),
		}, false, nil
	}
	part.Dim = c.Dim
	if part.X, err = s.x.Like(s.m, s.Rows*c.Dim, c.X); err == nil {
		part.V, err = s.v.Like(s.m, s.Rows*c.Dim, c.V)
	}
	if err != nil {
		return part, true, fmt.Errorf("trainer: %w", err)
	}
	if s.copy.one.Dim != c.Dim {
		s.copy = newCopier(s.m, c.Dim)
	}
	s.rows, s.times = append(s.rows[:0], c.Rows[lo:hi]...), append(s.times[:0], c.Times[lo:hi]...)
	for i := range s.Rows {
		from := lo + i
		if from >= hi {
			from = lo
			s.rows, s.times = append(s.rows, c.Rows[lo]), append(s.times, c.Times[lo])
		}
		s.copy.row(part.X, i, c.X, from)
	}
	part.Rows, part.Times = s.rows, s.times
	return part, true, nil
}

// free gives back memory.
func (s *shaped[B]) free() error {
	errs := []error{s.x.Free(s.m), s.v.Free(s.m), s.dv.Free(s.m)}
	if p, ok := s.Policy.(interface{ free() error }); ok {
		errs = append(errs, p.free())
	}
	return errors.Join(errs...)
}

// chunks returns items in pieces of at most the shape's rows.
func chunks[T any](s Shape, items []T) iter.Seq[[]T] {
	if s.Rows < 1 {
		return slices.Chunk(items, max(1, len(items)))
	}
	return slices.Chunk(items, s.Rows)
}
