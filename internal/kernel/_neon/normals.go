package main

// Polynomials of ../normal.go, lowest power first. A test there compares results, so the
// two cannot differ.
var (
	logC   = []float64{-2, 1.0000075, -0.66671073, 0.4993724, -0.3976747, 0.34507677, -0.32692078, 0.20476241}
	sinC   = []float64{0.7853981, -0.08074513, 0.0024893708, -3.557942e-05}
	cosC   = []float64{1, -0.3084245, 0.015850438, -0.00031918686}
	log2x2 = -1.3862943611198906
)

// Offsets in a schedule, and for many streams in a group.
const (
	offKeys   = 0          // the round keys: two a round, each eight times
	offFirst  = 20 * 4 * 8 // the part of rounds 1 and 2 that all blocks share
	offBlock  = 4 * 4      // the first block of a group, after four words of that part
	groupSize = 32
	stride    = 4 * 4 * 8 // bytes of the elements of eight blocks
)

// source says whose noise the groups are. They are successive blocks of one stream, or
// each group is of a stream of its own. All streams have one key.
type source int

const (
	oneStream source = iota
	manyStreams
)

const (
	drawsReg    = "R0"
	groupsReg   = "R1"
	scheduleReg = "R2"
	blockReg    = "R3" // the next block, if of one stream
	eachReg     = "R3" // the next group, if of many streams
	m0Reg       = "R6" // multipliers
	m1Reg       = "R7"
)

// A noiser generates code for the draws of a stream.
type noiser struct {
	source
	m0, m1 vec
}

// normals generates code for the draws of groups of eight blocks; there is at least one
// group. It makes the words of the next group between the draws of this one, so that one
// works while the other waits. The words wait in the memory of their draws. Vectors make
// blocks 0 to 3, stored word by word. Meanwhile general registers make blocks 4 to 7,
// stored block by block.
func normals(from source) *function {
	n := &noiser{source: from}
	f := &function{args: 32}
	f.text("MOVD dst+0(FP), %s", drawsReg)
	f.text("MOVD groups+8(FP), %s", groupsReg)
	f.text("MOVD s+24(FP), %s", scheduleReg)
	f.table()
	f.text("MOVD $0xd2511f53, %s", m0Reg)
	f.text("MOVD $0xcd9e8d57, %s", m1Reg)
	n.m0, n.m1 = f.fill(m0Reg), f.fill(m1Reg)
	if from == oneStream {
		f.name, f.signature = "normalsNEON", "dst *float32, groups int, block uint32, s *schedule"
		f.text("MOVWU block+16(FP), %s", blockReg)
	} else {
		f.name, f.signature = "groupNormalsNEON", "dst *float32, groups int, each *group, s *schedule"
		f.text("MOVD each+16(FP), %s", eachReg)
	}
	f.stream = append(f.stream, merge(n.philox(0), n.scalarPhilox(0))...)
	n.forward(f)
	f.text("SUBS $1, %s", groupsReg)
	f.branch("BEQ %s", "last")
	f.label("group")
	f.stream = append(f.stream, merge(n.philox(stride), n.scalarPhilox(stride), n.boxMuller())...)
	n.forward(f)
	f.text("ADD $%d, %s", stride, drawsReg)
	f.text("SUBS $1, %s", groupsReg)
	f.branch("BNE %s", "group")
	f.label("last")
	f.stream = append(f.stream, n.boxMuller()...)
	f.text("RET")
	return f
}

// forward goes to the next group, once its words are made.
func (n *noiser) forward(f *function) {
	if n.source == oneStream {
		f.text("ADD $8, %s", blockReg)
	} else {
		f.text("ADD $%d, %s", groupSize, eachReg)
	}
}

