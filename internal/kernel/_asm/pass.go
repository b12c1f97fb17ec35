package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type kind int

const (
	step kind = iota
	squares
	gradient
)

type storage int

const (
	float32s storage = iota
	bfloat16s
	float16s
)

// Offsets in passArgs.
const (
	offDst    = 0
	offX      = 8
	offV      = 16
	offExtra  = 24 // noise of a step, next of a gradient
	offN      = 32
	offSums   = 40
	offBackX  = 48
	offBackV  = 56
	offX32    = 64
	offV32    = 68
	offExtr32 = 72
	offMask   = 80
)

const (
	block   = 1024
	quarter = block / 4
	lanes   = 32
	vectors = lanes / 8 // registers of a group of 32 elements
)

// A passer generates one pass over rows.
type passer struct {
	kind
	storage
	dst, x, v, extra  reg.GPVirtual
	wx, wv, we        vec
	acc               [vectors]vec
	left, masks, sums reg.GPVirtual
}

// pass generates the loop of a pass over n elements, by groups of 32, quarters and
// blocks. The last group may be short; its missing elements are read as 0.
func pass(k kind, t storage) {
	name := map[kind]string{step: "step", squares: "squares", gradient: "grad"}[k] +
		map[storage]string{float32s: "", bfloat16s: "BFloat16", float16s: "Float16"}[t] + "AVX2"
	TEXT(name, NOSPLIT, "func(a *byte)")
	a := Load(Param("a"), GP64())
	p := passer{kind: k, storage: t}
	load := func(offset int) reg.GPVirtual { r := GP64(); MOVQ(at(a, offset), r); return r }
	p.dst, p.x, p.v = load(offDst), load(offX), load(offV)
	if k != squares {
		p.extra = load(offExtra)
	}
	n := load(offN)
	weight := func(offset int) vec { w := YMM(); VBROADCASTSS(at(a, offset), w); return w }
	p.wx, p.wv = weight(offX32), weight(offV32)
	if k != squares {
		p.we = weight(offExtr32)
	}
	if k != gradient {
		p.sums = load(offSums)
	}
	p.masks = load(offMask)

	var partial Mem // lane sums of the quarters
	if k != gradient {
		partial = AllocLocal(4 * 4 * lanes)
	}
	p.left = GP64()
	Label("block")
	MOVQ(U32(block), p.left)
	CMPQ(n, p.left)
	CMOVQLT(n, p.left)
	SUBQ(p.left, n)
	at0 := GP64()
	if k != gradient {
		LEAQ(partial, at0)
		CMPQ(p.left, U32(quarter))
		JLE(LabelRef("quarter"))
		zero := YMM()
		VPXOR(zero, zero, zero)
		for i := range 4 * vectors {
			VMOVUPS(zero, partial.Offset(32*i))
		}
	}

	Label("quarter")
	count := GP64()
	MOVQ(U32(quarter), count)
	CMPQ(p.left, count)
	CMOVQLT(p.left, count)
	SUBQ(count, p.left)
	if k != gradient {
		for i := range p.acc {
			p.acc[i] = YMM()
			VPXOR(p.acc[i], p.acc[i], p.acc[i])
		}
	}
	SUBQ(Imm(lanes), count)
	JLT(LabelRef("rest"))
	Label("group")
	p.group(nil)
	for _, r := range []reg.GPVirtual{p.dst, p.x, p.v, p.extra} {
		if r != nil {
			ADDQ(Imm(4*lanes), r)
		}
	}
	SUBQ(Imm(lanes), count)
	JGE(LabelRef("group"))
	Label("rest")
	ADDQ(Imm(lanes), count)
	JZ(LabelRef("done"))
	// mask lane i if i < count, from a table of 32 ones and 32 zeros
	mask := GP64()
	MOVQ(p.masks, mask)
	SHLQ(Imm(2), count)
	SUBQ(count, mask)
	p.group(mask)
	Label("done")
	if k == gradient {
		TESTQ(p.left, p.left)
		JNZ(LabelRef("quarter"))
	} else {
		// A block of one quarter has its lanes in registers: the others are zeros,
		// which change no sum.
		first := GP64()
		LEAQ(partial, first)
		SUBQ(at0, first)
		ORQ(p.left, first)
		JZ(LabelRef("fold"))
		for i, v := range p.acc {
			VMOVUPS(v, at(at0, 32*i))
		}
		ADDQ(Imm(4*lanes), at0)
		TESTQ(p.left, p.left)
		JNZ(LabelRef("quarter"))
		p.quarters(partial)
		Label("fold")
		p.fold()
	}
	// Inputs that stand for absent terms are one block long.
	SUBQ(at(a, offBackX), p.x)
	SUBQ(at(a, offBackV), p.v)
	TESTQ(n, n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// group does 32 elements, those in a mask if there is one.
func (p *passer) group(mask reg.Register) {
	for i := range vectors {
		var m vec
		if mask != nil {
			m = YMM()
			VMOVUPS(at(mask, 32*i), m)
		}
		load := func(from reg.Register) vec {
			r := YMM()
			if mask != nil {
				VMASKMOVPS(at(from, 32*i), m, r)
			} else {
				VMOVUPS(at(from, 32*i), r)
			}
			return r
		}
		mul := func(from reg.Register, weight vec) vec {
			if mask != nil {
				r := load(from)
				VMULPS(weight, r, r)
				return r
			}
			r := YMM()
			VMULPS(at(from, 32*i), weight, r)
			return r
		}
		store := func(r vec) {
			if mask != nil {
				VMASKMOVPS(r, m, at(p.dst, 32*i))
			} else {
				VMOVUPS(r, at(p.dst, 32*i))
			}
		}
		mean := mul(p.x, p.wx)
		VADDPS(mul(p.v, p.wv), mean, mean)
		switch p.kind {
		case step:
			y := mul(p.extra, p.we)
			VADDPS(mean, y, y)
			p.round(y)
			store(y)
			VSUBPS(mean, y, y)
			p.square(i, y, m)
		case squares:
			y := load(p.dst)
			VSUBPS(mean, y, y)
			p.square(i, y, m)
		case gradient:
			y := load(p.extra)
			VSUBPS(mean, y, y)
			VMULPS(p.we, y, y)
			d := load(p.dst)
			VADDPS(y, d, d)
			store(d)
		}
	}
}

// square adds the squares of d, those in a mask if there is one, to the i-th lanes. An
// infinite weight makes a NaN of the zeros beyond it.
func (p *passer) square(i int, d vec, mask vec) {
	if mask != nil {
		VANDPS(mask, d, d)
	}
	VMULPS(d, d, d)
	VADDPS(d, p.acc[i], p.acc[i])
}

// round rounds y to the storage type.
func (p *passer) round(y vec) {
	switch p.storage {
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

// quarters adds the lanes of four quarters.
func (p *passer) quarters(partial Mem) {
	for i, t := range p.acc {
		b := YMM()
		VMOVUPS(partial.Offset(32*i), t)
		VADDPS(partial.Offset(4*lanes+32*i), t, t)
		VMOVUPS(partial.Offset(2*4*lanes+32*i), b)
		VADDPS(partial.Offset(3*4*lanes+32*i), b, b)
		VADDPS(b, t, t)
	}
}

// fold stores the sum of a block, whose lanes are in acc.
func (p *passer) fold() {
	t := p.acc
	VADDPS(t[2], t[0], t[0])
	VADDPS(t[3], t[1], t[1])
	VADDPS(t[1], t[0], t[0])
	h := XMM()
	VEXTRACTF128(Imm(1), t[0], h)
	s := t[0].AsX()
	VADDPS(h, s, s)
	VMOVHLPS(s, s, h)
	VADDPS(h, s, s)
	VMOVSHDUP(s, h)
	VADDSS(h, s, s)
	VMOVSS(s, at(p.sums, 0))
	ADDQ(Imm(4), p.sums)
}
