package golden

import (
	"slices"
	"testing"

	"cps/sampler"
	"cps/schedule"
)

// A trajectory is a run of trajectories.json and real_model.json. Arrays are
// row-major: X [steps+1, batch, dim], V, Noise and Mean [steps, batch, dim].
type trajectory struct {
	ID, Sampler, Precision string
	Steps, Batch, Dim      int
	Eta                    float64
	Sigmas                 arr
	X, V, Noise, Mean      arr
	NoiseScale             arr `json:"noise_scale"`
	LogProb                arr `json:"log_prob"`
}

// trajectoriesWithoutDensity lists the runs with a log p upstream at steps where the
// library says that a step without noise has no density.
var trajectoriesWithoutDensity = []string{
	"ff_ode/f32/plain_n4/eta0.0",
	"ff_ode/f32/linspace_n16/eta0.0",
	"ff_ode/f32/shift_n10_shift3.0/eta0.0",
	"ff_ode/f32/flux_n6_seq_len1024/eta0.0",
	"flow_cps/f32/plain_n4/eta0.3",
	"flow_cps/f32/linspace_n16/eta0.7",
	"flow_cps/f32/shift_n10_shift3.0/eta0.9",
	"flow_cps/f32/flux_n6_seq_len1024/eta1.0",
}

func TestTrajectories(t *testing.T) {
	runTrajectories(t, "trajectories.json", trajectoriesWithoutDensity)
}

func runTrajectories(t *testing.T, file string, noDensity []string) {
	var f struct{ Cases []trajectory }
	load(t, file, &f)
	list := newChecklist(t, file)
	w := newWorst(t)
	for _, c := range f.Cases {
		list.tick(t, c.ID)
		t.Run(c.ID, func(t *testing.T) { c.run(t, w, slices.Contains(noDensity, c.ID)) })
	}
	for _, id := range noDensity {
		if !slices.ContainsFunc(f.Cases, func(c trajectory) bool { return c.ID == id }) {
			t.Errorf("excepted case %q is not in %s", id, file)
		}
	}
}

// run checks every step from the latents that were recorded before it, and then
// the latents that all steps together make of the first.
func (c trajectory) run(t *testing.T, w worst, noDensity bool) {
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
	if noDensity && s.At(s.Steps()-1).Stochastic() {
		t.Error("listed as an exception, but the last step has a density")
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
			scale:     slices.Repeat(c.NoiseScale[i:i+1], c.Batch),
			logProb:   c.LogProb[i*c.Batch:][:c.Batch],
			noDensity: noDensity && !s.At(i).Stochastic(),
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
