// Package room keeps buffers of a device that grow.
package room

import (
	"fmt"

	"cps/sampler"
)

// A Room is a buffer that grows. The zero Room is empty.
type Room[B any] struct {
	all  B
	size int
}

// Of returns n elements of type t. If the room grew, their contents are undefined. All
// calls must name the same type.
func (r *Room[B]) Of(m sampler.Memory[B], n int, t sampler.Storage) (B, error) {
	if n <= r.size {
		return m.Slice(r.all, 0, n), nil
	}
	return r.grow(m, n, func() (B, error) { return m.Make(n, t) })
}

// Like is Of with the type of the buffer b.
func (r *Room[B]) Like(m sampler.Memory[B], n int, b B) (B, error) {
	if n <= r.size {
		return m.Slice(r.all, 0, n), nil
	}
	return r.grow(m, n, func() (B, error) { return m.Like(b, n) })
}

func (r *Room[B]) grow(m sampler.Memory[B], n int, get func() (B, error)) (B, error) {
	if err := r.Free(m); err != nil {
		return r.all, err
	}
	all, err := get()
	if err != nil {
		return all, fmt.Errorf("memory for %d elements: %w", n, err)
	}
	r.all, r.size = all, n
	return m.Slice(all, 0, n), nil
}

// Free frees the memory and empties the room. The room can grow again.
func (r *Room[B]) Free(m sampler.Memory[B]) error {
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
