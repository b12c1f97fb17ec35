// Poly prints the constants of the float32 normal transform.
//
// Each polynomial is the weighted minimax approximation of its function by
// Remez's exchange. Coefficients are then rounded to float32 one at a time,
// lowest power first. After each rounding the free coefficients are fitted again,
// to make up for it. The weight is the effect on a normal: an error of ε in the
// polynomial becomes weight·ε in √(-2·log u), sin or cos. The lowest coefficient
// of the logarithm is its limit -2, so that small radii keep their relative
// accuracy.
//
//	go run .
package main

import (
	"fmt"
	"math"
	"slices"
)

// A target is a function to approximate on [lo, hi].
type target struct {
	name   string
	lo, hi float64
	degree int
	fixed  []float64 // lowest coefficients that are not fitted
	f, w   func(float64) float64
}

func main() {
	targets := []target{
		{
			name: "log", lo: math.Sqrt2/2 - 1, hi: math.Sqrt2 - 1, degree: 7,
			fixed: []float64{-2},
			// u = 2ᵏ·(1+f), with k ≤ 0. Since u ≤ 1, a positive f has k < 0. An
			// error counts most at the smallest radius, with the largest k: dr =
			// f·dp/(2r).
			f: func(f float64) float64 { return -2 * math.Log1p(f) / f },
			w: func(f float64) float64 {
				l := -2 * math.Log1p(f)
				if f > 0 {
					l += 2 * math.Ln2
				}
				return math.Abs(f) / (2 * math.Sqrt(l))
			},
		}, {
			name: "sin", lo: 0, hi: 1, degree: 3,
			f: func(z float64) float64 { t := math.Sqrt(z); return math.Sin(math.Pi/4*t) / t },
			w: math.Sqrt, // sin = t·p(t²)
		}, {
			name: "cos", lo: 0, hi: 1, degree: 3,
			f: func(z float64) float64 { return math.Cos(math.Pi / 4 * math.Sqrt(z)) },
			w: func(float64) float64 { return 1 },
		},
	}
	for _, t := range targets {
		fmt.Printf("// %s on [%.7g, %.7g]\n", t.name, t.lo, t.hi)
		c := t.fixed
		for len(c) <= t.degree {
			free, e := t.remez(c)
			if len(c) == len(t.fixed) {
				fmt.Printf("// weighted error %.3g with real coefficients\n", e)
			}
			c = append(c, float64(float32(free[0])))
		}
		for i, c := range c {
			fmt.Printf("%sC%d = %v\n", t.name, i, float32(c))
		}
		var e float64
		for _, x := range t.grid() {
			e = max(e, math.Abs(t.w(x)*(t.f(x)-horner(c, x))))
		}
		fmt.Printf("// weighted error %.3g\n\n", e)
	}
}

// grid returns the points of [lo, hi] on which t is fitted, without 0. They are
// dense at the ends, like Chebyshev's.
func (t target) grid() []float64 {
	const n = 20000
	var g []float64
	for i := range n + 1 {
		x := t.lo + (t.hi-t.lo)*(1-math.Cos(math.Pi*float64(i)/n))/2
		if math.Abs(x) > 1e-4 {
			g = append(g, x)
		}
	}
	return g
}

// remez returns the best polynomial whose lower coefficients are fixed: the
// coefficients of the powers len(fixed) … degree, and its weighted error.
func (t target) remez(fixed []float64) (free []float64, e float64) {
	j := len(fixed)
	n := t.degree - j + 1 // number of free coefficients
	grid := t.grid()
	h := make([]float64, len(grid)) // the rest to fit, by a polynomial of degree n-1
	w := make([]float64, len(grid))
	for i, x := range grid {
		xj := math.Pow(x, float64(j))
		h[i] = (t.f(x) - horner(fixed, x)) / xj
		w[i] = t.w(x) * math.Abs(xj)
	}
	ref := make([]int, n+1)
	for i := range ref {
		ref[i] = int(math.Round(float64(len(grid)-1) * (1 - math.Cos(math.Pi*(float64(i)+.5)/float64(n+1))) / 2))
	}
	for range 100 {
		// Solve q(x) ± e/w(x) = h(x) on the reference.
		a := make([][]float64, n+1)
		sign := 1.0
		for r, i := range ref {
			a[r] = make([]float64, n+2)
			p := 1.0
			for k := range n {
				a[r][k] = p
				p *= grid[i]
			}
			a[r][n], a[r][n+1] = sign/w[i], h[i]
			sign = -sign
		}
		s := solve(a)
		free, e = s[:n], math.Abs(s[n])

		next := extrema(grid, func(i int) float64 { return w[i] * (h[i] - horner(free, grid[i])) }, n+1)
		var worst float64
		for _, i := range next {
			worst = max(worst, math.Abs(w[i]*(h[i]-horner(free, grid[i]))))
		}
		if worst <= e*(1+1e-6) {
			return free, e
		}
		ref = next
	}
	panic("poly: Remez's exchange does not converge")
}

// extrema returns n grid points at which err is largest and alternates in sign.
// If err does not alternate so often, it returns fewer.
func extrema(grid []float64, err func(int) float64, n int) []int {
	var at []int
	var val []float64
	for i := range grid {
		e := err(i)
		if k := len(at) - 1; k >= 0 && math.Signbit(val[k]) == math.Signbit(e) {
			if math.Abs(e) > math.Abs(val[k]) {
				at[k], val[k] = i, e
			}
		} else {
			at, val = append(at, i), append(val, e)
		}
	}
	// Drop the least of too many. At an end that is one point. Inside, it is a
	// point and its lesser neighbour, so that the signs still alternate.
	for len(at) > n {
		k := 0
		for i := range val {
			if math.Abs(val[i]) < math.Abs(val[k]) && (len(at) > n+1 || i == len(val)-1) {
				k = i
			}
		}
		m := k + 1
		if 0 < k && k < len(val)-1 {
			if math.Abs(val[k-1]) < math.Abs(val[k+1]) {
				k--
			}
			m = k + 2
		}
		at, val = slices.Delete(at, k, m), slices.Delete(val, k, m)
	}
	return at
}

// solve solves the linear equations with the augmented matrix a, by elimination
// with row pivoting. It overwrites a.
func solve(a [][]float64) []float64 {
	n := len(a)
	for c := range n {
		p := c
		for r := c + 1; r < n; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[p][c]) {
				p = r
			}
		}
		a[c], a[p] = a[p], a[c]
		for r := c + 1; r < n; r++ {
			f := a[r][c] / a[c][c]
			for k := c; k <= n; k++ {
				a[r][k] -= f * a[c][k]
			}
		}
	}
	x := make([]float64, n)
	for r := n - 1; r >= 0; r-- {
		x[r] = a[r][n]
		for k := r + 1; k < n; k++ {
			x[r] -= a[r][k] * x[k]
		}
		x[r] /= a[r][r]
	}
	return x
}

// horner returns the value at x of the polynomial with coefficients c, lowest
// power first.
func horner(c []float64, x float64) (p float64) {
	for i := len(c) - 1; i >= 0; i-- {
		p = p*x + c[i]
	}
	return p
}
