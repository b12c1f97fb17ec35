//go:build (amd64 || arm64) && !purego

package kernel

import "unsafe"

// A prefetch is memory that the pass after the noise will use. What makes the noise asks
// for it, so that it comes meanwhile: each group asks for as many lines of dst, x and v as
// it has lines of noise. Its layout is known to _asm.
type prefetch struct {
	dst, x, v *float32
	step      int // bytes from one such line to the next
}

// prefetchOf returns that of n elements of p from element i on, spread over groups of
// noise. Out stands for an input that is absent, for its lines are there already.
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

// noPrefetch asks for memory in use.
func noPrefetch(dst *float32) prefetch { return prefetch{dst: dst, x: dst, v: dst} }
