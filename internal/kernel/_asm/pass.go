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
	offSums   = 40 // or the scale of a gradient
	offBackX  = 48
	offBackV  = 56
	offX32    = 64
	offV32    = 68
	offExtr32 = 72
	offMask   = 80
	offLen    = 88 // elements of a block
	offBackE  = 96
	offScales = 104
)

const (
	quarter = 256 // elements
	lanes   = 32
)

// An isa is what differs between instruction sets. A mask says which elements of a
// register there are; the nil mask says all.
type isa interface {
	name() string
	width() int // of a register in bytes
	vec() vec
	zero(v vec)

	// prepare makes the masks of a group of 32 elements of which there are the first
	// count; mask returns the i-th.
	prepare(args reg.Register, count reg.GPVirtual)
	mask(i int) reg.Register

	load(from Mem, m reg.Register) vec // 0 where there is no element
	store(v vec, m reg.Register, to Mem)
	keep(v vec, m reg.Register)    // sets to 0 where there is no element
	round(t storage, y vec)        // to a storage type
	fold(acc []vec) reg.VecVirtual // the sum of 32 lanes, in element 0
}

// A passer generates one pass over rows.
type passer struct {
	isa
	kind
	storage
	dst, x, v, extra reg.GPVirtual
	wx, wv, we       vec
	acc              []vec // one group of 32 lanes
	left, sums       reg.GPVirtual
}

// pass generates the loop of a pass over n elements, by groups of 32, quarters and
// blocks. The last group may be short; its missing elements are read as 0.
func pass(set isa, k kind, t storage) {
	name := map[kind]string{step: "step", squares: "squares", gradient: "grad"}[k] +
		map[storage]string{float32s: "", bfloat16s: "BFloat16", float16s: "Float16"}[t] + set.name()
	TEXT(name, NOSPLIT, "func(a *byte)")
	a := Load(Param("a"), GP64())
	p := passer{isa: set, kind: k, storage: t, acc: make([]vec, 4*lanes/set.width())}
	load := func(offset int) reg.GPVirtual { r := GP64(); MOVQ(at(a, offset), r); return r }
	p.dst, p.x, p.v = load(offDst), load(offX), load(offV)
	if k != squares {
		p.extra = load(offExtra)
	}
	n := load(offN)
	weight := func(from reg.Register, offset int) vec { w := set.vec(); VBROADCASTSS(at(from, offset), w); return w }
	p.wx, p.wv = weight(a, offX32), weight(a, offV32)
	if k == step {
		p.we = weight(a, offExtr32)
	}
	p.sums = load(offSums)
	var partial Mem // lane sums of the quarters
	if k != gradient {
		partial = AllocLocal(4 * 4 * lanes)
	}
	p.left = GP64()
	Label("block")
	MOVQ(at(a, offLen), p.left)
	CMPQ(n, p.left)
	CMOVQLT(n, p.left)
	SUBQ(p.left, n)
	if k == gradient {
		p.we = weight(p.sums, 0)
		ADDQ(at(a, offScales), p.sums)
	}
	at0 := GP64()
	if k != gradient {
		LEAQ(partial, at0)
		CMPQ(p.left, U32(quarter))
		JLE(LabelRef("quarter"))
		zero := set.vec()
		set.zero(zero)
		for i := range 4 * len(p.acc) {
			VMOVUPS(zero, partial.Offset(set.width()*i))
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
			p.acc[i] = set.vec()
			set.zero(p.acc[i])
		}
	}
	SUBQ(Imm(lanes), count)
	JLT(LabelRef("rest"))
	Label("group")
	p.group(false)
	for _, r := range p.rows() {
		ADDQ(Imm(4*lanes), r)
	}
	SUBQ(Imm(lanes), count)
	JGE(LabelRef("group"))
	Label("rest")
	ADDQ(Imm(lanes), count)
	JZ(LabelRef("done"))
	set.prepare(a, count)
	p.group(true)
	for _, r := range p.rows() { // a short row may be followed by another
		LEAQ(Mem{Base: r, Index: count, Scale: 4}, r)
	}
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
			VMOVUPS(v, at(at0, set.width()*i))
		}
		ADDQ(Imm(4*lanes), at0)
		TESTQ(p.left, p.left)
		JNZ(LabelRef("quarter"))
		p.quarters(partial)
		Label("fold")
		VMOVSS(set.fold(p.acc).AsX(), at(p.sums, 0))
		ADDQ(Imm(4), p.sums)
	}
	// Inputs that stand for absent terms are one block long.
	SUBQ(at(a, offBackX), p.x)
	SUBQ(at(a, offBackV), p.v)
	if k == step {
		SUBQ(at(a, offBackE), p.extra)
	}
	TESTQ(n, n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// rows returns the pointers that the pass moves along.
func (p *passer) rows() []reg.GPVirtual {
	rows := []reg.GPVirtual{p.dst, p.x, p.v}
	if p.kind != squares {
		rows = append(rows, p.extra)
	}
	return rows
}

// group does 32 elements, or as many as the masks say.
func (p *passer) group(short bool) {
	for i := range p.acc {
		var m reg.Register
		if short {
			m = p.mask(i)
		}
		part := func(of reg.Register) Mem { return at(of, p.width()*i) }
		mul := func(from reg.Register, weight vec) vec {
			if short {
				r := p.load(part(from), m)
				VMULPS(weight, r, r)
				return r
			}
			r := p.vec()
			VMULPS(part(from), weight, r)
			return r
		}
		mean := mul(p.x, p.wx)
		VADDPS(mul(p.v, p.wv), mean, mean)
		switch p.kind {
		case step:
			y := mul(p.extra, p.we)
			VADDPS(mean, y, y)
			p.round(p.storage, y)
			p.store(y, m, part(p.dst))
			VSUBPS(mean, y, y)
			p.square(i, y, m)
		case squares:
			y := p.load(part(p.dst), m)
			VSUBPS(mean, y, y)
			p.square(i, y, m)
		case gradient:
			y := p.load(part(p.extra), m)
			VSUBPS(mean, y, y)
			VMULPS(p.we, y, y)
			d := p.load(part(p.dst), m)
			VADDPS(y, d, d)
			p.store(d, m, part(p.dst))
		}
	}
}

// square adds the squares of d, those in a mask if there is one, to the i-th lanes. An
// infinite weight makes a NaN of the zeros beyond it.
func (p *passer) square(i int, d vec, m reg.Register) {
	if m != nil {
		p.keep(d, m)
	}
	VMULPS(d, d, d)
	VADDPS(d, p.acc[i], p.acc[i])
}

// quarters adds the lanes of four quarters.
func (p *passer) quarters(partial Mem) {
	for i, t := range p.acc {
		b := p.vec()
		from := func(quarter int) Mem { return partial.Offset(4*lanes*quarter + p.width()*i) }
		VMOVUPS(from(0), t)
		VADDPS(from(1), t, t)
		VMOVUPS(from(2), b)
		VADDPS(from(3), b, b)
		VADDPS(b, t, t)
	}
}
