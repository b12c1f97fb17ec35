package golden

import "cps/sampler"

type stepsCase struct {
	Sampler, Precision string
	InDtype            string `json:"in_dtype"`
	StepIndex          []int  `json:"step_index"`
	Eta                float64
	Sigma              arr
	SigmaNext          arr `json:"sigma_next"`
	SigmaSecond        arr `json:"sigma_second"`
	X, V, Noise        arr
	PrevGiven          bool `json:"prev_given"`
	Prev, Mean, Std    arr
	NoiseScale         arr `json:"noise_scale"`
	LogProb            arr `json:"log_prob"`
}

func judgeSteps(t tester, path string) {
	w := worst{}
	defer w.log(t)
	eachCase(t, path, func(c stepsCase, t tester) { c.run(t, w) })
}

func (c stepsCase) run(t tester, w worst) {
	if c.Precision == "f32" {
		c.Sigma, c.SigmaNext, c.SigmaSecond = narrow(c.Sigma), narrow(c.SigmaNext), narrow(c.SigmaSecond)
	}
	rule := flowRule(t, c.Sampler, c.Eta)
	rows := make([]sampler.Transition, len(c.Sigma))
	for i, from := range c.Sigma {
		// At level 1 Ratio uses the next level of the step. Upstream uses the second level
		// of the schedule. In a schedule that falls they are the same.
		if from == 1 && (c.StepIndex[i] != 0 || c.SigmaNext[i] != c.SigmaSecond[0]) {
			t.Fatalf("row %d is at level 1 in step %d, and goes to %v, not to the second level %v",
				i, c.StepIndex[i], c.SigmaNext[i], c.SigmaSecond[0])
		}
		rows[i] = oneStep(t, rule, from, c.SigmaNext[i])
	}
	c.checkStd(t, w, rows)
	if c.PrevGiven != (c.Noise == nil) {
		t.Fatal("either noise or prev is given")
	}
	publishedStep{
		sampler: c.Sampler, precision: c.Precision, rows: rows, storage: c.storage(t),
		x: c.X, v: c.V, noise: c.Noise, prev: c.Prev, mean: c.Mean,
		scale: c.NoiseScale, logProb: c.LogProb,
	}.check(t, w)
}

// checkStd compares the std that upstream returns.
func (c stepsCase) checkStd(t tester, w worst, rows []sampler.Transition) {
	// Five roundings, one of them of eta.
	w.near(t, c.Sampler+" "+c.Precision, "std", diffusions(c.Sampler, c.Eta, rows), c.Std, 5*ulp(t, c.Precision))
}

// diffusions returns the std of the sampler's authors. For SDEs it is the diffusion coefficient:
// the standard deviation without √Δ.
func diffusions(name string, eta float64, rows []sampler.Transition) []float64 {
	std := make([]float64, len(rows))
	for i, r := range rows {
		switch name {
		case "flow_sde", "ff_flow_sde":
			std[i] = sampler.Ratio(eta).G(r.From.Noise, r.To.Noise)
		case "dance_sde", "ff_dance_sde", "dance_noise":
			std[i] = sampler.Constant(eta).G(r.From.Noise, r.To.Noise)
		default:
			std[i] = r.Coeffs.Eps
		}
	}
	return std
}

// storage returns the type to which prev was rounded before log p. Flow-Factory's stochastic
// samplers return the type of their input.
func (c stepsCase) storage(t tester) sampler.Storage {
	switch c.Sampler {
	case "ff_flow_sde", "ff_dance_sde", "ff_cps":
		switch c.InDtype {
		case "float32", "float64":
		case "bfloat16":
			return sampler.BFloat16
		case "float16":
			return sampler.Float16
		default:
			t.Fatalf("no test runs in_dtype %q", c.InDtype)
		}
	}
	return sampler.Float32
}
