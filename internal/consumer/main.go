// Command consumer is a separate module that uses cps as other projects do, with a replace
// directive. It runs a short rollout of a closed-form model. Then it checks that a replay gives
// a ratio of exactly 1.
package main

import (
	"context"
	"fmt"
	"log"
	"math"

	"cps/grpo"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

func main() {
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(8).Shift(3),
		Rule:      sampler.FlowCPS{Eta: 0.7},
	})
	if err != nil {
		log.Fatal(err)
	}
	// This velocity is exact for data at the single point 1.
	model := func(v, x []float32, t float64) error {
		for i := range v {
			v[i] = (x[i] - 1) / float32(t)
		}
		return nil
	}

	b := s.Batch(16, noise.Key(1), 0, 1, 2, 3)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu := sampler.CPU{}
	ctx := context.Background()
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(ctx, cpu, s, b, run, sampler.OneTime(model)); err != nil {
		log.Fatal(err)
	}
	if err := sampler.CheckOnPolicy(ctx, cpu, s, b, run, sampler.OneTime(model)); err != nil {
		log.Fatal(err)
	}

	s.SetStep(b, 0)
	logp, err := logprob.Form{}.LogProb(make([]float64, 4), b, run.SumSquares[0])
	if err != nil {
		log.Fatal(err)
	}
	adv, err := grpo.Advantages(make([]float64, 4), []float64{1, 2, 3, 4}, 4, 1e-4)
	if err != nil {
		log.Fatal(err)
	}
	for i := range logp {
		if math.IsNaN(logp[i]) || math.IsNaN(adv[i]) {
			log.Fatalf("row %d: log p %v, advantage %v", i, logp[i], adv[i])
		}
	}
	fmt.Printf("The ratio is exactly 1 at %d steps. The last latent is %.4f.\n", s.Steps(), run.Latents[s.Steps()][0])
}
