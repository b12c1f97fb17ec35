package main

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A sample is the mean of n values and their standard deviation, 0 for one value.
type sample struct {
	Mean, Std float64
	N         int
}

func sampleOf(x []float64) sample {
	if len(x) < 2 {
		return sample{Mean: stat.Mean(x, nil), N: len(x)}
	}
	mean, std := stat.MeanStdDev(x, nil)
	return sample{mean, std, len(x)}
}

// se is the standard error of the mean.
func (s sample) se() float64 { return s.Std / math.Sqrt(float64(s.N)) }

// low and high are the ends of the band of one standard deviation.
func (s sample) low() float64  { return s.Mean - s.Std }
func (s sample) high() float64 { return s.Mean + s.Std }

// A difference is that of two means, with the half-width of its 95 % interval. The
// half-width is infinite where the spread is unknown.
type difference struct{ Value, Half float64 }

// minus returns the difference of the means of a and b by Welch's t-test: variances may
// differ, and the degrees of freedom are Welch and Satterthwaite's.
func (a sample) minus(b sample) difference {
	d := difference{a.Mean - b.Mean, math.Inf(1)}
	if a.N < 2 || b.N < 2 {
		return d
	}
	va, vb := a.se()*a.se(), b.se()*b.se()
	if va+vb == 0 {
		return d // a coincidence of few seeds, not certainty
	}
	nu := (va + vb) * (va + vb) / (va*va/float64(a.N-1) + vb*vb/float64(b.N-1))
	d.Half = math.Sqrt(va+vb) * distuv.StudentsT{Sigma: 1, Nu: nu}.Quantile(0.975)
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

// answer is the outcome of a question of our own.
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
