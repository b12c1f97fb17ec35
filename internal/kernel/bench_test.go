package kernel

import (
	"fmt"
	"testing"
)

// benchLen elements take 256 KiB a slice, which stay in a second-level cache.
const benchLen = 1 << 16

func BenchmarkWords(b *testing.B) {
	dst := make([]uint32, benchLen)
	b.SetBytes(4 * benchLen)
	for b.Loop() {
		testStream.Words(dst, 0)
	}
}

func BenchmarkNormal(b *testing.B) {
	dst := make([]float32, benchLen)
	b.SetBytes(4 * benchLen)
	for b.Loop() {
		testStream.Normal(dst, 0)
	}
}

func BenchmarkNormal64(b *testing.B) {
	dst := make([]float64, benchLen)
	b.SetBytes(8 * benchLen)
	for b.Loop() {
		testStream.Normal64(dst, 0)
	}
}

// benchmarkPass measures a pass over one row, with memory that is reused.
func benchmarkPass(b *testing.B, kind Kind, t Storage, a Affine) {
	next, x, v, dst := input(benchLen, 1), input(benchLen, 2), input(benchLen, 3), make([]float32, benchLen)
	p := &Pass[float32]{Kind: kind, Storage: t, Key: 1, Dim: benchLen, Rows: []Row{{Weights: wide(a)}},
		Scales: []float32{0.37}, Out: dst, Next: next, X: x, V: v, Sums: make([]float32, Blocks(benchLen))}
	w := new(Work)
	b.SetBytes(4 * benchLen)
	for b.Loop() {
		Do(w, p)
	}
}

func BenchmarkStep(b *testing.B) {
	for _, t := range []Storage{Float32, BFloat16, Float16} {
		for _, a := range []Affine{testAffine, {X: testAffine.X, V: testAffine.V}} {
			b.Run(fmt.Sprintf("storage=%d/noise=%t", t, a.Eps != 0), func(b *testing.B) { benchmarkPass(b, StepPass, t, a) })
		}
	}
}

func BenchmarkSquares(b *testing.B) { benchmarkPass(b, SquaresPass, Float32, testAffine) }

func BenchmarkGrad(b *testing.B) { benchmarkPass(b, GradPass, Float32, testAffine) }
