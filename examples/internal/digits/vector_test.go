package digits

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// both calls f with the portable code and with the assembly, if there is any.
func both(t *testing.T, f func() []float32) (portable, vector []float32) {
	defer func(use bool) { useVector = use }(useVector)
	if !useVector {
		t.Skip("no assembly on this machine")
	}
	useVector = false
	portable = f()
	useVector = true
	return portable, f()
}

// bits reports elements that differ in any bit. All NaNs count as equal.
func bits(t *rapid.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]) {
			t.Fatalf("%s: element %d is %v (%#x), want %v (%#x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// special returns n numbers. Among them are zeros of both signs, tiny and huge ones.
func special(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		switch r.IntN(12) {
		case 0:
			x[i] = 0
		case 1:
			x[i] = float32(math.Copysign(0, -1))
		case 2:
			x[i] = float32(r.NormFloat64()) * 1e-38
		case 3:
			x[i] = float32(r.NormFloat64()) * 1e15
		default:
			x[i] = float32(r.NormFloat64())
		}
	}
	return x
}

// Products of all shapes have the same bits and write nothing else.
func TestVectorProducts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := rapid.IntRange(1, 21).Draw(rt, "m")
		k := rapid.IntRange(1, 40).Draw(rt, "k")
		n := rapid.IntRange(1, 50).Draw(rt, "n")
		lo := rapid.IntRange(0, k).Draw(rt, "lo")
		hi := rapid.IntRange(lo, k).Draw(rt, "hi")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		a, b, b2 := special(r, m*k), special(r, k*n), special(r, m*n)
		c, c2 := make([]float32, m*n), make([]float32, k*n)
		if rapid.Bool().Draw(rt, "onto") { // onto sums, which are never -0
			for i := range c {
				c[i] = float32(r.Float64())
			}
		}
		portable, vector := both(t, func() []float32 {
			d, d2 := slices.Clone(c), slices.Clone(c2)
			mul(d, a, b, m, k, n)
			mulT(d2, a, b2, m, k, n, lo, hi)
			return append(d, d2...)
		})
		bits(rt, "product", vector, portable)
		for i, x := range vector[m*n:] {
			if row := i / n; (row < lo || row >= hi) && x != 0 {
				rt.Fatalf("row %d of rows %d to %d was written", row, lo, hi)
			}
		}
	})
}

// Silu has the same bits for numbers of every size, infinities and NaN.
func TestVectorSilu(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		z := rapid.SliceOfN(rapid.OneOf(
			rapid.Map(rapid.Uint32(), math.Float32frombits),
			rapid.Float32Range(-100, 100),
			rapid.SampledFrom([]float32{0, 87, -87, 88, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}),
		), 0, 40).Draw(rt, "z")
		portable, vector := both(t, func() []float32 {
			y := make([]float32, 2*len(z)+1)
			siluTo(y[:len(z)], y[len(z):2*len(z)], z)
			return y
		})
		bits(rt, "silu", vector, portable)
	})
}

func TestVectorAdam(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(rt, "n")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		params, grads := special(r, n), [][]float32{special(r, n), special(r, n), special(r, n)}
		portable, vector := both(t, func() []float32 {
			o, p := NewAdam(n), slices.Clone(params)
			for _, g := range grads {
				g = slices.Clone(g)
				o.Step(p, g, 1e-3)
				for _, x := range g {
					if x != 0 {
						rt.Fatalf("the gradient is left at %v", x)
					}
				}
			}
			return slices.Concat(p, o.m, o.v)
		})
		bits(rt, "Adam", vector, portable)
	})
}

// A NaN stays in its row, also in tiles.
func TestVectorNaN(t *testing.T) {
	const m, k, n = 8, 3, 32
	a, b := make([]float32, m*k), make([]float32, k*n)
	for i := range a {
		a[i] = 1
	}
	a[2*k] = float32(math.NaN())
	c := make([]float32, m*n)
	mul(c, a, b, m, k, n)
	for i, x := range c {
		if (x != x) != (i/n == 2) {
			t.Fatalf("row %d, column %d: %v", i/n, i%n, x)
		}
	}
}

func BenchmarkPass(b *testing.B) {
	n, _ := committed(b)
	const rows = 360
	x, classes := normals(rows, 16)
	for i := range classes {
		classes[i] %= Classes
	}
	times := slices.Repeat([]float64{0.5}, rows)
	v, grad := make([]float32, len(x)), make([]float32, len(n.params))
	p := NewPass(n, rows)
	use := useVector
	defer func() { useVector = use }()
	for _, vector := range []bool{false, true} {
		if vector && !use {
			continue
		}
		b.Run(map[bool]string{false: "gonum", true: "AVX2"}[vector], func(b *testing.B) {
			useVector = vector
			for b.Loop() {
				p.Forward(v, x, classes, times)
				p.Backward(grad, x)
			}
			b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
