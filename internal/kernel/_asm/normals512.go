package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Truth tables of functions of three operands.
const (
	xor3   = 0x96 // a ^ b ^ c
	xorAnd = 0x78 // a ^ (b & c)
)

// one returns a constant of one word, for instructions that broadcast it to all lanes.
func one(x uint32) Mem { return words(x) }

func oneF(x float64) Mem { return one(math.Float32bits(float32(x))) }

// A noiser512 is a noiser for sixteen blocks at once. Registers hold everything.
type noiser512 struct {
	source
	dst, schedule reg.Register
	groups        reg.GPVirtual // the next group, if of many streams
	m0, m1        vec
	counter       vec
	odd           reg.OpmaskVirtual // mask of the odd lanes
	words         [4]vec            // of the next group
	radius        [2]vec
	sin, cos      [2]vec
	writes        int // number of words that the loop has replaced; they may not be read afterwards
}

// normals512 generates code for the draws of 4·16·groups elements. In every group lane
// l holds block 4·(l mod 4) + l/4. Two unpackings bring the words into the natural
// order.
func normals512(from source) {
	n := &noiser512{source: from}
	if from == oneStream {
		TEXT("normalsAVX512", NOSPLIT, "func(dst *float32, groups int, block uint32, s, ask *byte)")
	} else {
		TEXT("groupNormalsAVX512", NOSPLIT, "func(dst *float32, groups int, each, s, ask *byte)")
	}
	dst := Load(Param("dst"), GP64()).(reg.GPVirtual)
	groups := Load(Param("groups"), GP64()).(reg.GPVirtual)
	n.dst, n.schedule = dst, Load(Param("s"), GP64())
	n.m0, n.m1 = ZMM(), ZMM()
	VPBROADCASTD(one(0xD2511F53), n.m0)
	VPBROADCASTD(one(0xCD9E8D57), n.m1)
	n.odd = K()
	mask := GP32()
	MOVL(U32(0xAAAA), mask)
	KMOVW(mask, n.odd)
	for i := range n.words {
		n.words[i] = ZMM()
	}
	order := words(0, 0, 8, 0, 1, 0, 9, 0, 2, 0, 10, 0, 3, 0, 11, 0)
	if from == oneStream {
		n.counter = ZMM()
		first := GP32()
		Load(Param("block"), first)
		VPBROADCASTD(first, n.counter)
		VPADDD(order, n.counter, n.counter)
	} else {
		n.groups = Load(Param("each"), GP64()).(reg.GPVirtual)
	}
	groupLoop(dst, groups, 2*stride, &n.writes, func() stream { return n.philox(order) }, n.boxMuller)
}

// philox makes the words of sixteen blocks. See noiser.philox.
func (n *noiser512) philox(order Mem) (s stream) {
	// c holds word 0 and word 2 of even lanes, and then of odd ones. p holds their
	// products. low holds the products of the round before, whose lower words are words
	// 1 and 3.
	var c, p, low [4]vec
	var odd, t vec
	mul := func(i int, m vec, a *vec) { s.do(func() { p[i] = ZMM(); VPMULUDQ(m, *a, p[i]) }) }
	high := func(i int) { s.do(func() { c[i] = ZMM(); VPSRLQ(Imm(32), p[i], c[i]) }) }
	shared := func(i int) Mem {
		if n.source == oneStream {
			return at(n.schedule, offFirst+4*i)
		}
		return at(n.groups, 4*i)
	}
	key := func(round, i int) Mem { return at(n.schedule, offKeys+64*round+32*i) }

	// In rounds 1 and 2, words 1 to 3 are the same in all blocks.
	if n.source == manyStreams {
		s.do(func() { n.counter = ZMM(); VPBROADCASTD(at(n.groups, offBlock), n.counter) })
		s.do(func() { VPADDD(order, n.counter, n.counter) })
	}
	s.do(func() { odd = ZMM(); VPADDD_BCST(one(4), n.counter, odd) })
	mul(1, n.m0, &n.counter)
	mul(3, n.m0, &odd)
	if n.source == oneStream {
		s.do(func() { VPADDD_BCST(one(16), n.counter, n.counter) })
	}
	for _, i := range []int{1, 3} {
		high(i)
		s.do(func() { VPXORD_BCST(shared(0), c[i], c[i]) })
	}
	mul(0, n.m1, &c[1])
	mul(2, n.m1, &c[3])
	for _, i := range []int{0, 2} {
		high(i)
		s.do(func() { VPXORD_BCST(shared(1), c[i], c[i]) })
	}
	for _, i := range []int{1, 3} {
		s.do(func() { c[i] = ZMM(); VPXORD_BCST(shared(2), p[i], c[i]) })
	}
	// In one more round all blocks share word 3.
	s.do(func() { t = ZMM(); VPBROADCASTD(shared(3), t) })
	s.do(func() { low = [4]vec{p[0], t, p[2], t} })
	for r := 2; r < 9; r++ {
		mul(0, n.m1, &c[1])
		mul(2, n.m1, &c[3])
		mul(1, n.m0, &c[0])
		mul(3, n.m0, &c[2])
		if r == 2 && n.source == manyStreams {
			s.do(func() { ADDQ(Imm(groupSize), n.groups) })
		}
		for i := range 2 {
			for _, j := range []int{i, i + 2} {
				high(j)
				s.do(func() { VPTERNLOGD_BCST(Imm(xor3), key(r, i), low[j], c[j]); low[j] = p[j] })
			}
		}
	}
	// The last round merges even and odd lanes. The product of an odd lane has its high
	// word in place, and its low word moves up.
	mul(0, n.m1, &c[1])
	mul(2, n.m1, &c[3])
	mul(1, n.m0, &c[0])
	mul(3, n.m0, &c[2])
	for i := range 2 {
		s.do(func() { VPSHUFD(Imm(0xA0), low[i+2], n.odd, low[i]) })
		high(i)
		s.do(func() { VMOVDQA32(p[i+2], n.odd, c[i]) })
		s.do(func() { VPTERNLOGD_BCST(Imm(xor3), key(9, i), low[i], c[i]) })
		s.do(func() { VPSHUFD(Imm(0xA0), p[i+2], n.odd, p[i]) })
		s.do(func() { n.writes++; VMOVDQA64(c[i], n.words[2*i]) })
		s.do(func() { n.writes++; VMOVDQA64(p[i], n.words[2*i+1]) })
	}
	return s
}

