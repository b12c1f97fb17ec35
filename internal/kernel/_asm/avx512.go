package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx512 is an isa of 32 registers with sixteen elements each: AVX-512 F, and BMI2 for
// masks.
type avx512 struct {
	masks [2]reg.OpmaskVirtual
	deals []vec // if paired: the places of even and odd elements
}

func (*avx512) name() string { return "AVX512" }
func (*avx512) width() int   { return 64 }
func (*avx512) vec() vec     { return ZMM() }
func (*avx512) zero(v vec)   { VPXORD(v, v, v) }

func (s *avx512) begin(paired bool) {
	s.deals = nil
	if !paired {
		return
	}
	for first := range uint32(2) {
		var places [16]uint32
		for i := range places {
			places[i] = first + 2*uint32(i)
		}
		d := ZMM()
		VMOVUPS(words(places[:]...), d)
		s.deals = append(s.deals, d)
	}
}

func (s *avx512) prepare(_ reg.Register, count reg.GPVirtual) {
	if s.deals != nil {
		for i := range s.masks {
			half := GP32()
			LEAL(at(count, 1-i), half)
			SHRL(Imm(1), half)
			s.masks[i] = K()
			KMOVW(s.ones(half), s.masks[i])
		}
		return
	}
	ones := s.ones(count.As32())
	for i := range s.masks {
		if i > 0 {
			SHRL(Imm(16), ones)
		}
		s.masks[i] = K()
		KMOVW(ones, s.masks[i])
	}
}

// ones returns a word whose lowest count bits are 1.
func (*avx512) ones(count reg.Register) reg.GPVirtual {
	ones := GP32()
	XORL(ones, ones)
	NOTL(ones)
	BZHIL(count, ones, ones)
	return ones
}

func (s *avx512) mask(i int) reg.Register { return s.masks[i] }

func (*avx512) load(t storage, from Mem, m reg.Register) vec {
	r := ZMM()
	switch {
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
		VCVTPS2PH(Imm(0), y, h) // to nearest even, in every rounding mode
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

func (s *avx512) storeHalves(y vec, back bool, m reg.Register, to Mem) {
	if m != nil {
		VCVTPS2PH(Imm(0), y, m, to)
		if back {
			s.round(float16s, y)
		}
		return
	}
	h := YMM()
	VCVTPS2PH(Imm(0), y, h)
	VMOVUPS(h, to)
	if back {
		VCVTPH2PS(h, y)
	}
}

// masksHalves returns true. AVX-512 F has no masks of 16-bit words. But its conversions
// of halves take masks of elements, and touch no memory beyond.
func (*avx512) masksHalves() bool { return true }

func (*avx512) loadPairs(from Mem) []vec {
	even, odd := ZMM(), ZMM()
	VMOVUPS(from, odd)
	VPSLLD(Imm(16), odd, even)
	VPANDD_BCST(one(0xffff0000), odd, odd)
	return []vec{even, odd}
}

func (s *avx512) deal(from Mem) []vec {
	v := []vec{ZMM(), ZMM()}
	for i, v := range v {
		VMOVUPS(from, v)
		VPERMT2PS(from.Offset(64), s.deals[i], v)
	}
	return v
}

// storePairs merges even and odd words, whose lower halves are 0, and stores them.
func (*avx512) storePairs(y []vec, to Mem) {
	w := ZMM()
	VPSRLD(Imm(16), y[0], w)
	VPORD(y[1], w, w)
	VMOVUPS(w, to)
}

func (*avx512) fold(t []vec) vec {
	VADDPS(t[1], t[0], t[0])
	fold16(t[0])
	return t[0]
}

func (*avx512) foldPairs(t []vec) vec {
	for _, t := range t {
		fold16(t)
	}
	VADDSS(t[1].AsX(), t[0].AsX(), t[0].AsX())
	return t[0]
}

// fold16 adds the sixteen lanes of t.
func fold16(t vec) {
	h := YMM()
	VEXTRACTF64X4(Imm(1), t, h)
	y := t.AsY()
	VADDPS(h, y, y)
	VEXTRACTF128(Imm(1), y, h.AsX())
	foldX(t, h.AsX().(vec))
}
