package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Polynomials of ../normal.go, lowest power first. A test there compares results, so
// the two cannot differ.
var (
	logC   = []float64{-2, 1.0000075, -0.66671073, 0.4993724, -0.3976747, 0.34507677, -0.32692078, 0.20476241}
	sinC   = []float64{0.7853981, -0.08074513, 0.0024893708, -3.557942e-05}
	cosC   = []float64{1, -0.3084245, 0.015850438, -0.00031918686}
	log2x2 = -1.3862943611198906
)

// Offsets in a schedule, and for many streams in a group.
const (
	offKeys   = 0          // the round keys: two a round, each eight times
	offFirst  = 20 * 4 * 8 // the part of rounds 1 and 2 that all blocks share
	offBlock  = 4 * 4      // the first block of a group, after four words of that part
	groupSize = 32
	groupLen  = 4 * 8        // elements of eight blocks
	stride    = 4 * groupLen // bytes of groupLen elements
)

// A stream is a list of instructions. Streams that do not depend on each other are
// merged, so that one works while the other waits. The rounds of Philox and the
// polynomials of Box-Muller each wait for their last result, and a processor looks
// ahead over one or two hundred instructions only.
type stream []func()

func (s *stream) do(f func()) { *s = append(*s, f) }

// merge interleaves the instructions of all streams evenly.
func merge(streams ...stream) (out stream) {
	next := make([]int, len(streams))
	total := 0
	for _, s := range streams {
		total += len(s)
	}
	for len(out) < total {
		best, least := -1, 2.0
		for i, s := range streams {
			if next[i] < len(s) {
				if at := (float64(next[i]) + 0.5) / float64(len(s)); at < least {
					best, least = i, at
				}
			}
		}
		out = append(out, streams[best][next[best]])
		next[best]++
	}
	return out
}

func join(streams ...stream) (out stream) {
	for _, s := range streams {
		out = append(out, s...)
	}
	return out
}

// source says whose noise the groups are. They are successive blocks of one stream, or
// each group is of a stream of its own. All streams have one key.
type source int

const (
	oneStream source = iota
	manyStreams
)

// A noiser generates code for the draws of a stream. Its slots on the stack hold what
// does not fit the sixteen registers.
type noiser struct {
	source
	dst, schedule reg.Register
	groups        reg.GPVirtual // the next group, if of many streams
	counter       vec
	words         [4]Mem // of the next group
	low           [4]Mem // lower words of the products: even 1 and 3, odd 1 and 3
	exponent      [2]Mem
	radius        [2]Mem
	pair          [2]Mem // of words 2 and 3, unpacked
	sin, cos      [2]vec
	writes        int // number of words that the loop has replaced; they may not be read afterwards
}

// normals generates code for the draws of 4·8·groups elements. In every group the lanes
// of a register hold the blocks 0 2 4 6 | 1 3 5 7. Two unpackings bring their words
// into the natural order.
func normals(from source) {
	n := &noiser{source: from}
	if from == oneStream {
		TEXT("normalsAVX2", NOSPLIT, "func(dst *float32, groups int, block uint32, s, ask *byte)")
	} else {
		TEXT("groupNormalsAVX2", NOSPLIT, "func(dst *float32, groups int, each, s, ask *byte)")
	}
	dst := Load(Param("dst"), GP64()).(reg.GPVirtual)
	groups := Load(Param("groups"), GP64()).(reg.GPVirtual)
	n.dst, n.schedule = dst, Load(Param("s"), GP64())
	// Slots start at multiples of 32 bytes. Otherwise every other slot would lie in two
	// cache lines.
	base := GP64()
	LEAQ(AllocLocal(32*14+32).Offset(31), base)
	ANDQ(I8(-32), base)
	slot := 0
	for _, slots := range [][]Mem{n.words[:], n.low[:], n.exponent[:], n.radius[:], n.pair[:]} {
		for i := range slots {
			slots[i] = at(base, 32*slot)
			slot++
		}
	}
	if from == oneStream {
		n.counter = YMM()
		first := GP32()
		Load(Param("block"), first)
		VMOVD(first, n.counter.AsX())
		VPBROADCASTD(n.counter.AsX(), n.counter)
		VPADDD(words(0, 0, 4, 0, 1, 0, 5, 0), n.counter, n.counter)
	} else {
		n.groups = Load(Param("each"), GP64()).(reg.GPVirtual)
	}
	groupLoop(dst, groups, stride, &n.writes, n.philox, n.boxMuller)
}

// groupLoop generates the loop over groups. It makes the words of the next group
// between the draws of this one, which take that many bytes.
func groupLoop(dst, groups reg.GPVirtual, bytes int, writes *int, philox, boxMuller func() stream) {
	ask := newPrefetcher(bytes)
	emit := func(s stream) {
		*writes = 0
		for _, f := range s {
			f()
		}
	}
	emit(merge(philox(), ask.group()))
	DECQ(groups)
	JZ(LabelRef("last"))
	Label("group")
	emit(merge(merge(philox(), boxMuller()), ask.group()))
	ADDQ(U32(uint32(bytes)), dst)
	DECQ(groups)
	JNZ(LabelRef("group"))
	Label("last")
	emit(boxMuller())
	VZEROUPPER()
	RET()
}

