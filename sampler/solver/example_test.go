package solver_test

import (
	"context"
	"fmt"

	"cps/logprob"
	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// A policy for the examples.
func policy(v, x []float32, time float64) error {
	for i, x := range x {
		v[i] = float32(0.5*x) - float32(time)
	}
	return nil
}

// Training on the steps of a solver: latents are data, and the policy in training
// computes the outputs of the history anew. The gradient of a step goes to all
// evaluations on which the step depends.
func Example() {
	const dim = 16
	ctx, cpu := context.Background(), sampler.CPU{}
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(6).Shift(3), Rule: solver.DPMPlus{Order: 2, Eta: 1}})
	if err != nil {
		panic(err)
	}
	b := s.Batch(dim, 7, 0, 1) // two samples
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(ctx, cpu, s, b, run, sampler.OneTime(policy)); err != nil {
		panic(err)
	}

	form := logprob.Form{Gaussian: true}
	h := sampler.History[[]float32]{Device: cpu, Sampler: s}
	buffer := func() []float32 { return make([]float32, b.Len()) }
	v, base, kept, dv := buffer(), buffer(), [][]float32{}, [][]float32{} // kept and dv by evaluation
	var sq, old, logp, scale [2]float64
	for i := range s.Steps() {
		s.SetStep(b, i)
		x, next := run.Latents[i], run.Latents[i+1]
		policy(v, x, s.Time(i))
		kept, dv = append(kept, buffer()), append(dv, buffer())
		h.Base(base, x, func(back, _ int) []float32 { return kept[i-back] }, b)
		h.Keep(kept[i], 0, x, v, b)
		if !s.At(i).Stochastic() {
			continue
		}
		cpu.SumSquares(sq[:], next, base, v, b)
		form.LogProb(old[:], b, run.SumSquares[i])
		form.LogProb(logp[:], b, sq[:])
		fmt.Println("step", i, "depends on", s.Evaluations(i), "and has the same log p:", old == logp)
		form.GradScale(scale[:], b, []float64{1, -1}) // ∂loss/∂log p
		h.Backward(func(back int) []float32 { return dv[i-back] }, next, base, v, b, scale[:])
	}
	// Output:
	// step 0 depends on [0] and has the same log p: true
	// step 1 depends on [1] and has the same log p: true
	// step 2 depends on [1 2] and has the same log p: true
	// step 3 depends on [2 3] and has the same log p: true
	// step 4 depends on [3 4] and has the same log p: true
}

func ExampleAncestral() {
	// 2M, made stochastic with the noise of Flow-CPS.
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(5),
		Rule:      solver.Ancestral{Inner: solver.DPMPlus{Order: 2}, Share: solver.CPS(0.5)},
	})
	if err != nil {
		panic(err)
	}
	fmt.Print(s.Audit())
	// Output:
	//  step  signal  ideal signal   noise  ideal noise   excess  accumulated
	//      0  0.2000        0.2000  0.8000       0.8000  +0.0000       0.0000
	//      1  0.4000        0.4000  0.6000       0.6000  +0.0000       0.0000
	//      2  0.6000        0.6000  0.4000       0.4000  +0.0000       0.0000
	//      3  0.8000        0.8000  0.2000       0.2000  +0.0000       0.0000
	//      4  1.0000        1.0000  0.0000       0.0000  +0.0000       0.0000
}