// scalarPhilox stores the words of blocks 4 to 7. The upper halves of its registers are
// never read.
func (n *noiser) scalarPhilox(offset int) (s stream) {
	blocks := [4][4]string{
		{"R9", "R10", "R11", "R12"}, {"R13", "R14", "R15", "R16"},
		{"R17", "R19", "R20", "R21"}, {"R22", "R23", "R24", "R25"},
	}
	const k0, k1 = "R4", "R5"
	from, at := scheduleReg, offFirst
	if n.source == oneStream {
		for i, c := range blocks {
			s.text("ADD $%d, %s, %s", 4+i, blockReg, c[0])
		}
	} else {
		from, at = eachReg, 0
		s.text("MOVWU %d(%s), %s", offBlock, eachReg, k0)
		for i, c := range blocks {
			s.text("ADD $%d, %s, %s", 4+i, k0, c[0])
		}
	}
	each := func(format string, regs ...int) {
		for _, c := range blocks {
			var args []any
			for _, r := range regs {
				args = append(args, c[r])
			}
			s.text(format, args...)
		}
	}
	first := func(i int, r string) { s.text("MOVWU %d(%s), %s", at+4*i, from, r) }
	// Words 0 and 2 of round 1 are in registers 0 and 1. Word 3 goes where word 0 was.
	first(0, k0)
	each("UMULL "+m0Reg+", %s, %s", 0, 0)
	each("EOR %s>>32, "+k0+", %s", 0, 2)
	first(1, k1)
	each("UMULL "+m1Reg+", %s, %s", 2, 2)
	first(2, k0)
	each("EOR %s>>32, "+k1+", %s", 2, 1)
	first(3, k1)
	each("EOR %s, "+k0+", %s", 0, 3)
	each("MOVD "+k1+", %s", 0)
	// Now words 0, 1, 2 and 3 are in registers 1, 2, 3 and 0.
	turn := func() {
		for i, c := range blocks {
			blocks[i] = [4]string{c[1], c[2], c[3], c[0]}
		}
	}
	turn()
	for r := 2; r < 10; r++ {
		key := func(i int, k string) { s.text("MOVWU %d(%s), %s", offKeys+64*r+32*i, scheduleReg, k) }
		key(0, k0)
		key(1, k1)
		each("UMULL "+m0Reg+", %s, %s", 0, 0)
		each("EOR "+k1+", %s, %s", 3, 3)
		each("UMULL "+m1Reg+", %s, %s", 2, 2)
		each("EOR "+k0+", %s, %s", 1, 1)
		each("EOR %s>>32, %s, %s", 0, 3, 3)
		each("EOR %s>>32, %s, %s", 2, 1, 1)
		turn()
	}
	each("BFI $32, %s, $32, %s", 1, 0)
	each("BFI $32, %s, $32, %s", 3, 2)
	for i, c := range blocks {
		s.text("STP (%s, %s), %d(%s)", c[0], c[2], offset+64+16*i, drawsReg)
	}
	return s
}

// philox stores the words of blocks 0 to 3, at an offset from dst.
func (n *noiser) philox(offset int) (s stream) {
	// mul returns the upper and the lower words of products.
	mul := func(a wide, m vec) (high, low wide) {
		for _, a := range a {
			p, q := s.do(umull, a, m), s.do(umull2, a, m)
			high, low = append(high, s.do(uzp2, p, q)), append(low, s.do(uzp1, p, q))
		}
		return high, low
	}
	// In rounds 1 and 2, words 1 to 3 are the same in all blocks.
	var first, block vec
	if n.source == oneStream {
		first, block = s.load(scheduleReg, offFirst, 16), s.fill(blockReg)
	} else {
		first, block = s.load(eachReg, 0, 16), s.do(dup(0), s.load(eachReg, offBlock, 4))
	}
	counter := s.each(add, all(block), wide{s.constant(0, 1, 2, 3)})
	h0, l0 := mul(counter, n.m0)
	c2 := s.each(xor, h0, all(s.do(dup(0), first)))
	h1, c1 := mul(c2, n.m1)
	c0 := s.each(xor, h1, all(s.do(dup(1), first)))
	c2 = s.each(xor, l0, all(s.do(dup(2), first)))
	c3 := all(s.do(dup(3), first))
	for r := 2; r < 10; r++ {
		key := func(i int) wide { return all(s.load(scheduleReg, offKeys+64*r+32*i, 16)) }
		h0, l0 := mul(c0, n.m0)
		c3 = s.each(xor, c3, key(1))
		h1, l1 := mul(c2, n.m1)
		c1 = s.each(xor, c1, key(0))
		c0, c1, c2, c3 = s.each(xor, h1, c1), l1, s.each(xor, h0, c3), l0
	}
	s.storePair(wide{c0[0], c1[0]}, drawsReg, offset)
	s.storePair(wide{c2[0], c3[0]}, drawsReg, offset+32)
	return s
}

