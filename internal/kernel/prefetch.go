//go:build (amd64 || arm64) && !purego

package kernel

// A prefetch is memory that the pass after the noise will use. What makes the noise asks
// for it, so that it comes meanwhile: each group asks for as many lines of dst, x and v as
// it has lines of noise. Its layout is known to _asm.
type prefetch struct {
	dst, x, v *float32
	step      int // bytes from one such line to the next
}

// prefetch returns that of a pass, spread over groups of noise. Size is the bytes of its
// elements. An absent input stands for dst, for its lines are there already.
func (a *passArgs) prefetch(size, groups int) prefetch {
	p := prefetch{dst: a.dst, x: a.x, v: a.v}
	if a.backX != 0 {
		p.x = a.dst
	}
	if a.backV != 0 {
		p.v = a.dst
	}
	const line = 64
	lines := groups * use.groupLen() * 4 / line
	p.step = min(line, (a.n*size+lines-1)/lines)
	return p
}

// noPrefetch asks for memory in use.
func noPrefetch(dst *float32) prefetch { return prefetch{dst: dst, x: dst, v: dst} }
