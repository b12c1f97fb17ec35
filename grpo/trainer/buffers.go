package trainer

import (
	"cps/internal/room"
	"cps/sampler"
)

// rooms is a list of buffers of one size and type.
type rooms[B any] []room.Room[B]

// at returns buffer i.
func (r *rooms[B]) at(m sampler.Memory[B], i, n int, t sampler.Storage) (B, error) {
	for len(*r) <= i {
		*r = append(*r, room.Room[B]{})
	}
	return (*r)[i].Of(m, n, t)
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

// uniform makes b a batch of n rows with the same weights a, in float32.
func uniform(b *sampler.Batch, dim, n int, a sampler.Affine) sampler.Batch {
	rows := grow(b.Rows, n)
	for i := range rows {
		rows[i] = sampler.Row{Affine: a}
	}
	*b = sampler.Batch{Dim: dim, Rows: rows}
	return *b
}
