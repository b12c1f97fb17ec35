package kernel

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A fencedWords has words before and after it that nobody may touch.
type fencedWords struct{ all, part []uint16 }

const (
	guardHalf = 0x7dcb // a NaN of both types that no computation makes
	fenceLen  = 80
)

// fenceWords returns the values of x as words. They start offset words into their memory.
func fenceWords(t Storage, x []float32, offset int) fencedWords {
	all := slices.Repeat([]uint16{guardHalf}, offset+len(x)+fenceLen)
	part := all[offset:][:len(x):len(x)]
	t.Pack(part, x)
	return fencedWords{all, part}
}

func (f fencedWords) intact() bool {
	end := len(f.all) - fenceLen
	other := func(w uint16) bool { return w != guardHalf }
	return !slices.ContainsFunc(f.all[:end-len(f.part)], other) && !slices.ContainsFunc(f.all[end:], other)
}

// values returns the values of words.
func values(t Storage, words []uint16) []float32 {
	x := make([]float32, len(words))
	t.Unpack(x, words)
	return x
}

// sameWords compares words of type t. All NaNs are equal.
func sameWords(t Storage, a, b []uint16) bool {
	return slices.EqualFunc(a, b, func(v, w uint16) bool {
		x := values(t, []uint16{v, w})
		return v == w || x[0] != x[0] && x[1] != x[1]
	})
}

// firstOther returns the first place where words differ.
func firstOther(t Storage, a, b []uint16) (i int) {
	for i < len(a) && sameWords(t, a[i:i+1], b[i:i+1]) {
		i++
	}
	return i
}

// ofValues does the pass of portable code over the values of words. It returns what a
// pass over words should leave in Out and Sums.
func ofValues(p *Pass[uint16]) (out []uint16, sums []float32) {
	q := Pass[float32]{
		Kind: p.Kind, Storage: p.Storage, Key: p.Key, Dim: p.Dim, Rows: p.Rows, Block: p.Block, Same: p.Same,
		Out: values(p.Storage, p.Out), Next: values(p.Storage, p.Next), X: values(p.Storage, p.X), V: values(p.Storage, p.V),
		Sums: make([]float32, len(p.Sums)), Scales: p.Scales,
	}
	floatsPortable(&q)
	out = make([]uint16, len(p.Out))
	p.Storage.Pack(out, q.Out)
	return out, q.Sums
}

// Passes over words compute with their values as portable code does with float32s, and
// round the results. This holds for any weights, and for rows of any length and place.
// Nothing else is written.
func wordsAgree(t *rapid.T) {
	d := drawPass(t)
	storage := rapid.SampledFrom([]Storage{BFloat16, Float16}).Draw(t, "type")
	words := func(x []float32, name string) fencedWords {
		return fenceWords(storage, x, rapid.IntRange(0, 35).Draw(t, name+" words offset"))
	}
	out, x, v, next := words(d.Out, "out"), words(d.X, "x"), words(d.V, "v"), words(d.Next, "next")
	p := Pass[uint16]{
		Kind: d.Kind, Storage: storage, Key: d.Key, Dim: d.Dim, Rows: d.Rows, Block: d.Block, Same: d.Same,
		Out: [...]fencedWords{out, x, v, next}[d.alias].part, Next: next.part, X: x.part, V: v.part, Sums: d.sums.part, Scales: d.Scales,
	}
	inputs := []fencedWords{out, x, v, next}
	inputs = slices.Delete(inputs, d.alias, d.alias+1)
	var before [][]uint16
	for _, f := range inputs {
		before = append(before, slices.Clone(f.part))
	}
	wantOut, wantSums := ofValues(&p)
	Do(new(Work), &p)
	if !sameWords(storage, p.Out, wantOut) {
		i := firstOther(storage, p.Out, wantOut)
		t.Fatalf("%v: element %d of row %d is %#04x, want %#04x", use, i%d.Dim, i/d.Dim, p.Out[i], wantOut[i])
	}
	if !sameFloats(p.Sums, wantSums) {
		t.Fatalf("%v: sums are %v, want %v", use, p.Sums, wantSums)
	}
	for i, f := range inputs {
		if !slices.Equal(f.part, before[i]) {
			t.Fatalf("%v: an input was written", use)
		}
	}
	for _, f := range []fencedWords{out, x, v, next} {
		if !f.intact() {
			t.Fatalf("%v: memory beside the words was written", use)
		}
	}
	if d.Kind != GradPass && !d.sums.intact() {
		t.Fatalf("%v: memory beside the sums was written", use)
	}
}

func TestWordsAgree(t *testing.T) { forEach(t, func(t *testing.T) { rapid.Check(t, wordsAgree) }) }

func FuzzWordsAgree(f *testing.F) { f.Fuzz(rapid.MakeFuzz(wordsAgree)) }

// Every word is read as its value and written as itself, at every place of a register and
// of a tail.
func TestEveryWord(t *testing.T) {
	forEach(t, func(t *testing.T) {
		w := new(Work)
		for _, storage := range []Storage{BFloat16, Float16} {
			for _, n := range []int{64, 61, 5} {
				x, out := make([]uint16, n), make([]uint16, n)
				p := Pass[uint16]{Storage: storage, Dim: n, Rows: []Row{{Weights: Weights{X: 1}}}, Out: out, X: x, Sums: make([]float32, 1)}
				for first := 0; first < 1<<16; first += n {
					for i := range x {
						x[i] = uint16(first + i)
					}
					if Do(w, &p); !sameWords(storage, out, x) {
						t.Fatalf("type %d: %#04x became %#04x", storage, x, out)
					}
				}
			}
		}
	})
}
