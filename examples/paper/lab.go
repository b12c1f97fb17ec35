package main

import (
	"context"
	"math"
	"slices"

	"cps/examples/internal/digits"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

var ode = sampler.FlowODE{}

// A lab samples the network before any fine-tuning. All rules start from the same noise.
type lab struct {
	net        *digits.Net
	background digits.Background
	classes    []int // of the samples, digit by digit
	samples    []uint64
	each       int // samples of a digit
}

// labKey is the key of the lab's noise.
const labKey noise.Key = 1

// samplesOf returns the number of samples of a lab.
func samplesOf(each int) int { return each * digits.Classes }

func newLab(each int) (*lab, error) {
	net, err := digits.Velocity()
	if err != nil {
		return nil, err
	}
	data, err := digits.Load()
	if err != nil {
		return nil, err
	}
	l := &lab{net: net, background: digits.NearConstant(data, 0.0025), each: each}
	for class := range digits.Classes {
		for k := range each {
			l.classes = append(l.classes, class)
			l.samples = append(l.samples, uint64(class)<<32|uint64(k))
		}
	}
	return l, nil
}

// latents returns the latents of a rule at every point of a schedule.
func (l *lab) latents(ctx context.Context, points schedule.Scheduler, rule sampler.Rule) ([][]float32, error) {
	s, err := sampler.New(sampler.Config{Scheduler: points, Rule: rule})
	if err != nil {
		return nil, err
	}
	b := s.Batch(digits.Dim, labKey, l.samples...)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu := sampler.CPU{}
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	err = sampler.Rollout(ctx, cpu, s, b, run, sampler.OneTime(func(v, x []float32, t float64) error {
		l.net.ForwardParallel(v, x, l.classes, t)
		return nil
	}))

	return run.Latents, err
}

// residual measures the noise level of latents at a point with the given signal. It returns
// the root mean square of x - signal·mean, over samples and the pixels that hardly vary in
// the data. On these pixels a latent is signal·mean + noise·N(0, 1), to within the 0.016 by
// which they vary.
func (l *lab) residual(x []float32, signal float64) measured {
	s := sampleOf(l.squares(x, signal))
	rms := math.Sqrt(s.Mean)
	return measured{rms, s.se() / (2 * rms)} // the derivative of the root
}

// median returns the median over samples of the root mean square of a sample, at the end of
// a run.
func (l *lab) median(x []float32) float64 {
	squares := l.squares(x, 1)
	slices.Sort(squares)
	n := len(squares)
	return (math.Sqrt(squares[(n-1)/2]) + math.Sqrt(squares[n/2])) / 2
}

// squares returns the mean square of every sample.
func (l *lab) squares(x []float32, signal float64) []float64 {
	squares := make([]float64, len(l.classes))
	for i := range squares {
		row := x[i*digits.Dim:][:digits.Dim]
		for j, pixel := range l.background.Pixels {
			d := float64(row[pixel]) - signal*l.background.Mean[j]
			squares[i] += d * d / float64(len(l.background.Pixels))
		}
	}
	return squares
}

// show returns n samples of every digit.
func (l *lab) show(x []float32, n int) []float32 {
	var shown []float32
	for class := range digits.Classes {
		shown = append(shown, x[class*l.each*digits.Dim:][:n*digits.Dim]...)
	}
	return shown
}
