//go:build !purego

package kernel

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// wordsCall is the arguments of a pass over words: rows of blockLen elements, or one of
// many blocks of BlockLen.
type wordsCall struct {
	kind                string
	t                   Storage
	a                   Affine
	blockLen            int
	dst, x, v, next     []uint16
	noise, sums, scales []float32
	noiseLen            int // from a row's noise to the next's
}

func (c *wordsCall) blocks() int { return (len(c.dst) + c.blockLen - 1) / c.blockLen }

// assembly does the pass by the assembly in use.
func (c *wordsCall) assembly() {
	p := passArgs{
		dst: pointer(c.dst), n: len(c.dst), blockLen: c.blockLen, masks: &masks[32], wx: minusZero, wv: minusZero, we: minusZero,
		x: &zeros[0], v: &zeros[0], extra: &zeros[0], backX: 2 * c.blockLen, backV: 2 * c.blockLen, backExtra: 4 * c.blockLen,
	}
	if c.a.X != 0 {
		p.x, p.wx, p.backX = pointer(c.x), c.a.X, 0
	}
	if c.a.V != 0 {
		p.v, p.wv, p.backV = pointer(c.v), c.a.V, 0
	}
	if c.a.X == 0 && c.a.V == 0 {
		p.wx = 0
	}
	switch c.kind {
	case "step":
		if c.a.Eps != 0 {
			p.extra, p.we, p.backExtra = &c.noise[0], c.a.Eps, 4*(c.blockLen-c.noiseLen)
		}
		p.sums = &c.sums[0]
		p.call(StepPass, c.t, true)
	case "squares":
		p.sums = &c.sums[0]
		p.call(SquaresPass, c.t, true)
	case "grad":
		p.extra, p.sums, p.scaleStep = pointer(c.next), &c.scales[0], 4
		p.call(GradPass, c.t, true)
	}
}

// portable does the pass to float32s, by the arithmetic that doc.go describes.
func (c *wordsCall) portable() {
	n := len(c.dst)
	unpack := func(w []uint16) []float32 {
		x := make([]float32, n)
		c.t.Unpack(x, w)
		return x
	}
	dst, x, v, next := unpack(c.dst), unpack(c.x), unpack(c.v), unpack(c.next)
	for b := range c.blocks() {
		lo, hi := b*c.blockLen, min(n, (b+1)*c.blockLen)
		dst, x, v, next := dst[lo:hi], x[lo:hi], v[lo:hi], next[lo:hi]
		switch c.kind {
		case "step":
			m := make([]float32, len(dst))
			c.a.mean(m, x, v, 0)
			var q [4]lanes
			for i := range dst {
				dst[i] = m[i]
				if c.a.Eps != 0 {
					dst[i] = float32(c.a.Eps*c.noise[b*c.noiseLen+i]) + m[i]
				}
				dst[i] = c.t.Round(dst[i])
				m[i] = dst[i] - m[i]
			}
			for k := range q {
				q[k].add(m[min(k*quarterLen, len(m)):min((k+1)*quarterLen, len(m))])
			}
			c.sums[b] = fold(&q)
		case "squares":
			squaresPortable(c.sums[b:], dst, x, v, c.a)
		case "grad":
			gradPortable(dst, next, x, v, c.a, c.scales[b])
		}
	}
	if c.kind != "squares" {
		c.t.Pack(c.dst, dst)
	}
}

// sameWords compares words of type t; a NaN is a NaN.
func sameWords(t Storage, a, b []uint16) bool {
	return slices.EqualFunc(a, b, func(v, w uint16) bool {
		if v == w {
			return true
		}
		var x [2]float32
		t.Unpack(x[:], []uint16{v, w})
		return x[0] != x[0] && x[1] != x[1]
	})
}

// check does the pass both ways. Alias is 1 or 2 if dst is x or v.
func (c *wordsCall) check(t interface{ Fatalf(string, ...any) }, alias int) {
	want := *c
	want.dst, want.x, want.v = slices.Clone(c.dst), slices.Clone(c.x), slices.Clone(c.v)
	want.sums = make([]float32, c.blocks())
	switch alias {
	case 1:
		c.x, want.dst = c.dst, want.x
		copy(c.dst, want.x)
	case 2:
		c.v, want.dst = c.dst, want.v
		copy(c.dst, want.v)
	}
	want.portable()
	c.assembly()
	if !sameWords(c.t, c.dst, want.dst) {
		i := 0
		for sameWords(c.t, c.dst[i:i+1], want.dst[i:i+1]) {
			i++
		}
		t.Fatalf("%v, %s of type %d, %+v, %d elements in blocks of %d, alias %d: element %d is %#04x, want %#04x",
			use, c.kind, c.t, c.a, len(c.dst), c.blockLen, alias, i, c.dst[i], want.dst[i])
	}
	if c.kind != "grad" && !sameFloats(c.sums, want.sums) {
		t.Fatalf("%v, %s of type %d, %+v, %d elements in blocks of %d, alias %d: sums %v, want %v",
			use, c.kind, c.t, c.a, len(c.dst), c.blockLen, alias, c.sums, want.sums)
	}
}

// forEachWords runs a test of every implementation that has passes over words.
func forEachWords(t *testing.T, f func(t *testing.T)) {
	was := use
	defer func() { use = was }()
	for _, use = range available()[1:] {
		t.Run(use.String(), f)
	}
}

var wordsPasses = []string{"step", "squares", "grad"}

