package main

type kind int

const (
	step kind = iota
	squares
	gradient
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
	argsReg    = "R0"
	dstReg     = "R1"
	xReg       = "R2"
	vReg       = "R3"
	extraReg   = "R4"
	nReg       = "R5" // elements after this block
	sumsReg    = "R6"
	leftReg    = "R7"  // elements of the block after this quarter
	partialReg = "R9"  // lane sums of four quarters
	quarterReg = "R10" // lane sums of this quarter
	countReg   = "R11" // elements left in the quarter
	laneReg    = "R12" // where the lane sum of the next element is
	tmpReg     = "R13"
)

// A passer generates one pass over rows.
type passer struct {
	*function
	kind
	buffer
	wx, wv, we vec
	acc        [8]vec // 32 lanes

	one, below, upper, zeros vec // constants of bfloat16
}

// pass generates the loop of a pass over n elements, in groups of 32, quarters and
// blocks. The last elements of a row that fill no group are done by fours and then one
// by one.
func pass(k kind, b buffer) *function {
	f := &function{args: 8, signature: "a *passArgs"}
	f.name = map[kind]string{step: "step", squares: "squares", gradient: "grad"}[k] + b.name() + "NEON"
	p := passer{function: f, kind: k, buffer: b}
	f.text("MOVD a+0(FP), %s", argsReg)
	load := func(offset int, r string) { f.text("MOVD %d(%s), %s", offset, argsReg, r) }
	load(offDst, dstReg)
	load(offX, xReg)
	load(offV, vReg)
	if k != squares {
		load(offExtra, extraReg)
	}
	load(offN, nReg)
	load(offSums, sumsReg)
	weight := func(offset int) vec {
		f.text("ADD $%d, %s, %s", offset, argsReg, tmpReg)
		w := fresh()
		f.broadcast(w, tmpReg)
		return w
	}
	p.wx, p.wv = weight(offX32), weight(offV32)
	switch k {
	case step:
		p.we = weight(offExtr32)
	case gradient:
		p.we = fresh() // the scale of each block
	}
	p.prepare()
	for i := range p.acc {
		p.acc[i] = fresh()
	}
	if k != gradient {
		f.frame = 4 * 4 * lanes
		f.text("MOVD $partial-%d(SP), %s", f.frame, partialReg)
	}

	f.label("block")
	load(offLen, leftReg)
	f.text("CMP %s, %s", leftReg, nReg)
	f.text("CSEL LT, %s, %s, %s", nReg, leftReg, leftReg)
	f.text("SUB %s, %s", leftReg, nReg)
	if k == gradient {
		f.broadcast(p.we, sumsReg)
		load(offScales, tmpReg)
		f.text("ADD %s, %s", tmpReg, sumsReg)
	} else {
		f.text("MOVD %s, %s", partialReg, quarterReg)
		f.text("CMP $%d, %s", quarter, leftReg)
		f.branch("BLE %s", "quarter")
		zero := fresh()
		f.zero(zero)
		for i := range f.frame / 32 {
			f.storePair(wide{zero, zero}, partialReg, 32*i)
		}
	}

	f.label("quarter")
	f.text("MOVD $%d, %s", quarter, countReg)
	f.text("CMP %s, %s", countReg, leftReg)
	f.text("CSEL LT, %s, %s, %s", leftReg, countReg, countReg)
	f.text("SUB %s, %s", countReg, leftReg)
	if k != gradient {
		for _, a := range p.acc {
			f.zero(a)
		}
	}
	f.text("SUBS $%d, %s", lanes, countReg)
	f.branch("BLT %s", "rest")
	f.label("group")
	p.group()
	p.forward(lanes)
	f.text("SUBS $%d, %s", lanes, countReg)
	f.branch("BGE %s", "group")
	f.label("rest")
	f.text("ADDS $%d, %s", lanes, countReg)
	f.branch("BEQ %s", "done")
	p.tail()
	f.label("done")
	if k == gradient {
		f.branch("CBNZ "+leftReg+", %s", "quarter")
	} else {
		// A block of one quarter has its lanes in registers. The other quarters are
		// zeros, which change no sum.
		f.text("SUB %s, %s, %s", partialReg, quarterReg, tmpReg)
		f.text("ORR %s, %s", leftReg, tmpReg)
		f.branch("CBZ "+tmpReg+", %s", "fold")
		p.saveLanes()
		f.text("ADD $%d, %s", 4*lanes, quarterReg)
		f.branch("CBNZ "+leftReg+", %s", "quarter")
		p.quarters()
		f.label("fold")
		p.fold()
		f.text("ADD $4, %s", sumsReg)
	}
	// Inputs that stand for absent terms are one block long, so their pointers go back.
	back := func(offset int, r string) {
		load(offset, tmpReg)
		f.text("SUB %s, %s", tmpReg, r)
	}
	back(offBackX, xReg)
	back(offBackV, vReg)
	if k == step {
		back(offBackE, extraReg)
	}
	f.branch("CBNZ "+nReg+", %s", "block")
	f.text("RET")
	return f
}

