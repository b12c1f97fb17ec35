package guidance_test

import (
	"context"
	"fmt"
	"log"

	"cps/noise"
	"cps/sampler"
	"cps/sampler/guidance"
	"cps/schedule"
)

// A model knows two classes, at 1 and at -1, and both together. Guidance leads away from
// what both have in common, and goes beyond the class.
func Example() {
	model := func(_ context.Context, c sampler.Call[[]float32]) error {
		for i, r := range c.Rows {
			var mean float32
			switch {
			case r < 0: // row ^r without its condition
			case r%2 == 0:
				mean = 1
			default:
				mean = -1
			}
			t := float32(c.Times[i])
			for k := i * c.Dim; k < (i+1)*c.Dim; k++ {
				c.V[k] = (c.X[k] - mean) / t
			}
		}
		return nil
	}
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowCPS{Eta: 0.5}})
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range []guidance.Guidance{{}, {Scale: 3}} {
		guided, err := guidance.New(sampler.CPU{}, model, g)
		if err != nil {
			log.Fatal(err)
		}
		b := s.Batch(2, noise.Key(1), 0, 1)
		run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
		sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
		if err := sampler.Rollout(context.Background(), sampler.CPU{}, s, b, run, guided.Velocity); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("scale %v: %.2f\n", g.Scale, run.Latents[s.Steps()])
	}
	// Output:
	// scale 0: [1.00 1.00 -1.00 -1.00]
	// scale 3: [3.00 3.00 -3.00 -3.00]
}
