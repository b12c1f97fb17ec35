package cuda

import "cps/sampler"

var _ sampler.Memory[Buffer] = (*Device)(nil)

// Like implements [sampler.Memory].
func (d *Device) Like(b Buffer, n int) (Buffer, error) { return d.Make(n, b.Type) }

// Slice implements [sampler.Memory]. It is a view of the same memory, also of the
// caller's own, and asks nothing of the GPU.
func (d *Device) Slice(b Buffer, lo, hi int) Buffer {
	if lo < 0 || lo > hi || hi > b.Len {
		panic("cuda: slice is not within the buffer")
	}
	return Buffer{Ptr: b.Ptr + uintptr(lo*size(b.Type)), Len: hi - lo, Type: b.Type}
}
