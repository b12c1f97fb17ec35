package golden

import (
	"errors"
	"math"
	"slices"

	"cps/logprob"
	"cps/sampler"
	"cps/schedule"
)

// ddimStep is one step of diffusers' DDIM, or of ddpo-pytorch's copy, which has a log p. Arrays
// are row-major of Shape.
type ddimStep struct {
	Config        ddimConfig
	Steps         int
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

// ddimConfig has the settings of DDIMScheduler. Absent ones have its defaults.
type ddimConfig struct {
	TrainSteps   int     `json:"num_train_timesteps"`
	BetaStart    float64 `json:"beta_start"`
	BetaEnd      float64 `json:"beta_end"`
	BetaSchedule string  `json:"beta_schedule"`
	TrainedBetas arr     `json:"trained_betas"`
	Clip         bool    `json:"clip_sample"`
	ClipRange    float64 `json:"clip_sample_range"`
	AlphaToOne   bool    `json:"set_alpha_to_one"`
	Offset       int     `json:"steps_offset"`
	Prediction   string  `json:"prediction_type"`
	Spacing      string  `json:"timestep_spacing"`
	ZeroSNR      bool    `json:"rescale_betas_zero_snr"`
}

func (c *ddimConfig) UnmarshalJSON(b []byte) error {
	type plain ddimConfig
	*c = ddimConfig{
		TrainSteps: 1000, BetaStart: 0.0001, BetaEnd: 0.02, BetaSchedule: "linear",
		Clip: true, ClipRange: 1, AlphaToOne: true, Prediction: "epsilon", Spacing: "leading",
	}
	return strict(b, (*plain)(c))
}

func judgeDDIM(t tester, path string) {
	w := worst{}
	defer w.log(t)
	eachCase(t, path, func(c ddimStep, t tester) {
		t.Run("schedule", c.runSchedule)
		t.Run("step", func(t tester) { c.runStep(t, w) })
	})
}

func (c ddimStep) prediction(t tester) sampler.Prediction {
	switch c.Config.Prediction {
	case "epsilon":
		return sampler.PredictNoise
	case "sample":
		return sampler.PredictSample
	case "v_prediction":
		return sampler.PredictV
	}
	t.Fatalf("no judge knows prediction_type %q", c.Config.Prediction)
	return 0
}

// transition returns the step as New makes it. New refuses a step that ends where it starts.
// Upstream takes such a step, which keeps x̂0 and x̂1, so transition returns that one.
func (c ddimStep) transition(t tester, p sampler.Prediction) sampler.Transition {
	// Only the last step has no next timestep. The Time of a point changes nothing here.
	at := func(timestep int, alpha arr) schedule.Point {
		return schedule.VPLevel(float64(max(timestep, 0))/float64(c.Config.TrainSteps), narrow(alpha)[0])
	}
	points := schedule.Points{at(c.Timestep, c.AlphaProd), at(c.PrevTimestep, c.AlphaProdPrev)}
	s, err := sampler.New(sampler.Config{Scheduler: points, Rule: sampler.DDIM{Eta: c.Eta}, Prediction: p, Start: sampler.FromPart})
	if c.nowhere() {
		t.differs(goesNowhere)
		if !errors.Is(err, schedule.ErrOrder) {
			t.Errorf("New of a step to its own level: %v, want %v", err, schedule.ErrOrder)
		}
		k := sampler.Coeffs{X0: points[0].Signal, X1: points[0].Noise}
		return sampler.Transition{From: points[0], To: points[1], Coeffs: k, Affine: k.Affine(p, points[0])}
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.At(0)
}

// nowhere reports whether the step ends where it starts.
func (c ddimStep) nowhere() bool { return c.PrevTimestep < 0 && c.AlphaProd[0] == c.AlphaProdPrev[0] }

// rootless reports whether upstream, in float32, takes the root of a negative number for the
// weight of x̂1.
func (c ddimStep) rootless() bool {
	a, prev := float32(c.AlphaProd[0]), float32(c.AlphaProdPrev[0])
	ratio := float32((1 - prev) / (1 - a))
	part := 1 - float32(a/prev)
	variance := float32(ratio * part)
	std := float32(float32(c.Eta) * float32(math.Sqrt(float64(variance))))
	square := float32(std * std)
	return float32(1-prev)-square < 0
}

func (c ddimStep) runStep(t tester, w worst) {
	p := c.prediction(t)
	tr := c.transition(t, p)
	x, output, noise := float32s(c.X), float32s(c.Output), float32s(c.Noise)
	limit := math.Inf(1)
	if c.Config.Clip {
		limit = c.Config.ClipRange
	}
	apply := func(k sampler.Coeffs, noise []float32) []float64 {
		return float64s(sampler.ApplyClipped(make([]float32, len(x)), x, output, noise, k, p, tr.From, limit))
	}

	tol := c.tolerance(tr)
	w.near(t, c.Config.Prediction, "x0", apply(sampler.Coeffs{X0: 1}, nil), narrow(c.PredX0), tol.sample)
	prev := apply(tr.Coeffs, noise)
	if !c.Config.Clip {
		// Without clipping a device can take the step.
		prev = float64s(sampler.Apply(make([]float32, len(x)), x, output, noise, tr.Affine))
	}
	if c.rootless() {
		t.differs(noRoot)
		c.checkNoRoot(t, w, tr, prev, slices.Max(tol.next))
		return
	}
	nextNear := func(what string, next arr) {
		t.Helper()
		if len(next) != len(prev) {
			t.Fatalf("%s: %d values, want %d", what, len(next), len(prev))
		}
		for i, x := range narrow(next) {
			w.near(t, c.Config.Prediction, what, prev[i:i+1], []float64{x}, tol.next[i])
		}
	}
	nextNear("prev", c.Prev)
	if c.DDPOPrev != nil {
		nextNear("ddpo prev", c.DDPOPrev)
	}
	switch {
	case c.DDPOLogProb == nil:
	case c.DDPOPrev == nil:
		t.Fatal("a log p of DDPO without the latent that it is of")
	case tr.Coeffs.Eps == 0:
		t.differs(noDensity)
		// DDPO clamps the standard deviation to 1e-6, so it has a log p even here.
		b := sampler.Batch{Dim: len(x) / c.Shape[0], Rows: []sampler.Row{{Affine: tr.Affine}}}
		if _, err := (logprob.Form{Gaussian: true}).LogProb(make([]float64, 1), b, []float64{0}); !errors.Is(err, logprob.ErrNoDensity) {
			t.Errorf("LogProb: %v, want %v", err, logprob.ErrNoDensity)
		}
	default:
		mean := tr.Coeffs
		mean.Eps = 0
		got := c.logProb(t, tr, apply(mean, nil))
		w.near(t, c.Config.Prediction, "ddpo log p", got, narrow(c.DDPOLogProb), tol.logProb)
	}
}

// logProb returns the library's log p of DDPO's prev.
func (c ddimStep) logProb(t tester, tr sampler.Transition, mean []float64) []float64 {
	n := len(c.X) / c.Shape[0]
	got := make([]float64, c.Shape[0])
	if c.Config.Clip { // clipping is not affine, so no device has its sums of squares
		for i := range got {
			got[i] = density(narrow(c.DDPOPrev[i*n:][:n]), mean[i*n:][:n], tr.Affine.Eps)
		}
		return got
	}
	b := sampler.Batch{Dim: n, Rows: slices.Repeat([]sampler.Row{{Affine: tr.Affine}}, len(got))}
	sampler.CPU{}.SumSquares(got, float32s(c.DDPOPrev), float32s(c.X), float32s(c.Output), b)
	if _, err := (logprob.Form{Gaussian: true}).LogProb(got, b, got); err != nil {
		t.Fatal(err)
	}
	return got
}

// checkNoRoot judges a step for which upstream has only NaN. The step replaces all noise, so its
// weights are known up to the roundings that made upstream's root fail.
func (c ddimStep) checkNoRoot(t tester, w worst, tr sampler.Transition, prev []float64, tol float64) {
	for _, a := range []arr{c.Prev, c.DDPOPrev, c.DDPOLogProb} {
		if a != nil && !silent(a) {
			t.Errorf("upstream has %v, want NaN alone", a)
		}
	}
	// Squares within a few roundings of 1 have roots within 2⁻¹¹ of 0.
	k, to := tr.Coeffs, tr.To
	near(t, "weights of x̂0 and ε", []float64{k.X0, k.Eps}, []float64{to.Signal, to.Noise}, 0x1p-22)
	near(t, "weight of x̂1", []float64{k.X1}, []float64{0}, 0x1p-11)
	want := make([]float64, len(prev))
	x0, x, output := narrow(c.PredX0), narrow(c.X), narrow(c.Output)
	for i := range want {
		// With x̂0 as upstream recorded it, if it was not clipped.
		x1 := (x[i] - tr.From.Signal*x0[i]) / tr.From.Noise
		if c.Config.Prediction == "epsilon" {
			x1 = output[i]
		}
		want[i] = k.X0*x0[i] + k.X1*x1 + k.Eps*float64(float32(c.Noise[i]))
	}
	w.near(t, c.Config.Prediction, "prev without a root", prev, want, tol)
}

type ddimTolerance struct {
	sample, logProb float64
	next            []float64 // one for each element
}

// tolerance bounds the errors of a step in float32.
func (c ddimStep) tolerance(tr sampler.Transition) ddimTolerance {
	α, σ := tr.From.Signal, tr.From.Noise
	k := tr.Coeffs
	size := max(1, largest(c.X, c.Output, c.Noise))

	// x̂0 is a difference divided by α if the model predicts noise. x̂1 is one divided by σ if
	// it predicts the sample.
	x0, x1 := 2*size, 2*size
	switch c.Config.Prediction {
	case "epsilon":
		x0 = 2 * size / α
	case "sample":
		x1 = 2 * size / σ
	}

	// Upstream takes Eps² as a product with 1 - ᾱ/ᾱ', which is off by a rounding of 1. It
	// multiplies x̂1 by X1 = √(σ'² - Eps²). Where no x̂1 is left, that is the root of a
	// rounding.
	var std, dir float64 // errors of Eps and X1, in roundings
	if k.Eps > 0 {
		ratio := α * α / (tr.To.Signal * tr.To.Signal)
		std = k.Eps * (2 + 1/(1-ratio))
	}
	u := 2 * ulp32
	switch square := tr.To.Noise*tr.To.Noise + k.Eps*std; {
	case k.X1 > 0:
		dir = min(square/k.X1, math.Sqrt(square/u))
	case k.Eps > 0:
		dir = math.Sqrt(square / u)
	}

	t := ddimTolerance{sample: u * x0, next: make([]float64, len(c.X))}
	for i, x := range c.X {
		noise := size // at most; but x̂1 has any size where it is divided by σ
		if c.Config.Prediction == "sample" {
			noise = max(size, math.Abs(x-α*c.Output[i])/σ)
		}
		t.next[i] = u * (k.X0*x0 + k.X1*x1 + dir*noise + std*size)
	}
	if k.Eps > 0 {
		// The noise is the standard score that log p squares.
		z := math.Sqrt(meanSquare(c.Noise, make([]float64, len(c.Noise))))
		t.logProb = z*slices.Max(t.next)/k.Eps + (1+z*z)*u*std/k.Eps
	}
	return t
}
