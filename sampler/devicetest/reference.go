package devicetest

import (
	"math"

	"cps/noise"
	"cps/sampler"
)

// This file is the specification, element by element. Package cps/internal/kernel
// has the same in blocks.

// mean returns X·x + V·v of a row, without terms of weight 0.
func mean(x, v []float32, n int, a sampler.Affine) []float32 {
	return sampler.Apply(make([]float32, n), x, v, nil, sampler.Affine{X: a.X, V: a.V})
}

// step returns the next latents of b, rounded to a type, and the sums of squares of
// the rows.
func step(x, v []float32, b sampler.Batch, round sampler.Storage) ([]float32, []float64) {
	next, sq := make([]float32, b.Len()), make([]float64, len(b.Rows))
	for i, r := range b.Rows {
		m := mean(row(x, b, i), row(v, b, i), b.Dim, r.Affine)
		y := row(next, b, i)
		copy(y, m)
		if eps := float32(r.Eps); eps != 0 {
			e := make([]float32, b.Dim)
			noise.Normal(e, b.Key, r.ID, 4*uint64(r.Block))
			for j, e := range e {
				y[j] = float32(eps*e) + m[j]
			}
		}
		for j := range y {
			y[j] = round.Round(y[j])
		}
		sq[i] = squares(y, m)
	}
	return next, sq
}

// rowSquares returns the sums of squares of all rows.
func rowSquares(next, x, v []float32, b sampler.Batch) []float64 {
	sq := make([]float64, len(b.Rows))
	for i, r := range b.Rows {
		sq[i] = squares(row(next, b, i), mean(row(x, b, i), row(v, b, i), b.Dim, r.Affine))
	}
	return sq
}

// grad returns dst + scale·(next - X·x - V·v), rounded to a type.
func grad(dst, next, x, v []float32, b sampler.Batch, scale []float64, round sampler.Storage) []float32 {
	sum := make([]float32, b.Len())
	for i, r := range b.Rows {
		m := mean(row(x, b, i), row(v, b, i), b.Dim, r.Affine)
		for j, n := range row(next, b, i) {
			k := i*b.Dim + j
			sum[k] = round.Round(dst[k] + float32(float32(scale[i])*(n-m[j])))
		}
	}
	return sum
}

// squares returns ‖y - m‖² in the frozen order. A block has 1024 elements, in four
// quarters of 256, each of which has 32 lanes. Quarters are added in pairs, lane by
// lane; lanes are folded in halves; blocks are added in order.
func squares(y, m []float32) float64 {
	var total float64
	for lo := 0; lo < len(y); lo += 1024 {
		var q [4][32]float32
		for i := lo; i < min(lo+1024, len(y)); i++ {
			d := y[i] - m[i]
			q[(i-lo)/256][i%32] += float32(d * d)
		}
		var lane [32]float32
		for i := range lane {
			lane[i] = (q[0][i] + q[1][i]) + (q[2][i] + q[3][i])
		}
		for h := 16; h > 0; h /= 2 {
			for i := range h {
				lane[i] += lane[i+h]
			}
		}
		total += float64(lane[0])
	}
	return total
}

// row returns row i of a buffer, or nil for the zero buffer.
func row(x []float32, b sampler.Batch, i int) []float32 {
	if x == nil {
		return nil
	}
	return x[i*b.Dim:][:b.Dim]
}

// same reports whether two float32 have the same bits or are both NaN.
func same(x, y float32) bool {
	return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
}

// same64 is same for float64.
func same64(x, y float64) bool {
	return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y
}
