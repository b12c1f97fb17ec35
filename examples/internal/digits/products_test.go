package digits

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// Products of small integers are exact in float32. Therefore every order of summation gives the
// same result.
func TestProducts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.IntRange(1, 40).Draw(t, "m")
		k := rapid.IntRange(1, 40).Draw(t, "k")
		n := rapid.IntRange(1, 40).Draw(t, "n")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		matrix := func(rows, cols int) []float32 {
			x := make([]float32, rows*cols)
			for i := range x {
				x[i] = float32(r.IntN(9) - 4)
			}
			return x
		}
		a, b, c := matrix(m, k), matrix(k, n), matrix(m, n)
		sum := append([]float32(nil), c...)
		mul(sum, a, b, m, k, n)
		for i := range m {
			for j := range n {
				want := c[i*n+j]
				for l := range k {
					want += a[i*k+l] * b[l*n+j]
				}
				if sum[i*n+j] != want {
					t.Fatalf("mul: element (%d, %d) is %v, want %v", i, j, sum[i*n+j], want)
				}
			}
		}
		// (aᵀ)ᵀ·b by mulT, in two pieces.
		at := make([]float32, k*m)
		transpose(at, a, m, k)
		cut := rapid.IntRange(0, m).Draw(t, "cut")
		again := append([]float32(nil), c...)
		mulT(again, at, b, k, m, n, 0, cut)
		mulT(again, at, b, k, m, n, cut, m)
		for i := range again {
			if again[i] != sum[i] {
				t.Fatalf("mulT: element %d is %v, want %v", i, again[i], sum[i])
			}
		}
	})
}

// A NaN among zeros reaches the result.
func TestProductsKeepNaN(t *testing.T) {
	nan := float32(math.NaN())
	c := []float32{0, 0, 0, 0}
	mul(c, []float32{0, nan, 0, 0}, []float32{1, 1, 1, 1}, 2, 2, 2)
	if c[0] == c[0] || c[1] == c[1] || c[2] != 0 || c[3] != 0 {
		t.Errorf("row with a NaN and row without: %v", c)
	}
}
