//go:build (amd64 || arm64) && !purego

package kernel

import (
	"math"
	"unsafe"
)

//go:generate sh -c "cd _asm && go run . -isa AVX2 -out ../avx2_amd64.s"
//go:generate sh -c "cd _asm && go run . -isa AVX512 -out ../avx512_amd64.s"
//go:generate sh -c "cd _neon && go run . -out ../neon_arm64.s"

// A schedule is what the kernels need of a stream. It holds the round keys, each eight
// times. It also holds what the first two rounds make of the counter's words that all
// blocks share. _asm and _neon depend on the layout.
type schedule struct {
	keys  [20][8]uint32
	first [4]uint32

	key   uint64 // the key of the round keys
	known bool
}

// set makes c the schedule of s.
func (c *schedule) set(s Stream) {
	c.setKey(s.Key)
	c.first[0], c.first[1], c.first[2], c.first[3] = c.firstOf(s.Sample, s.Step)
}

func (c *schedule) setKey(key uint64) {
	if !c.known || c.key != key {
		k := [2]uint32{uint32(key), uint32(key >> 32)}
		for i := range c.keys {
			for j := range c.keys[i] {
				c.keys[i][j] = k[i%2]
			}
			k[i%2] += [2]uint32{philoxW0, philoxW1}[i%2]
		}
		c.key, c.known = key, true
	}
}

// firstOf returns the first words of a stream with the key of c. They are not an array:
// to store four words and load them as one would wait for the stores.
func (c *schedule) firstOf(sample uint64, step uint32) (w0, w1, w2, w3 uint32) {
	c1, c2, c3 := step, uint32(sample), uint32(sample>>32)
	p := uint64(c2) * philoxM1
	q := uint64(uint32(p>>32)^c1^c.keys[0][0]) * philoxM0
	return c3 ^ c.keys[1][0], uint32(p) ^ c.keys[2][0], uint32(q>>32) ^ c.keys[3][0], uint32(q)
}

// A group is some blocks of one of many streams: sixteen with AVX-512, else eight. _asm
// and _neon depend on the layout.
type group struct {
	first [4]uint32
	block uint32
	_     [3]uint32
}

// vectors is the memory of the vector kernels in a [Work].
type vectors struct {
	schedule schedule
	heads    [MaxRows]group             // the first groups of short rows
	groups   [BlockLen / minGroup]group // groups whose noise is made together
}

// minGroup is the smallest groupLen.
const minGroup = 32

// passArgs says what a pass does to n elements, which may be many blocks:
//
//	step      dst = round(wx·x + wv·v + we·extra), sums of squares of dst - wx·x - wv·v
//	squares   sums of squares of dst - wx·x - wv·v
//	grad      dst += scale·(extra - wx·x - wv·v)
//
// A block is blockLen elements, at most BlockLen, or the rest; it may be a short row.
// After each block, x, v and, in a step, extra go back by backX, backV and backExtra
// bytes. In a gradient, sums points to the scale of the first block. The scale of each
// later block is scaleStep bytes further.
//
// In a pass over words, dst, x, v and a gradient's extra point to words, and a gradient
// is rounded to their type. The noise of a step is made in whole groups. _asm and _neon
// depend on the layout.
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
	next             uintptr // rows that the next pass will read; each block prefetches one
}

// masks holds 32 words of ones and then 32 zeros. From word 32-n on there are n words of
// ones.
var masks = func() (m [64]int32) {
	for i := range 32 {
		m[i] = -1
	}
	return m
}()

// zeros stand for an absent term. Its weight is then -0: adding -0·0 = -0 leaves the
// other summand unchanged. Tests move zeros elsewhere.
var (
	zeroBlock [BlockLen]float32
	zeros     = &zeroBlock
)

var minusZero = math.Float32frombits(1 << 31)

// maxCall is the largest number of elements of a call. It takes some tens of
// microseconds, in which the scheduler cannot interrupt it. It is a multiple of BlockLen.
const maxCall = 1 << 15

// arguments sets a for n elements of p from element i on, in blocks of blockLen. It sets
// no noise, and no place for sums or scales. It returns no struct: to store fields and
// then copy them would wait for the stores.
func arguments[T Element](a *passArgs, p *Pass[T], w *Affine, i, n, blockLen int) {
	size := int(unsafe.Sizeof(T(0)))
	a.dst, a.n, a.blockLen, a.masks = pointer(p.Out[i:]), n, blockLen, &masks[32]
	a.x, a.wx, a.backX = &zeros[0], minusZero, size*blockLen
	a.v, a.wv, a.backV = &zeros[0], minusZero, size*blockLen
	a.extra, a.we, a.backExtra = &zeros[0], minusZero, 4*blockLen
	if w.X != 0 {
		a.x, a.wx, a.backX = pointer(p.X[i:][:n]), w.X, 0
	}
	if w.V != 0 {
		a.v, a.wv, a.backV = pointer(p.V[i:][:n]), w.V, 0
	}
	if w.X == 0 && w.V == 0 {
		a.wx = 0 // the sum of no terms is +0
	}
	if p.Kind == GradPass {
		a.extra = pointer(p.Next[i:])
	}
}

