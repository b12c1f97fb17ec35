package logprob_test

import (
	"context"
	"math"
	"testing"

	"pgregory.net/rapid"

	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// Any rows, sums and gradients give an error or finite numbers.
func anything(t *rapid.T) {
	number := rapid.OneOf(rapid.Float64Range(0, 2), rapid.Float64Range(0, 2), rapid.Float64(),
		rapid.SampledFrom([]float64{0, 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), 5e-324, 1e-46, 1e39}))
	n := rapid.IntRange(1, 4).Draw(t, "rows")
	b := sampler.Batch{Dim: rapid.SampledFrom([]int{1, 4, math.MaxInt}).Draw(t, "dim")}
	sq, grad := make([]float64, n), make([]float64, n)
	for i := range n {
		a := sampler.Affine{X: number.Draw(t, "X"), V: number.Draw(t, "V"), Eps: number.Draw(t, "Eps")}
		b.Rows = append(b.Rows, sampler.Row{Affine: a, ID: noise.ID{Sample: uint64(i)}})
		sq[i], grad[i] = number.Draw(t, "sum"), number.Draw(t, "gradient")
	}
	f := rapid.SampledFrom(forms).Draw(t, "form")
	weight := number.Draw(t, "weight")
	finite := func(what string, x []float64, err error) {
		t.Helper()
		for i, x := range x {
			if err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
				t.Fatalf("%s of %+v, sums %v, gradients %v, weight %v: row %d is %v", what, b, sq, grad, weight, i, x)
			}
		}
	}
	dst := func() []float64 { return make([]float64, n) }
	x, err := f.LogProb(dst(), b, sq)
	finite("LogProb", x, err)
	x, err = f.KL(dst(), b, sq)
	finite("KL", x, err)
	x, err = f.VelocityKL(dst(), b, sq)
	finite("VelocityKL", x, err)
	x, err = f.GradScale(dst(), b, grad)
	finite("GradScale", x, err)
	x, err = f.GradScaleKL(dst(), b, weight)
	finite("GradScaleKL", x, err)
	x, err = f.GradScaleVelocityKL(dst(), b, weight)
	finite("GradScaleVelocityKL", x, err)

	s := logprob.Spans{Form: f, First: []int{0}}
	if k := rapid.IntRange(0, n-1).Draw(t, "second"); k > 0 {
		s.First = append(s.First, k)
	}
	each := make([]float64, len(s.First))
	x, err = s.LogProb(each, b, sq)
	finite("Spans.LogProb", x, err)
	x, err = s.KL(each, b, sq)
	finite("Spans.KL", x, err)
	x, err = s.GradScale(dst(), b, grad[:len(s.First)])
	finite("Spans.GradScale", x, err)
	x, err = s.GradScaleKL(dst(), b, weight)
	finite("Spans.GradScaleKL", x, err)
}

func TestAnything(t *testing.T) { rapid.Check(t, anything) }
func FuzzAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(anything)) }

// OfRun and NoiseFloor do not panic and return finite numbers, whatever a run keeps and a
// model returns.
func anyRun(t *rapid.T) {
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(3), Rule: sampler.FlowCPS{Eta: 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Batch(4, 1, 3, 4)
	run := sampler.NewTrajectory(b, 3, sampler.Window{})
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(context.Background(), sampler.CPU{}, s, b, run, half(0)); err != nil {
		t.Fatal(err)
	}
	number := rapid.OneOf(rapid.Float64Range(0, 2), rapid.Float64(), rapid.SampledFrom([]float64{0, -1, math.NaN(), math.Inf(1)}))
	run.First = rapid.SampledFrom([]int{0, 0, 0, 1, -1, math.MaxInt, math.MinInt}).Draw(t, "first")
	for range rapid.IntRange(0, 2).Draw(t, "spoilt") {
		switch i := rapid.IntRange(0, 2).Draw(t, "transition"); rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			run.SumSquares[i] = nil
		case 1:
			if run.SumSquares[i] != nil {
				run.SumSquares[i][0] = number.Draw(t, "sum")
			}
		case 2:
			run.Latents[i+1][0] = float32(number.Draw(t, "latent"))
		}
	}
	f := rapid.SampledFrom(forms).Draw(t, "form")
	p, err := logprob.OfRun(make([]float64, 2), f, s, b, run, rapid.SampledFrom([]int{0, 1, 2, 3, -1, math.MaxInt, math.MinInt}).Draw(t, "of"))
	for _, p := range p {
		if err == nil && (math.IsNaN(p) || math.IsInf(p, 0)) {
			t.Fatalf("log p %v", p)
		}
	}
	bias := float32(number.Draw(t, "bias"))
	floors, err := logprob.NoiseFloor(context.Background(), sampler.CPU{}, f, number.Draw(t, "clip"), s, b, run, half(bias), 1)
	for _, x := range floors {
		for _, x := range []float64{x.Ratio, x.Typical, x.Clipped, x.Rounding} {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("%+v beside %v", floors, err)
			}
		}
	}
	if (floors == nil) == (err == nil) {
		t.Fatalf("%v beside %v", floors, err)
	}
}

func TestAnyRun(t *testing.T) { rapid.Check(t, anyRun) }
func FuzzAnyRun(f *testing.F) { f.Fuzz(rapid.MakeFuzz(anyRun)) }
