package golden

import (
	"cps/sampler"
	"cps/sampler/solver"
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

// multistep returns the solver of a run that looks back, if the case has one. Its order falls
// at the end of short runs, as upstream's does unless it is told otherwise.
func (c rollout) multistep(t tester) (rule sampler.Rule, wrong wrongThird) {
	t.Helper()
	if c.Class != "DPMSolverMultistepScheduler" || c.Config.Order == 1 {
		return nil, false
	}
	if c.Config.Type != "midpoint" && c.Config.Type != "heun" {
		t.Fatalf("no judge knows solver_type %q", c.Config.Type)
	}
	plus := solver.DPMPlus{Order: c.Config.Order, Heun: c.Config.Type == "heun"}
	if len(c.Sigmas) <= 15 {
		plus.Final = solver.LowerOrder
	}
	switch c.Config.Algorithm {
	case "dpmsolver++":
		return plus, false
	case "sde-dpmsolver++":
		plus.Eta = 1
		return plus, plus.Order == 3
	case "dpmsolver":
		return solver.DPM(plus), false
	case "sde-dpmsolver":
		plus.Eta = 1
		return solver.DPM(plus), false
	}
	return nil, false // rule names what is unknown
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

// other returns why step i is no rule of the module, or "". The first of Heun's two
// evaluations is an Euler step, and so is the first of UniPC.
func (c rollout) other(i int) reason {
	switch {
	case c.Class == "FlowMatchHeunDiscreteScheduler" && i%2 == 1:
		return severalEvaluations
	case c.Class == "UniPCMultistepScheduler" && i > 0:
		return noSolver
	}
	return ""
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
	if rule, wrong := c.multistep(t); rule != nil {
		c.lookBack(t, w, name, rule, wrong, sampler.Config{Scheduler: schedule.Flow(levels), Rule: rule, Prediction: prediction, Start: sampler.FromPart})
		return
	}
	for i := range steps {
		if why := c.other(i); why != "" {
			t.differs(why)
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
		tr := s.At(0)
		x, output, noise := c.inputs(t, i, tr, prediction)
		got := sampler.Apply(make([]float32, n), x, output, noise, tr.Affine)
		w.near(t, name, "next", float64s(got), narrow(c.X[(i+1)*n:][:n]), c.tolerance(i, tr, prediction))
	}
}

// inputs returns the latents, the output as the scheduler was fed, and the noise of step i.
func (c rollout) inputs(t tester, i int, tr sampler.Transition, p sampler.Prediction) (x, output, noise []float32) {
	t.Helper()
	n := c.Batch * c.Dim
	step := func(a arr) []float32 { return float32s(a[i*n:][:n]) }
	if tr.Stochastic() && c.Noise == nil {
		t.Fatalf("step %d draws noise, and upstream's does not", i)
	}
	if c.Noise != nil {
		noise = step(c.Noise)
	}
	x, output = step(c.X), step(c.V)
	if p == sampler.PredictNoise {
		for k, v := range output {
			output[k] = x[k] + float32(float32(tr.From.Signal)*v)
		}
	}
	return x, output, noise
}

// lookBack judges every step of a multistep solver, from upstream's own latents.
func (c rollout) lookBack(t tester, w worst, name string, rule sampler.Rule, wrong wrongThird, config sampler.Config) {
	t.Helper()
	s, err := sampler.New(config)
	if err != nil {
		t.Fatal(err)
	}
	n := c.Batch * c.Dim
	b := s.Batch(n, 1, 0)
	h := sampler.History[[]float32]{Device: sampler.CPU{}, Sampler: s}
	kept := map[[2]int][]float32{}
	exact := solverRun{X: c.X, V: c.V, Batch: c.Batch, Dim: c.Dim}
	for i := range s.Steps() {
		tr := s.At(i)
		x, output, noise := c.inputs(t, i, tr, config.Prediction)
		s.SetStep(b, i)
		for j := range tr.Keep {
			kept[[2]int{i, j}] = make([]float32, n)
			h.Keep(kept[[2]int{i, j}], j, x, output, b)
		}
		base := make([]float32, n)
		h.Base(base, x, func(back, j int) []float32 { return kept[[2]int{i - back, j}] }, b)
		got := float64s(sampler.Apply(base, base, output, noise, tr.Affine))
		if wrong && len(tr.Past) == 2 {
			t.differs(signOfThird)
			var drawn []float64
			if c.Noise != nil {
				drawn = c.Noise[i*n:][:n]
			}
			got = exact.next(s, i, c.V, drawn, wrong)
		}
		tol := c.tolerance(i, tr, config.Prediction)
		for _, q := range tr.Past {
			tol = max(tol, c.tolerance(i-q.Back, s.At(i-q.Back), config.Prediction))
		}
		w.near(t, name, "next", got, narrow(c.X[(i+1)*n:][:n]), tol)
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