// pointer returns the address of the first element, in the type that assembly takes.
//
//go:nocheckptr
func pointer[T Element](x []T) *float32 { return (*float32)(unsafe.Pointer(&x[0])) }

// A function is an assembly function: a pass over elements of a type.
type function uint8

const (
	step function = iota
	stepBFloat16
	stepFloat16
	stepBFloat16Words
	stepFloat16Words
	squares
	squaresBFloat16Words
	squaresFloat16Words
	grad
	gradBFloat16Words
	gradFloat16Words
)

// functionOf returns the function of p.
func functionOf[T Element](p *Pass[T]) function {
	if unsafe.Sizeof(T(0)) == 4 {
		return [...][3]function{
			StepPass:    {step, stepBFloat16, stepFloat16},
			SquaresPass: {squares, squares, squares},
			GradPass:    {grad, grad, grad},
		}[p.Kind][p.Storage]
	}
	return [...][3]function{
		StepPass:    {BFloat16: stepBFloat16Words, Float16: stepFloat16Words},
		SquaresPass: {BFloat16: squaresBFloat16Words, Float16: squaresFloat16Words},
		GradPass:    {BFloat16: gradBFloat16Words, Float16: gradFloat16Words},
	}[p.Kind][p.Storage]
}

// headsPortable stores the first group of each row's noise. It begins the given number of
// blocks after the row's own block.
func (c *schedule) headsPortable(dst []group, rows []Row, block uint32) {
	for i := range rows {
		r, g := &rows[i], &dst[i]
		g.first[0], g.first[1], g.first[2], g.first[3] = c.firstOf(r.Sample, r.Step)
		g.block = r.Block + block
	}
}

// shortNoise makes the noise of short rows from i on, with that many groups each, until
// the room is used up. It returns how many rows from i on have their noise or need none.
// The weights are those of row i.
func shortNoise[T Element](w *Work, p *Pass[T], weights *Affine, i, groups int) int {
	groupLen := use.groupLen()
	room := BlockLen / groupLen / groups // in rows
	var each []group
	k := i
	if p.Same && groups == 1 {
		k = min(len(p.Rows), i+room)
		each = w.heads[i:k]
	} else {
		n := 0
		for ; k < len(p.Rows); k++ {
			if !p.Same && float32(p.Rows[k].Eps) == 0 {
				continue
			}
			if room--; room < 0 {
				break
			}
			h := &w.heads[k]
			for at := range groups {
				g := &w.groups[n]
				g.first[0], g.first[1], g.first[2], g.first[3] = h.first[0], h.first[1], h.first[2], h.first[3]
				g.block = h.block + uint32(at*groupLen/4)
				n++
			}
		}
		each = w.groups[:n]
	}
	if len(each) > 0 {
		ask := prefetchOf(p, weights, i*p.Dim, (k-i)*p.Dim, len(each))
		w.schedule.ofGroups(&w.aligned()[0], each, &ask)
	}
	return k - i
}

// longNoise makes the noise of the part of row i that a does, from element at on. The
// parts of a row must come in order.
func longNoise[T Element](w *Work, p *Pass[T], weights *Affine, a *passArgs, i, at int) {
	r, groupLen := &p.Rows[i], use.groupLen()
	if at == 0 {
		w.schedule.set(r.stream(p.Key))
	}
	groups := (a.n + groupLen - 1) / groupLen
	ask := prefetchOf(p, weights, i*p.Dim+at, a.n, groups)
	w.schedule.normals(&w.aligned()[0], groups, r.Block+p.Block+uint32(at/4), &ask)
}

// fewDraws is a number of draws that portable code makes before vector code would be
// ready.
const fewDraws = 16

func (s Stream) normalVector(dst []float32, off uint64) {
	// The portable code makes the draws up to the next block.
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
		ask := noPrefetch(&dst[0])
		c.normals(&dst[0], n/groupLen, uint32(off/4), &ask)
		dst, off = dst[n:], off+uint64(n)
	}
	if len(dst) > 0 {
		var last [maxGroup]float32
		ask := noPrefetch(&last[0])
		c.normals(&last[0], 1, uint32(off/4), &ask)
		copy(dst, last[:])
	}
}
