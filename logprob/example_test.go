package logprob_test

import (
	"context"
	"fmt"
	"log"
	"math"

	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// bias is a model with one parameter, the mean of the data that it believes in. Its
// velocity is v = (x - θ)/t, so that ∂v/∂θ = -1/t.
func bias(θ float64) func(v, x []float32, time float64) error {
	return func(v, x []float32, time float64) error {
		for i := range x {
			v[i] = float32((float64(x[i]) - θ) / time)
		}
		return nil
	}
}

// A trainer's loop: run the old policy, reward its samples, and follow the gradient
// of advantage · ratio. The samples near 1 are rewarded, and θ rises.
func Example() {
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(8),
		Rule:      sampler.FlowCPS{Eta: 0.6},
		Window:    sampler.Window{Start: 0, End: 7}, // the last step has no density anyway
	})
	if err != nil {
		log.Fatal(err)
	}
	const dim, group = 16, 8
	ctx, cpu, form := context.Background(), sampler.CPU{}, logprob.Form{Gaussian: true}
	policy := bias(0.2)

	b := s.Batch(dim, noise.Key(1), 0, 1, 2, 3, 4, 5, 6, 7)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(ctx, cpu, s, b, run, sampler.OneTime(policy)); err != nil {
		log.Fatal(err)
	}

	// Reward: how far the noise took the latents up before the last steps.
	adv := make([]float64, group)
	var mean float64
	for i := range adv {
		for _, x := range run.Latents[7][i*dim:][:dim] {
			adv[i] += float64(x) / dim
		}
		mean += adv[i] / group
	}
	for i := range adv {
		adv[i] -= mean
	}

	old, logp, sq, scale := make([]float64, group), make([]float64, group), make([]float64, group), make([]float64, group)
	v, dv := make([]float32, b.Len()), make([]float32, b.Len())
	var dθ, worst float64
	for i := range s.Steps() {
		t := s.At(i)
		if !t.Stochastic() {
			continue
		}
		s.SetStep(b, i)
		next, x := run.Latents[i+1], run.Latents[i]
		if err := policy(v, x, t.From.Time); err != nil { // the policy in training
			log.Fatal(err)
		}
		cpu.SumSquares(sq, next, x, v, b)
		if _, err := form.LogProb(old, b, run.SumSquares[i]); err != nil {
			log.Fatal(err)
		}
		if _, err := form.LogProb(logp, b, sq); err != nil {
			log.Fatal(err)
		}
		grad := make([]float64, group)
		for k := range grad {
			ratio := math.Exp(logp[k] - old[k])
			worst = max(worst, math.Abs(ratio-1))
			grad[k] = adv[k] * ratio // of Σ adv·ratio by log p
		}
		if _, err := form.GradScale(scale, b, grad); err != nil {
			log.Fatal(err)
		}
		clear(dv)
		cpu.Grad(dv, next, x, v, b, scale)
		for _, g := range dv {
			dθ -= float64(g) / t.From.Time
		}
	}
	fmt.Println("ratio - 1 on policy:", worst)
	fmt.Println("θ rises:", dθ > 0)
	// Output:
	// ratio - 1 on policy: 0
	// θ rises: true
}

// The forms of log p. One step of two elements, a standard deviation of ½ and
// d = (½, -1).
func ExampleForm_LogProb() {
	b := sampler.Batch{Dim: 2, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1, V: -0.25, Eps: 0.5}}}}
	x, v := []float32{0, 0}, []float32{4, 0}
	next := []float32{-0.5, -1}
	sq := make([]float64, 1)
	sampler.CPU{}.SumSquares(sq, next, x, v, b)
	fmt.Println("sum of squares", sq[0])
	for _, f := range []logprob.Form{{}, {Sum: true}, {Gaussian: true}, {Gaussian: true, Sum: true}} {
		logp, err := f.LogProb(make([]float64, 1), b, sq)
		fmt.Printf("%+v: %.4f %v\n", f, logp[0], err)
	}
	b.Rows[0].Eps = 0
	_, err := logprob.Form{Gaussian: true}.LogProb(make([]float64, 1), b, sq)
	fmt.Println(err)
	// Output:
	// sum of squares 1.25
	// {Gaussian:false Sum:false}: -0.6250 <nil>
	// {Gaussian:false Sum:true}: -1.2500 <nil>
	// {Gaussian:true Sum:false}: -1.4758 <nil>
	// {Gaussian:true Sum:true}: -2.9516 <nil>
	// logprob: row 0 (sample 0): the transition has no density: train on those of Sampler.Stochastic
}

// The divergence from a reference policy and its gradient.
func ExampleForm_KL() {
	b := sampler.Batch{Dim: 2, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1, V: -0.25, Eps: 0.5}}}}
	v, ref := []float32{4, 0}, []float32{2, 1}
	cpu, distance := sampler.CPU{}, b.WithAffine(sampler.Affine{V: 1})

	sq := make([]float64, 1)
	cpu.SumSquares(sq, ref, nil, v, distance)
	form := logprob.Form{Gaussian: true, Sum: true}
	kl, err := form.KL(make([]float64, 1), b, sq)
	fmt.Println(kl, err)

	scale, err := form.GradScaleKL(make([]float64, 1), b, 1)
	grad := make([]float32, 2)
	cpu.Grad(grad, ref, nil, v, distance, scale)
	fmt.Println(grad, err)
	// Output:
	// [0.625] <nil>
	// [0.5 -0.25] <nil>
}
