package golden

import (
	"math"
	"slices"

	"cps/schedule"
)

// A presetCase has the levels of a diffusers pipeline, or of a scheduler of another program.
// The Sigmas of its scheduleCase are float32. Python code was also run in double precision:
// those levels are Sigmas64.
type presetCase struct {
	Kind, Name, Port string
	N                arr // a number; for kind flux2_mu one a call, as Mu and SeqLen
	Mu               arr
	MuOllama         arr    `json:"mu_ollama"`
	MuSDCpp          arr    `json:"mu_sdcpp"`
	SeqLen           arr    `json:"seq_len"`
	Model            string // flow: shifted by Shift; flux: by e^Shift
	Shift            float64
	Levels           int     // of upstream's table
	Threshold        float64 `json:"threshold_noise"`
	LinearSteps      int     `json:"linear_steps"`
	Sigmas64         arr     `json:"sigmas_f64"`
}

// The tolerance for upstream in double precision: some roundings.
const presetTol64 = 1e-14

// The tolerance for upstream in float32. Python rounds once or twice after float64. The programs
// in C++ and Go round every operation of a shift, whose three terms add up to at most 8.
const presetTol32 = 1e-6

func (c scheduleCase) runPreset(t tester) {
	switch c.Kind {
	case "flux2_mu":
		c.runFlux2Mu(t)
		return
	case "time":
		t.notJudged(noTrainingTimes)
	case "table":
		t.notJudged(notFlow)
	case "schedule":
	default:
		t.Fatalf("no judge knows kind %q", c.Kind)
	}
	p := c.preset(t)
	f := p.levels
	if c.Mu != nil {
		near(t, "mu", []float64{p.mu}, c.Mu, presetTol64)
	}
	if err := schedule.Validate(f); err != nil {
		t.Fatal(err)
	}
	if c.Sigmas == nil && c.Sigmas64 == nil {
		t.Fatal("no levels are recorded")
	}
	for _, want := range []struct {
		what   string
		levels arr
		tol    float64
	}{{"sigmas", c.Sigmas, presetTol32}, {"sigmas_f64", c.Sigmas64, presetTol64}} {
		switch {
		case want.levels == nil:
		case p.stretched && unstretched(want.levels):
			t.differs(oneLevel)
			near(t, want.what, f, []float64{1, 0}, 0)
		case len(want.levels) == f.Steps(): // the scheduler that gets them appends the 0
			near(t, want.what, f[:f.Steps()], want.levels, want.tol)
		default:
			near(t, want.what, f, want.levels, want.tol)
		}
	}
	if c.Timesteps != nil { // of Wan
		checkTimesteps(t, "UniPCMultistepScheduler", f, c.Timesteps)
	}
}

func (c scheduleCase) runFlux2Mu(t tester) {
	if len(c.N) != len(c.SeqLen) {
		t.Fatalf("%d counts of steps and %d lengths", len(c.N), len(c.SeqLen))
	}
	mu := make([]float64, len(c.N))
	for i, n := range c.N {
		mu[i] = schedule.Flux2Mu(int(c.SeqLen[i]), int(n))
	}
	near(t, "mu", mu, c.Mu, presetTol64)
	near(t, "mu of ollama", mu, c.MuOllama, presetTol32)
	near(t, "mu of stable-diffusion.cpp", mu, c.MuSDCpp, presetTol32)
}

// A preset holds the library's levels of a pipeline, shifted by e^mu, and whether they are
// stretched.
type preset struct {
	levels    schedule.Flow
	mu        float64
	stretched bool
}

func (c scheduleCase) preset(t tester) preset {
	if len(c.N) != 1 {
		t.Fatalf("%d counts of steps", len(c.N))
	}
	n := int(c.N[0])
	seqLen := func() int {
		if len(c.SeqLen) != 1 {
			t.Fatalf("%d lengths of the latent", len(c.SeqLen))
		}
		return int(c.SeqLen[0])
	}
	linear := schedule.Linear(n)
	fixed := func(f schedule.Flow) preset { return preset{levels: f, mu: math.NaN()} } // no mu
	switch c.Name {
	case "flux", "z_image_dynamic":
		return preset{levels: schedule.Flux1(n, seqLen()), mu: schedule.FluxMu(seqLen())}
	case "flux2":
		return preset{levels: schedule.Flux2(n, seqLen()), mu: schedule.Flux2Mu(seqLen(), n)}
	case "qwen_image":
		return preset{schedule.QwenImage(n, seqLen()), schedule.Mu(seqLen(), 256, 8192, 0.5, 0.9), true}
	case "qwen_image_lightning":
		return preset{levels: linear.Shift(3), mu: math.Log(3)}
	case "z_image_static":
		if c.Shift != 3 {
			return fixed(linear.Shift(c.Shift))
		}
		return fixed(schedule.ZImage(n))
	case "ltx2":
		mu := schedule.Mu(seqLen(), 1024, 4096, 0.95, 2.05)
		return preset{linear.DynamicShift(mu).StretchTerminal(0.1), mu, true}
	case "wan_unipc":
		return fixed(schedule.UniPC(n, c.Shift))
	case "linear_quadratic":
		return fixed(schedule.LinearQuadratic(n, c.LinearSteps, c.Threshold))
	case "ays", "gits":
		t.notJudged(notFlow)
	}
	return fixed(c.spacing(t, n))
}

// spacing returns the levels of the schedulers that ComfyUI and stable-diffusion.cpp have for
// every model. The lowest level is that of a shifted table of Levels. ComfyUI shifts some of the
// levels above it again.
func (c scheduleCase) spacing(t tester, n int) schedule.Flow {
	s := c.Shift
	switch c.Model {
	case "", "flow":
	case "flux":
		s = math.Exp(s)
	default:
		t.Fatalf("no judge knows model %q", c.Model)
	}
	first := 1 / float64(c.Levels)
	low := schedule.Flow{first}.Shift(s)[0]
	from := first
	if c.Port == "comfyui" {
		from = low
	}
	switch c.Name {
	case "normal", "discrete":
		return schedule.Even(n, 1, from).Shift(s)
	case "sgm_uniform":
		return schedule.Even(n+1, 1, from)[:n].Shift(s).ToZero()
	case "karras":
		return schedule.Karras(n, 1, low, 7)
	case "exponential":
		return schedule.Exponential(n, 1, low)
	case "kl_optimal":
		return schedule.KLOptimal(n, 1, low)
	case "simple":
		if c.Levels%n == 0 {
			return schedule.Linear(n).Shift(s) // no level is between two of the table
		}
	}
	if !slices.Contains([]string{"simple", "ddim_uniform", "beta", "smoothstep", "lcm", "bong_tangent", "logit_normal"}, c.Name) {
		t.Fatalf("no judge knows the levels %q", c.Name)
	}
	t.notJudged(noSpacing)
	return nil
}
