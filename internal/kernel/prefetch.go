package kernel

import "unsafe"

// A Prefetch is memory that steps will use. What makes their noise asks for it, so that
// it comes meanwhile. It changes no result. The zero Prefetch asks for nothing.
type Prefetch struct {
	dst, x, v unsafe.Pointer
	bytes     int // of each
}

// PrefetchOf returns the Prefetch of steps from x and v, nil if they are not read, to
// dst.
func PrefetchOf[T float32 | uint16](dst, x, v []T) Prefetch {
	var t T
	pointer := func(s []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(s)) }
	return Prefetch{pointer(dst), pointer(x), pointer(v), len(dst) * int(unsafe.Sizeof(t))}
}
