package sampler_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"cps/sampler"
	"cps/schedule"

	"pgregory.net/rapid"
)

// opaque hides the closed form of a diffusion.
type opaque struct{ d sampler.Diffusion }

func (o opaque) G(t, s float64) float64 { return o.d.G(t, s) }

// A diffusionFunc is the caller's own diffusion coefficient.
type diffusionFunc func(u float64) float64

func (g diffusionFunc) G(t, _ float64) float64 { return g(t) }

// The quadrature gives the closed forms to the 1e-12 it promises for the integral a:
// that moves ρ = e^{-a} by at most 4e-13, for a·e^{-a} < 0.4, and √(1-ρ²) relatively
// by 5e-13. Levels keep 1e-4 from 1, because a coefficient that divides by 1-u is
// itself no better than the rounding of u there.
func quadrature(t *rapid.T) {
	name := rapid.SampledFrom([]string{"Ratio", "Constant", "Proportional", "SquareRoot"}).Draw(t, "diffusion")
	d := diffusions[name](rapid.Float64Range(0, 3).Draw(t, "eta"))
	from, to := flowPoints(t)
	if name == "Ratio" && from.Noise > 1-1e-4 {
		from = schedule.Level(1 - 1e-4)
	}
	if from.Noise <= to.Noise || to.Noise == 0 {
		to = schedule.Level(from.Noise / 3)
	}
	if to.Noise < 1e-290 {
		t.Skip("so close to the smallest numbers, points between the levels have no digits")
	}
	want, err := sampler.Exact{Diffusion: d}.Coeffs(from, to)
	got, err2 := sampler.Exact{Diffusion: opaque{d}}.Coeffs(from, to)
	if err != nil || err2 != nil {
		t.Fatalf("%v(%v) from %v to %v: %v, %v", name, d, from.Noise, to.Noise, err, err2)
	}
	if want.Eps > 0 && want.Eps < 1e-140 {
		t.Skip("g² underflows")
	}
	if got.X0 != want.X0 || math.Abs(got.X1-want.X1) > 1e-12*to.Noise || !closeTo(got.Eps, want.Eps, 1e-12) {
		t.Fatalf("%v(%v) from %v to %v: quadrature %+v, closed form %+v", name, d, from.Noise, to.Noise, got, want)
	}
}

func TestQuadrature(t *testing.T) { rapid.Check(t, quadrature) }
func FuzzQuadrature(f *testing.F) { f.Fuzz(rapid.MakeFuzz(quadrature)) }

// A coefficient need not be smooth: here it is on above level ½ alone. A jump
// between the last node and the end of a panel goes unseen, so that the result is
// as good as a panel is narrow by the time that happens.
func TestQuadratureOfJump(t *testing.T) {
	for _, hi := range []float64{0.51, 0.7, 1} {
		jump := diffusionFunc(func(u float64) float64 {
			if u > 0.5 {
				return 0.9
			}
			return 0
		})
		from, to := schedule.Level(hi), schedule.Level(0.2)
		got := coeffs(t, sampler.Exact{Diffusion: jump}, from, to)
		want := coeffs(t, sampler.Exact{Diffusion: sampler.Constant(0.9)}, from, schedule.Level(0.5))
		if math.Abs(got.X1/0.2-want.X1/0.5) > 1e-6 || math.Abs(got.Eps/0.2-want.Eps/0.5) > 1e-6 {
			t.Errorf("from %v: ρ and √(1-ρ²) are %v, %v, want %v, %v", hi, got.X1/0.2, got.Eps/0.2, want.X1/0.5, want.Eps/0.5)
		}
	}
}

