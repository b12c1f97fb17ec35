package sampler_test

import (
	"errors"
	"math"
	"testing"

	"cps/sampler"
	"cps/schedule"

	"pgregory.net/rapid"
)

// MatchEta finds the smallest eta at which the family injects at least as much as a
// rule. That noise exceeds the wanted noise by one rounding of eta at most. Clamped
// and saturated rules inject the same for many etas.
func matches(t *rapid.T, f family) {
	draw := rapid.Float64Range(0.02, 0.95)
	hi, lo := draw.Draw(t, "t"), draw.Draw(t, "s")
	if hi-lo < 1e-3 {
		t.Skip("too short a step")
	}
	from, to := schedule.Level(hi), schedule.Level(lo)
	top := 1.0
	if f.param == positiveEta {
		top = 4
	}
	eta := rapid.Float64Range(0, top).Draw(t, "eta")
	eps := injects(t, f, eta, from, to)
	if eta > 0 && eps < 1e-140 {
		t.Skip("squares of η underflow")
	}
	got, err := sampler.MatchEta(f.at, eps, from, to)
	if err != nil {
		t.Fatal(err)
	}
	if again := injects(t, f, got, from, to); !(eps <= again && again <= eps*(1+1e-14)) {
		t.Fatalf("%v from %v to %v: η = %v injects %v, η = %v found for it injects %v", f.name, hi, lo, eta, eps, got, again)
	}
	if !(got <= eta+2e-8) { // where the slope is small, neighbouring etas may have eps out of order

		t.Fatalf("%v from %v to %v: found η = %v, but %v is enough", f.name, hi, lo, got, eta)
	}
}

func injects(t *rapid.T, f family, eta float64, from, to schedule.Point) float64 {
	c, err := f.at(eta).Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return c.Eps
}

func TestMatchEta(t *testing.T) { forFamilies(t, hasEta, matches) }
func FuzzMatchEta(f *testing.F) { f.Fuzz(anyFamily(hasEta, matches)) }

// EquivalentEta gives a FlowCPS that injects the same to 13 units in the last place.
// There are at most 13 roundings of 2⁻⁵³. These are two differences, two roots and a
// product, the arctangent of a quotient, the factor 2/π and back with two rounded
// constants, the sine, and the level. The worst seen is 5 units. MatchEta of FlowCPS agrees on
// the eta. Near η = 1 the sine is flat, and its rounding moves the eta by up to
// √(2·2⁻⁵²)·2/π ≈ 1.4e-8.
func equivalent(t *rapid.T, f family) {
	draw := rapid.Float64Range(0.02, 0.95)
	hi, lo := draw.Draw(t, "t"), draw.Draw(t, "s")
	if hi-lo < 1e-3 {
		t.Skip("too short a step")
	}
	from, to := schedule.Level(hi), schedule.Level(lo)
	if f.Path == sampler.VPPath {
		from, to = schedule.VPLevel(1, 1-hi), schedule.VPLevel(0, 1-lo)
	}
	c, err := f.at(f.eta(t)).Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	eta, err := sampler.EquivalentEta(fixed{c}, from, to)
	if c.Eps > to.Noise*(1+1e-15) {
		if !errors.Is(err, sampler.ErrNoEta) {
			t.Fatalf("%v injects %v into level %v: η = %v, %v", f.name, c.Eps, to.Noise, eta, err)
		}
		return
	}
	if err != nil || !(0 <= eta && eta <= 1) {
		t.Fatalf("%v injects %v into level %v: η = %v, %v", f.name, c.Eps, to.Noise, eta, err)
	}
	cps, err := sampler.FlowCPS{Eta: eta}.Coeffs(from, to)
	if err != nil || !(math.Abs(cps.Eps-c.Eps) <= 13*ulp(c.Eps)) {
		t.Fatalf("%v injects %v into level %v, FlowCPS{%v} %v: %.2g ulp, %v", f.name, c.Eps, to.Noise, eta, cps.Eps, (cps.Eps-c.Eps)/ulp(c.Eps), err)
	}
	matched, err := sampler.MatchEta(func(eta float64) sampler.Rule { return sampler.FlowCPS{Eta: eta} }, cps.Eps, from, to)
	if err != nil || !(math.Abs(matched-eta) <= 2e-8) {
		t.Fatalf("EquivalentEta gives %v and MatchEta %v, %v", eta, matched, err)
	}
}

