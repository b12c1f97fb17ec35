//go:build (amd64 || arm64) && !purego

package kernel

import (
	"math"
	"slices"
	"unsafe"
)

//go:generate sh -c "cd _asm && go run . -isa AVX2 -out ../avx2_amd64.s"
//go:generate sh -c "cd _asm && go run . -isa AVX512 -out ../avx512_amd64.s"
//go:generate sh -c "cd _neon && go run . -out ../neon_arm64.s"

// A schedule is what the kernels need of a stream: the round keys, each eight times,
// and what the first two rounds make of the counter's words that all blocks share. Its
// layout is known to _asm and _neon.
type schedule struct {
	keys  [20][8]uint32
	first [4]uint32

	key   uint64 // whose round keys these are
	known bool
}

// set makes c the schedule of s.
func (c *schedule) set(s Stream) {
	if !c.known || c.key != s.Key {
		k := [2]uint32{uint32(s.Key), uint32(s.Key >> 32)}
		for i := range c.keys {
			for j := range c.keys[i] {
				c.keys[i][j] = k[i%2]
			}
			k[i%2] += [2]uint32{philoxW0, philoxW1}[i%2]
		}
		c.key, c.known = s.Key, true
	}
	c.first = c.firstOf(s)
}

// firstOf returns the first words of s, whose key is c's.
func (c *schedule) firstOf(s Stream) [4]uint32 {
	c1, c2, c3 := s.Step, uint32(s.Sample), uint32(s.Sample>>32)
	p := uint64(c2) * philoxM1
	q := uint64(uint32(p>>32)^c1^c.keys[0][0]) * philoxM0
	return [4]uint32{
		c3 ^ c.keys[1][0],
		uint32(p) ^ c.keys[2][0],
		uint32(q>>32) ^ c.keys[3][0],
		uint32(q),
	}
}

// A group is eight or, with AVX-512, sixteen blocks of one of many streams. Its layout
// is known to _asm and _neon.
type group struct {
	first [4]uint32
	block uint32
	_     [3]uint32
}

// A prefetch is a Prefetch as the kernels that make noise take it. Each group asks for as
// many lines of dst, x and v as it has lines of noise. Its layout is known to _asm.
type prefetch struct {
	dst, x, v unsafe.Pointer // none is nil
	step      int            // bytes from one such line to the next
}

// over returns p spread over groups of noise. An absent input stands for dst, and memory
// in use for no memory at all, for such lines are there already.
func (p Prefetch) over(groups int, inUse *float32) prefetch {
	if p.dst == nil {
		p = Prefetch{dst: unsafe.Pointer(inUse)}
	}
	if p.x == nil {
		p.x = p.dst
	}
	if p.v == nil {
		p.v = p.dst
	}
	const line = 64
	lines := groups * use.groupLen() * 4 / line
	return prefetch{p.dst, p.x, p.v, min(line, (p.bytes+lines-1)/lines)}
}

// madeNoise is noise made before the steps that take it.
type madeNoise struct {
	streams [MaxAhead]Stream // in order
	next    int              // of these
	end     int
	n       int // elements of each, in a whole number of groups
	start   int // of the first, in Work.memory
	groups  [MaxAhead]group
}

func (w *Work) makeAhead(streams []Stream, n int, next Prefetch) {
	groupLen := use.groupLen()
	room := BlockLen / groupLen
	per := (n + groupLen - 1) / groupLen
	a := &w.made
	a.next, a.end, a.n, a.start = 0, 0, per*groupLen, w.aligned()
	if use == portable || per < 1 || per > room || len(streams) == 0 {
		return
	}
	w.schedule.set(streams[0])
	g := a.groups[:0]
	for _, s := range streams {
		if s.Key != streams[0].Key || len(g)+per > room {
			break
		}
		first := w.schedule.firstOf(s)
		for i := range per {
			g = append(g, group{first: first, block: uint32(i * groupLen / 4)})
		}
		a.streams[a.end] = s
		a.end++
	}
	noise := &w.memory[a.start]
	ask := next.over(len(g), noise)
	w.schedule.ofGroups(noise, g, &ask)
}

