package golden

import (
	"slices"

	"cps/sampler"
	"cps/schedule"
)

// A trajectory is a run of trajectories.json and real_model.json. Arrays are
// row-major: X [steps+1, batch, dim], V, Noise and Mean [steps, batch, dim].
type trajectory struct {
	Sampler, Precision string
	Steps, Batch, Dim  int
	Eta                float64
	Sigmas             arr
	X, V, Noise, Mean  arr
	NoiseScale         arr `json:"noise_scale"`
	LogProb            arr `json:"log_prob"`
}

func judgeTrajectories(t tester, path string) {
	w := worst{}
	defer w.log(t)
	eachCase(t, path, func(c trajectory, t tester) { c.run(t, w) })
}

// run checks every step from the recorded latents before it. Then it checks the latents of the
// whole run from the first ones.
func (c trajectory) run(t tester, w worst) {
	if c.Precision == "f32" {
		c.Sigmas = narrow(c.Sigmas)
	}
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Flow(c.Sigmas),
		Rule:      flowRule(t, c.Sampler, c.Eta),
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Steps() != c.Steps || len(c.X) != (c.Steps+1)*c.Batch*c.Dim {
		t.Fatalf("%d steps and %d latents, want %d steps", s.Steps(), len(c.X), c.Steps)
	}
	n := c.Batch * c.Dim
	step := func(a arr, i int) arr { return a[i*n:][:n] }
	x := []float64(step(c.X, 0))
	var tol float64 // errors add up, but do not grow: no step has a weight of x above 1
	for i := range c.Steps {
		rows := slices.Repeat([]sampler.Transition{s.At(i)}, c.Batch)
		p := publishedStep{
			sampler: c.Sampler, precision: c.Precision, rows: rows,
			x: step(c.X, i), v: step(c.V, i), noise: step(c.Noise, i),
			prev: step(c.X, i+1), mean: step(c.Mean, i),
			scale:   slices.Repeat(c.NoiseScale[i:i+1], c.Batch),
			logProb: c.LogProb[i*c.Batch:][:c.Batch],
		}
		p.check(t, w)

		a := s.At(i).Coeffs.Affine(sampler.PredictVelocity, s.At(i).From)
		x = sampler.Apply(make([]float64, n), x, step(c.V, i), step(c.Noise, i), a)
		var err float64
		for k := range rows {
			err = max(err, p.tolerance(t, k))
		}
		tol += err
	}
	w.near(t, c.Sampler+" "+c.Precision, "end of the run", x, step(c.X, c.Steps), tol)
}
