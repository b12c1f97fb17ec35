package sampler_test

import (
	"errors"
	"fmt"
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

// The quadrature gives the closed forms of the integral a to the promised 1e-12. That
// moves ρ = e^{-a} by at most 4e-13, for a·e^{-a} < 0.4, and √(1-ρ²) by 5e-13, relatively.
// Levels stay 1e-4 away from 1: near 1 a coefficient that divides by 1-u has itself the
// rounding error of u.
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

// A coefficient need not be smooth: here it acts only above level ½. The quadrature does
// not see a jump between the last node and the end of a panel. So the error is at most the
// width of a panel by then.
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

// The quadrature finds a feature between the nodes if it is at least a ten-thousandth of
// the step wide, in log u. This holds wherever the feature is, with a background or
// without. Here g = √u·(b + exp(-((w-at)/width)²)) of w = log(u/s). Its integral is known
// but for tails below 1e-300. Without a background even a feature half as wide is found,
// since its tails are seen.
func narrowFeature(t *rapid.T) {
	lo := math.Pow(10, -rapid.Float64Range(0.2, 4).Draw(t, "log step"))
	log := math.Log(1 / lo)
	background := rapid.SampledFrom([]float64{0, 0.3, 1}).Draw(t, "background")
	width := 1e-4 * log * rapid.Float64Range(1, 20).Draw(t, "width")
	if background == 0 {
		width /= 2
	}
	at := rapid.Float64Range(30*width, log-30*width).Draw(t, "at")
	g := func(u float64) float64 {
		z := (math.Log(u/lo) - at) / width
		return math.Sqrt(u) * (background + math.Exp(-z*z))
	}
	// ½∫g²/u² du = ½∫(b + e^{-z²})² dw
	a := (background*background*log + 2*background*width*math.Sqrt(math.Pi) + width*math.Sqrt(math.Pi/2)) / 2
	from, to := schedule.Level(1), schedule.Level(lo)
	c, err := sampler.Exact{Diffusion: diffusionFunc(g)}.Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	// The error of log(u/s) is the rounding of u, in units of the width.
	tol := 1e-12 + 0x1p-51/width
	if want := lo * math.Sqrt(-math.Expm1(-2*a)); !closeTo(c.Eps, want, tol) {
		t.Fatalf("width %v at %v of %v, background %v: Eps %v, want %v: relative error %.2g", width, at, log, background, c.Eps, want, c.Eps/want-1)
	}
}

func TestQuadratureFindsNarrowFeature(t *testing.T) { rapid.Check(t, narrowFeature) }
func FuzzQuadratureFindsNarrowFeature(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(narrowFeature))
}

