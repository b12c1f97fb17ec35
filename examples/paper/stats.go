package main

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A sample is the mean of N values and their standard deviation, 0 for one value.
type sample struct {
	Mean, Std float64
	N         int
	Lost      int // values that are not known; they count in no other field
}

// sampleOf returns the sample of x, where NaN is a value that is not known.
func sampleOf(x []float64) sample {
	known := slices.DeleteFunc(slices.Clone(x), math.IsNaN)
	s := sample{N: len(known), Lost: len(x) - len(known)}
	if s.N < 2 {
		s.Mean = stat.Mean(known, nil)
		return s
	}
	s.Mean, s.Std = stat.MeanStdDev(known, nil)
	return s
}

// se returns the standard error of the mean.
func (s sample) se() float64 { return s.Std / math.Sqrt(float64(s.N)) }

// low and high return the ends of the band of one standard deviation.
func (s sample) low() float64  { return s.Mean - s.Std }
func (s sample) high() float64 { return s.Mean + s.Std }

// A difference is that of two means, with the half-width of its 95 % interval. The
// half-width is infinite where the spread is unknown.
type difference struct{ Value, Half float64 }

// paired returns the mean of a - b, pair by pair, with the interval of Student's t-test for
// pairs. Element k of both is of seed k, which draws the same noise for all arms. A pair with
// a NaN, a value that is not known, is left out.
func paired(a, b []float64) difference {
	deltas := make([]float64, len(a))
	for k := range a {
		deltas[k] = a[k] - b[k]
	}
	s := sampleOf(deltas)
	d := difference{s.Mean, math.Inf(1)}
	if s.N < 2 || s.Std == 0 {
		return d // equal differences are a coincidence of few seeds, not certainty
	}
	d.Half = s.se() * distuv.StudentsT{Sigma: 1, Nu: float64(s.N - 1)}.Quantile(0.975)
	return d
}

// An outcome is what the numbers say of a claim.
type outcome uint8

const (
	cannotSay outcome = iota
	agrees
	differs
)

func (o outcome) String() string { return [...]string{"cannot say", "agrees", "differs"}[o] }

// answer returns the outcome of a question of this study.
func (o outcome) answer() string { return [...]string{"cannot say", "yes", "no"}[o] }

// is judges a plain fact.
func is(fact bool) outcome {
	if fact {
		return agrees
	}
	return differs
}

// positive judges the claim that the difference is above 0.
func (d difference) positive() outcome {
	switch {
	case d.Value > d.Half:
		return agrees
	case d.Value < -d.Half:
		return differs
	}
	return cannotSay
}

// notPositive judges the claim that the difference is at most 0.
func (d difference) notPositive() outcome {
	return [...]outcome{cannotSay: cannotSay, agrees: differs, differs: agrees}[d.positive()]
}

// reaches0 reports whether the interval contains 0. A wide one does more easily.
func (d difference) reaches0() bool { return math.Abs(d.Value) <= d.Half }

// allOf judges the claim that all of some claims hold.
func allOf(outcomes ...outcome) outcome {
	switch {
	case slices.Contains(outcomes, differs):
		return differs
	case slices.Contains(outcomes, cannotSay):
		return cannotSay
	}
	return agrees
}

// mean returns the mean of f over x.
func mean[T any](x []T, f func(T) float64) float64 {
	var sum float64
	for _, v := range x {
		sum += f(v)
	}
	return sum / float64(len(x))
}

// each returns f of every x.
func each[T, U any](x []T, f func(T) U) []U {
	y := make([]U, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}
