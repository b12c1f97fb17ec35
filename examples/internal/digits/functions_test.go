package digits

import (
	"math"
	"testing"
)

func TestExp(t *testing.T) {
	worst := 0.0
	for i := -87 * 1024; i <= 87*1024; i++ {
		x := float32(i) / 1024 * (1 - 1e-5)
		got, want := exp(x), math.Exp(float64(x))
		if d := math.Abs(float64(got)-want) / want; d > worst {
			worst = d
		}
	}
	t.Logf("relative error %.3g", worst)
	// An ulp of float32 is between 6e-8 and 1.2e-7 of the value.
	if worst > 1.2e-7 {
		t.Errorf("relative error %.3g", worst)
	}
	if exp(0) != 1 {
		t.Errorf("exp(0) = %v", exp(0))
	}
	inf := float32(math.Inf(1))
	if exp(inf) != exp(87) || exp(-inf) != exp(-87) || exp(-87) < 0x1p-126 {
		t.Errorf("at the ends: %v, %v", exp(-inf), exp(inf))
	}
	if x := exp(float32(math.NaN())); x == x {
		t.Errorf("exp(NaN) = %v", x)
	}
}

func TestSilu(t *testing.T) {
	for i := -4000; i <= 4000; i++ {
		z := float64(i) / 100
		y, slope := silu(float32(z))
		z = float64(float32(z))
		s := 1 / (1 + math.Exp(-z))
		// 2 ulp of exp and two more roundings. Near the zero of the slope the error is absolute.
		if d := math.Abs(float64(y) - z*s); d > 5e-7*(math.Abs(z*s)+1e-30) {
			t.Errorf("silu(%v) = %v, want %v", z, y, z*s)
		}
		want := s * (1 + z*(1-s))
		if d := math.Abs(float64(slope) - want); d > 5e-7*(math.Abs(z)*s+1e-30) && d > 5e-7*math.Abs(want) {
			t.Errorf("slope of silu(%v) is %v, want %v", z, slope, want)
		}
	}
}

func TestHalfTurn(t *testing.T) {
	for i := range 1001 {
		x := float64(i) / 1000
		c, s := halfTurn(x)
		wantS, wantC := math.Sincos(math.Pi * x)
		// Both sides round π·x differently. One ulp of π is 4.4e-16.
		if math.Abs(c-wantC) > 1e-15 || math.Abs(s-wantS) > 1e-15 {
			t.Errorf("halfTurn(%v) = %v, %v, want %v, %v", x, c, s, wantC, wantS)
		}
	}
}
