package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx2 is an isa of sixteen registers of eight elements.
type avx2 struct{ masks reg.GPVirtual }

func (*avx2) name() string { return "AVX2" }
func (*avx2) width() int   { return 32 }
func (*avx2) vec() vec     { return YMM() }
func (*avx2) zero(v vec)   { VPXOR(v, v, v) }

// prepare points masks into a table of 32 ones and 32 zeros.
func (s *avx2) prepare(args reg.Register, count reg.GPVirtual) {
	s.masks = GP64()
	MOVQ(count, s.masks)
	NEGQ(s.masks)
	SHLQ(Imm(2), s.masks)
	ADDQ(at(args, offMask), s.masks)
}

func (s *avx2) mask(i int) reg.Register {
	m := YMM()
	VMOVUPS(at(s.masks, 32*i), m)
	return m
}

func (*avx2) load(t storage, from Mem, m reg.Register) vec {
	r := YMM()
	switch {
	case t == bfloat16s:
		VPMOVZXWD(from, r)
		VPSLLD(Imm(16), r, r)
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
		VCVTPS2PH(Imm(0), y, h) // to nearest even, whatever the mode is
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

func (a *avx2) pack(t storage, y vec, back bool, _ reg.Register, to Mem) {
	switch t {
	case float16s:
		h := XMM()
		VCVTPS2PH(Imm(0), y, h)
		VMOVUPS(h, to)
		if back {
			VCVTPH2PS(h, y)
		}
	case bfloat16s:
		a.round(t, y)
		w, hi := YMM(), XMM()
		VPSRLD(Imm(16), y, w)
		VEXTRACTI128(Imm(1), w, hi)
		VPACKUSDW(hi, w.AsX(), hi)
		VMOVUPS(hi, to)
	}
}

// masksWords: AVX2 masks elements of 32 bits or more.
func (*avx2) masksWords() bool { return false }

func (*avx2) fold(t []vec) vec {
	VADDPS(t[2], t[0], t[0])
	VADDPS(t[3], t[1], t[1])
	VADDPS(t[1], t[0], t[0])
	h := XMM()
	VEXTRACTF128(Imm(1), t[0], h)
	foldX(t[0], h)
	return t[0]
}

// foldX adds the eight lanes of t, whose upper half is h.
func foldX(t, h vec) {
	s := t.AsX()
	VADDPS(h, s, s)
	VMOVHLPS(s, s, h)
	VADDPS(h, s, s)
	VMOVSHDUP(s, h)
	VADDSS(h, s, s)
}
