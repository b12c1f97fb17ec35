package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// element is one element of a step as doc.go writes it, without the absent terms.
func element(x, v, e float32, a Affine, t Storage) (next, d float32) {
	var m float32
	switch {
	case a.X != 0 && a.V != 0:
		p, q := a.X*x, a.V*v
		m = float32(p) + float32(q)
	case a.X != 0:
		m = float32(a.X * x)
	case a.V != 0:
		m = float32(a.V * v)
	}
	next = m
	if a.Eps != 0 {
		p := a.Eps * e
		next = float32(p) + m
	}
	next = t.Round(next)
	return next, next - m
}

// at returns x[i], or 0 if x is absent.
func at(x []float32, i int) float32 {
	if x == nil {
		return 0
	}
	return x[i]
}

// weights draws the weights of a step. Any of them may be 0.
func weights(t *rapid.T) Affine {
	w := func(name string) float32 {
		return rapid.SampledFrom([]float32{0, 0.55, -1.37, 0.1}).Draw(t, name)
	}
	return Affine{X: w("X"), V: w("V"), Eps: w("Eps")}
}

// inputs returns x and v of a step, and nil for an input that it does not read.
func inputs(n int, a Affine) (x, v []float32) {
	if a.X != 0 {
		x = input(n, 1)
	}
	if a.V != 0 {
		v = input(n, 2)
	}
	return x, v
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// guarded returns a slice of length n with a guard at either end. intact reports
// whether both guards are as before.
func guarded(n int) (s []float32, intact func() bool) {
	const guard = 77
	whole := make([]float32, n+2)
	whole[0], whole[n+1] = guard, guard
	return whole[1 : n+1 : n+1], func() bool { return whole[0] == guard && whole[n+1] == guard }
}

func TestStep(t *testing.T) { rapid.Check(t, stepProperty) }

func FuzzStep(f *testing.F) { f.Fuzz(rapid.MakeFuzz(stepProperty)) }

// stepProperty checks Step, Squares and Grad against element and blockSum, for any
// length, weights, storage and offset, in place or not.
func stepProperty(t *rapid.T) {
	n := rapid.IntRange(1, 3000).Draw(t, "n")
	a := weights(t)
	storage := rapid.SampledFrom([]Storage{Float32, BFloat16, Float16}).Draw(t, "storage")
	off := 1024 * rapid.Uint64Range(0, 1<<24-3).Draw(t, "block")
	x, v := inputs(n, a)

	g := make([]float32, n)
	testStream.Normal(g, off)
	next, d := make([]float32, n), make([]float32, n)
	for i := range next {
		next[i], d[i] = element(at(x, i), at(v, i), g[i], a, storage)
	}
	want := make([]float32, Blocks(n))
	for b := range want {
		want[b] = blockSum(d[1024*b : min(1024*b+1024, n)])
	}

	dst, dstIntact := guarded(n)
	sums, sumsIntact := guarded(len(want))
	Step(sums, dst, x, v, a, testStream, off, storage)
	if !sameBits(dst, next) || !sameBits(sums, want) {
		t.Fatalf("step of %d elements with %+v, storage %d: not the bits of the definition", n, a, storage)
	}
	if !dstIntact() || !sumsIntact() {
		t.Fatal("step wrote beyond its outputs")
	}

	clear(sums)
	Squares(sums, dst, x, v, a)
	if !sameBits(sums, want) {
		t.Fatal("squares are not those of the step")
	}
	if !sameBits(dst, next) || !sumsIntact() {
		t.Fatal("squares wrote elsewhere")
	}

	// Without sums, and in place of each input.
	clear(dst)
	Step(nil, dst, x, v, a, testStream, off, storage)
	if !sameBits(dst, next) {
		t.Fatal("step without sums differs")
	}
	for _, in := range [][]float32{x, v} {
		if in == nil {
			continue
		}
		saved := slices.Clone(in)
		Step(sums, in, x, v, a, testStream, off, storage)
		if !sameBits(in, next) || !sameBits(sums, want) {
			t.Fatal("step in place differs")
		}
		copy(in, saved)
	}

	// The gradient, into memory of its own and into each input.
	const scale = 0.37
	grad := func(y []float32) []float32 {
		out := make([]float32, n)
		for i := range out {
			p := scale * d[i]
			out[i] = y[i] + float32(p)
		}
		return out
	}
	dst, dstIntact = guarded(n)
	copy(dst, input(n, 3))
	wantGrad := grad(dst)
	Grad(dst, next, x, v, a, scale)
	if !sameBits(dst, wantGrad) || !dstIntact() {
		t.Fatal("gradient is not dst + scale·d")
	}
	for _, in := range [][]float32{x, v, next} {
		if in == nil {
			continue
		}
		saved := slices.Clone(in)
		wantGrad := grad(in)
		Grad(in, next, x, v, a, scale)
		if !sameBits(in, wantGrad) {
			t.Fatal("gradient in place differs")
		}
		copy(in, saved)
	}
}

// Rows are cut at blocks, as for any number of workers.
func TestStepOffset(t *testing.T) {
	const n = 5000
	x, v := inputs(n, testAffine)
	whole, sums := make([]float32, n), make([]float32, Blocks(n))
	Step(sums, whole, x, v, testAffine, testStream, 0, BFloat16)
	for cut := 0; cut < n; cut += BlockLen {
		part, partSums := make([]float32, n-cut), make([]float32, Blocks(n-cut))
		Step(partSums, part, x[cut:], v[cut:], testAffine, testStream, uint64(cut), BFloat16)
		if !sameBits(part, whole[cut:]) || !sameBits(partSums, sums[cut/BlockLen:]) {
			t.Fatalf("the part from %d on differs", cut)
		}
	}
}

// For every tail, the first n elements of a step do not depend on n.
func TestStepTails(t *testing.T) {
	const most = 1100
	x, v := inputs(most, testAffine)
	whole := make([]float32, most)
	Step(nil, whole, x, v, testAffine, testStream, 0, Float32)
	for n := 1; n <= most; n++ {
		dst, intact := guarded(n)
		sums, replay := make([]float32, Blocks(n)), make([]float32, Blocks(n))
		Step(sums, dst, x[:n], v[:n], testAffine, testStream, 0, Float32)
		Squares(replay, dst, x[:n], v[:n], testAffine)
		if !sameBits(dst, whole[:n]) || !intact() || !sameBits(sums, replay) {
			t.Fatalf("a row of %d elements differs", n)
		}
	}
}

// A NaN in an input reaches the result and the sum. A NaN in an absent input
// reaches nothing: stepProperty proves that with nil inputs.
func TestStepNonFinite(t *testing.T) {
	const n = 300
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		for _, storage := range []Storage{Float32, BFloat16, Float16} {
			for i := range n {
				x, v := inputs(n, testAffine)
				v[i] = bad
				dst, sums := make([]float32, n), make([]float32, 1)
				Step(sums, dst, x, v, testAffine, testStream, 0, storage)
				if dst[i]-dst[i] == 0 || sums[0]-sums[0] == 0 {
					t.Fatalf("%v at %d of v: result %v, sum %v", bad, i, dst[i], sums[0])
				}
			}
		}
	}
}

