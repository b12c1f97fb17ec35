package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx2 is an isa of sixteen registers with eight elements each.
type avx2 struct {
	paired bool
	masks  [2]reg.GPVirtual // of even and odd elements, if paired
}

func (*avx2) name() string { return "AVX2" }
func (*avx2) width() int   { return 32 }
func (*avx2) vec() vec     { return YMM() }
func (*avx2) zero(v vec)   { VPXOR(v, v, v) }

func (s *avx2) begin(paired bool) { s.paired = paired }

// prepare points masks into a table of 32 all-ones words and 32 zeros.
func (s *avx2) prepare(args reg.Register, count reg.GPVirtual) {
	if !s.paired {
		s.masks[0] = s.ones(args, count)
		return
	}
	for i := range s.masks {
		half := GP64()
		LEAQ(at(count, 1-i), half)
		SHRQ(Imm(1), half)
		s.masks[i] = s.ones(args, half)
	}
}

// ones returns a pointer into the table: count words of ones from there on,
// then zeros.
func (*avx2) ones(args reg.Register, count reg.GPVirtual) reg.GPVirtual {
	m := GP64()
	MOVQ(count, m)
	NEGQ(m)
	SHLQ(Imm(2), m)
	ADDQ(at(args, offMask), m)
	return m
}

func (s *avx2) mask(i int) reg.Register {
	m := YMM()
	if s.paired {
		VMOVUPS(at(s.masks[i%2], 32*(i/2)), m)
	} else {
		VMOVUPS(at(s.masks[0], 32*i), m)
	}
	return m
}

func (*avx2) load(t storage, from Mem, m reg.Register) vec {
	r := YMM()
	switch {
	case t == float16s:
		VCVTPH2PS(from, r)
	case m != nil:
		VMASKMOVPS(from, m, r)
	default:
		VMOVUPS(from, r)
	}
	return r
}

func (*avx2) store(v vec, m reg.Register, to Mem) {
	if m != nil {
		VMASKMOVPS(v, m, to)
	} else {
		VMOVUPS(v, to)
	}
}

func (*avx2) keep(v vec, m reg.Register) { VANDPS(m, v, v) }

func (*avx2) round(t storage, y vec) {
	switch t {
	case float16s:
		h := XMM()
		VCVTPS2PH(Imm(0), y, h) // to nearest even, in every rounding mode
		VCVTPH2PS(h, y)
	case bfloat16s:
		odd, r, nan := YMM(), YMM(), YMM()
		VPSRLD(Imm(16), y, odd)
		VPAND(all(1), odd, odd)
		VPADDD(all(0x7fff), y, r)
		VPADDD(odd, r, r)
		VCMPPS(Imm(3), y, y, odd) // unordered: NaN
		VPOR(all(0x00400000), y, nan)
		VBLENDVPS(odd, nan, r, y)
		VPAND(all(0xffff0000), y, y)
	}
}

func (*avx2) storeHalves(y vec, back bool, _ reg.Register, to Mem) {
	h := XMM()
	VCVTPS2PH(Imm(0), y, h) // to nearest even, in every rounding mode
	VMOVUPS(h, to)
	if back {
		VCVTPH2PS(h, y)
	}
}

// masksHalves returns false: masks of AVX2 have 32-bit elements at least.
func (*avx2) masksHalves() bool { return false }

func (*avx2) loadPairs(from Mem) []vec {
	even, odd := YMM(), YMM()
	VMOVUPS(from, odd)
	VPSLLD(Imm(16), odd, even)
	VPAND(all(0xffff0000), odd, odd)
	return []vec{even, odd}
}

func (*avx2) deal(from Mem) []vec {
	even, odd := YMM(), YMM()
	VMOVUPS(from, odd)
	VSHUFPS(Imm(0x88), from.Offset(32), odd, even)
	VSHUFPS(Imm(0xdd), from.Offset(32), odd, odd)
	VPERMPD(Imm(0xd8), even, even)
	VPERMPD(Imm(0xd8), odd, odd)
	return []vec{even, odd}
}

// storePairs merges even and odd words, whose lower halves are 0, and stores
// them.
func (*avx2) storePairs(y []vec, to Mem) {
	w := YMM()
	VPSRLD(Imm(16), y[0], w)
	VPOR(y[1], w, w)
	VMOVUPS(w, to)
}

func (*avx2) fold(t []vec) vec {
	VADDPS(t[2], t[0], t[0])
	VADDPS(t[3], t[1], t[1])
	VADDPS(t[1], t[0], t[0])
	foldHalf(t[0])
	return t[0]
}

func (*avx2) foldPairs(t []vec) vec {
	VADDPS(t[2], t[0], t[0])
	VADDPS(t[3], t[1], t[1])
	for _, t := range t[:2] {
		foldHalf(t)
	}
	VADDSS(t[1].AsX(), t[0].AsX(), t[0].AsX())
	return t[0]
}

// foldHalf adds the eight lanes of t.
func foldHalf(t vec) {
	h := XMM()
	VEXTRACTF128(Imm(1), t, h)
	foldX(t, h)
}

// foldX adds the eight lanes of t. h is the upper half of t.
func foldX(t, h vec) {
	s := t.AsX()
	VADDPS(h, s, s)
	VMOVHLPS(s, s, h)
	VADDPS(h, s, s)
	VMOVSHDUP(s, h)
	VADDSS(h, s, s)
}
