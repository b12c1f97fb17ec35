package kernel

import (
	"fmt"
	"testing"
)

// benchLen elements, 256 KiB a slice, stay in a second-level cache.
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

func BenchmarkStep(b *testing.B) {
	for _, t := range []Storage{Float32, BFloat16, Float16} {
		for _, a := range []Affine{testAffine, {X: testAffine.X, V: testAffine.V}} {
			b.Run(fmt.Sprintf("storage=%d/noise=%t", t, a.Eps != 0), func(b *testing.B) {
				x, v := input(benchLen, 1), input(benchLen, 2)
				dst := make([]float32, benchLen)
				sums := make([]float32, Blocks(benchLen))
				b.SetBytes(4 * benchLen)
				for b.Loop() {
					Step(sums, dst, x, v, a, testStream, 0, t)
				}
			})
		}
	}
}

func BenchmarkSquares(b *testing.B) {
	next, x, v := input(benchLen, 1), input(benchLen, 2), input(benchLen, 3)
	sums := make([]float32, Blocks(benchLen))
	b.SetBytes(4 * benchLen)
	for b.Loop() {
		Squares(sums, next, x, v, testAffine)
	}
}

func BenchmarkGrad(b *testing.B) {
	next, x, v := input(benchLen, 1), input(benchLen, 2), input(benchLen, 3)
	dst := make([]float32, benchLen)
	b.SetBytes(4 * benchLen)
	for b.Loop() {
		Grad(dst, next, x, v, testAffine, 0.37)
	}
}
