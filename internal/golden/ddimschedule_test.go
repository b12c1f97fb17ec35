package golden

import (
	"math"
	"slices"
	"testing"

	"cps/schedule"
)

type ddimSchedule struct {
	ID     string
	Config struct {
		BetaStart    float64 `json:"beta_start"` // absent: 0.0001
		BetaEnd      float64 `json:"beta_end"`   // absent: 0.02
		BetaSchedule string  `json:"beta_schedule"`
		AlphaToOne   *bool   `json:"set_alpha_to_one"` // absent: true
		Offset       int     `json:"steps_offset"`
		Spacing      string  `json:"timestep_spacing"` // absent: leading
		ZeroSNR      bool    `json:"rescale_betas_zero_snr"`
	}
	Steps, Timestep int
	Prev            int `json:"prev_timestep"`
	AlphaProd       arr `json:"alpha_prod"`
	AlphaProdPrev   arr `json:"alpha_prod_prev"`
}

// vp returns the training schedule of the case.
func (c ddimSchedule) vp(t *testing.T) *schedule.VP {
	start, end := 0.0001, 0.02
	if c.Config.BetaStart != 0 {
		start, end = c.Config.BetaStart, c.Config.BetaEnd
	}
	var betas []float64
	switch c.Config.BetaSchedule {
	case "linear":
		betas = schedule.LinearBetas(1000, start, end)
	case "scaled_linear":
		betas = schedule.ScaledLinearBetas(1000, start, end)
	default:
		t.Fatalf("no test runs beta_schedule %q", c.Config.BetaSchedule)
	}
	v, err := schedule.NewVP(betas)
	if err == nil && c.Config.ZeroSNR {
		v, err = v.ZeroSNR()
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// run returns the timesteps and the points of the case.
func (c ddimSchedule) run(t *testing.T, v *schedule.VP) ([]int, schedule.Points) {
	var steps []int
	switch c.Config.Spacing {
	case "", "leading":
		steps = v.Leading(c.Steps, c.Config.Offset)
	case "trailing":
		steps = v.Trailing(c.Steps)
	default:
		t.Fatalf("no test runs timestep_spacing %q", c.Config.Spacing)
	}
	final := schedule.Point{Signal: 1}
	if c.Config.AlphaToOne != nil && !*c.Config.AlphaToOne {
		final = v.Point(0)
	}
	p, err := v.Points(steps, final)
	if err != nil {
		t.Fatal(err)
	}
	return steps, p
}

// otherPrev lists the cases in which upstream's step does not arrive where its
// next step starts, because 6 does not divide 1000; the library's does.
var otherPrev = map[string]int{ // the library's previous timestep
	"ddim/v_prediction/trailing/scaled_linear/n6/i0/eta0.0": 832,
	"ddim/v_prediction/trailing/scaled_linear/n6/i0/eta0.3": 832,
	"ddim/v_prediction/trailing/scaled_linear/n6/i0/eta1.0": 832,
	"ddim/v_prediction/trailing/scaled_linear/n6/i3/eta0.0": 332,
	"ddim/v_prediction/trailing/scaled_linear/n6/i3/eta0.3": 332,
	"ddim/v_prediction/trailing/scaled_linear/n6/i3/eta1.0": 332,
}

// alphaTol bounds the relative error of upstream's ᾱ after timestep t: each of
// its t+1 factors 1-β was rounded to float32, by at most 2⁻²⁵ in [1/2, 1), and
// the β before that by less than 2⁻³⁰; the product rounds once, to 2⁻²⁴.
func alphaTol(t int) float64 {
	return float64(t+1)*(0x1p-25+0x1p-30) + 0x1p-24
}

// The rescaling subtracts the last √ᾱ, 0.07, from all, which multiplies the
// relative error where √ᾱ is not much above it, and upstream takes betas of the
// result and multiplies again, all in float32: 1.6e-6 at worst.
const zeroSNRTol = 3e-6

func TestDDIMSchedule(t *testing.T) {
	var file struct{ Cases []ddimSchedule }
	load(t, "ddim.json", &file)
	if len(file.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			v := c.vp(t)
			tol := func(timestep int) float64 {
				if c.Config.ZeroSNR {
					return zeroSNRTol
				}
				return alphaTol(max(timestep, 0))
			}
			steps, p := c.run(t, v)
			i := slices.Index(steps, c.Timestep)
			if i < 0 {
				t.Fatalf("timestep %d is not in %v", c.Timestep, steps)
			}
			if got := int(math.Round(1000 * p[i].Time)); got != c.Timestep {
				t.Errorf("model is told %d, want %d", got, c.Timestep)
			}
			checkAlpha(t, "alpha_prod", p[i], c.AlphaProd[0], tol(c.Timestep))

			prev := p[i+1]
			if own, ok := otherPrev[c.ID]; ok {
				if steps[i+1] != own {
					t.Errorf("next timestep is %d, want %d", steps[i+1], own)
				}
				prev = v.Point(c.Prev)
			}
			checkAlpha(t, "alpha_prod_prev", prev, c.AlphaProdPrev[0], tol(c.Prev))
		})
	}
	for id := range otherPrev {
		if !slices.ContainsFunc(file.Cases, func(c ddimSchedule) bool { return c.ID == id }) {
			t.Errorf("excepted case %q is not in the file", id)
		}
	}
}

func checkAlpha(t *testing.T, what string, p schedule.Point, want, tol float64) {
	t.Helper()
	if got := p.Signal * p.Signal; !(math.Abs(got-want) <= tol*want) {
		t.Errorf("%s = %v, want %v: off by %.3g of it, tolerance %.3g", what, got, want, math.Abs(got-want)/want, tol)
	}
	if !p.OnVP() {
		t.Errorf("%s: %+v is not variance preserving", what, p)
	}
}