// philox makes the words of eight blocks. 32-bit products need lanes of 64 bits, so
// four blocks are in even counters, and four are in odd ones, two blocks further. At
// the end the counter is at the next eight blocks.
func (n *noiser) philox() (s stream) {
	m0, m1 := quads(0xD2511F53), quads(0xCD9E8D57)
	// c holds word 0 and word 2 of even blocks, and then of odd ones, each in the low
	// half of a lane. The upper halves are never read. p holds their products.
	var c, p [4]vec
	var k, t vec
	mul := func(i int, m Mem, a *vec) { s.do(func() { p[i] = YMM(); VPMULUDQ(m, *a, p[i]) }) }
	high := func(i int) { s.do(func() { c[i] = YMM(); VPSRLQ(Imm(32), p[i], c[i]) }) }
	xor := func(i int, m Op) { s.do(func() { VPXOR(m, c[i], c[i]) }) }
	xorK := func(i int) { s.do(func() { VPXOR(k, c[i], c[i]) }) }
	key := func(i int) {
		s.do(func() {
			k = YMM()
			if n.source == oneStream {
				VPBROADCASTD(at(n.schedule, offFirst+4*i), k)
			} else {
				VPBROADCASTD(at(n.groups, 4*i), k)
			}
		})
	}
	save := func(i int) { s.do(func() { VMOVDQU(p[i], n.low[i]) }) }

	// In rounds 1 and 2, words 1 to 3 are the same in all blocks.
	if n.source == manyStreams {
		s.do(func() { n.counter = YMM(); VPBROADCASTD(at(n.groups, offBlock), n.counter) })
		s.do(func() { VPADDD(words(0, 0, 4, 0, 1, 0, 5, 0), n.counter, n.counter) })
	}
	s.do(func() { t = YMM(); VPADDD(quads(2), n.counter, t) })
	mul(1, m0, &n.counter)
	mul(3, m0, &t)
	if n.source == oneStream {
		s.do(func() { VPADDD(quads(8), n.counter, n.counter) })
	}
	high(1)
	high(3)
	key(0)
	xorK(1)
	xorK(3)
	mul(0, m1, &c[1])
	mul(2, m1, &c[3])
	high(0)
	high(2)
	key(1)
	xorK(0)
	xorK(2)
	save(0)
	save(2)
	key(2)
	for _, i := range []int{1, 3} {
		s.do(func() { c[i] = YMM(); VPXOR(k, p[i], c[i]) })
	}
	for r := 2; r < 9; r++ {
		key0, key1 := at(n.schedule, offKeys+64*r), at(n.schedule, offKeys+64*r+32)
		mul(0, m1, &c[1])
		mul(2, m1, &c[3])
		mul(1, m0, &c[0])
		mul(3, m0, &c[2])
		if r == 2 {
			key(3) // word 3
			if n.source == manyStreams {
				s.do(func() { ADDQ(Imm(groupSize), n.groups) })
			}
		}
		for i, roundKey := range []Mem{key0, key1} {
			for _, j := range []int{i, i + 2} {
				high(j)
				xor(j, roundKey)
				if r == 2 && i == 1 {
					xorK(j)
				} else {
					xor(j, n.low[j])
				}
				save(j)
			}
		}
	}
	// The last round merges even and odd blocks. The product of an odd block has its
	// high word in place, and its low word moves up.
	mul(0, m1, &c[1])
	mul(2, m1, &c[3])
	mul(1, m0, &c[0])
	mul(3, m0, &c[2])
	for i := range 2 {
		roundKey := at(n.schedule, offKeys+64*9+32*i)
		s.do(func() { t = YMM(); VPSHUFD(Imm(0xA0), n.low[i+2], t) })
		s.do(func() { VPBLENDD(Imm(0x55), n.low[i], t, t) })
		high(i)
		s.do(func() { VPBLENDD(Imm(0xAA), p[i+2], c[i], c[i]) })
		s.do(func() { VPXOR(t, c[i], c[i]) })
		xor(i, roundKey)
		s.do(func() { n.writes++; VMOVDQU(c[i], n.words[2*i]) })
		s.do(func() { t = YMM(); VPSHUFD(Imm(0xA0), p[i+2], t) })
		s.do(func() { VPBLENDD(Imm(0xAA), t, p[i], t) })
		s.do(func() { n.writes++; VMOVDQU(t, n.words[2*i+1]) })
	}
	return s
}

// read checks the order of generated code: instructions must read a group's words
// before the next group's words replace them.
func (n *noiser) read() {
	if n.writes > 0 {
		panic("the generated code reads words after it has replaced them")
	}
}

// boxMuller stores the draws of a group's words. The draws of pair 1 (words 2 and 3)
// wait in slots for those of pair 0.
func (n *noiser) boxMuller() stream {
	return join(merge(n.normRadius(0), n.normRadius(1), n.sincos(1)), n.finish(1), n.sincos(0), n.finish(0))
}

