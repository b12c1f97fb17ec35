// Package readme compiles and runs the code of README.md.
package readme

//lint:file-ignore SA4006 The README leaves out error checks.

import (
	"context"
	"log"
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

// The loop of the README runs on a policy with one parameter, the mean of its data. The reward
// is the mean of a sample.
func TestLoop(t *testing.T) {
	const dim, iteration = 64, 7
	key := noise.Key(3)
	ctx := context.Background()
	policy := func(v, x []float32, time float64) error {
		for i := range v {
			v[i] = (x[i] - 0.3) / float32(time)
		}
		return nil
	}
	rewards := func(x []float32) []float64 {
		r := make([]float64, len(x)/dim)
		for i := range x {
			r[i/dim] += float64(x[i]) / dim
		}
		return r
	}
	steps, slope := 0, 0.0
	backward := func(dv []float32) {
		steps++
		for _, g := range dv {
			slope += math.Abs(float64(g))
		}
	}

	// README
	s, err := sampler.New(sampler.Config{ // a mistake in a configuration ends here
		Scheduler: schedule.Linear(10).Shift(3),
		Rule:      sampler.FlowCPS{Eta: 0.9},
	})
	objective := grpo.Objective{ClipLow: 1e-4, ClipHigh: 1e-4} // for dim 65536
	cpu, form := sampler.CPU{}, logprob.Form{Gaussian: true}
	b := s.Batch(dim, key.Derive(iteration), 0, 1, 2, 3) // four samples, new noise
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu.Step(run.Latents[0], nil, nil, b, nil) // pure noise
	err = sampler.Rollout(ctx, cpu, s, b, run, sampler.OneTime(policy))
	adv, err := grpo.Advantages(make([]float64, 4), rewards(run.Latents[s.Steps()]), 4, 1e-4)

	v, dv := make([]float32, b.Len()), make([]float32, b.Len())
	sq, old, logp := make([]float64, 4), make([]float64, 4), make([]float64, 4)
	grad, scale := make([]float64, 4), make([]float64, 4)
	for _, i := range s.Stochastic() { // steps with noise; solvers need Replay or grpo/trainer
		s.SetStep(b, i)
		x, next := run.Latents[i], run.Latents[i+1]
		err = policy(v, x, s.Time(i))                    // the policy in training
		cpu.SumSquares(sq, next, x, v, b)                // one number a sample
		_, err = form.LogProb(logp, b, sq)               // log p now
		_, err = logprob.OfRun(old, form, s, b, run, i)  // and in the rollout: the same bits
		stats, _ := objective.Loss(grad, logp, old, adv) // ∂loss/∂log p
		if stats.Deviation != 0 {
			log.Fatal("off policy: ", stats.Deviation) // before the first update ratios are 1
		}
		_, err = form.GradScale(scale, b, grad)
		clear(dv)
		cpu.Grad(dv, next, x, v, b, scale) // ∂loss/∂v
		backward(dv)                       // yours: adds to the gradient
	}
	// then divide the gradient by len(s.Stochastic()) and step your optimiser
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

// README.md shows the code of TestLoop.
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
