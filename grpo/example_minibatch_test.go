package grpo_test

import (
	"context"
	"fmt"
	"log"

	"cps/grpo"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// The transitions of a minibatch become a batch of its own, whose rows stand at
// different steps. Nothing has been learned yet, so every ratio is exactly 1. This
// shows that the gathered transitions are those that were drawn.
func ExampleMinibatches() {
	const dim = 3
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(5), Rule: sampler.FlowCPS{Eta: 0.9}})
	if err != nil {
		log.Fatal(err)
	}
	// The policy has a time for each row. Its data are ½ everywhere.
	policy := func(v, x []float32, times []float64) {
		for i := range x {
			v[i] = float32((float64(x[i]) - 0.5) / times[i/dim])
		}
	}

	// Four trajectories, their log p and their advantages.
	b := s.Batch(dim, noise.Key(42), 0, 1, 2, 3)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu := sampler.CPU{}
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	err = sampler.Rollout(context.Background(), cpu, s, b, run, sampler.OneTime(func(v, x []float32, t float64) error {
		policy(v, x, []float64{t, t, t, t})
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	form := logprob.Form{}
	old := make([][]float64, s.Steps())
	for _, i := range s.Stochastic() { // the last step draws no noise
		if old[i], err = logprob.OfRun(make([]float64, len(b.Rows)), form, s, b, run, i); err != nil {
			log.Fatal(err)
		}
	}
	adv := []float64{1.2, -0.4, 0.3, -1.1}

	// One inner epoch, two trajectories and two steps of each at a time.
	batches, err := grpo.Minibatches{Rows: 2, Steps: 2, Key: 1}.Epoch(0, len(b.Rows), s.Stochastic())
	if err != nil {
		log.Fatal(err)
	}
	for _, items := range batches {
		m := sampler.Batch{Dim: dim, Key: b.Key, Storage: b.Storage}
		var x, next []float32
		var times, before, advantages []float64
		for _, t := range items {
			m.Rows = append(m.Rows, s.Row(b.Rows[t.Row].Sample, t.Step))
			x = append(x, run.Latents[t.Step][t.Row*dim:][:dim]...)
			next = append(next, run.Latents[t.Step+1][t.Row*dim:][:dim]...)
			times = append(times, s.Time(t.Step))
			before = append(before, old[t.Step][t.Row])
			advantages = append(advantages, adv[t.Row])
		}

		v := make([]float32, len(x))
		policy(v, x, times)
		logp, grad := make([]float64, len(items)), make([]float64, len(items))
		cpu.SumSquares(logp, next, x, v, m)
		if _, err := form.LogProb(logp, m, logp); err != nil {
			log.Fatal(err)
		}
		stats, err := grpo.Objective{ClipLow: 1e-4, ClipHigh: 1e-4}.Loss(grad, logp, before, advantages)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v greatest |r-1| %v\n", items, stats.Deviation)
	}
	// Output:
	// [{1 1} {0 0} {1 2} {0 2}] greatest |r-1| 0
	// [{1 0} {0 1} {1 3} {0 3}] greatest |r-1| 0
	// [{3 0} {2 2} {3 3} {2 3}] greatest |r-1| 0
	// [{3 1} {2 1} {3 2} {2 0}] greatest |r-1| 0
}
