package kernel

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// blockSum adds the squares of one block as the comment in reduce.go says. It
// shares no code with the package.
func blockSum(d []float32) float32 {
	var block [1024]float32
	copy(block[:], d) // the rest is zeros
	var lane [32]float32
	for l := range 32 {
		var quarter [4]float32
		for q := range 4 {
			for j := range 8 {
				x := block[256*q+32*j+l]
				square := x * x
				quarter[q] = quarter[q] + float32(square)
			}
		}
		left := quarter[0] + quarter[1]
		right := quarter[2] + quarter[3]
		lane[l] = left + right
	}
	for _, h := range []int{16, 8, 4, 2, 1} {
		for l := range h {
			lane[l] = lane[l] + lane[l+h]
		}
	}
	return lane[0]
}

// sumsOf returns the block sums of d by Squares, without other inputs.
func sumsOf(d []float32) []float32 {
	sums := make([]float32, Blocks(len(d)))
	Squares(sums, d, nil, nil, Affine{})
	return sums
}

func TestBlockSum(t *testing.T) { rapid.Check(t, blockSumProperty) }

func FuzzBlockSum(f *testing.F) { f.Fuzz(rapid.MakeFuzz(blockSumProperty)) }

func blockSumProperty(t *rapid.T) {
	n := rapid.IntRange(1, 3000).Draw(t, "n")
	d := input(n, rapid.Uint32().Draw(t, "stream"))
	scale := float32(math.Ldexp(1, rapid.IntRange(-70, 60).Draw(t, "exponent")))
	for i := range d {
		d[i] *= scale // small enough that squares underflow, or large enough that sums overflow
	}
	for b, got := range sumsOf(d) {
		if want := blockSum(d[b*1024 : min(b*1024+1024, n)]); math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("block %d of %d elements is %v, want %v", b, n, got, want)
		}
	}
}

// A NaN or an infinity anywhere shows in the sum of its block, and in no other
// sum.
func TestBlockSumNonFinite(t *testing.T) {
	d := input(2500, 1)
	clean := sumsOf(d)
	for i := range d {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			old := d[i]
			d[i] = bad
			for b, s := range sumsOf(d) {
				finite := !math.IsNaN(float64(s)) && !math.IsInf(float64(s), 0)
				if b == i/1024 && finite || b != i/1024 && s != clean[b] {
					t.Fatalf("%v at %d: the sum of block %d is %v", bad, i, b, s)
				}
			}
			d[i] = old
		}
	}
}

// Sums of squares have no cancellation. So fifteen roundings of 2⁻²⁴ bound the
// relative error: a square, seven additions in a lane, two over the quarters, and
// five folds.
func TestBlockSumError(t *testing.T) {
	var most float64
	for stream := range uint32(200) {
		d := input(1024, stream)
		var want float64
		for _, x := range d {
			want += float64(x) * float64(x)
		}
		most = max(most, math.Abs(float64(sumsOf(d)[0])-want)/want)
	}
	t.Logf("largest relative error %.3g", most)
	if bound := 15.01 * 0x1p-24; !(most <= bound) {
		t.Errorf("relative error %.3g, bound %.3g", most, bound)
	}
}

func TestBlocks(t *testing.T) {
	for n, want := range map[int]int{1: 1, 1023: 1, 1024: 1, 1025: 2, 2048: 2, 2049: 3} {
		if got := Blocks(n); got != want {
			t.Errorf("Blocks(%d) = %d, want %d", n, got, want)
		}
	}
}