func (n *noiser512) read() {
	if n.writes > 0 {
		panic("the generated code reads words after it has replaced them")
	}
}

// boxMuller stores the draws of a group's words.
func (n *noiser512) boxMuller() stream {
	return join(merge(n.normRadius(0), n.normRadius(1), join(n.sincos(0), n.sincos(1))), n.finish())
}

// normRadius computes the radius of pair i.
func (n *noiser512) normRadius(i int) (s stream) {
	var v, e, p vec
	s.do(func() { n.read(); v = ZMM(); VCVTUDQ2PS(n.words[2*i], v) })
	s.do(func() { VADDPS_BCST(oneF(0.5), v, v) })
	const half = 0x3f3504f3
	s.do(func() { VPSUBD_BCST(one(half+32<<23), v, v) })
	s.do(func() { e = ZMM(); VPSRAD(Imm(23), v, e) })
	s.do(func() { VPANDD_BCST(one(0x007fffff), v, v) })
	s.do(func() { VCVTDQ2PS(e, e) })
	s.do(func() { VPADDD_BCST(one(half), v, v) })
	s.do(func() { VMULPS_BCST(oneF(log2x2), e, e) })
	s.do(func() { VADDPS_BCST(oneF(-1), v, v) })
	horner512(&s, &p, &v, logC)
	s.do(func() { VMULPS(v, p, p) })
	s.do(func() { VADDPS(e, p, p) })
	s.do(func() { n.radius[i] = p; VSQRTPS(p, p) })
	return s
}

// horner512 sets p to the polynomial c[0] + c[1]·x + …
func horner512(s *stream, p, x *vec, c []float64) {
	s.do(func() { *p = ZMM(); VMULPS_BCST(oneF(c[len(c)-1]), *x, *p) })
	for i := len(c) - 2; ; i-- {
		s.do(func() { VADDPS_BCST(oneF(c[i]), *p, *p) })
		if i == 0 {
			return
		}
		s.do(func() { VMULPS(*x, *p, *p) })
	}
}

// sincos computes the sine and cosine of pair i.
func (n *noiser512) sincos(i int) (s stream) {
	var t, z, q vec
	var swap reg.OpmaskVirtual
	sin, cos := &n.sin[i], &n.cos[i]
	s.do(func() { n.read(); t = ZMM(); VPSLLD(Imm(2), n.words[2*i+1], t) })
	s.do(func() { q = ZMM(); VPADDD_BCST(one(1<<29), n.words[2*i+1], q) })
	s.do(func() { VCVTDQ2PS(t, t) })
	s.do(func() { VMULPS_BCST(oneF(1.0/(1<<31)), t, t) })
	s.do(func() { z = ZMM(); VMULPS(t, t, z) })
	var a, b stream
	horner512(&a, sin, &z, sinC)
	horner512(&b, cos, &z, cosC)
	s = join(s, merge(a, b))
	s.do(func() { swap = K(); VPTESTMD_BCST(one(1<<30), q, swap) }) // the lowest bit of the quadrant
	s.do(func() { VMULPS(t, *sin, *sin) })
	s.do(func() { t = ZMM(); VBLENDMPS(*cos, *sin, swap, t) })
	s.do(func() { VMOVAPS(*sin, swap, *cos) })
	s.do(func() { *sin = t; VPTERNLOGD_BCST(Imm(xorAnd), one(1<<31), q, *sin) })
	s.do(func() { VPADDD_BCST(one(1<<30), q, q) })
	s.do(func() { VPTERNLOGD_BCST(Imm(xorAnd), one(1<<31), q, *cos) })
	return s
}

// finish multiplies sines and cosines by their radii, interleaves them, and stores
// them.
func (n *noiser512) finish() (s stream) {
	var lo, hi [2]vec
	for i := range 2 {
		s.do(func() { VMULPS(n.radius[i], n.cos[i], n.cos[i]) })
		s.do(func() { VMULPS(n.radius[i], n.sin[i], n.sin[i]) })
		s.do(func() { lo[i] = ZMM(); VUNPCKLPS(n.cos[i], n.sin[i], lo[i]) })
		s.do(func() { hi[i] = n.sin[i]; VUNPCKHPS(n.cos[i], n.sin[i], hi[i]) })
	}
	for j, of := range []*[2]vec{&lo, &hi} {
		var z vec
		s.do(func() { z = ZMM(); VUNPCKLPD(of[1], of[0], z) })
		s.do(func() { VMOVUPS(z, at(n.dst, 128*j)) })
		s.do(func() { z = ZMM(); VUNPCKHPD(of[1], of[0], z) })
		s.do(func() { VMOVUPS(z, at(n.dst, 128*j+64)) })
	}
	return s
}