func TestQuadratureOfNothing(t *testing.T) {
	got := coeffs(t, sampler.Exact{Diffusion: diffusionFunc(func(float64) float64 { return 0 })}, schedule.Level(1), schedule.Level(0.5))
	if want := (sampler.Coeffs{X0: 0.5, X1: 0.5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// An integral beyond float64 leaves no correlation, as in the closed form.
func TestQuadratureOverflows(t *testing.T) {
	g := diffusionFunc(func(u float64) float64 { return 1e200 })
	from, to := schedule.Level(1), schedule.Level(0.25)
	if got, want := coeffs(t, sampler.Exact{Diffusion: g}, from, to), coeffs(t, sampler.Renoise{}, from, to); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Whatever a caller's coefficient does, Exact says so and comes back.
func TestQuadratureRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		g    func(u float64) float64
		says string
	}{
		"negative":         {func(u float64) float64 { return -1 }, "= -1 is not a finite number"},
		"negative, half":   {func(u float64) float64 { return u - 0.5 }, "is not a finite number ≥ 0"},
		"NaN":              {func(u float64) float64 { return math.NaN() }, "= NaN"},
		"NaN, half":        {func(u float64) float64 { return math.Sqrt(u - 0.5) }, "= NaN"},
		"infinite":         {func(u float64) float64 { return math.Inf(1) }, "= +Inf"},
		"1/(1-u)":          {func(u float64) float64 { return 1 / (1 - u) }, "diffusionFunc"},
		"√(u/(1-u))":       {func(u float64) float64 { return math.Sqrt(u / (1 - u)) }, "diffusionFunc"},
		"pole inside":      {func(u float64) float64 { return 1 / math.Abs(u-0.6180339887) }, "g"},
		"endless waves":    {func(u float64) float64 { return 1 + math.Sin(1e12*u) }, "does not converge"},
		"no function at 0": {func(u float64) float64 { return math.Abs(math.Sin(1 / (u - 0.7))) }, "does not converge"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			g := diffusionFunc(func(u float64) float64 {
				if calls++; calls > 1e6 {
					panic("a million evaluations and no end")
				}
				if !(0.25 <= u && u <= 1) {
					t.Fatalf("asked for g(%v), outside the step", u)
				}
				return tc.g(u)
			})
			c, err := sampler.Exact{Diffusion: g}.Coeffs(schedule.Level(1), schedule.Level(0.25))
			wantError(t, err, sampler.ErrDiffusion, "Exact", "diffusionFunc", tc.says)
			if c != (sampler.Coeffs{}) {
				t.Errorf("coefficients %+v beside an error", c)
			}
			t.Log(err)
		})
	}
}

// A decayer has a closed form of its own, which can be wrong.
type decayer float64

func (d decayer) G(_, _ float64) float64     { return 1 }
func (d decayer) Decay(_, _ float64) float64 { return float64(d) }

func TestDecayer(t *testing.T) {
	from, to := schedule.Level(0.8), schedule.Level(0.5)
	for _, bad := range []float64{-1, math.NaN(), math.Inf(-1)} {
		_, err := sampler.Exact{Diffusion: decayer(bad)}.Coeffs(from, to)
		wantError(t, err, sampler.ErrDiffusion, "Exact", "decayer", "Decay(0.8, 0.5)", show(bad))
	}
	for decay, want := range map[float64]sampler.Coeffs{
		0:           {X0: 0.5, X1: 0.5},
		math.Inf(1): {X0: 0.5, Eps: 0.5},
		math.Ln2:    {X0: 0.5, X1: 0.25, Eps: 0.25 * math.Sqrt(3)},
	} {
		got := coeffs(t, sampler.Exact{Diffusion: decayer(decay)}, from, to)
		if math.Abs(got.X1-want.X1) > 1e-16 || math.Abs(got.Eps-want.Eps) > 1e-16 {
			t.Errorf("decay %v: %+v, want %+v", decay, got, want)
		}
	}
}

// The other rules ask a diffusion for one value.
func TestBadDiffusion(t *testing.T) {
	type with func(d sampler.Diffusion) sampler.Rule
	rules := map[string]with{
		"FlowSDE":     func(d sampler.Diffusion) sampler.Rule { return sampler.FlowSDE{Diffusion: d} },
		"NoisyODE":    func(d sampler.Diffusion) sampler.Rule { return sampler.NoisyODE{Diffusion: d} },
		"FlowCPWS":    func(d sampler.Diffusion) sampler.Rule { return sampler.FlowCPWS{Diffusion: d} },
		"ModifiedSDE": func(d sampler.Diffusion) sampler.Rule { return sampler.ModifiedSDE{Diffusion: d} },
		"Exact":       func(d sampler.Diffusion) sampler.Rule { return sampler.Exact{Diffusion: d} },
	}
	for name, rule := range rules {
		for _, to := range []float64{0.8, 0.5, 0} {
			_, err := rule(nil).Coeffs(schedule.Level(0.8), schedule.Level(to))
			wantError(t, err, sampler.ErrDiffusion, name, "nil")
		}
		if name == "Exact" {
			continue
		}
		for _, bad := range []float64{-2, math.NaN(), math.Inf(1)} {
			g := diffusionFunc(func(float64) float64 { return bad })
			_, err := rule(g).Coeffs(schedule.Level(0.8), schedule.Level(0.5))
			wantError(t, err, sampler.ErrDiffusion, name, "diffusionFunc", "g(0.8 → 0.5)", show(bad))
		}
	}
}

// Ratio is the published code's: the singularity at t = 1 is dodged by the end of
// the step, there and nowhere else.
func TestRatioAtOne(t *testing.T) {
	if got, want := sampler.Ratio(0.7).G(1, 0.9), 0.7*math.Sqrt(1/(1-0.9)); !closeTo(got, want, 1e-15) {
		t.Errorf("Ratio(0.7).G(1, 0.9) = %v, want %v", got, want)
	}
	below := math.Nextafter(1, 0)
	if got, want := sampler.Ratio(0.7).G(below, 0.9), 0.7*math.Sqrt(below/(1-below)); !closeTo(got, want, 1e-15) {
		t.Errorf("Ratio(0.7).G(%v, 0.9) = %v, want %v", below, got, want)
	}
	// and Exact replaces all noise in a step from 1
	got := coeffs(t, sampler.Exact{Diffusion: sampler.Ratio(0.1)}, schedule.Level(1), schedule.Level(0.9))
	if got.X1 != 0 || got.Eps != 0.9 {
		t.Errorf("Exact from level 1: %+v", got)
	}
}

// SAGE's clamp makes variances negative near level 1, and nowhere else.
func sageIsDefined(t *rapid.T) {
	from, to := flowPoints(t)
	c, err := sampler.SAGE{Eta: rapid.Float64Range(0, 2).Draw(t, "eta")}.Coeffs(from, to)
	switch {
	case err == nil && c.Eps >= 0:
	case from.Noise <= 1-0.003:
		t.Fatalf("from %v to %v: %+v, %v", from.Noise, to.Noise, c, err)
	case !errors.Is(err, sampler.ErrSingular) || !strings.Contains(err.Error(), "variance -"):
		t.Fatalf("from %v to %v: %v", from.Noise, to.Noise, err)
	}
}

func TestSAGEIsDefined(t *testing.T) { rapid.Check(t, sageIsDefined) }
func FuzzSAGEIsDefined(f *testing.F) { f.Fuzz(rapid.MakeFuzz(sageIsDefined)) }
