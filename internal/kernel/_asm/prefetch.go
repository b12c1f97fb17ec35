package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets in prefetch.
const (
	offAsk     = 0  // pointers for dst, x and v
	offAskStep = 24 // bytes between the addresses of two prefetches
)

// lineLen is the length of a cache line in bytes.
const lineLen = 64

// A prefetcher prefetches the memory of the pass that follows the noise. Philox and
// Box-Muller use little memory, and the pass uses little else. So neither waits for the
// other.
type prefetcher struct {
	lines       int // of each row, for each group
	rows        [3]reg.GPVirtual
	step, step3 reg.GPVirtual
}

// newPrefetcher loads the parameter "ask", for groups of that many bytes of noise.
func newPrefetcher(bytes int) *prefetcher {
	p := &prefetcher{lines: bytes / lineLen, step: GP64()}
	ask := Load(Param("ask"), GP64())
	for i := range p.rows {
		p.rows[i] = GP64()
		MOVQ(at(ask, offAsk+8*i), p.rows[i])
	}
	MOVQ(at(ask, offAskStep), p.step)
	if p.lines > 2 {
		p.step3 = GP64()
		LEAQ(Mem{Base: p.step, Index: p.step, Scale: 2}, p.step3)
	}
	return p
}

// group prefetches the memory for one group. A row that starts within a cache line ends
// in one line more. So prefetches go to the last byte of each lineLen bytes. That
// leaves out the first line of a row, and not the last line of each block.
func (p *prefetcher) group() (s stream) {
	for i := range p.lines {
		for _, r := range p.rows {
			m := at(r, lineLen-1)
			switch i {
			case 1, 2:
				m = m.Idx(p.step, uint8(i))
			case 3:
				m = m.Idx(p.step3, 1)
			}
			s.do(func() { PREFETCHT0(m) })
		}
	}
	for _, r := range p.rows {
		s.do(func() { LEAQ(Mem{Base: r}.Idx(p.step, uint8(p.lines)), r) })
	}
	return s
}
