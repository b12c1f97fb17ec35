package main

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
	offLen    = 88 // elements of a block
	offBackE  = 96
	offScales = 104
)

const (
	quarter = 256 // elements
	lanes   = 32
)

// Registers of a pass.
const (
	args    = "R0"
	dst     = "R1"
	x       = "R2"
	v       = "R3"
	extra   = "R4"
	n       = "R5"
	sums    = "R6"
	left    = "R7"
	partial = "R9" // lane sums of the quarters
	at0     = "R10"
	count   = "R11"
	lane    = "R12" // at0 and what follows
	tmp     = "R13"
)

// A passer generates one pass over rows.
type passer struct {
	*function
	kind
	storage
	wx, wv, we vec
	rounding   [4]vec // constants
	acc        [8]vec // 32 lanes
}

// pass generates the loop of a pass over n elements, by groups of 32, quarters and
// blocks. The last elements of a row, if it has no whole groups, are done by four and by
// one.
func pass(k kind, t storage) *function {
	f := &function{args: 8, signature: "a *passArgs"}
	f.name = map[kind]string{step: "step", squares: "squares", gradient: "grad"}[k] +
		map[storage]string{float32s: "", bfloat16s: "BFloat16", float16s: "Float16"}[t] + "NEON"
	p := passer{function: f, kind: k, storage: t}
	f.text("MOVD a+0(FP), %s", args)
	load := func(offset int, r string) { f.text("MOVD %d(%s), %s", offset, args, r) }
	load(offDst, dst)
	load(offX, x)
	load(offV, v)
	if k != squares {
		load(offExtra, extra)
	}
	load(offN, n)
	load(offSums, sums)
	weight := func(offset int) vec {
		f.text("ADD $%d, %s, %s", offset, args, tmp)
		return f.broadcast(tmp)
	}
	p.wx, p.wv = weight(offX32), weight(offV32)
	if k == step {
		p.we = weight(offExtr32)
	} else {
		p.we = fresh()
	}
	if t == bfloat16s {
		f.table()
		for i, c := range []uint32{1, 0x7fff, 0x00400000, 0xffff0000} {
			p.rounding[i] = f.constant(c)
		}
	}
	for i := range p.acc {
		p.acc[i] = fresh()
	}
	if k != gradient {
		f.frame = 4 * 4 * lanes
		f.text("MOVD $partial-%d(SP), %s", f.frame, partial)
	}

	f.label("block")
	load(offLen, left)
	f.text("CMP %s, %s", left, n)
	f.text("CSEL LT, %s, %s, %s", n, left, left)
	f.text("SUB %s, %s", left, n)
	if k == gradient {
		f.into(p.we, op{text: "VLD1R (" + sums + "), [V%[1]d.S4]"})
		load(offScales, tmp)
		f.text("ADD %s, %s", tmp, sums)
	} else {
		f.text("MOVD %s, %s", partial, at0)
		f.text("CMP $%d, %s", quarter, left)
		f.branch("BLE %s", "quarter")
		zero := fresh()
		f.zero(zero)
		for i := range 4 * len(p.acc) / 2 {
			f.storePair(wide{zero, zero}, partial, 32*i)
		}
	}

	f.label("quarter")
	f.text("MOVD $%d, %s", quarter, count)
	f.text("CMP %s, %s", count, left)
	f.text("CSEL LT, %s, %s, %s", left, count, count)
	f.text("SUB %s, %s", count, left)
	if k != gradient {
		for _, a := range p.acc {
			f.zero(a)
		}
	}
	f.text("SUBS $%d, %s", lanes, count)
	f.branch("BLT %s", "rest")
	f.label("group")
	p.group()
	p.forward(4 * lanes)
	f.text("SUBS $%d, %s", lanes, count)
	f.branch("BGE %s", "group")
	f.label("rest")
	f.text("ADDS $%d, %s", lanes, count)
	f.branch("BEQ %s", "done")
	p.tail()
	f.label("done")
	if k == gradient {
		f.branch("CBNZ "+left+", %s", "quarter")
	} else {
		// A block of one quarter has its lanes in registers: the others are zeros,
		// which change no sum.
		f.text("SUB %s, %s, %s", partial, at0, tmp)
		f.text("ORR %s, %s", left, tmp)
		f.branch("CBZ "+tmp+", %s", "fold")
		p.saveLanes()
		f.text("ADD $%d, %s", 4*lanes, at0)
		f.branch("CBNZ "+left+", %s", "quarter")
		p.quarters()
		f.label("fold")
		p.fold()
		f.text("ADD $4, %s", sums)
	}
	// Inputs that stand for absent terms are one block long.
	back := func(offset int, r string) {
		load(offset, tmp)
		f.text("SUB %s, %s", tmp, r)
	}
	back(offBackX, x)
	back(offBackV, v)
	if k == step {
		back(offBackE, extra)
	}
	f.branch("CBNZ "+n+", %s", "block")
	f.text("RET")
	return f
}

