package cuda

import "cps/sampler"

var _ sampler.Memory[Buffer] = (*Device)(nil)

// Like implements [sampler.Memory].
func (d *Device) Like(b Buffer, n int) (Buffer, error) { return d.Make(n, b.Type) }

// Slice implements [sampler.Memory]. The result is the same memory, which may be
// the caller's own. Slice asks nothing of the GPU.
func (d *Device) Slice(b Buffer, lo, hi int) Buffer {
	if lo < 0 || lo > hi || hi > b.Len {
		panic("cuda: slice is not within the buffer")
	}
	return Buffer{Ptr: b.Ptr + uintptr(lo*size(b.Type)), Len: hi - lo, Type: b.Type}
}
