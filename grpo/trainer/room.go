package trainer

import (
	"fmt"

	"cps/sampler"
)

// A room is a buffer that grows.
type room[B any] struct {
	all  B
	size int
}

// of returns n elements of type t, whose contents are undefined if it grew.
func (r *room[B]) of(m sampler.Memory[B], n int, t sampler.Storage) (B, error) {
	if n > r.size {
		if err := r.free(m); err != nil {
			return r.all, err
		}
		all, err := m.Make(n, t)
		if err != nil {
			return r.all, fmt.Errorf("memory: %w", err)
		}
		r.all, r.size = all, n
	}
	return m.Slice(r.all, 0, n), nil
}

// like is of with the type of b.
func (r *room[B]) like(m sampler.Memory[B], n int, b B) (B, error) {
	if n > r.size {
		if err := r.free(m); err != nil {
			return r.all, err
		}
		all, err := m.Like(b, n)
		if err != nil {
			return r.all, fmt.Errorf("memory: %w", err)
		}
		r.all, r.size = all, n
	}
	return m.Slice(r.all, 0, n), nil
}

func (r *room[B]) free(m sampler.Memory[B]) error {
	if r.size == 0 {
		return nil
	}
	var none B
	all := r.all
	r.all, r.size = none, 0
	if err := m.Free(all); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	return nil
}

// rooms are buffers of one size and type.
type rooms[B any] []room[B]

// at returns buffer i.
func (r *rooms[B]) at(m sampler.Memory[B], i, n int, t sampler.Storage) (B, error) {
	for len(*r) <= i {
		*r = append(*r, room[B]{})
	}
	return (*r)[i].of(m, n, t)
}

// grow returns s with n elements of any value.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// A copier copies rows between buffers.
type copier[B any] struct {
	m   sampler.Memory[B]
	one sampler.Batch
}

func newCopier[B any](m sampler.Memory[B], dim int) copier[B] {
	return copier[B]{m, sampler.Batch{Dim: dim, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1}}}}}
}

// row makes row to of dst a copy of row from of src.
func (c *copier[B]) row(dst B, to int, src B, from int) {
	var none B
	dim := c.one.Dim
	c.m.Step(c.m.Slice(dst, to*dim, (to+1)*dim), c.m.Slice(src, from*dim, (from+1)*dim), none, c.one, nil)
}

// uniform makes b a batch of n rows that all take a, without rounding.
func uniform(b *sampler.Batch, dim, n int, a sampler.Affine) sampler.Batch {
	rows := grow(b.Rows, n)
	for i := range rows {
		rows[i] = sampler.Row{Affine: a}
	}
	*b = sampler.Batch{Dim: dim, Rows: rows}
	return *b
}