// take returns the noise of n elements of each of streams, made.n apart, if it is what
// comes next.
func (w *Work) take(n int, streams ...Stream) *float32 {
	a := &w.made
	if n > a.n || len(streams) > a.end-a.next || !slices.Equal(a.streams[a.next:][:len(streams)], streams) {
		return nil
	}
	first := a.start + a.next*a.n
	a.next += len(streams)
	return &w.memory[first]
}

// passArgs says what a pass does to n elements, which may be many blocks:
//
//	step      dst = round(wx·x + wv·v + we·extra), sums of squares of dst - wx·x - wv·v
//	squares   sums of squares of dst - wx·x - wv·v
//	grad      dst += scale·(extra - wx·x - wv·v)
//
// Of a pass over words, dst, x, v and a gradient's extra point to words, a gradient is
// rounded to their type, and the noise of a step is there in whole groups.
//
// A block is blockLen elements, at most BlockLen, or what is left; it may be a short row.
// After each, backX, backV and, in a step, backExtra bytes are taken off x, v and extra.
// The scale of a gradient is where sums is, and the next block's scaleStep bytes further.
// Its layout is known to _asm and _neon.
type passArgs struct {
	dst, x, v, extra *float32
	n                int
	sums             *float32
	backX, backV     int
	wx, wv, we       float32
	_                float32
	masks            *int32
	blockLen         int
	backExtra        int
	scaleStep        int
}

// masks are 32 ones and 32 zeros: from element 32-n on, n ones.
var masks = func() (m [64]int32) {
	for i := range 32 {
		m[i] = -1
	}
	return m
}()

// zeros stand for a term that is absent. Its weight is -0 then, for a sum with
// -0·0 = -0 is the other summand to the bit. Tests put them elsewhere.
var (
	zeroBlock [BlockLen]float32
	zeros     = &zeroBlock
)

var minusZero = math.Float32frombits(1 << 31)

// inputs sets x and v of the arguments, from element i on, and their weights, for blocks
// of blockLen elements.
func (p *passArgs) inputs(x, v []float32, i int, a Affine, blockLen int) {
	p.masks, p.blockLen = &masks[32], blockLen
	p.x, p.wx = &zeros[0], minusZero
	p.v, p.wv = &zeros[0], minusZero
	p.backX, p.backV = 4*blockLen, 4*blockLen
	if a.X != 0 {
		p.x, p.wx, p.backX = &x[i], a.X, 0
	}
	if a.V != 0 {
		p.v, p.wv, p.backV = &v[i], a.V, 0
	}
	if a.X == 0 && a.V == 0 {
		p.wx = 0 // no term at all is +0
	}
}

// maxCall is the largest number of elements of a call, which the scheduler cannot
// interrupt: some tens of microseconds. It is a multiple of BlockLen.
const maxCall = 1 << 15

func (w *Work) stepVector(sums, dst, x, v []float32, a Affine, s Stream, off uint64, t Storage) {
	if len(dst) == 0 {
		return
	}
	x, v = fit(x, len(dst), a.X), fit(v, len(dst), a.V)
	if sums != nil {
		sums = sums[:Blocks(len(dst))]
	}
	groupLen := use.groupLen()
	var noise *float32 // of a block
	made := false      // by Ahead, of all there is
	if a.Eps != 0 {
		if off == 0 {
			noise = w.take(len(dst), s)
			made = noise != nil
		}
		if !made {
			w.schedule.set(s)
			w.made.end = w.made.next // its memory is needed
			noise = &w.memory[w.aligned()]
		}
	}
	var unwanted float32
	for i := 0; i < len(dst); i += BlockLen {
		p := passArgs{dst: &dst[i], n: min(BlockLen, len(dst)-i), extra: &zeros[0], sums: &unwanted, we: minusZero}
		p.inputs(x, v, i, a, BlockLen)
		if a.Eps != 0 {
			p.extra, p.we = noise, a.Eps
			if !made {
				groups, end := (p.n+groupLen-1)/groupLen, i+p.n
				ask := PrefetchOf(dst[i:end], cut(x, i, end), cut(v, i, end)).over(groups, noise)
				w.schedule.normals(noise, groups, uint32((off+uint64(i))/4), &ask)
			}
		}
		if sums != nil {
			p.sums = &sums[i/BlockLen]
		}
		p.step(t)
	}
}

