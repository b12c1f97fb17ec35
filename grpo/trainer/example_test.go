package trainer_test

import (
	"context"
	"fmt"
	"log"

	"cps/grpo"
	"cps/grpo/trainer"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// A policy without a framework, in 25 lines. Its data are digits of 8×8 pixels, each Gaussian
// around an image with variance ¼. The images are the parameters. The velocity is the exact
// one of such data.
type policy struct{ image, grad [10 * 64]float32 }

func (p *policy) each(c sampler.Call[[]float32], do func(i, pixel int, a, t float32)) {
	for row, r := range c.Rows {
		t := float32(c.Times[row])
		a := (t - (1-t)/4) / ((1-t)*(1-t)/4 + t*t)
		for k := range c.Dim {
			do(row*c.Dim+k, r/group*c.Dim+k, a, t) // group number r/group asks for that digit
		}
	}
}
func (p *policy) Velocity(_ context.Context, c sampler.Call[[]float32]) error {
	p.each(c, func(i, k int, a, t float32) { c.V[i] = a*(c.X[i]-(1-t)*p.image[k]) - p.image[k] })
	return nil
}
func (p *policy) Backward(_ context.Context, c sampler.Call[[]float32], dv []float32) error {
	p.each(c, func(i, k int, a, t float32) { p.grad[k] -= dv[i] * (a*(1-t) + 1) })
	return nil
}
func (p *policy) Update(context.Context) error {
	for k, g := range p.grad {
		p.image[k], p.grad[k] = p.image[k]-1000*g, 0
	}
	return nil
}

const group = 24

// glyphs are the digits that are asked for, a byte a row of pixels.
var glyphs = [10]uint64{
	0x3c66666e76663c00, 0x7e1818181c181800, 0x7e060c3060663c00, 0x3c66603860663c00, 0x30307f3333363c38,
	0x3c6660603e067e00, 0x3c66663e06663c00, 0x1818181830667e00, 0x3c66663c66663c00, 0x3c66607c66663c00,
}

func Example() {
	const prompts = 10
	reward := func(_ context.Context, dst []float64, x []float32, prompts []int) error {
		for i, digit := range prompts {
			dst[i] = 0
			for k, v := range x[i*64:][:64] {
				want := 2*float64(glyphs[digit]>>k&1) - 1
				d := float64(v) - want
				dst[i] -= d * d / 64
			}
		}
		return nil
	}
	t, err := trainer.New(sampler.CPU{}, new(policy), trainer.Config[[]float32]{
		Key:      noise.Key(1),
		Sampling: sampler.Config{Scheduler: schedule.Linear(8), Rule: sampler.FlowCPS{Eta: 0.9}},
		Dim:      64, Prompts: prompts, Group: group,
		Reward:      reward,
		Objective:   trainer.Clip{ClipLow: 0.02, ClipHigh: 0.02},
		Minibatches: grpo.Minibatches{Steps: 3},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := t.CheckOnPolicy(ctx); err != nil {
		log.Fatal(err)
	}
	err = t.Run(ctx, 41, func(it trainer.Iteration) error {
		switch it.Number {
		case 0, 10, 40:
			fmt.Printf("iteration %2d: reward %.1f, first |ratio - 1| %v\n", it.Number, it.Reward, it.OnPolicy)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// iteration  0: reward -1.1, first |ratio - 1| 0
	// iteration 10: reward -0.6, first |ratio - 1| 0
	// iteration 40: reward -0.2, first |ratio - 1| 0
}
