//go:build (amd64 || arm64) && !purego

package kernel

import (
	"math"
	"testing"
)

// Assembly rounds to words as Storage.Pack does. Float32s of every exponent come in as
// the noise of a step.
func TestRoundingToWords(t *testing.T) {
	const n = 1 << 16
	noise, out, want, sums := make([]float32, n), make([]uint16, n), make([]uint16, n), make([]float32, Blocks(n))
	forEach(t, func(t *testing.T) {
		if use == portable {
			return
		}
		for _, storage := range []Storage{BFloat16, Float16} {
			p := Pass[uint16]{Storage: storage, Dim: n, Out: out}
			for _, low := range []uint32{0, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff} {
				for i := range noise {
					noise[i] = math.Float32frombits(uint32(i)<<16 | low)
				}
				var a passArgs
				arguments(&a, &p, &Affine{Eps: 1}, 0, n, BlockLen)
				a.extra, a.we, a.backExtra, a.sums = &noise[0], 1, 0, &sums[0]
				a.call(functionOf(&p))
				for i := range noise {
					noise[i] += 0 // the mean of absent terms is +0, which makes a +0 of -0
				}
				storage.Pack(want, noise)
				if !sameWords(storage, out, want) {
					i := firstOther(storage, out, want)
					t.Fatalf("type %d: %v is rounded to %#04x, want %#04x", storage, noise[i], out[i], want[i])
				}
			}
		}
	})
}