// stepRowsVector does rows of n elements at once if their noise is there or not needed.
func (w *Work) stepRowsVector(sums, dst, x, v []float32, a Affine, streams []Stream, n int, t Storage) {
	p := passArgs{extra: &zeros[0], we: minusZero, backExtra: 4 * n}
	if a.Eps != 0 {
		noise := w.take(n, streams...)
		if noise == nil {
			w.eachRow(sums, dst, x, v, a, streams, n, t)
			return
		}
		p.extra, p.we, p.backExtra = noise, a.Eps, 4*(n-w.made.n)
	}
	var unwanted [MaxRows]float32
	if sums == nil {
		sums = unwanted[:]
	}
	p.dst, p.n, p.sums = &dst[0], len(dst), &sums[0]
	p.inputs(x, v, 0, a, n)
	p.step(t)
}

func squaresRowsVector(sums, next, x, v []float32, a Affine, n int) {
	p := passArgs{dst: &next[0], n: len(next), sums: &sums[0]}
	p.inputs(x, v, 0, a, n)
	p.squares()
}

func gradRowsVector(dst, next, x, v []float32, a Affine, scales []float32, n int) {
	p := passArgs{dst: &dst[0], n: len(dst), extra: &next[0], sums: &scales[0], scaleStep: 4}
	p.inputs(x, v, 0, a, n)
	p.grad()
}

func squaresVector(sums, next, x, v []float32, a Affine) {
	if len(next) == 0 {
		return
	}
	x, v = fit(x, len(next), a.X), fit(v, len(next), a.V)
	sums = sums[:Blocks(len(next))]
	for i := 0; i < len(next); i += maxCall {
		p := passArgs{dst: &next[i], n: min(maxCall, len(next)-i), sums: &sums[i/BlockLen]}
		p.inputs(x, v, i, a, BlockLen)
		p.squares()
	}
}

func gradVector(dst, next, x, v []float32, a Affine, scale float32) {
	if len(dst) == 0 {
		return
	}
	x, v = fit(x, len(dst), a.X), fit(v, len(dst), a.V)
	next = next[:len(dst)]
	for i := 0; i < len(dst); i += maxCall {
		p := passArgs{dst: &dst[i], n: min(maxCall, len(dst)-i), extra: &next[i], sums: &scale}
		p.inputs(x, v, i, a, BlockLen)
		p.grad()
	}
}

// fewDraws are done sooner than vector code is ready.
const fewDraws = 16

func (s Stream) normalVector(dst []float32, off uint64) {
	// The portable code goes to the next block.
	head := min(int(-off&3), len(dst))
	s.normalPortable(dst[:head], off)
	dst, off = dst[head:], off+uint64(head)
	if len(dst) == 0 {
		return
	}
	if len(dst) <= fewDraws {
		s.normalPortable(dst, off)
		return
	}
	var c schedule
	c.set(s)
	groupLen := use.groupLen()
	for len(dst) >= groupLen {
		n := min(len(dst)/groupLen*groupLen, maxCall)
		groups := n / groupLen
		ask := Prefetch{}.over(groups, &dst[0])
		c.normals(&dst[0], groups, uint32(off/4), &ask)
		dst, off = dst[n:], off+uint64(n)
	}
	if len(dst) > 0 {
		var last [maxGroup]float32
		ask := Prefetch{}.over(1, &last[0])
		c.normals(&last[0], 1, uint32(off/4), &ask)
		copy(dst, last[:])
	}
}