// A bump in u: ½∫e^{-2z²}/u² du = √(π/2)·1e-4/(2·0.25) to 1e-7, for 1/u² is curved.
func TestQuadratureOfBump(t *testing.T) {
	g := diffusionFunc(func(u float64) float64 {
		z := (u - 0.5) / 1e-4
		return math.Exp(-z * z)
	})
	c := coeffs(t, sampler.Exact{Diffusion: g}, schedule.Level(1), schedule.Level(0.01))
	a := math.Sqrt(math.Pi/2) * 1e-4 / 0.5
	if want := 0.01 * math.Sqrt(-math.Expm1(-2*a)); !closeTo(c.Eps, want, 1e-7) {
		t.Errorf("Eps %v, want %v", c.Eps, want)
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

// For any coefficient of a caller, Exact returns, with an error if it must.
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

// A decayer has a closed form of its own, which may be wrong.
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
		for name2, none := range map[string]sampler.Diffusion{
			"nil sampler_test.diffusionFunc": diffusionFunc(nil), "nil *sampler_test.opaque": (*opaque)(nil), "nil *sampler.Ratio": (*sampler.Ratio)(nil),
		} {
			_, err := rule(none).Coeffs(schedule.Level(0.8), schedule.Level(0.5))
			wantError(t, err, sampler.ErrDiffusion, name, name2)
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

// Ratio follows the published code: only at t = 1, the end of the step replaces t in 1-t.
func TestRatioAtOne(t *testing.T) {
	if got, want := sampler.Ratio(0.7).G(1, 0.9), 0.7*math.Sqrt(1/(1-0.9)); !closeTo(got, want, 1e-15) {
		t.Errorf("Ratio(0.7).G(1, 0.9) = %v, want %v", got, want)
	}
	below := math.Nextafter(1, 0)
	if got, want := sampler.Ratio(0.7).G(below, 0.9), 0.7*math.Sqrt(below/(1-below)); !closeTo(got, want, 1e-15) {
		t.Errorf("Ratio(0.7).G(%v, 0.9) = %v, want %v", below, got, want)
	}
	// Exact replaces all noise in a step from 1.
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

// A picky diffusion can be invalid by itself.
type picky struct {
	diffusionFunc
	err error
}

func (p picky) Validate() error { return p.err }

// Rules ask a user's diffusion first whether it is valid, even in a step that needs no g.
// The error names the rule and the diffusion.
func TestValidator(t *testing.T) {
	mine := errors.New("not on a Monday")
	for _, d := range []sampler.Diffusion{picky{err: mine}, picky{err: fmt.Errorf("sampler_test.picky: %w", mine)}} {
		for _, to := range []float64{0.8, 0.5, 0} {
			for _, r := range []sampler.Rule{sampler.FlowSDE{Diffusion: d}, sampler.Exact{Diffusion: d}} {
				_, err := r.Coeffs(schedule.Level(0.8), schedule.Level(to))
				if want := sampler.FactsOf(r).Name + ": sampler_test.picky: not on a Monday"; !errors.Is(err, mine) || err.Error() != want {
					t.Errorf("%v, want %s", err, want)
				}
			}
		}
	}
	one := picky{diffusionFunc: func(float64) float64 { return 1 }}
	if got, want := coeffs(t, sampler.FlowSDE{Diffusion: one}, schedule.Level(0.8), schedule.Level(0.5)),
		coeffs(t, sampler.FlowSDE{Diffusion: sampler.Constant(1)}, schedule.Level(0.8), schedule.Level(0.5)); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A gFunc is a diffusion of the caller's own, which may look at both ends of the step.
type gFunc func(t, s float64) float64

func (g gFunc) G(t, s float64) float64 { return g(t, s) }

// A drifter also knows its drift.
type drifter struct {
	sampler.Diffusion
	drift func(t, s float64) float64
}

func (d drifter) Drift(t, s float64) float64 { return d.drift(t, s) }

// A user's diffusion may have the values of one of ours. ModifiedSDE then gives the same
// result, to a few roundings, or an error, and never another result.
func TestModifiedSDEOfOwnDiffusion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"Ratio", "Constant", "Proportional", "SquareRoot"}).Draw(t, "diffusion")
		d := diffusions[name](rapid.Float64Range(0, 3).Draw(t, "eta"))
		from, to := flowPoints(t)
		want, err := sampler.ModifiedSDE{Diffusion: d}.Coeffs(from, to)
		for _, own := range []sampler.Diffusion{gFunc(d.G), drifter{gFunc(d.G), d.(sampler.Drifter).Drift}, struct{ sampler.Drifter }{d.(sampler.Drifter)}} {
			got, err2 := sampler.ModifiedSDE{Diffusion: own}.Coeffs(from, to)
			_, bare := own.(gFunc)
			switch {
			case bare && to.Noise == 0:
				if !errors.Is(err2, sampler.ErrSingular) || !strings.Contains(err2.Error(), "ModifiedSDE: sampler_test.gFunc divides by the level, which is 0") {
					t.Fatalf("%v from %v to 0: %v", name, from.Noise, err2)
				}
			case err != nil || err2 != nil:
				if err == nil || err2 == nil || !errors.Is(err2, sampler.ErrSingular) {
					t.Fatalf("%T: %v, ours %v", own, err2, err)
				}
			case !bare && got != want:
				t.Fatalf("%T from %v to %v: %+v, ours %+v", own, from.Noise, to.Noise, got, want)
			case got.X0 != want.X0 || got.Eps != want.Eps || math.Abs(got.X1-want.X1) > 8*0x1p-53*(to.Noise+math.Abs(to.Noise-want.X1))+1e-300:
				if to.Noise > 1e-140 && (want.Eps == 0 || want.Eps > 1e-140) { // otherwise g² underflows
					t.Fatalf("%v from %v to %v: %+v, ours %+v", name, from.Noise, to.Noise, got, want)
				}
			}
		}
	})
	from, end := schedule.Level(0.1), schedule.Level(0)
	root := sampler.SquareRoot(0.7)
	if c := coeffs(t, sampler.ModifiedSDE{Diffusion: drifter{gFunc(root.G), root.Drift}}, from, end); !closeTo(c.X1, -0.0245, 1e-15) || c.Eps != 0 {
		t.Errorf("%+v, want X1 -0.0245", c)
	}
	for _, bad := range []float64{-1, nan, math.Inf(-1)} {
		d := drifter{root, func(_, _ float64) float64 { return bad }}
		_, err := sampler.ModifiedSDE{Diffusion: d}.Coeffs(from, end)
		wantError(t, err, sampler.ErrDiffusion, "ModifiedSDE", "drifter", "Drift(0.1, 0)", show(bad))
	}
	infinite := drifter{root, func(_, _ float64) float64 { return inf }}
	_, err := sampler.ModifiedSDE{Diffusion: infinite}.Coeffs(from, end)
	wantError(t, err, sampler.ErrSingular, "ModifiedSDE", "drifter", "divides by the level, which is 0")
	_, err = sampler.ModifiedSDE{Diffusion: infinite}.Coeffs(from, schedule.Level(0.05))
	wantError(t, err, sampler.ErrSingular, "ModifiedSDE", "not finite")
}
