//go:build linux && (amd64 || arm64) && !purego

package kernel

import "testing"

// The zeros for absent terms are one block. No pass reads beyond them.
func TestPagesBeyondZeros(t *testing.T) {
	defer func(was *[BlockLen]float32) { zeros = was }(zeros)
	forEach(t, func(t *testing.T) {
		for _, atEnd := range []bool{false, true} {
			zeros = (*[BlockLen]float32)(pages(t, BlockLen, atEnd))
			const most = 5000
			x, v, dst := make([]float32, most), make([]float32, most), make([]float32, most)
			sums := make([]float32, MaxRows)
			for _, a := range []Affine{{}, {X: 1}, {V: 1}, {Eps: 1}, {X: 1, Eps: 1}, {V: 1, Eps: 1}, {X: 1, V: 1}} {
				for n := 1; n <= most; n += 1 + n/9 {
					Step(sums[:Blocks(n)], dst[:n], x, v, a, Stream{}, 0, Float32)
					Squares(sums[:Blocks(n)], dst[:n], x, v, a)
					Grad(dst[:n], dst[:n], x, v, a, 0.3)
				}
				for _, rows := range []int{1, 2, 3, 16, MaxRows} {
					for n := 1; n*rows <= most && n <= BlockLen; n += 1 + n/9 {
						dst := dst[:n*rows]
						x, v := x[:n*rows], v[:n*rows]
						StepRows(sums[:rows], dst, x, v, a, make([]Stream, rows), 0, Float32)
						SquaresRows(sums[:rows], dst, x, v, a, rows)
						GradRows(dst, dst, x, v, a, sums[:rows])
					}
				}
			}
		}
	})
}
