package golden

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// ulp returns the largest relative error of one rounding in a precision of the golden files.
// Tolerances are multiples of it.
func ulp(t tester, precision string) float64 {
	t.Helper()
	switch precision {
	case "f32":
		return ulp32
	case "f64":
		return 0x1p-53
	}
	t.Fatalf("precision %q is unknown", precision)
	return 0
}

const ulp32 = 0x1p-24

// worst compares as near does. For every quantity of every group of cases it keeps the error
// that came nearest to its tolerance.
type worst map[string]*extreme

type extreme struct {
	err, tol float64
	at       string // the test
	n        int    // numbers compared
}

// log prints the largest errors beside their tolerances.
func (w worst) log(t tester) {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(w)) {
		e := w[k]
		fmt.Fprintf(&b, "\n%-34s %6d numbers, worst %.2e of %.2e in %s", k, e.n, e.err, e.tol, e.at)
	}
	t.Logf("largest errors |got-want|/max(1,|want|) beside their tolerances:%s", b.String())
}

func (w worst) near(t tester, group, what string, got, want []float64, tol float64) {
	t.Helper()
	near(t, what, got, want, tol)
	e := w[group+" "+what]
	if e == nil {
		e = &extreme{tol: tol, at: t.Name()}
		w[group+" "+what] = e
	}
	for i := range min(len(got), len(want)) {
		e.n++
		d := math.Abs(got[i]-want[i]) / max(1, math.Abs(want[i]))
		if d*e.tol > e.err*tol {
			e.err, e.tol, e.at = d, tol, t.Name()
		}
	}
}

// scaled compares as near does, in units of the largest wanted number. It is for numbers far
// below 1. If all wanted numbers are 0, it accepts only 0.
func (w worst) scaled(t tester, group, what string, got, want []float64, tol float64) {
	t.Helper()
	unit := largest(want)
	if unit == 0 {
		near(t, what, got, want, 0)
		return
	}
	w.near(t, group, what, over(got, unit), over(want, unit), tol)
}

// largest returns the largest absolute value.
func largest(x ...[]float64) float64 {
	var m float64
	for _, x := range x {
		for _, x := range x {
			m = max(m, math.Abs(x))
		}
	}
	return m
}

func over(x []float64, unit float64) []float64 {
	y := make([]float64, len(x))
	for i := range x {
		y[i] = x[i] / unit
	}
	return y
}

// float32s returns x rounded to float32, float64s its inverse.
func float32s(x []float64) []float32 {
	y := make([]float32, len(x))
	for i := range x {
		y[i] = float32(x[i])
	}
	return y
}

func float64s(x []float32) []float64 {
	y := make([]float64, len(x))
	for i := range x {
		y[i] = float64(x[i])
	}
	return y
}

// density returns the mean over elements of the logarithm of a normal density
// with the standard deviation std at next, given its mean.
func density(next, mean []float64, std float64) float64 {
	var sum float64
	for i, m := range mean {
		z := (next[i] - m) / std
		sum += -z*z/2 - math.Log(std) - math.Log(math.Sqrt(2*math.Pi))
	}
	return sum / float64(len(mean))
}

// meanSquare returns the mean of (x - y)².
func meanSquare(x, y []float64) float64 {
	var sum float64
	for i := range x {
		sum += (x[i] - y[i]) * (x[i] - y[i])
	}
	return sum / float64(len(x))
}
