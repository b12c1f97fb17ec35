package golden

import (
	"cps/sampler"
	"cps/schedule"
)

// A rollout is a run of a diffusers scheduler. Arrays are row-major: X [points, batch, dim], V
// and Noise [points-1, batch, dim]. V is always the velocity, even if the scheduler was given
// the noise.
type rollout struct {
	Class             string
	Config            rolloutConfig
	Steps, Batch, Dim int
	Sigmas            arr
	X, V, Noise       arr
}

type rolloutConfig struct {
	Algorithm   string  `json:"algorithm_type"` // absent: dpmsolver++
	Order       int     `json:"solver_order"`   // absent: 2
	Type        string  `json:"solver_type"`    // of the second order
	FlowSigmas  bool    `json:"use_flow_sigmas"`
	Prediction  string  `json:"prediction_type"`
	Shift       float64 `json:"shift"` // this and the next went into Sigmas
	FlowShift   float64 `json:"flow_shift"`
	FinalSigmas string  `json:"final_sigmas_type"` // absent: zero
	Stochastic  bool    `json:"stochastic_sampling"`
}

func (c *rolloutConfig) UnmarshalJSON(b []byte) error {
	type plain rolloutConfig
	*c = rolloutConfig{Algorithm: "dpmsolver++", Order: 2, FinalSigmas: "zero"}
	return strict(b, (*plain)(c))
}

func judgeRolloutsDiffusers(t tester, path string) {
	w := worst{}
	defer w.log(t)
	eachCase(t, path, func(c rollout, t tester) { c.run(t, w) })
}

// rule returns the rule of one step and a short name.
func (c rollout) rule(t tester) (sampler.Rule, string) {
	switch c.Class {
	case "FlowMatchEulerDiscreteScheduler":
		if c.Config.Stochastic {
			return sampler.Renoise{}, "stochastic Euler"
		}
		return sampler.FlowODE{}, "Euler"
	case "FlowMatchHeunDiscreteScheduler":
		return sampler.FlowODE{}, "Heun"
	case "UniPCMultistepScheduler":
		return sampler.FlowODE{}, "UniPC"
	case "DPMSolverMultistepScheduler":
		switch c.Config.Algorithm {
		case "dpmsolver", "dpmsolver++":
			return sampler.FlowODE{}, c.Config.Algorithm
		case "sde-dpmsolver":
			return sampler.DPMSDE{}, c.Config.Algorithm
		case "sde-dpmsolver++":
			return sampler.DPMSDEPlus{}, c.Config.Algorithm
		}
	}
	t.Fatalf("no judge knows %s %+v", c.Class, c.Config)
	return nil, ""
}

// single reports whether step i of n uses one evaluation of the model and no earlier one. Only
// such a step can be a rule. A solver with memory begins with one. DPM-Solver ends with one at
// level 0, and in runs below 15 steps. The first of Heun's two evaluations is an Euler step.
func (c rollout) single(i, n int) bool {
	switch {
	case c.Class == "FlowMatchHeunDiscreteScheduler":
		return i%2 == 0
	case c.Class == "UniPCMultistepScheduler":
		return i == 0
	case c.Class == "DPMSolverMultistepScheduler" && c.Config.Order > 1:
		return i == 0 || i == n-1 && (c.Config.FinalSigmas == "zero" || n < 15)
	}
	return true
}

func (c rollout) run(t tester, w worst) {
	rule, name := c.rule(t)
	prediction := sampler.PredictVelocity
	switch c.Config.Prediction {
	case "", "flow_prediction":
	case "epsilon":
		prediction = sampler.PredictNoise
	default:
		t.Fatalf("no judge knows prediction_type %q", c.Config.Prediction)
	}
	n := c.Batch * c.Dim
	levels := narrow(c.Sigmas)
	steps := len(levels) - 1
	if len(c.X) != (steps+1)*n || len(c.V) != steps*n {
		t.Fatalf("%d levels, %d latents and %d velocities of %d", len(levels), len(c.X), len(c.V), n)
	}
	for i := range steps {
		if !c.single(i, steps) {
			t.differs(severalEvaluations)
			continue
		}
		s, err := sampler.New(sampler.Config{
			Scheduler:  schedule.Flow(levels[i : i+2]),
			Rule:       rule,
			Prediction: prediction,
			Start:      sampler.FromPart,
		})
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		step := func(a arr) []float32 { return float32s(a[i*n:][:n]) }
		tr := s.At(0)
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

// tolerance bounds the error of step i: some roundings of the inputs. A predicted noise is
// divided by the signal.
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