// frozenSteps holds known answers forever, for a step of 2500 elements with
// testAffine and testStream from offset 1024 on. They are the bits of the block
// sums, and a SHA-256 of the result, little-endian.
var frozenSteps = []struct {
	storage Storage
	sums    [3]uint32
	next    string
}{
	{Float32, [3]uint32{0x43330bb6, 0x4335a6b4, 0x429a8adf}, "da06c2c73bd1cb44334458e2d7e72b3cbaac34270d76d4528e192d6b6f6ef625"},
	{BFloat16, [3]uint32{0x4332fccd, 0x4335a0a8, 0x429a94c0}, "992c7b0ebf5290261b750378b5c717561cb6898ef19eb3e2c8a4cd8ec7c80c21"},
	{Float16, [3]uint32{0x43330f73, 0x4335a774, 0x429a8d52}, "e3a7aabb8ae63cf2501f06fd6e1179dcf86f07190ec79f85ebef060e9077bef0"},
}

func TestStepFrozen(t *testing.T) {
	const n = 2500
	x, v := inputs(n, testAffine)
	for _, f := range frozenSteps {
		dst, sums := make([]float32, n), make([]float32, Blocks(n))
		Step(sums, dst, x, v, testAffine, testStream, BlockLen, f.storage)
		for b, want := range f.sums {
			if got := math.Float32bits(sums[b]); got != want {
				t.Errorf("storage %d: sum %d is %#08x (%v), want %#08x", f.storage, b, got, sums[b], want)
			}
		}
		h := sha256.New()
		if err := binary.Write(h, binary.LittleEndian, dst); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", h.Sum(nil)); got != f.next {
			t.Errorf("storage %d: hash of the result is %s, want %s", f.storage, got, f.next)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	const n = 3000
	x, v := inputs(n, testAffine)
	dst, sums := make([]float32, n), make([]float32, 5)
	words := make([]uint16, n)
	w := new(Work)
	forEach(t, func(t *testing.T) {
		for _, kind := range []Kind{StepPass, SquaresPass, GradPass} {
			for _, rows := range []int{1, 5} {
				all := make([]Row, 5)
				for i := range all {
					all[i] = Row{Weights: wide(testAffine)}
				}
				if got := testing.AllocsPerRun(10, func() {
					dim := n / rows
					if rows > 1 {
						dim = 70
					}
					k := rows * dim
					sums := sums[:rows*Blocks(dim)]
					Do(w, &Pass[float32]{kind, Float16, 1, dim, all[:rows], 0, true, dst[:k], dst[:k], x[:k], v[:k], sums, x[:rows]})
					Do(w, &Pass[uint16]{kind, Float16, 1, dim, all[:rows], 0, false, words[:k], words[:k], words[:k], words[:k], sums, x[:rows]})
				}); got != 0 {
					t.Errorf("%v allocations", got)
				}
			}
		}
	})
}
