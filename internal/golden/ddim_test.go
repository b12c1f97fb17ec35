package golden

import (
	"math"
	"slices"
	"testing"

	"cps/logprob"
	"cps/sampler"
	"cps/schedule"
)

// ddimStep is one step of diffusers' DDIM, and of ddpo-pytorch's copy of it where
// that has a log p. Arrays are row-major [2, 6].
type ddimStep struct {
	ID     string
	Config struct {
		Clip       bool   `json:"clip_sample"` // to [-1, 1]
		Prediction string `json:"prediction_type"`
	}
	Timestep      int
	PrevTimestep  int `json:"prev_timestep"`
	AlphaProd     arr `json:"alpha_prod"`
	AlphaProdPrev arr `json:"alpha_prod_prev"`
	Eta           float64
	Shape         []int
	X             arr
	Output        arr `json:"model_output"`
	Noise         arr
	Prev          arr
	PredX0        arr `json:"pred_x0"`
	DDPOPrev      arr `json:"ddpo_prev"`
	DDPOLogProb   arr `json:"ddpo_log_prob"`
}

// ddimNaN lists the cases that are NaN upstream: from a point without signal,
// 1 - ᾱ' - Eps² is 0 at η = 1, but rounds to a number below 0, which has no root. The
// library replaces all noise: X1 = 0, Eps = σ'.
var ddimNaN = []string{
	"ddim/v_prediction/trailing/scaled_linear/n6/i0/eta1.0",
}

func TestDDIM(t *testing.T) {
	const file = "ddim.json"
	var f struct{ Cases []ddimStep }
	load(t, file, &f)
	list := newChecklist(t, file)
	w := newWorst(t)
	for _, c := range f.Cases {
		list.tick(t, c.ID)
		t.Run(c.ID, func(t *testing.T) { c.run(t, w) })
	}
	for _, id := range ddimNaN {
		if !slices.ContainsFunc(f.Cases, func(c ddimStep) bool { return c.ID == id }) {
			t.Errorf("excepted case %q is not in the file", id)
		}
	}
}

func (c ddimStep) prediction(t *testing.T) sampler.Prediction {
	switch c.Config.Prediction {
	case "epsilon":
		return sampler.PredictNoise
	case "sample":
		return sampler.PredictSample
	case "v_prediction":
		return sampler.PredictV
	}
	t.Fatalf("no test runs prediction_type %q", c.Config.Prediction)
	return 0
}

func (c ddimStep) run(t *testing.T, w worst) {
	p := c.prediction(t)
	// Only the last step has no timestep to go to; the Time of a point changes nothing.
	at := func(timestep int, alpha arr) schedule.Point {
		return schedule.VPLevel(float64(max(timestep, 0))/1000, narrow(alpha)[0])
	}
	s, err := sampler.New(sampler.Config{
		Scheduler:  schedule.Points{at(c.Timestep, c.AlphaProd), at(c.PrevTimestep, c.AlphaProdPrev)},
		Rule:       sampler.DDIM{Eta: c.Eta},
		Prediction: p,
	})
	if err != nil {
		t.Fatal(err)
	}
	tr := s.At(0)
	x, output, noise := float32s(c.X), float32s(c.Output), float32s(c.Noise)
	limit := math.Inf(1)
	if c.Config.Clip {
		limit = 1
	}
	apply := func(k sampler.Coeffs, noise []float32) []float64 {
		return float64s(sampler.ApplyClipped(make([]float32, len(x)), x, output, noise, k, p, tr.From, limit))
	}

	tol := c.tolerance(tr)
	w.near(t, c.Config.Prediction, "x0", apply(sampler.Coeffs{X0: 1}, nil), narrow(c.PredX0), tol.sample)
	prev := apply(tr.Coeffs, noise)
	if !c.Config.Clip {
		// Without clipping it is the step of a device.
		prev = float64s(sampler.Apply(make([]float32, len(x)), x, output, noise, tr.Affine))
	}
	if slices.Contains(ddimNaN, c.ID) {
		c.checkNaN(t, tr, prev)
		return
	}
	w.near(t, c.Config.Prediction, "prev", prev, narrow(c.Prev), tol.next)

	// DDPO was run on steps with noise that go to a timestep.
	if ran := c.Eta > 0 && c.PrevTimestep >= 0; ran != (c.DDPOPrev != nil) || ran != (c.DDPOLogProb != nil) {
		t.Errorf("recorded with DDPO: %v, want %v", c.DDPOPrev != nil, ran)
	} else if !ran {
		return
	}
	w.near(t, c.Config.Prediction, "ddpo prev", prev, narrow(c.DDPOPrev), tol.next)
	mean := tr.Coeffs
	mean.Eps = 0
	got := c.logProb(t, tr, apply(mean, nil))
	w.near(t, c.Config.Prediction, "ddpo log p", got, narrow(c.DDPOLogProb), tol.logProb)
}

