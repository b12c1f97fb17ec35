package schedule

import "math"

// Flow lists rectified-flow levels t, noisiest first: Signal 1-t, Noise t.
type Flow []float64

// Steps returns len(f) - 1: -1 for an empty list, which has no level to ask for.
func (f Flow) Steps() int { return len(f) - 1 }

// At returns Level(f[i]).
func (f Flow) At(i int) Point { return Level(f[i]) }

// Linear returns the levels 1, 1-1/n, …, 0 of n steps. For n < 1 it returns an
// empty Flow, which Validate rejects.
func Linear(n int) Flow {
	if n < 1 {
		return nil
	}
	f := make(Flow, n+1)
	for i := range f {
		f[i] = float64(n-i) / float64(n)
	}
	return f
}

// Shift returns new levels s·t/(1+(s-1)t); f is not changed.
func (f Flow) Shift(s float64) Flow {
	g := make(Flow, len(f))
	for i, t := range f {
		g[i] = shift(t, s)
	}
	return g
}

func shift(t, s float64) float64 {
	if !(s > 0) || math.IsInf(s, 1) {
		return math.NaN()
	}
	// s·t + (1-t) is exact at both ends, where 1 + (s-1)·t need not be.
	return s * t / (float64(s*t) + (1 - t))
}
