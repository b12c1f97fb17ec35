// Package readme compiles and runs the code of README.md.
package readme

//lint:file-ignore SA4006 The README leaves out error checks.

import (
	"context"
	"math"
	"os"
	"strings"
	"testing"

	"cps/grpo"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// The loop of the README, on a policy with one parameter: the mean of the data that
// it believes in.
func TestLoop(t *testing.T) {
	const dim, key = 64, noise.Key(3)
	ctx, cpu := context.Background(), sampler.CPU{}
	form, objective := logprob.Form{Gaussian: true}, grpo.Objective{ClipLow: 1e-3, ClipHigh: 1e-3}
	old, logp, sq, grad, scale := make([]float64, 4), make([]float64, 4), make([]float64, 4), make([]float64, 4), make([]float64, 4)
	v, dv := make([]float32, 4*dim), make([]float32, 4*dim)
	adv := []float64{1, -1, 0.5, -0.5}
	policy := func(v, x []float32, time float64) error {
		for i := range v {
			v[i] = (x[i] - 0.3) / float32(time)
		}
		return nil
	}
	steps, slope := 0, 0.0
	backward := func(dv []float32) {
		steps++
		for _, g := range dv {
			slope += math.Abs(float64(g))
		}
	}

	// README
	s, err := sampler.New(sampler.Config{ // mistakes in a configuration end here
		Scheduler: schedule.Linear(10).Shift(3),
		Rule:      sampler.FlowCPS{Eta: 0.9},
	})
	b := s.Batch(dim, key, 0, 1, 2, 3)                           // four samples
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{}) // memory for all latents
	cpu.Step(run.Latents[0], nil, nil, b, nil)                   // initial noise
	err = sampler.Rollout(ctx, cpu, s, b, run, sampler.OneTime(policy))

	for i := range s.Steps() {
		if !s.At(i).Stochastic() {
			continue // the last step draws no noise and has no density
		}
		s.SetStep(b, i)
		x, next := run.Latents[i], run.Latents[i+1]
		err = policy(v, x, s.At(i).From.Time)            // the policy in training
		cpu.SumSquares(sq, next, x, v, b)                // one number a row
		_, err = form.LogProb(old, b, run.SumSquares[i]) // of the rollout
		_, err = form.LogProb(logp, b, sq)               // exactly the same on policy
		_, err = objective.Loss(grad, logp, old, adv)    // ∂loss/∂log p
		_, err = form.GradScale(scale, b, grad)
		clear(dv)
		cpu.Grad(dv, next, x, v, b, scale) // ∂loss/∂v
		backward(dv)                       // yours
	}
	// end

	if err != nil {
		t.Fatal(err)
	}
	for i := range logp {
		if logp[i] != old[i] {
			t.Errorf("row %d: log p %v, in the rollout %v", i, logp[i], old[i])
		}
	}
	if steps != 9 || !(slope > 0) {
		t.Errorf("%d backward passes, gradient %v", steps, slope)
	}
}

// The README shows that code.
func TestSame(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), "\t// README\n")
	code, _, found := strings.Cut(code, "\t// end\n")
	if !found {
		t.Fatal("no marks")
	}
	lines := strings.Split(strings.TrimRight(code, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "\t")
	}
	if want := strings.Join(lines, "\n"); !strings.Contains(string(page), "```go\n"+want+"\n```") {
		t.Errorf("README.md does not show\n%s", want)
	}
}
