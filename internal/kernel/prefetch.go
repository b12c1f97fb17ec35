//go:build (amd64 || arm64) && !purego

package kernel

import "unsafe"

// A prefetch names memory that the pass after the noise will use. The code that makes
// noise prefetches it, so that it arrives meanwhile. Each group of noise prefetches as
// many cache lines of dst, x and v as its noise has. _asm depends on the layout.
type prefetch struct {
	dst, x, v *float32
	step      int // bytes between the addresses of two prefetches
}

// prefetchOf returns the prefetch of n elements of p from element i on, spread over groups
// of noise. An absent input is replaced by Out, whose lines are prefetched anyway.
func prefetchOf[T Element](p *Pass[T], w *Affine, i, n, groups int) prefetch {
	out := pointer(p.Out[i:])
	ask := prefetch{dst: out, x: out, v: out}
	if w.X != 0 {
		ask.x = pointer(p.X[i:])
	}
	if w.V != 0 {
		ask.v = pointer(p.V[i:])
	}
	const line = 64
	lines := groups * use.groupLen() * 4 / line
	ask.step = min(line, (n*int(unsafe.Sizeof(T(0)))+lines-1)/lines)
	return ask
}

// noPrefetch returns a prefetch of memory that is in use already.
func noPrefetch(dst *float32) prefetch { return prefetch{dst: dst, x: dst, v: dst} }
