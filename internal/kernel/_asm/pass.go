package main

import (
	"fmt"

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
	offExtra  = 24 // the noise of a step, or next of a gradient
	offN      = 32
	offSums   = 40 // or the scales of a gradient
	offBackX  = 48
	offBackV  = 56
	offX32    = 64
	offV32    = 68
	offExtr32 = 72
	offMask   = 80
	offLen    = 88 // elements of a block
	offBackE  = 96
	offScales = 104
	offNext   = 112
)

const (
	quarter = 256 // elements
	lanes   = 32
)

// A row is memory along which a pass moves: float32s, or words of a 16-bit type.
type row struct {
	reg.GPVirtual
	storage
}

// size returns the bytes of one element.
func (r row) size() int {
	if r.storage == float32s {
		return 4
	}
	return 2
}

// An isa is an instruction set. A mask says which elements of a register exist; the nil
// mask says all of them.
//
// Putting words of bfloat16 in order one by one is slow. Instead a register holds pairs
// of words: a shift gives the even elements, and an AND gives the odd ones.
type isa interface {
	name() string
	width() int // bytes of a register
	vec() vec
	zero(v vec)
	begin(paired bool) // starts a pass

	// prepare makes the masks of a group of 32 elements, of which the first count exist.
	// mask returns the i-th mask.
	prepare(args reg.Register, count reg.GPVirtual)
	mask(i int) reg.Register

	load(t storage, from Mem, m reg.Register) vec // float32s or halves; 0 where no element exists
	store(v vec, m reg.Register, to Mem)
	storeHalves(y vec, back bool, m reg.Register, to Mem) // rounds y and stores it; with back, y keeps the rounded values
	masksHalves() bool                                    // whether loads and stores of halves take masks
	keep(v vec, m reg.Register)                           // sets elements that do not exist to 0
	round(t storage, y vec)                               // rounds y to a storage type
	fold(acc []vec) reg.VecVirtual                        // the sum of 32 lanes, in element 0

	loadPairs(from Mem) []vec // even and odd elements of bfloat16s
	deal(from Mem) []vec      // even and odd elements of float32s
	storePairs(y []vec, to Mem)
	foldPairs(acc []vec) reg.VecVirtual // fold for registers with even and odd elements in turn
}

// A passer generates one pass over rows.
type passer struct {
	isa
	kind
	storage               // of the results
	paired           bool // even and odd elements in turn, see isa
	dst, x, v, extra row
	wx, wv, we       vec
	acc              []vec // lane sums, one group of 32
	left, sums       reg.GPVirtual
	count            reg.GPVirtual         // elements left in the quarter
	copies           map[reg.GPVirtual]Mem // copies of the words of a short group, if masks cannot serve
}