// A fencedWords has words before and after it that nobody may touch.
type fencedWords struct{ all, part []uint16 }

const guardHalf = 0x7dcb // a NaN of both types that no computation makes

func fenceWords(t Storage, x []float32, offset int) fencedWords {
	all := make([]uint16, offset+len(x)+80)
	for i := range all {
		all[i] = guardHalf
	}
	part := all[offset:][:len(x):len(x)]
	t.Pack(part, x)
	return fencedWords{all, part}
}

func (g fencedWords) intact() bool {
	before := len(g.all) - 80 - len(g.part)
	for i, w := range g.all {
		if (i < before || i >= before+len(g.part)) && w != guardHalf {
			return false
		}
	}
	return true
}

// Passes over words give the bits of those over float32s, unpacked and packed, for rows
// of any length and place, aliases, absent terms and extremes, and touch nothing else.
func wordsAssemblyAgrees(t *rapid.T) {
	c := wordsCall{
		kind: rapid.SampledFrom(wordsPasses).Draw(t, "pass"),
		t:    rapid.SampledFrom([]Storage{BFloat16, Float16}).Draw(t, "type"),
	}
	n := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(1, 4*BlockLen),
		rapid.SampledFrom([]int{31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 2048})).Draw(t, "n")
	c.blockLen, c.noiseLen = BlockLen, BlockLen
	if n <= BlockLen && rapid.Bool().Draw(t, "rows") {
		c.blockLen, c.noiseLen = n, (n+63)/64*64
		n *= rapid.IntRange(1, 5).Draw(t, "number of rows")
	}
	weight := rapid.SampledFrom([]float32{0.55, -0.37, 0, minusZeroTest, 1, 1.0000001, 7.1e4, float32(math.Inf(1)), float32(math.NaN())})
	c.a = Affine{weight.Draw(t, "X"), weight.Draw(t, "V"), weight.Draw(t, "Eps")}
	special := []float32{0, minusZeroTest, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
		1e-42, -3e38, 65504, 6e-8, 5.9604645e-08, 1 + 1.0/128}
	data := func(name string) fencedWords {
		x := make([]float32, n)
		Stream{Key: rapid.Uint64().Draw(t, name)}.normalPortable(x, 0)
		for range rapid.IntRange(0, 4).Draw(t, "specials of "+name) {
			x[rapid.IntRange(0, n-1).Draw(t, "at")] = rapid.SampledFrom(special).Draw(t, "special")
		}
		return fenceWords(c.t, x, rapid.IntRange(0, 35).Draw(t, name+" offset"))
	}
	dst, x, v, next := data("dst"), data("x"), data("v"), data("next")
	c.dst, c.x, c.v, c.next = dst.part, x.part, v.part, next.part
	blocks := c.blocks()
	c.noise, c.scales = make([]float32, blocks*c.noiseLen), make([]float32, blocks)
	Stream{Key: 3}.normalPortable(c.noise, 0)
	Stream{Key: 4}.normalPortable(c.scales, 0)
	sums := fence(make([]float32, blocks), 3)
	c.sums = sums.part
	alias := 0
	if c.kind == "step" {
		alias = rapid.IntRange(0, 2).Draw(t, "alias")
	}
	before := [][]uint16{slices.Clone(c.x), slices.Clone(c.v), slices.Clone(c.next)}
	c.check(t, alias)
	for i, g := range []fencedWords{x, v, next} {
		if !g.intact() || !slices.Equal(g.part, before[i]) {
			t.Fatalf("an input was written")
		}
	}
	if !dst.intact() || !sums.intact() {
		t.Fatalf("memory beside dst or sums was written")
	}
}

func TestWordsAssemblyAgrees(t *testing.T) {
	forEachWords(t, func(t *testing.T) { rapid.Check(t, wordsAssemblyAgrees) })
}

func FuzzWordsAssemblyAgrees(f *testing.F) { f.Fuzz(rapid.MakeFuzz(wordsAssemblyAgrees)) }

// Every word is read as its value and written as itself, and every float32's top half with
// some lower halves is rounded as Storage.Pack does.
func TestWordsOfEveryValue(t *testing.T) {
	const n = 1 << 16
	forEachWords(t, func(t *testing.T) {
		words, out := make([]uint16, n), make([]uint16, n)
		for i := range words {
			words[i] = uint16(i)
		}
		sums := make([]float32, Blocks(n))
		for _, storage := range []Storage{BFloat16, Float16} {
			c := wordsCall{kind: "step", t: storage, a: Affine{X: 1}, blockLen: BlockLen, dst: out, x: words, sums: sums}
			c.assembly()
			if !sameWords(storage, out, words) {
				t.Fatalf("type %d: words are not what they were", storage)
			}
			noise, want := make([]float32, n), make([]uint16, n)
			for _, low := range []uint32{0, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff} {
				for i := range noise {
					noise[i] = math.Float32frombits(uint32(i)<<16 | low)
				}
				c := wordsCall{kind: "step", t: storage, a: Affine{Eps: 1}, blockLen: BlockLen, noiseLen: BlockLen, noise: noise, dst: out, sums: sums}
				c.assembly()
				for i := range out {
					noise[i] += 0 // the mean, which makes a +0 of -0
				}
				if storage.Pack(want, noise); !sameWords(storage, out, want) {
					t.Fatalf("type %d: words whose lower half is %#04x are rounded otherwise", storage, low)
				}
			}
		}
	})
}
