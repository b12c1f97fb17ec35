//go:build (amd64 || arm64) && !purego

package kernel

// A prefetch names memory that the pass after the noise will use. The code that makes
// noise prefetches it, so that it arrives meanwhile. Each group of noise prefetches as
// many cache lines of dst, x and v as its noise has. _asm depends on the layout.
type prefetch struct {
	dst, x, v *float32
	step      int // bytes between the addresses of two prefetches
}

// prefetch returns the prefetch of a pass, spread over groups of noise. size is the bytes
// of an element. An absent input is replaced by dst, whose lines are prefetched anyway.
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

// noPrefetch returns a prefetch of memory that is in use already.
func noPrefetch(dst *float32) prefetch { return prefetch{dst: dst, x: dst, v: dst} }
