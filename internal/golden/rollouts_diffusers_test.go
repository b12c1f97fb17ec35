package golden

import (
	"slices"
	"testing"

	"cps/sampler"
	"cps/schedule"
)

// A rollout is a run of a scheduler of diffusers. Arrays are row-major: X [points,
// batch, dim], V and Noise [points-1, batch, dim]. V is the velocity also where the
// scheduler was fed the noise.
type rollout struct {
	ID, Class string
	Config    struct {
		Algorithm  string `json:"algorithm_type"`
		Order      int    `json:"solver_order"`
		Prediction string `json:"prediction_type"`
		Stochastic bool   `json:"stochastic_sampling"`
	}
	Steps, Batch, Dim int
	Sigmas            arr
	X, V, Noise       arr
}

// rolloutsNotRun lists the runs of samplers that no rule of one step is.
var rolloutsNotRun = []string{
	"dpm/dpmsolver++/o2/midpoint/n6/shift3.0",
	"dpm/dpmsolver++/o2/heun/n6/shift3.0",
	"dpm/dpmsolver++/o3/midpoint/n6/shift3.0",
	"dpm/sde-dpmsolver++/o2/midpoint/n6/shift3.0",
	"dpm/sde-dpmsolver++/o2/heun/n6/shift3.0",
	"dpm/sde-dpmsolver++/o3/midpoint/n6/shift3.0",
	"dpm/sde-dpmsolver/o2/midpoint/n6/shift3.0",
	"dpm/sde-dpmsolver/o2/heun/n6/shift3.0",
	"dpm/dpmsolver/o2/midpoint/n6/shift3.0",
	"dpm/dpmsolver/o2/heun/n6/shift3.0",
	"heun/n6/shift3.0",
	"unipc/o2/n6/shift3.0",
	"dpm/dpmsolver++/o2/midpoint/n16/shift1.0",
	"dpm/dpmsolver++/o2/heun/n16/shift1.0",
	"dpm/dpmsolver++/o3/midpoint/n16/shift1.0",
	"dpm/sde-dpmsolver++/o2/midpoint/n16/shift1.0",
	"dpm/sde-dpmsolver++/o2/heun/n16/shift1.0",
	"dpm/sde-dpmsolver++/o3/midpoint/n16/shift1.0",
	"dpm/sde-dpmsolver/o2/midpoint/n16/shift1.0",
	"dpm/sde-dpmsolver/o2/heun/n16/shift1.0",
	"dpm/dpmsolver/o2/midpoint/n16/shift1.0",
	"dpm/dpmsolver/o2/heun/n16/shift1.0",
	"heun/n16/shift1.0",
	"unipc/o2/n16/shift1.0",
}

func TestRolloutsDiffusers(t *testing.T) {
	const file = "rollouts_diffusers.json"
	var f struct{ Cases []rollout }
	load(t, file, &f)
	list := newChecklist(t, file)
	for _, id := range rolloutsNotRun {
		list.tick(t, id) // fails if it is not in the file
	}
	w := newWorst(t)
	for _, c := range f.Cases {
		if slices.Contains(rolloutsNotRun, c.ID) {
			continue
		}
		list.tick(t, c.ID)
		t.Run(c.ID, func(t *testing.T) { c.run(t, w) })
	}
}

// rule returns the rule and a short name.
func (c rollout) rule(t *testing.T) (sampler.Rule, string) {
	switch {
	case c.Class == "FlowMatchEulerDiscreteScheduler" && c.Config.Stochastic:
		return sampler.Renoise{}, "stochastic Euler"
	case c.Class == "FlowMatchEulerDiscreteScheduler":
		return sampler.FlowODE{}, "Euler"
	case c.Class == "DPMSolverMultistepScheduler" && c.Config.Order == 1:
		switch c.Config.Algorithm {
		case "dpmsolver++":
			return sampler.FlowODE{}, c.Config.Algorithm
		case "sde-dpmsolver":
			return sampler.DPMSDE{}, c.Config.Algorithm
		case "sde-dpmsolver++":
			return sampler.DPMSDEPlus{}, c.Config.Algorithm
		}
	}
	t.Fatalf("no test runs %s %+v, and it is not listed as such", c.Class, c.Config)
	return nil, ""
}

func (c rollout) run(t *testing.T, w worst) {
	rule, name := c.rule(t)
	prediction := sampler.PredictVelocity
	switch c.Config.Prediction {
	case "", "flow_prediction":
	case "epsilon":
		prediction = sampler.PredictNoise
	default:
		t.Fatalf("no test runs prediction_type %q", c.Config.Prediction)
	}
	s, err := sampler.New(sampler.Config{
		Scheduler:  schedule.Flow(narrow(c.Sigmas)),
		Rule:       rule,
		Prediction: prediction,
	})
	if err != nil {
		t.Fatal(err)
	}
	n := c.Batch * c.Dim
	if s.Steps() != c.Steps || len(c.X) != (c.Steps+1)*n || len(c.V) != c.Steps*n {
		t.Fatalf("%d steps, %d latents and %d velocities; want %d steps of %d", s.Steps(), len(c.X), len(c.V), c.Steps, n)
	}
	for i := range c.Steps {
		step := func(a arr) []float32 { return float32s(a[i*n:][:n]) }
		tr := s.At(i)
		if tr.Stochastic() && c.Noise == nil {
			t.Fatalf("step %d draws noise, and upstream's does not", i)
		}
		var noise []float32
		if c.Noise != nil {
			noise = step(c.Noise)
		}
		x, output := step(c.X), step(c.V)
		if prediction == sampler.PredictNoise {
			for k, v := range output { // as the scheduler was fed
				output[k] = x[k] + float32(float32(tr.From.Signal)*v)
			}
		}
		got := sampler.Apply(make([]float32, n), x, output, noise, tr.Affine)
		w.near(t, name, "next", float64s(got), narrow(c.X[(i+1)*n:][:n]), c.tolerance(i, tr, prediction))
	}
}

// tolerance bounds the error of step i: some roundings of inputs, which a predicted
// noise enters divided by the signal.
func (c rollout) tolerance(i int, tr sampler.Transition, p sampler.Prediction) float64 {
	n := c.Batch * c.Dim
	size := max(1, largest(c.X[i*n:][:n], c.V[i*n:][:n]))
	if c.Noise != nil {
		size = max(size, largest(c.Noise[i*n:][:n]))
	}
	if p == sampler.PredictNoise {
		size *= 1 + 1/tr.From.Signal
	}
	return 4 * ulp32 * size
}
