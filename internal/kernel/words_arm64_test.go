//go:build !purego

package kernel

import (
	"math"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// wordPasses are the assembly over 16-bit words.
var wordPasses = map[Storage]struct{ step, squares, grad func(*passArgs) }{
	BFloat16: {stepBFloat16WordsNEON, squaresBFloat16WordsNEON, gradBFloat16WordsNEON},
	Float16:  {stepFloat16WordsNEON, squaresFloat16WordsNEON, gradFloat16WordsNEON},
}

// A wordCall is the arguments of a pass over rows of words. Rows of more than a block
// are one.
type wordCall struct {
	t               Storage
	a               Affine
	rows, n         int
	dst, x, v, next []uint16
	scales          []float32 // of a gradient, one a row
	noise           []float32 // noiseLen a row
	noiseLen        int
}

// newWordCall returns a call on words that are the draws of a stream, rounded.
func newWordCall(t Storage, a Affine, rows, n int, key uint64) wordCall {
	draws := func(sample uint64, n int) []float32 {
		d := make([]float32, n)
		Stream{Key: key, Sample: sample}.normalPortable(d, 0)
		return d
	}
	c := wordCall{t: t, a: a, rows: rows, n: n, noiseLen: n}
	for i, w := range []*[]uint16{&c.dst, &c.x, &c.v, &c.next} {
		*w = make([]uint16, rows*n)
		t.Pack(*w, draws(uint64(i), rows*n))
	}
	c.scales, c.noise = draws(8, rows), draws(9, rows*n)
	return c
}

// args returns what the assembly gets. It shares nothing with passArgs.inputs.
func (c wordCall) args(sums []float32) *passArgs {
	words := func(w []uint16) *float32 { return (*float32)(unsafe.Pointer(&w[0])) }
	blockLen := min(c.n, BlockLen)
	p := &passArgs{
		dst: words(c.dst), x: words(c.x), v: words(c.v), wx: c.a.X, wv: c.a.V,
		n: c.rows * c.n, blockLen: blockLen, sums: &sums[0],
	}
	if c.a.X == 0 {
		p.x, p.wx, p.backX = &zeros[0], minusZero, 2*blockLen
	}
	if c.a.V == 0 {
		p.v, p.wv, p.backV = &zeros[0], minusZero, 2*blockLen
	}
	if c.a.X == 0 && c.a.V == 0 {
		p.wx = 0
	}
	return p
}

func (c wordCall) step() (sums []float32) {
	sums = make([]float32, c.rows*Blocks(c.n))
	p := c.args(sums)
	p.extra, p.we, p.backExtra = &c.noise[0], c.a.Eps, 4*(min(c.n, BlockLen)-c.noiseLen)
	if c.n > BlockLen {
		p.backExtra = 0
	}
	if c.a.Eps == 0 {
		p.extra, p.we, p.backExtra = &zeros[0], minusZero, 4*min(c.n, BlockLen)
	}
	wordPasses[c.t].step(p)
	return sums
}

func (c wordCall) squares() (sums []float32) {
	sums = make([]float32, c.rows*Blocks(c.n))
	wordPasses[c.t].squares(c.args(sums))
	return sums
}

func (c wordCall) grad() {
	p := c.args(c.scales)
	p.extra, p.scaleStep = (*float32)(unsafe.Pointer(&c.next[0])), 4
	if c.n > BlockLen {
		p.scaleStep = 0
	}
	wordPasses[c.t].grad(p)
}

// want returns what doc.go says of every element, by values of words, rounded.
func (c wordCall) want() (step []uint16, sums, squares []float32, grad []uint16) {
	values := func(w []uint16) []float32 {
		y := make([]float32, len(w))
		c.t.Unpack(y, w)
		return y
	}
	x, v, dst, next := values(c.x), values(c.v), values(c.dst), values(c.next)
	stepped := make([]float32, len(dst))
	for r := range c.rows {
		lo := r * c.n
		ofStep, ofSquares := make([]float32, c.n), make([]float32, c.n)
		for i := range c.n {
			j := lo + i
			stepped[j], ofStep[i] = element(x[j], v[j], c.noise[r*c.noiseLen+i], c.a, c.t)
			mean, _ := element(x[j], v[j], 0, Affine{X: c.a.X, V: c.a.V}, Float32)
			ofSquares[i] = dst[j] - mean
			dst[j] += float32(c.scales[r] * (next[j] - mean))
		}
		for i := 0; i < c.n; i += BlockLen {
			end := min(i+BlockLen, c.n)
			sums, squares = append(sums, blockSum(ofStep[i:end])), append(squares, blockSum(ofSquares[i:end]))
		}
	}
	step, grad = make([]uint16, len(dst)), make([]uint16, len(dst))
	c.t.Pack(step, stepped)
	c.t.Pack(grad, dst)
	return step, sums, squares, grad
}

// sameWords compares words; a NaN is a NaN.
func sameWords(t Storage, a, b []uint16) bool {
	infinity := map[Storage]uint16{BFloat16: 0x7f80, Float16: 0x7c00}[t]
	return slices.EqualFunc(a, b, func(x, y uint16) bool {
		return x == y || x&0x7fff > infinity && y&0x7fff > infinity
	})
}

// check runs all passes. A step may write over an input.
func (c wordCall) check(t interface{ Fatalf(string, ...any) }, alias int) {
	wantStep, wantSums, wantSquares, wantGrad := c.want()
	if got := c.squares(); !sameFloats(got, wantSquares) {
		t.Fatalf("%v, %+v, %d rows of %d: squares %v, want %v", c.t, c.a, c.rows, c.n, got, wantSquares)
	}
	dst := slices.Clone(c.dst)
	if c.grad(); !sameWords(c.t, c.dst, wantGrad) {
		t.Fatalf("%v, %+v, %d rows of %d: gradient %x, want %x", c.t, c.a, c.rows, c.n, c.dst, wantGrad)
	}
	copy(c.dst, dst)
	switch alias {
	case 1:
		c.dst = c.x
	case 2:
		c.dst = c.v
	}
	if got := c.step(); !sameFloats(got, wantSums) {
		t.Fatalf("%v, %+v, %d rows of %d: sums %v, want %v", c.t, c.a, c.rows, c.n, got, wantSums)
	}
	if !sameWords(c.t, c.dst, wantStep) {
		t.Fatalf("%v, %+v, %d rows of %d: step %x, want %x", c.t, c.a, c.rows, c.n, c.dst, wantStep)
	}
}

const fenceWord = 0x7fed

// fenceWords moves w into memory whose other words nobody may touch.
func fenceWords(w *[]uint16, offset int) (intact func() bool) {
	all := slices.Repeat([]uint16{fenceWord}, offset+len(*w)+40)
	end := offset + copy(all[offset:], *w)
	*w = all[offset:end:end]
	other := func(h uint16) bool { return h != fenceWord }
	return func() bool {
		return !slices.ContainsFunc(all[:offset], other) && !slices.ContainsFunc(all[end:], other)
	}
}

// Passes over words do the arithmetic of float32s to their values, for any number of rows
// of any length, weights, alignment and aliases.
func wordsAgree(t *rapid.T) {
	rows := rapid.IntRange(1, MaxRows).Draw(t, "rows")
	n := rapid.OneOf(rapid.IntRange(1, 70), rapid.IntRange(1, BlockLen),
		rapid.SampledFrom([]int{31, 32, 33, 255, 256, 257, 1023, 1024})).Draw(t, "n")
	if rapid.Bool().Draw(t, "long") {
		rows, n = 1, rapid.IntRange(1, 4*BlockLen).Draw(t, "long n")
	}
	weight := rapid.SampledFrom([]float32{0, 0.55, -0.37, 1, 1.0000001, -1e-3, 7.1e4, float32(math.Inf(-1))})
	a := Affine{weight.Draw(t, "X"), weight.Draw(t, "V"), weight.Draw(t, "Eps")}
	storage := rapid.SampledFrom([]Storage{BFloat16, Float16}).Draw(t, "storage")
	c := newWordCall(storage, a, rows, n, rapid.Uint64().Draw(t, "key"))
	if n <= BlockLen {
		c.noiseLen += rapid.IntRange(0, 31).Draw(t, "noise beyond a row")
		c.noise = make([]float32, rows*c.noiseLen)
		Stream{Key: 3}.normalPortable(c.noise, 0)
	}
	buffers := []*[]uint16{&c.dst, &c.x, &c.v, &c.next}
	for range rapid.IntRange(0, 5).Draw(t, "specials") {
		w := *buffers[rapid.IntRange(0, 3).Draw(t, "where")]
		w[rapid.IntRange(0, len(w)-1).Draw(t, "at")] = rapid.Uint16().Draw(t, "special")
	}
	var intact []func() bool
	for _, w := range buffers {
		intact = append(intact, fenceWords(w, rapid.IntRange(0, 17).Draw(t, "offset")))
	}
	c.check(t, rapid.IntRange(0, 2).Draw(t, "alias"))
	for i, intact := range intact {
		if !intact() {
			t.Fatalf("memory beside buffer %d was written", i)
		}
	}
}

func TestWordsAgree(t *testing.T) { rapid.Check(t, wordsAgree) }

// Every length up to more than a block, as one row and as two.
func TestEveryLengthOfWords(t *testing.T) {
	for storage := range wordPasses {
		for n := 1; n <= BlockLen+70; n++ {
			newWordCall(storage, testAffine, 1, n, 1).check(t, n%3)
			if n <= BlockLen {
				newWordCall(storage, testAffine, 2, n, 2).check(t, n%3)
			}
		}
	}
}

// Every word comes back from a step that changes nothing, and every gradient of scale 0,
// at every place of a register and of a tail.
func TestEveryWord(t *testing.T) {
	for storage := range wordPasses {
		for _, n := range []int{64, 60, 5} {
			c := newWordCall(storage, Affine{X: 1}, 1, n, 1)
			for first := 0; first < 1<<16; first += n {
				want := make([]uint16, n)
				for i := range want {
					want[i] = uint16(first + i)
				}
				copy(c.x, want)
				clear(c.dst)
				if c.step(); !sameWords(storage, c.dst, want) {
					t.Fatalf("storage %d: %x became %x", storage, want, c.dst)
				}
				copy(c.next, want)
				copy(c.dst, want)
				c.scales[0] = 0
				c.grad()
				for i, h := range want { // 0·(h-h) is a NaN for an infinity
					var y [1]float32
					storage.Unpack(y[:], want[i:i+1])
					if y[0]-y[0] == 0 && c.dst[i] != h && h != 1<<15 {
						t.Fatalf("storage %d: %x became %x by a gradient", storage, h, c.dst[i])
					}
				}
			}
		}
	}
}

// What a step writes is what Pack writes, for float32s of every exponent.
func TestRoundingToWords(t *testing.T) {
	const n = 1 << 10
	for storage := range wordPasses {
		c := newWordCall(storage, Affine{Eps: 1}, 1, n, 1)
		want := make([]uint16, n)
		for _, low := range []uint32{0, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff} {
			for upper := uint32(0); upper < 1<<16; upper += n {
				for i := range c.noise {
					c.noise[i] = math.Float32frombits((upper+uint32(i))<<16 | low)
				}
				storage.Pack(want, c.noise)
				if upper == 1<<15 && low == 0 {
					want[0] = 0 // -0 and the absent terms' 0
				}
				if c.step(); !sameWords(storage, c.dst, want) {
					t.Fatalf("storage %d: %x became %x, want %x", storage, c.noise, c.dst, want)
				}
			}
		}
	}
}
