package golden

import (
	"slices"
	"testing"

	"cps/sampler"
)

type stepsCase struct {
	ID, Sampler, Precision string
	InDtype                string `json:"in_dtype"`
	StepIndex              []int  `json:"step_index"`
	Eta                    float64
	Sigma                  arr
	SigmaNext              arr `json:"sigma_next"`
	SigmaSecond            arr `json:"sigma_second"`
	X, V, Noise            arr
	PrevGiven              bool `json:"prev_given"`
	Prev, Mean, Std        arr
	NoiseScale             arr `json:"noise_scale"`
	LogProb                arr `json:"log_prob"`
}

// stepsWithoutDensity lists the cases with a log p upstream, NaN, 0 or minus a mean
// square, where the library says that a step without noise has no density.
var stepsWithoutDensity = []string{
	"flow_sde/f32/shift_n10_shift3.0/i0-0/eta0.0/2x2x2x2/float32",
	"flow_sde/f32/shift_n10_shift3.0/i3-3/eta0.0/2x2x2x2/float32",
	"flow_sde/f32/shift_n10_shift3.0/i9-9/eta0.0/2x2x2x2/float32",
	"ff_dance_sde/f32/shift_n10_shift3.0/i0-0/eta0.0/2x2x2x2/float32",
	"ff_dance_sde/f32/shift_n10_shift3.0/i3-3/eta0.0/2x2x2x2/float32",
	"ff_dance_sde/f32/shift_n10_shift3.0/i9-9/eta0.0/2x2x2x2/float32",
	"ff_ode/f32/plain_n4/i0-0/eta0.9/2x3x4x2/bfloat16/prev",
	"ff_ode/f32/plain_n4/i3-3/eta1.0/2x5x4/float32",
	"ff_ode/f32/linspace_n16/i0/eta0.3/1x2x3x3/float32",
	"ff_ode/f32/linspace_n16/i15/eta0.7/1x2x2x3x3/bfloat16",
	"ff_ode/f32/shift_n10_shift3.0/i0-0-0/eta0.9/3x1x2x4/float32/prev",
	"ff_ode/f32/shift_n10_shift3.0/i9-9/eta1.0/2x5x4/float32",
	"ff_ode/f32/flux_n6_seq_len1024/i0-0/eta0.3/2x3x4x2/float16",
	"ff_ode/f32/flux_n6_seq_len1024/i5/eta0.7/1x2x2x3x3/float32",
	"ff_ode/f32/shift_n40_shift3.0/i0/eta0.9/1x2x3x3/float32/prev",
	"ff_ode/f32/shift_n40_shift3.0/i39-39/eta1.0/2x5x4/float16",
	"ff_ode/f32/dance_n16_shift3.0/i0-0-0/eta0.3/3x1x2x4/bfloat16",
	"ff_ode/f32/dance_n16_shift3.0/i15/eta0.7/1x2x2x3x3/float32",
	"flow_cps/f32/plain_n4/i3-3/eta1.0/2x5x4/float32",
	"ff_cps/f32/plain_n4/i3/eta0.7/1x2x2x3x3/float32",
	"flow_cps/f32/linspace_n16/i15/eta0.7/1x2x2x3x3/float32",
	"ff_cps/f32/linspace_n16/i15-15/eta1.0/2x5x4/float32",
	"flow_cps/f32/shift_n10_shift3.0/i9-9/eta1.0/2x5x4/bfloat16",
	"ff_cps/f32/shift_n10_shift3.0/i9/eta0.7/1x2x2x3x3/float16",
	"flow_cps/f32/flux_n6_seq_len1024/i5/eta0.7/1x2x2x3x3/float32",
	"ff_cps/f32/flux_n6_seq_len1024/i5-5/eta1.0/2x5x4/float32",
	"flow_cps/f32/shift_n40_shift3.0/i39-39/eta1.0/2x5x4/float32",
	"ff_cps/f32/shift_n40_shift3.0/i39/eta0.7/1x2x2x3x3/bfloat16",
	"flow_cps/f32/dance_n16_shift3.0/i15/eta0.7/1x2x2x3x3/float16",
	"ff_cps/f32/dance_n16_shift3.0/i15-15/eta1.0/2x5x4/float32",
	"flow_cps/f32/shift_n10_shift3.0/i3-4-9-2/eta1.0/4x2x2x2/float32/prev",
	"flow_cps/f32/flux_n6_seq_len1024/i2-5-0-4/eta1.0/4x2x2x2/float32/prev",
	"ff_cps/f32/flux_n6_seq_len1024/i1-0-5-4/eta0.7/4x2x2x2/float32/prev",
	"flow_cps/f32/shift_n10_shift3.0/i0-0/eta0.0/2x2x2x2/float32",
	"flow_cps/f32/shift_n10_shift3.0/i3-3/eta0.0/2x2x2x2/float32",
	"flow_cps/f32/shift_n10_shift3.0/i9-9/eta0.0/2x2x2x2/float32",
	"ff_cps/f32/shift_n10_shift3.0/i0-0/eta0.0/2x2x2x2/float32",
	"ff_cps/f32/shift_n10_shift3.0/i3-3/eta0.0/2x2x2x2/float32",
	"ff_cps/f32/shift_n10_shift3.0/i9-9/eta0.0/2x2x2x2/float32",
}

func TestSteps(t *testing.T) {
	const file = "steps.json"
	var f struct{ Cases []stepsCase }
	load(t, file, &f)
	list := newChecklist(t, file)
	w := newWorst(t)
	for _, c := range f.Cases {
		list.tick(t, c.ID)
		t.Run(c.ID, func(t *testing.T) { c.run(t, w) })
	}
	for _, id := range stepsWithoutDensity {
		if !slices.ContainsFunc(f.Cases, func(c stepsCase) bool { return c.ID == id }) {
			t.Errorf("excepted case %q is not in the file", id)
		}
	}
}

func (c stepsCase) run(t *testing.T, w worst) {
	if c.Precision == "f32" {
		c.Sigma, c.SigmaNext, c.SigmaSecond = narrow(c.Sigma), narrow(c.SigmaNext), narrow(c.SigmaSecond)
	}
	rule := flowRule(t, c.Sampler, c.Eta)
	rows := make([]sampler.Transition, len(c.Sigma))
	for i, from := range c.Sigma {
		// Ratio takes the level after 1 for the schedule's second, as upstream
		// does; they are the same in a schedule that falls.
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
		noDensity: slices.Contains(stepsWithoutDensity, c.ID),
	}.check(t, w)
}

// checkStd compares what upstream returns as std: for SDEs the diffusion
// coefficient, which is the standard deviation without √Δ.
func (c stepsCase) checkStd(t *testing.T, w worst, rows []sampler.Transition) {
	got := make([]float64, len(rows))
	for i, r := range rows {
		switch c.Sampler {
		case "flow_sde", "ff_flow_sde":
			got[i] = sampler.Ratio(c.Eta).G(r.From.Noise, r.To.Noise)
		case "dance_sde", "ff_dance_sde", "dance_noise":
			got[i] = sampler.Constant(c.Eta).G(r.From.Noise, r.To.Noise)
		default:
			got[i] = r.Coeffs.Eps
		}
	}
	// Five roundings, of which one is eta's.
	w.near(t, c.Sampler+" "+c.Precision, "std", got, c.Std, 5*ulp(t, c.Precision))
}

// storage returns what prev was rounded to before log p was taken: Flow-Factory's
// stochastic samplers return the type of their input.
func (c stepsCase) storage(t *testing.T) sampler.Storage {
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