// fixed is a rule that always returns c.
type fixed struct{ c sampler.Coeffs }

func (f fixed) Coeffs(_, _ schedule.Point) (sampler.Coeffs, error) { return f.c, nil }

func TestEquivalentEta(t *testing.T) { forFamilies(t, all, equivalent) }
func FuzzEquivalentEta(f *testing.F) { f.Fuzz(anyFamily(all, equivalent)) }

// EquivalentEta of a FlowCPS is its own eta. A rounding of the sine moves the eta by
// the rounding times the tangent.
func TestEquivalentEtaOfFlowCPS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Float64Range(0, 1).Draw(t, "eta")
		from, to := flowPoints(t)
		if to.Noise < 1e-300 {
			t.Skip("denormal noise has few digits")
		}
		got, err := sampler.EquivalentEta(sampler.FlowCPS{Eta: want}, from, to)
		tol := min(2e-8, 8*0x1p-53*(1+math.Tan(want*math.Pi/2)))
		if err != nil || !(math.Abs(got-want) <= tol) {
			t.Fatalf("%v, %v, want %v", got, err, want)
		}
	})
	from, to := schedule.Level(0.7), schedule.Level(0.3)
	for rule, want := range map[sampler.Rule]float64{
		sampler.Renoise{}:       1,
		sampler.FlowCPS{Eta: 1}: 1,
		sampler.FlowODE{}:       0,
		sampler.FlowCPS{}:       0,
		fixed{sampler.Coeffs{Eps: math.Nextafter(0.3, 1)}}:  1, // a rounding above the level
		fixed{sampler.Coeffs{Eps: math.Sqrt2 / 2 * 0.3}}:    0.5,
		sampler.DDIM{Eta: 0}:                                0,
		sampler.FlowCPWS{Diffusion: sampler.Constant(1000)}: 1, // clamped
		sampler.Exact{Diffusion: sampler.Constant(1000)}:    1, // saturated
	} {
		if got, err := sampler.EquivalentEta(rule, from, to); err != nil || math.Abs(got-want) > 0x1p-52 || got > 1 {
			t.Errorf("%+v: %v, %v, want %v", rule, got, err, want)
		}
	}
}

func TestNoEta(t *testing.T) {
	if _, err := sampler.EquivalentEta(nil, schedule.Level(1), schedule.Level(0)); !errors.Is(err, sampler.ErrConfig) {
		t.Errorf("nil rule: %v", err)
	}
	from, to, end := schedule.Level(0.7), schedule.Level(0.3), schedule.Level(0)
	sde := sampler.FlowSDE{Diffusion: sampler.Constant(0.7)}
	_, err := sampler.EquivalentEta(sde, from, end)
	wantError(t, err, sampler.ErrNoEta, "FlowSDE", "level 0")
	_, err = sampler.EquivalentEta(fixed{sampler.Coeffs{Eps: math.NaN()}}, from, to)
	wantError(t, err, sampler.ErrSingular, "fixed", "NaN")
	_, err = sampler.EquivalentEta(sampler.FlowCPS{Eta: 2}, from, to)
	wantError(t, err, sampler.ErrEta, "FlowCPS", "2")
	if eta, err := sampler.EquivalentEta(sampler.FlowCPS{Eta: 1}, from, end); eta != 0 || err != nil {
		t.Errorf("at level 0, where nothing is injected: %v, %v", eta, err)
	}

	_, err = sampler.MatchEta(nil, 0.1, from, to)
	wantError(t, err, sampler.ErrConfig, "family", "nil")
	_, err = sampler.MatchEta(func(float64) sampler.Rule { return nil }, 0.1, from, to)
	wantError(t, err, sampler.ErrConfig, "rule is nil")
	_, err = sampler.EquivalentEta(ruleFunc(nil), from, to)
	wantError(t, err, sampler.ErrConfig, "nil sampler_test.ruleFunc")

	cps := func(eta float64) sampler.Rule { return sampler.FlowCPS{Eta: eta} }
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
		_, err := sampler.MatchEta(cps, bad, from, to)
		wantError(t, err, sampler.ErrNoEta, show(bad))
	}
	_, err = sampler.MatchEta(cps, 0.30001, from, to) // more than the level
	wantError(t, err, sampler.ErrNoEta, "FlowCPS", "0.30001", "0.7", "0.3")
	_, err = sampler.MatchEta(func(eta float64) sampler.Rule { return sampler.Exact{Diffusion: sampler.Constant(eta)} }, 0.31, from, to)
	wantError(t, err, sampler.ErrNoEta, "Exact", "0.31")
	_, err = sampler.MatchEta(func(eta float64) sampler.Rule { return sampler.FlowSDE{Diffusion: sampler.Proportional(eta)} }, 0.1, from, end)
	wantError(t, err, sampler.ErrNoEta, "FlowSDE", "0.1")
	_, err = sampler.MatchEta(func(eta float64) sampler.Rule { return fixed{sampler.Coeffs{Eps: math.NaN()}} }, 0.1, from, to)
	wantError(t, err, sampler.ErrSingular, "fixed", "NaN")
	_, err = sampler.MatchEta(func(eta float64) sampler.Rule { return sampler.FlowSDE{} }, 0.1, from, to)
	wantError(t, err, sampler.ErrDiffusion, "FlowSDE", "nil")
	if eta, err := sampler.MatchEta(cps, 0, from, to); eta != 0 || err != nil {
		t.Errorf("no noise: η = %v, %v", eta, err)
	}
}