// forward moves the pointers by n elements.
func (p *passer) forward(n int) {
	for _, r := range []string{dstReg, xReg, vReg} {
		p.text("ADD $%d, %s", p.size()*n, r)
	}
	switch p.kind {
	case step:
		p.text("ADD $%d, %s", 4*n, extraReg)
	case gradient:
		p.text("ADD $%d, %s", p.size()*n, extraReg)
	}
}

// group does 32 elements, two registers at a time.
func (p *passer) group() {
	for i := 0; i < len(p.acc); i += 2 {
		for h, d := range p.squared(p.elements(part{4 * i, 8})) {
			p.into(p.acc[i+h], fadd, p.acc[i+h], d)
		}
	}
}

// tail does fewer than 32 elements, by fours and one by one. Their lanes are in memory.
func (p *passer) tail() {
	if p.kind != gradient {
		p.saveLanes()
		p.text("MOVD %s, %s", quarterReg, laneReg)
	}
	few := func(n int) {
		for _, d := range p.squared(p.elements(part{0, n})) {
			p.store(p.do(fadd, p.load(laneReg, 0, 4*n), d), laneReg, 0, 4*n)
			p.text("ADD $%d, %s", 4*n, laneReg)
		}
		p.forward(n)
	}
	p.text("SUBS $4, %s", countReg)
	p.branch("BLT %s", "ones")
	p.label("four")
	few(4)
	p.text("SUBS $4, %s", countReg)
	p.branch("BGE %s", "four")
	p.label("ones")
	p.text("ADDS $4, %s", countReg)
	p.branch("BEQ %s", "tailed")
	p.label("one")
	few(1)
	p.text("SUBS $1, %s", countReg)
	p.branch("BNE %s", "one")
	p.label("tailed")
	if p.kind != gradient {
		for i := 0; i < len(p.acc); i += 2 {
			p.loadInto(p.acc[i:i+2], quarterReg, 16*i)
		}
	}
}

// elements does the elements of a part. It returns the values to be squared, if there
// are any.
func (p *passer) elements(at part) wide {
	term := func(values wide, weight vec) wide { return p.each(fmul, values, all(weight)) }
	mean := p.each(fadd, term(p.values(xReg, at), p.wx), term(p.values(vReg, at), p.wv))
	switch p.kind {
	case step:
		y := p.each(fadd, term(p.floats(extraReg, at), p.we), mean)
		kept := p.round(y)
		p.put(kept, at)
		return p.each(fsub, p.widen(kept, at), mean)
	case squares:
		return p.each(fsub, p.values(dstReg, at), mean)
	}
	y := term(p.each(fsub, p.values(extraReg, at), mean), p.we)
	p.put(p.round(p.each(fadd, p.values(dstReg, at), y)), at)
	return nil
}

func (p *passer) squared(d wide) wide { return p.each(fmul, d, d) }

func (p *passer) saveLanes() {
	for i := 0; i < len(p.acc); i += 2 {
		p.storePair(wide(p.acc[i:i+2]), quarterReg, 16*i)
	}
}

// quarters adds the lanes of the four quarters.
func (p *passer) quarters() {
	for i := 0; i < len(p.acc); i += 2 {
		var q [4]wide
		for j := range q {
			q[j] = p.loadPair(partialReg, 4*lanes*j+16*i)
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
	upper := p.do(ext(8), t[0])
	p.into(t[0], fadd, t[0], upper)
	p.into(t[0], fadd, t[0], p.do(dup(1), t[0]))
	p.store(t[0], sumsReg, 0, 4)
}