// normRadius stores the radius of pair i.
func (n *noiser) normRadius(i int) (s stream) {
	var lo, v, k, e, f, p vec
	x := n.words[2*i]
	// This converts an unsigned word with one rounding. Its halves become fractions of
	// 2²³ and 2³⁹.
	s.do(func() { n.read(); v = YMM(); VMOVDQU(x, v) })
	s.do(func() { lo = YMM(); VPBLENDW(Imm(0xAA), all(0x4B000000), v, lo) })
	s.do(func() { VPSRLD(Imm(16), v, v) })
	s.do(func() { VPBLENDW(Imm(0xAA), all(0x53000000), v, v) })
	s.do(func() { VSUBPS(all(0x53000080), v, v) })
	s.do(func() { VADDPS(lo, v, v) })
	s.do(func() { VADDPS(allF(0.5), v, v) })

	const half = 0x3f3504f3
	s.do(func() { k = v; VPSUBD(all(half+32<<23), v, k) })
	s.do(func() { e = YMM(); VPSRAD(Imm(23), k, e) })
	s.do(func() { f = k; VPAND(all(0x007fffff), k, f) })
	s.do(func() { VCVTDQ2PS(e, e) })
	s.do(func() { VPADDD(all(half), f, f) })
	s.do(func() { VMULPS(allF(log2x2), e, e) })
	s.do(func() { VADDPS(allF(-1), f, f) })
	s.do(func() { VMOVUPS(e, n.exponent[i]) })
	horner(&s, &p, &f, logC)
	s.do(func() { VMULPS(f, p, p) })
	s.do(func() { VADDPS(n.exponent[i], p, p) })
	s.do(func() { VSQRTPS(p, p) })
	s.do(func() { VMOVUPS(p, n.radius[i]) })
	return s
}

// horner sets p to the polynomial c[0] + c[1]·x + …
func horner(s *stream, p, x *vec, c []float64) {
	s.do(func() { *p = YMM(); VMULPS(allF(c[len(c)-1]), *x, *p) })
	for i := len(c) - 2; ; i-- {
		s.do(func() { VADDPS(allF(c[i]), *p, *p) })
		if i == 0 {
			return
		}
		s.do(func() { VMULPS(*x, *p, *p) })
	}
}

// sincos computes the sine and cosine of pair i.
func (n *noiser) sincos(i int) (s stream) {
	var t, z, q, odd vec
	sin, cos := &n.sin[i], &n.cos[i]
	s.do(func() { n.read(); q = YMM(); VMOVDQU(n.words[2*i+1], q) })
	s.do(func() { t = YMM(); VPSLLD(Imm(2), q, t) })
	s.do(func() { VPADDD(all(1<<29), q, q) })
	s.do(func() { VCVTDQ2PS(t, t) })
	s.do(func() { VMULPS(allF(1.0/(1<<31)), t, t) })
	s.do(func() { z = YMM(); VMULPS(t, t, z) })
	var a, b stream
	horner(&a, sin, &z, sinC)
	horner(&b, cos, &z, cosC)
	s = join(s, merge(a, b))
	s.do(func() { VMULPS(t, *sin, *sin) })
	s.do(func() { odd = t; VPSLLD(Imm(1), q, odd) }) // the lowest bit of the quadrant as a sign
	s.do(func() { z = YMM(); VBLENDVPS(odd, *cos, *sin, z) })
	s.do(func() { VBLENDVPS(odd, *sin, *cos, *cos) })
	s.do(func() { *sin = z; odd = YMM(); VPAND(all(1<<31), q, odd) })
	s.do(func() { VPADDD(all(1<<30), q, q) })
	s.do(func() { VXORPS(odd, *sin, *sin) })
	s.do(func() { VPAND(all(1<<31), q, q) })
	s.do(func() { VXORPS(q, *cos, *cos) })
	return s
}

// finish multiplies the sine and cosine of pair i by its radius, and interleaves both.
func (n *noiser) finish(i int) (s stream) {
	var t, z vec
	sin, cos := &n.sin[i], &n.cos[i]
	s.do(func() { VMULPS(n.radius[i], *cos, *cos) })
	s.do(func() { VMULPS(n.radius[i], *sin, *sin) })
	s.do(func() { t = YMM(); VUNPCKLPS(*cos, *sin, t) })
	s.do(func() { VUNPCKHPS(*cos, *sin, *sin) })
	if i == 1 {
		s.do(func() { VMOVUPS(t, n.pair[0]) })
		s.do(func() { VMOVUPS(*sin, n.pair[1]) })
		return s
	}
	for j, first := range []*vec{&t, sin} {
		s.do(func() { z = YMM(); VUNPCKLPD(n.pair[j], *first, z) })
		s.do(func() { VMOVUPS(z, at(n.dst, 64*j)) })
		s.do(func() { VUNPCKHPD(n.pair[j], *first, *first) })
		s.do(func() { VMOVUPS(*first, at(n.dst, 64*j+32)) })
	}
	return s
}