// pass generates the loop of a pass over n elements, in groups of 32, quarters and
// blocks. The last group may be short: its missing elements are read as 0. Results are of
// type t. With words, rows in memory are words of type t, else float32s. Noise is always
// float32s.
func pass(set isa, k kind, t storage, words bool) {
	name := map[kind]string{step: "step", squares: "squares", gradient: "grad"}[k] +
		map[storage]string{float32s: "", bfloat16s: "BFloat16", float16s: "Float16"}[t]
	memory := float32s
	if words {
		name, memory = name+"Words", t
	}
	TEXT(name+set.name(), NOSPLIT, "func(a *byte)")
	a := Load(Param("a"), GP64())
	p := passer{isa: set, kind: k, storage: t, paired: memory == bfloat16s, acc: make([]vec, 4*lanes/set.width())}
	set.begin(p.paired)
	load := func(offset int) reg.GPVirtual { r := GP64(); MOVQ(at(a, offset), r); return r }
	p.dst, p.x, p.v = row{load(offDst), memory}, row{load(offX), memory}, row{load(offV), memory}
	switch k {
	case step:
		p.extra = row{load(offExtra), float32s}
	case gradient:
		p.extra = row{load(offExtra), memory}
	}
	n := load(offN)
	weight := func(from reg.Register, offset int) vec { w := set.vec(); VBROADCASTSS(at(from, offset), w); return w }
	p.wx, p.wv = weight(a, offX32), weight(a, offV32)
	if k == step {
		p.we = weight(a, offExtr32)
	}
	p.sums = load(offSums)
	var partial Mem // lane sums of each quarter
	if k != gradient {
		// Aligned, since on a stack a register's content could lie in two cache lines.
		base := GP64()
		LEAQ(AllocLocal(4*4*lanes+lineLen).Offset(lineLen-1), base)
		ANDQ(I8(-lineLen), base)
		partial = at(base, 0)
	}
	if p.paired || words && !set.masksHalves() {
		p.copies = map[reg.GPVirtual]Mem{}
		for _, r := range p.rows() {
			if r.storage != float32s {
				p.copies[r.GPVirtual] = AllocLocal(2 * lanes)
			}
		}
	}
	p.left = GP64()
	Label("block")
	MOVQ(at(a, offLen), p.left)
	CMPQ(n, p.left)
	CMOVQLT(n, p.left)
	SUBQ(p.left, n)
	PREFETCHT1(at(load(offNext), 0))
	ADDQ(Imm(rowSize), at(a, offNext)) // in memory, since no register is free
	if k == gradient {
		p.we = weight(p.sums, 0)
		ADDQ(at(a, offScales), p.sums)
	}
	at0, count := GP64(), GP64()
	p.count = count
	if k != gradient {
		// A block of one quarter has its lanes in registers. The other quarters are
		// zeros, which change no sum.
		MOVQ(p.left, count)
		CMPQ(at(a, offLen), U32(quarter))
		JLE(LabelRef("one"))
		LEAQ(partial, at0)
		zero := set.vec()
		set.zero(zero)
		for i := range 4 * len(p.acc) {
			VMOVUPS(zero, partial.Offset(set.width()*i))
		}
	}

	Label("quarter")
	MOVQ(U32(quarter), count)
	CMPQ(p.left, count)
	CMOVQLT(p.left, count)
	SUBQ(count, p.left)
	if k != gradient {
		Label("one")
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
		ADDQ(Imm(uint64(lanes*r.size())), r.GPVirtual)
	}
	SUBQ(Imm(lanes), count)
	JGE(LabelRef("group"))
	Label("rest")
	ADDQ(Imm(lanes), count)
	JZ(LabelRef("done"))
	set.prepare(a, count)
	p.group(true)
	for _, r := range p.rows() { // another row may follow a short one
		LEAQ(Mem{Base: r.GPVirtual, Index: count, Scale: uint8(r.size())}, r.GPVirtual)
	}
	Label("done")
	if k == gradient {
		TESTQ(p.left, p.left)
		JNZ(LabelRef("quarter"))
	} else {
		CMPQ(at(a, offLen), U32(quarter))
		JLE(LabelRef("fold"))
		for i, v := range p.acc {
			VMOVUPS(v, at(at0, set.width()*i))
		}
		ADDQ(Imm(4*lanes), at0)
		TESTQ(p.left, p.left)
		JNZ(LabelRef("quarter"))
		p.quarters(partial)
		Label("fold")
		fold := set.fold
		if p.paired {
			fold = set.foldPairs
		}
		VMOVSS(fold(p.acc).AsX(), at(p.sums, 0))
		ADDQ(Imm(4), p.sums)
	}
	// Inputs that stand for absent terms are one block long, so their pointers go back.
	SUBQ(at(a, offBackX), p.x.GPVirtual)
	SUBQ(at(a, offBackV), p.v.GPVirtual)
	if k == step {
		SUBQ(at(a, offBackE), p.extra.GPVirtual)
	}
	TESTQ(n, n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// rows returns the memory along which the pass moves.
func (p *passer) rows() []row {
	rows := []row{p.dst, p.x, p.v}
	if p.kind != squares {
		rows = append(rows, p.extra)
	}
	return rows
}

// group does 32 elements, or those that the masks select.
func (p *passer) group(short bool) {
	copied := short && p.copies != nil
	if copied {
		p.copyWords(true)
	}
	each := 1 // registers at a time
	if p.paired {
		each = 2
	}
	for i := 0; i < len(p.acc); i += each {
		var masks [2]reg.Register
		for k := range each {
			if short {
				masks[k] = p.mask(i + k)
			}
		}
		// part returns the memory of the elements from register i on, and their mask.
		part := func(of row) (Mem, reg.Register) {
			offset := p.width() / 4 * of.size() * i
			if copied && of.storage != float32s {
				return p.copies[of.GPVirtual].Offset(offset), nil
			}
			return at(of.GPVirtual, offset), masks[0]
		}
		load := func(from row) []vec {
			mem, m := part(from)
			switch {
			case !p.paired:
				return []vec{p.load(from.storage, mem, m)}
			case from.storage == float32s: // noise, which comes in whole groups
				return p.deal(mem)
			}
			return p.loadPairs(mem)
		}
		mul := func(from row, weight vec) []vec {
			if mem, m := part(from); m == nil && !p.paired && from.storage == float32s {
				r := p.vec()
				VMULPS(mem, weight, r)
				return []vec{r}
			}
			v := load(from)
			for _, r := range v {
				VMULPS(weight, r, r)
			}
			return v
		}
		// store rounds y and stores it. With back, y is used afterwards.
		store := func(y []vec, back bool) {
			to, m := part(p.dst)
			switch {
			case p.paired:
				for _, y := range y {
					p.round(p.storage, y)
				}
				p.storePairs(y, to)
			case p.dst.storage == float16s:
				p.storeHalves(y[0], back, m, to)
			default:
				p.round(p.storage, y[0])
				p.store(y[0], m, to)
			}
		}
		// do emits an instruction f with two operands, which changes the second one.
		do := func(f func(...Op), a, b []vec) {
			for k := range a {
				f(a[k], b[k], b[k])
			}
		}
		mean := mul(p.x, p.wx)
		do(VADDPS, mul(p.v, p.wv), mean)
		switch p.kind {
		case step:
			y := mul(p.extra, p.we)
			do(VADDPS, mean, y)
			store(y, true)
			do(VSUBPS, mean, y)
			p.square(i, y, masks)
		case squares:
			y := load(p.dst)
			do(VSUBPS, mean, y)
			p.square(i, y, masks)
		case gradient:
			y := load(p.extra)
			do(VSUBPS, mean, y)
			for _, y := range y {
				VMULPS(p.we, y, y)
			}
			d := load(p.dst)
			do(VADDPS, y, d)
			store(d, false)
		}
	}
	if copied && p.kind != squares {
		p.copyWords(false)
	}
}

// copyWords copies the words of a short group. With in, it copies all rows that are read
// to their copies; otherwise it copies dst back. Other words of a copy are neither
// cleared nor copied.
func (p *passer) copyWords(in bool) {
	rows, name := []row{p.dst}, "out"
	if in {
		rows, name = nil, "in"
		for _, r := range p.rows() {
			if r.storage != float32s && (r != p.dst || p.kind != step) {
				rows = append(rows, r)
			}
		}
	}
	done := GP64() // bytes so far
	XORL(done.As32(), done.As32())
	for words := lanes / 2; words > 0; words /= 2 {
		skip := fmt.Sprint(name, words)
		TESTL(U32(uint32(words)), p.count.As32())
		JZ(LabelRef(skip))
		for _, r := range rows {
			from, to := at(r.GPVirtual, 0).Idx(done, 1), p.copies[r.GPVirtual].Idx(done, 1)
			if !in {
				from, to = to, from
			}
			move(2*words, from, to)
		}
		ADDQ(Imm(uint64(2*words)), done)
		Label(skip)
	}
}

// move copies that many bytes, a power of two up to 32.
func move(bytes int, from, to Mem) {
	switch bytes {
	case 32, 16:
		t := map[int]vec{32: YMM(), 16: XMM()}[bytes]
		VMOVUPS(from, t)
		VMOVUPS(t, to)
	case 8:
		t := GP64()
		MOVQ(from, t)
		MOVQ(t, to)
	case 4:
		t := GP32()
		MOVL(from, t)
		MOVL(t, to)
	case 2:
		t := GP32()
		MOVWLZX(from, t)
		MOVW(t.As16(), to)
	}
}

// square adds the squares of d to the lanes from i on. If there are masks, it adds only
// those of elements that exist: an infinite weight makes NaNs of the zeros beyond.
func (p *passer) square(i int, d []vec, masks [2]reg.Register) {
	for k, d := range d {
		if masks[k] != nil {
			p.keep(d, masks[k])
		}
		VMULPS(d, d, d)
		VADDPS(d, p.acc[i+k], p.acc[i+k])
	}
}

// quarters adds the lanes of the four quarters.
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