// The audit of the paper's comparison: Flow-SDE leaves the noise of Eq. 11 at every
// step, which accumulates as in the authors' notebook. Preserving rules leave none.
func TestAudit(t *testing.T) {
	levels := schedule.Linear(10).Shift(3)
	for _, f := range families {
		if f.Path == sampler.VPPath || f.name == "DPMSDE" || f.name == "ModifiedSDE/Ratio" || f.name == "ModifiedSDE/Constant" || f.name == "SAGE" {
			continue
		}
		s := mustNew(t, sampler.Config{Scheduler: levels, Rule: f.at(0.7)})
		a := s.Audit()
		if len(a) != s.Steps() {
			t.Fatalf("%v: %d entries for %d steps", f.name, len(a), s.Steps())
		}
		var sum float64
		for i, e := range a {
			tr := s.At(i)
			level := math.Sqrt(tr.Coeffs.X1*tr.Coeffs.X1 + tr.Coeffs.Eps*tr.Coeffs.Eps)
			if e.Step != i || e.From != tr.From || e.To != tr.To || e.Signal != tr.Coeffs.X0 || e.Ideal != tr.To.Noise {
				t.Errorf("%v: entry %d is %+v of %+v", f.name, i, e, tr)
			}
			if math.Abs(e.Level-level) > 1e-15 || math.Abs(e.Excess-(level-tr.To.Noise)) > 2e-15 {
				t.Errorf("%v: step %d: level %v, excess %v, want %v", f.name, i, e.Level, e.Excess, level)
			}
			sum += level*level - e.Ideal*e.Ideal
			switch {
			case f.Preserving && math.Abs(e.Accumulated) > 1e-7: // the root of a few roundings
				t.Errorf("%v: step %d: accumulated %v", f.name, i, e.Accumulated)
			case !f.Preserving && math.Abs(e.Accumulated*e.Accumulated-sum) > 1e-14:
				t.Errorf("%v: step %d: accumulated %v, want its square to be %v", f.name, i, e.Accumulated, sum)
			}
		}
	}
}

// Accumulated is negative where less noise is left than allocated.
func TestAuditIsSigned(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Flow{1, 0.5}, End: sampler.ToPart, Rule: fixed{sampler.Coeffs{X0: 0.5, X1: 0.3}}})
	a := s.Audit()[0]
	if !closeTo(a.Excess, -0.2, 1e-15) || !closeTo(a.Accumulated, -0.4, 1e-15) {
		t.Errorf("%+v, want excess -0.2, accumulated -0.4", a)
	}
}

func mustNew(t testing.TB, c sampler.Config) *sampler.Sampler {
	t.Helper()
	s, err := sampler.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