// boxMuller replaces a group's words by its draws.
func (n *noiser) boxMuller() (s stream) {
	r := s.radius(append(s.words(0, 0), s.words(1, 0)...))
	sin, cos := s.sincos(s.words(0, 1))
	sin, cos = s.each(fmul, sin, r[:2]), s.each(fmul, cos, r[:2])
	low, high := s.each(zip1, sin, cos), s.each(zip2, sin, cos)
	s.storePair(wide{s.do(zip1d, low[0], low[1]), s.do(zip2d, low[0], low[1])}, drawsReg, 0)
	s.storePair(wide{s.do(zip1d, high[0], high[1]), s.do(zip2d, high[0], high[1])}, drawsReg, 32)
	sin, cos = s.sincos(s.words(1, 1))
	sin, cos = s.each(fmul, sin, r[2:]), s.each(fmul, cos, r[2:])
	low, high = s.each(zip1, sin, cos), s.each(zip2, sin, cos)
	s.storePair(wide{low[0], high[0]}, drawsReg, 64)
	s.storePair(wide{low[1], high[1]}, drawsReg, 96)
	return s
}

// words loads one word of each pair: word 0 gives the radius, and word 1 the angle. Half
// 0 is pair 0 of blocks 0 to 3, and then their pair 1. Half 1 is both pairs of blocks 4
// and 5, and then those of 6 and 7.
func (s *stream) words(half, word int) (w wide) {
	if half == 0 {
		return wide{s.load(drawsReg, 16*word, 16), s.load(drawsReg, 16*word+32, 16)}
	}
	unzip := [2]op{uzp1, uzp2}[word]
	for i := 64; i < 128; i += 32 { // no loads of pairs, since two stores made each pair
		w = append(w, s.do(unzip, s.load(drawsReg, i, 16), s.load(drawsReg, i+16, 16)))
	}
	return w
}

// radius computes the radii of the words x.
func (s *stream) radius(x wide) wide {
	const half = 0x3f3504f3
	v := s.each(ucvtf, x)
	v = s.each(fadd, v, all(s.constantF(0.5)))
	k := s.each(sub, v, all(s.constant(half+32<<23)))
	e := s.each(scvtf, s.each(sshr(23), k))
	e = s.each(fmul, e, all(s.constantF(log2x2)))
	f := s.each(and, k, all(s.constant(0x007fffff)))
	f = s.each(add, f, all(s.constant(half)))
	f = s.each(fsub, f, all(s.constantF(1)))
	p := s.each(fmul, s.horner(f, logC), f)
	return s.each(fsqrt, s.each(fadd, p, e))
}

// horner returns the polynomial c[0] + c[1]·x + …
func (s *stream) horner(x wide, c []float64) wide {
	p := s.each(fmul, x, all(s.constantF(c[len(c)-1])))
	for i := len(c) - 2; ; i-- {
		p = s.each(fadd, p, all(s.constantF(c[i])))
		if i == 0 {
			return p
		}
		p = s.each(fmul, p, x)
	}
}

// sincos computes the sine and cosine of the angles y. Before the two change places, the
// sine is its polynomial times t, and the cosine is its polynomial. Both polynomials are
// positive. The sign of the sine is that of y plus an eighth of a turn; the cosine's is
// that of y plus three eighths.
func (s *stream) sincos(y wide) (sin, cos wide) {
	t := s.each(fraction(31), s.each(shl(2), y))
	z := s.each(fmul, t, t)
	var a, b stream
	sin, cos = a.horner(z, sinC), b.horner(z, cosC)
	*s = append(*s, merge(a, b)...)
	q := s.each(add, y, all(s.constant(1<<29)))
	odd, sign := all(s.constant(1<<30)), all(s.constant(1<<31))
	q2 := s.each(add, q, odd)
	for h := range q {
		s.into(cos[h], bit, q[h], sign[0])
		s.into(sin[h], bit, q2[h], sign[0])
	}
	sin = s.each(fmul, sin, t)
	a1, b1 := s.each(cmtst, q, odd), s.each(cmtst, q, odd)
	for h := range q {
		s.into(a1[h], bsl, cos[h], sin[h])
		s.into(b1[h], bsl, sin[h], cos[h])
	}
	return a1, b1
}
