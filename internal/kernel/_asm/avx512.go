package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx512 is an isa of 32 registers of sixteen elements: AVX-512 F, with BMI2 for masks.
type avx512 struct{ masks [2]reg.OpmaskVirtual }

func (*avx512) name() string { return "AVX512" }
func (*avx512) width() int   { return 64 }
func (*avx512) vec() vec     { return ZMM() }
func (*avx512) zero(v vec)   { VPXORD(v, v, v) }

func (s *avx512) prepare(_ reg.Register, count reg.GPVirtual) {
	ones := GP32()
	XORL(ones, ones)
	NOTL(ones)
	BZHIL(count.As32(), ones, ones)
	for i := range s.masks {
		if i > 0 {
			SHRL(Imm(16), ones)
		}
		s.masks[i] = K()
		KMOVW(ones, s.masks[i])
	}
}

func (s *avx512) mask(i int) reg.Register { return s.masks[i] }

func (*avx512) load(t storage, from Mem, m reg.Register) vec {
	r := ZMM()
	switch {
	case t == bfloat16s:
		if m != nil {
			VPMOVZXWD_Z(from, m, r)
		} else {
			VPMOVZXWD(from, r)
		}
		VPSLLD(Imm(16), r, r)
	case t == float16s && m != nil:
		VCVTPH2PS_Z(from, m, r)
	case t == float16s:
		VCVTPH2PS(from, r)
	case m != nil:
		VMOVUPS_Z(from, m, r)
	default:
		VMOVUPS(from, r)
	}
	return r
}

func (*avx512) store(v vec, m reg.Register, to Mem) {
	if m != nil {
		VMOVUPS(v, m, to)
	} else {
		VMOVUPS(v, to)
	}
}

func (*avx512) keep(v vec, m reg.Register) { VMOVAPS_Z(v, m, v) }

func (*avx512) round(t storage, y vec) {
	switch t {
	case float16s:
		h := YMM()
		VCVTPS2PH(Imm(0), y, h) // to nearest even, whatever the mode is
		VCVTPH2PS(h, y)
	case bfloat16s:
		r, nan := ZMM(), K()
		VPSRLD(Imm(16), y, r)
		VPANDD_BCST(one(1), r, r)
		VPADDD_BCST(one(0x7fff), r, r)
		VCMPPS(Imm(3), y, y, nan) // unordered
		VPADDD(y, r, r)
		VPORD_BCST(one(0x00400000), y, nan, r)
		VPANDD_BCST(one(0xffff0000), r, y)
	}
}

func (a *avx512) pack(t storage, y vec, back bool, m reg.Register, to Mem) {
	switch {
	case t == float16s && m != nil:
		VCVTPS2PH(Imm(0), y, m, to)
		if back {
			a.round(t, y)
		}
	case t == float16s:
		h := YMM()
		VCVTPS2PH(Imm(0), y, h)
		VMOVUPS(h, to)
		if back {
			VCVTPH2PS(h, y)
		}
	case t == bfloat16s:
		a.round(t, y)
		w := ZMM()
		VPSRLD(Imm(16), y, w)
		if m != nil {
			VPMOVDW(w, m, to)
		} else {
			VPMOVDW(w, to)
		}
	}
}

// masksWords: AVX-512 F has no masks of words, but its conversions to and from words
// have masks of elements, and touch no others' memory.
func (*avx512) masksWords() bool { return true }

func (*avx512) fold(t []vec) vec {
	VADDPS(t[1], t[0], t[0])
	h := YMM()
	VEXTRACTF64X4(Imm(1), t[0], h)
	y := t[0].AsY()
	VADDPS(h, y, y)
	VEXTRACTF128(Imm(1), y, h.AsX())
	foldX(t[0], h.AsX().(vec))
	return t[0]
}