// forward moves the pointers by some bytes.
func (p *passer) forward(bytes int) {
	for _, r := range []string{dst, x, v, extra} {
		if r != extra || p.kind != squares {
			p.text("ADD $%d, %s", bytes, r)
		}
	}
}

// group does 32 elements, two registers at a time.
func (p *passer) group() {
	for i := 0; i < len(p.acc); i += 2 {
		load := func(from string) wide { return p.loadPair(from, 16*i) }
		store := func(v wide) { p.storePair(v, dst, 16*i) }
		if d, ok := p.elements(load, store); ok {
			for h, d := range p.each(fmul, d, d) {
				p.into(p.acc[i+h], fadd, p.acc[i+h], d)
			}
		}
	}
}

// elements does one or two registers of elements. It returns what is to be squared, if anything
// is.
func (p *passer) elements(load func(from string) wide, store func(v wide)) (wide, bool) {
	mean := p.each(fadd, p.each(fmul, load(x), all(p.wx)), p.each(fmul, load(v), all(p.wv)))
	switch p.kind {
	case step:
		y := p.each(fadd, p.each(fmul, load(extra), all(p.we)), mean)
		y = p.round(y)
		store(y)
		return p.each(fsub, y, mean), true
	case squares:
		return p.each(fsub, load(dst), mean), true
	}
	y := p.each(fmul, p.each(fsub, load(extra), mean), all(p.we))
	store(p.each(fadd, load(dst), y))
	return wide{}, false
}

// tail does fewer than 32 elements, by four and by one, whose lanes are in memory.
func (p *passer) tail() {
	if p.kind != gradient {
		p.saveLanes()
		p.text("MOVD %s, %s", at0, lane)
	}
	few := func(bytes int) {
		load := func(from string) wide { return all(p.load(from, 0, bytes)) }
		store := func(v wide) { p.store(v[0], dst, 0, bytes) }
		if d, ok := p.elements(load, store); ok {
			p.store(p.do(fadd, p.load(lane, 0, bytes), p.do(fmul, d[0], d[0])), lane, 0, bytes)
			p.text("ADD $%d, %s", bytes, lane)
		}
		p.forward(bytes)
	}
	p.text("SUBS $4, %s", count)
	p.branch("BLT %s", "ones")
	p.label("four")
	few(16)
	p.text("SUBS $4, %s", count)
	p.branch("BGE %s", "four")
	p.label("ones")
	p.text("ADDS $4, %s", count)
	p.branch("BEQ %s", "tailed")
	p.label("one")
	few(4)
	p.text("SUBS $1, %s", count)
	p.branch("BNE %s", "one")
	p.label("tailed")
	if p.kind != gradient {
		for i := 0; i < len(p.acc); i += 2 {
			p.loadInto(p.acc[i:i+2], at0, 16*i)
		}
	}
}

// round rounds to the storage type.
func (p *passer) round(y wide) wide {
	switch p.storage {
	case float16s:
		return p.each(fcvtl, p.each(fcvtn, y))
	case bfloat16s:
		one, below, quiet, upper := all(p.rounding[0]), all(p.rounding[1]), all(p.rounding[2]), all(p.rounding[3])
		odd := p.each(and, p.each(ushr(16), y), one)
		r := p.each(add, p.each(add, y, below), odd)
		number := p.each(fcmeq, y, y)
		nan := p.each(or, y, quiet)
		for h := range number {
			p.into(number[h], bsl, r[h], nan[h])
		}
		return p.each(and, number, upper)
	}
	return y
}

func (p *passer) saveLanes() {
	for i := 0; i < len(p.acc); i += 2 {
		p.storePair(wide(p.acc[i:i+2]), at0, 16*i)
	}
}

// quarters adds the lanes of four quarters.
func (p *passer) quarters() {
	for i := 0; i < len(p.acc); i += 2 {
		var q [4]wide
		for j := range q {
			q[j] = p.loadPair(partial, 4*lanes*j+16*i)
		}
		a, b := p.each(fadd, q[0], q[1]), p.each(fadd, q[2], q[3])
		for h := range 2 {
			p.into(p.acc[i+h], fadd, a[h], b[h])
		}
	}
}

// fold stores the sum of 32 lanes.
func (p *passer) fold() {
	t := p.acc
	for half := 4; half > 0; half /= 2 {
		for i := range half {
			p.into(t[i], fadd, t[i], t[i+half])
		}
	}
	upper := p.do(op{text: "VEXT $8, V%[2]d.B16, V%[2]d.B16, V%[1]d.B16"}, t[0])
	p.into(t[0], fadd, t[0], upper)
	p.into(t[0], fadd, t[0], p.do(dup(1), t[0]))
	p.store(t[0], sums, 0, 4)
}
