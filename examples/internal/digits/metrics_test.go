package digits

import (
	"math"
	"slices"
	"testing"
)

func TestNearConstant(t *testing.T) {
	s := data(t)
	b := NearConstant(s, 0.0025)
	// The eleven pixels at the left and right edges.
	if want := []int{0, 8, 16, 24, 31, 32, 39, 40, 47, 48, 56}; !slices.Equal(b.Pixels, want) {
		t.Errorf("pixels %v, want %v", b.Pixels, want)
	}
	for i, m := range b.Mean {
		if m < -1 || m > -0.99 {
			t.Errorf("pixel %d has mean %v", b.Pixels[i], m)
		}
	}
	// For the images themselves it is the root of the mean variance.
	_, variance := s.moments()
	sum := 0.0
	for _, p := range b.Pixels {
		sum += variance[p] / float64(len(b.Pixels))
	}
	if got, want := b.Residual(s.Pixels), math.Sqrt(sum); math.Abs(got-want) > 1e-12 {
		t.Errorf("residual of the data %v, want %v", got, want)
	}
	if got := NearConstant(s, 1e-12).Pixels; !slices.Equal(got, []int{0, 32, 39}) {
		t.Errorf("pixels that never change: %v", got)
	}
}

func TestResidual(t *testing.T) {
	b := Background{Pixels: []int{3, 9}, Mean: []float64{-1, 0.5}}
	x := make([]float32, 2*Dim)
	for i := range x {
		x[i] = 100 // not a background pixel
	}
	x[3], x[9], x[Dim+3], x[Dim+9] = -1, 0.5, -1+3, 0.5-4
	if got := b.Residual(x); got != 2.5 { // √((0+0+9+16)/4)
		t.Errorf("residual %v, want 2.5", got)
	}
	x[9] = float32(math.NaN())
	if got := b.Residual(x); got == got {
		t.Errorf("residual %v of a NaN", got)
	}
	if got := b.Residual(nil); got == got {
		t.Errorf("residual %v of nothing", got)
	}
}

func TestNearest(t *testing.T) {
	x := make([]float32, 3*Dim) // points 0, 3 and 10 on a line, not along an axis
	x[Dim], x[Dim+63] = 1.8, 2.4
	x[2*Dim], x[2*Dim+63] = 6, 8
	// Coordinates are rounded to float32.
	if got, want := Diversity(x), (3.+3+7)/3; math.Abs(got-want) > 1e-6 {
		t.Errorf("diversity %v, want %v", got, want)
	}
	if got := Novelty(x, x); got != 0 {
		t.Errorf("novelty %v of copies", got)
	}
	if got, want := Novelty(x[Dim:], x[:Dim]), (3.+10)/2; math.Abs(got-want) > 1e-6 {
		t.Errorf("novelty %v, want %v", got, want)
	}
	for name, got := range map[string]float64{
		"one row":  Diversity(x[:Dim]),
		"no rows":  Diversity(nil),
		"no data":  Novelty(x, nil),
		"a NaN":    Novelty([]float32{63: float32(math.NaN())}, x),
		"NaN data": Novelty(x, []float32{63: float32(math.NaN())}),
	} {
		if got == got {
			t.Errorf("%s: %v", name, got)
		}
	}
}