// logProb returns ours of DDPO's prev.
func (c ddimStep) logProb(t *testing.T, tr sampler.Transition, mean []float64) []float64 {
	n := len(c.X) / c.Shape[0]
	got := make([]float64, c.Shape[0])
	if c.Config.Clip { // not affine, so no device takes its sums of squares
		for i := range got {
			got[i] = density(narrow(c.DDPOPrev[i*n:][:n]), mean[i*n:][:n], tr.Affine.Eps)
		}
		return got
	}
	b := sampler.Batch{Dim: n, Rows: slices.Repeat([]sampler.Row{{Affine: tr.Affine}}, len(got))}
	sampler.CPU{}.Squares(got, float32s(c.DDPOPrev), float32s(c.X), float32s(c.Output), b)
	if _, err := (logprob.Form{Gaussian: true}).LogProb(got, b, got); err != nil {
		t.Fatal(err)
	}
	return got
}

func (c ddimStep) checkNaN(t *testing.T, tr sampler.Transition, prev []float64) {
	for _, a := range []arr{c.Prev, c.DDPOPrev, c.DDPOLogProb} {
		if !slices.ContainsFunc(a, math.IsNaN) || slices.ContainsFunc(a, func(x float64) bool { return !math.IsNaN(x) }) {
			t.Errorf("upstream has %v, want NaN alone", a)
		}
	}
	want := sampler.Coeffs{X0: tr.To.Signal, X1: 0, Eps: tr.To.Noise}
	if tr.From.Signal != 0 || tr.Coeffs != want {
		t.Errorf("%+v, want %+v", tr.Coeffs, want)
	}
	for i, x := range prev {
		// With x̂0 as upstream recorded it.
		y := want.X0*c.PredX0[i] + want.Eps*c.Noise[i]
		near(t, "prev", []float64{x}, []float64{y}, 4*ulp32*max(1, math.Abs(c.Noise[i])))
	}
}

type ddimTolerance struct{ sample, next, logProb float64 }

// tolerance bounds the errors of a step in float32.
func (c ddimStep) tolerance(tr sampler.Transition) ddimTolerance {
	α, σ := tr.From.Signal, tr.From.Noise
	k := tr.Coeffs
	size := max(1, largest(c.X, c.Output, c.Noise))

	// x̂0 is a difference divided by α where noise is predicted, x̂1 one divided by σ
	// where the sample is.
	x0, x1 := 2*size, 2*size
	switch c.Config.Prediction {
	case "epsilon":
		x0 = 2 * size / α
	case "sample":
		x1 = 2 * size / σ
	}

	// Upstream takes Eps² as a product with 1 - ᾱ/ᾱ', which is off by a rounding of
	// 1, and X1 as √(σ'² - Eps²).
	var std, dir float64 // errors of Eps and X1, in roundings
	if k.Eps > 0 {
		ratio := α * α / (tr.To.Signal * tr.To.Signal)
		std = k.Eps * (2 + 1/(1-ratio))
	}
	if k.X1 > 0 {
		dir = (tr.To.Noise*tr.To.Noise + k.Eps*std) / k.X1
	}

	u := 2 * ulp32
	next := u * (k.X0*x0 + k.X1*x1 + dir*size + std*size)
	t := ddimTolerance{sample: u * x0, next: next}
	if k.Eps > 0 {
		// The noise is the standard score that log p squares.
		z := math.Sqrt(meanSquare(c.Noise, make([]float64, len(c.Noise))))
		t.logProb = z*next/k.Eps + (1+z*z)*u*std/k.Eps
	}
	return t
}
