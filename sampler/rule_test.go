package sampler_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"cps/sampler"
	"cps/schedule"

	"pgregory.net/rapid"
)

func preserving(f family) bool { return f.Preserving }

// preserves is Definition 1 to the last bits: the signal is exact, and the noise is
// within 4 units in the last place. A rule multiplies σ' by ρ and √(1-ρ²), which
// carry up to 3 roundings each. The level adds two.
func preserves(t *rapid.T, f family) {
	from, to := f.points(t)
	r := f.at(f.eta(t))
	c, err := r.Coeffs(from, to)
	if err != nil {
		t.Fatalf("%+v from %+v to %+v: %v", r, from, to, err)
	}
	if c.X0 != to.Signal {
		t.Fatalf("%+v from %+v to %+v: X0 is %v, not the signal", r, from, to, c.X0)
	}
	if level := c.NoiseLevel(); !(math.Abs(level-to.Noise) <= 4*ulp(to.Noise)) {
		t.Fatalf("%+v from %+v to %+v: %+v has level %v, %.3g ulp from %v", r, from, to, c, level, (level-to.Noise)/ulp(to.Noise), to.Noise)
	}
	if c.Eps < 0 {
		t.Fatalf("%+v from %+v to %+v: Eps is %v", r, from, to, c.Eps)
	}
	if to.Noise == 0 && c.Eps != 0 {
		t.Fatalf("%+v injects %v into level 0", r, c.Eps)
	}
}

func TestPreservation(t *testing.T) { forFamilies(t, preserving, preserves) }
func FuzzPreservation(f *testing.F) { f.Fuzz(anyFamily(preserving, preserves)) }

// excess returns level² of a rule that does not preserve coefficients, by the
// closed form of its documentation.
func excess(r sampler.Rule, eps float64, from, to schedule.Point) float64 {
	t, s := from.Noise, to.Noise
	delta := t - s
	sq := func(x float64) float64 { return x * x }
	euler := func(d sampler.Diffusion) float64 { return sq(d.G(t, s)) * delta } // g²Δ
	switch r := r.(type) {
	case sampler.FlowSDE: // Eq. 11
		e := euler(r.Diffusion)
		return s*s + e*(delta/t) + sq(e/(2*t))
	case sampler.NoisyODE:
		return s*s + euler(r.Diffusion)
	case sampler.ModifiedSDE:
		switch d := r.Diffusion.(type) {
		case sampler.Proportional:
			return s*s + sq(float64(d*d)*delta*s/2)
		case sampler.SquareRoot:
			return s*s + sq(float64(d*d)*delta/2)
		}
		e := euler(r.Diffusion)
		if e == 0 {
			return s * s
		}
		return s*s + sq(e/(2*s))
	case sampler.SAGE:
		return s*s + eps*eps*(delta/t) + sq(eps*eps/(2*t))
	case sampler.DPMSDE:
		q := t * to.Signal / from.Signal // σ'·e^h
		rest := t*to.Signal - from.Signal*s
		return s*s + 2*sq(rest/(t*to.Signal)*q)
	case sampler.VPSDE: // from 1 - σ² = α² and 1 - σ'² = α²/(1-β)
		beta := (to.Signal - from.Signal) * (to.Signal + from.Signal) / sq(to.Signal)
		return s*s + sq(beta)*(sq(to.Signal)+sq(1/t-t/2))
	}
	return math.NaN()
}

// leavesItsExcess checks level² against its closed form to 1e-12. The form is a sum
// of positive terms, and the computed level is a hypotenuse, with a few roundings
// each. 1 - ᾱ of a VP point cancels for ᾱ near 1; the rest of the tolerance is for
// that.
func leavesItsExcess(t *rapid.T, f family) {
	from, to := f.points(t)
	if f.name == "VPSDE" && 1-to.Signal < 1e-3 {
		to = schedule.VPLevel(0, 0.999)
	}
	if from.Noise <= to.Noise {
		from = schedule.VPLevel(1, 0)
	}
	r := f.at(f.eta(t))
	c, err := r.Coeffs(from, to)
	if err != nil {
		t.Skip(err)
	}
	got, want := c.NoiseLevel(), math.Sqrt(excess(r, c.Eps, from, to))
	if math.IsInf(want, 1) || math.IsInf(got, 1) || want < 1e-150 || c.Eps > 0 && c.Eps < 1e-140 {
		t.Skip("beyond the range of squares")
	}
	if !closeTo(got, want, 1e-12) {
		t.Fatalf("%+v from %+v to %+v: %+v has level %v, want %v: relative error %.3g", r, from, to, c, got, want, got/want-1)
	}
	if f.name != "VPSDE" && c.X0 != to.Signal {
		t.Fatalf("%+v: X0 is %v, not the signal %v", r, c.X0, to.Signal)
	}
}

func notPreserving(f family) bool { return !f.Preserving }

func TestExcess(t *testing.T) { forFamilies(t, notPreserving, leavesItsExcess) }
func FuzzExcess(f *testing.F) { f.Fuzz(anyFamily(notPreserving, leavesItsExcess)) }

// Coeffs.Preserves must catch every rule that says it does not preserve, at some
// step of any ordinary schedule.
func TestPreservesTellsThemApart(t *testing.T) {
	for _, f := range families {
		p := schedule.VPLevel
		from, to := p(0.6, 0.3), p(0.5, 0.5)
		if f.Path == sampler.FlowPath {
			from, to = schedule.Level(0.6), schedule.Level(0.5)
		}
		c := coeffs(t, f.at(0.7), from, to)
		if got := c.Preserves(to, 1e-6); got != f.Preserving {
			t.Errorf("%v: %+v at level %v: Preserves is %v", f, c, to.Noise, got)
		}
		c.X0 += 2e-6
		if c.Preserves(to, 1e-6) {
			t.Errorf("%v: Preserves does not look at the signal", f.name)
		}
	}
}

// With η = 0, every rule that has an η takes exactly the deterministic step.
func zeroIsODE(t *rapid.T, f family) {
	from, to := f.points(t)
	want := sampler.Coeffs{X0: to.Signal, X1: to.Noise}
	for _, zero := range []float64{0, math.Copysign(0, -1)} {
		c, err := f.at(zero).Coeffs(from, to)
		if err != nil || c != want {
			t.Fatalf("%v, η = %v, from %+v to %+v: %+v, %v, want %+v", f.name, zero, from, to, c, err, want)
		}
	}
}

func hasEta(f family) bool { return f.param != noEta }

func TestZeroEtaIsODE(t *testing.T) { forFamilies(t, hasEta, zeroIsODE) }
func FuzzZeroEtaIsODE(f *testing.F) { f.Fuzz(anyFamily(hasEta, zeroIsODE)) }

// A step that goes nowhere changes nothing, exactly, in terms of predictions and in
// terms of latent and output. Only FlowCPS and Renoise inject noise there.
func standsStill(t *rapid.T, f family) {
	from, to := f.points(t)
	p := rapid.SampledFrom([]schedule.Point{from, to}).Draw(t, "point")
	eta := f.eta(t)
	c, err := f.at(eta).Coeffs(p, p)
	if err != nil {
		t.Fatal(err)
	}
	identity := sampler.Coeffs{X0: p.Signal, X1: p.Noise}
	if f.jumps() {
		if f.param == unitEta && eta < 1e-9 { // sin(ηπ/2) shows in Eps alone, and may underflow
			t.Skip("η is as good as 0")
		}
		if p.Noise > 0 && (c == identity || c.Eps == 0) {
			t.Fatalf("%v, η = %v at %+v: %+v injects nothing", f.name, eta, p, c)
		}
		return
	}
	if c != identity {
		t.Fatalf("%v, η = %v at %+v: %+v is not the identity", f.name, eta, p, c)
	}
	if a := c.Affine(sampler.PredictVelocity, p); a != (sampler.Affine{X: 1}) {
		t.Fatalf("%v, η = %v at %+v: %+v is not the identity", f.name, eta, p, a)
	}
}

func all(family) bool { return true }

func TestIdentity(t *testing.T) { forFamilies(t, all, standsStill) }
func FuzzIdentity(f *testing.F) { f.Fuzz(anyFamily(all, standsStill)) }

// Rules are comparable, and equal points give equal coefficients.
func TestRulesAreValues(t *testing.T) {
	for _, f := range families {
		if a, b := f.at(0.5), f.at(0.5); a != b {
			t.Errorf("%v: %+v != %+v", f.name, a, b)
		}
	}
}

// The formulas of the documentation, as printed there, agree with the rules to
// 1e-11 at ordinary levels, where little cancels. The worst is ρ of a difference of
// logarithms, which loses three digits.
func TestFormulas(t *testing.T) {
	const eta = 0.7
	sq := func(x float64) float64 { return x * x }
	ratio := func(t, s float64) float64 { return eta * math.Sqrt(t/(1-t)) }
	mix := func(s, rho float64) sampler.Coeffs {
		return sampler.Coeffs{X0: 1 - s, X1: s * rho, Eps: s * math.Sqrt(1-rho*rho)}
	}
	type pair struct {
		rule sampler.Rule
		want func(t, s float64) sampler.Coeffs
	}
	h := func(t, s float64) float64 { return math.Log((1-s)/s) - math.Log((1-t)/t) }
	for _, p := range []pair{
		{sampler.FlowODE{}, func(t, s float64) sampler.Coeffs { return sampler.Coeffs{X0: 1 - s, X1: s} }},
		{sampler.FlowSDE{Diffusion: sampler.Ratio(eta)}, func(t, s float64) sampler.Coeffs {
			g, delta := ratio(t, s), t-s
			return sampler.Coeffs{X0: 1 - s, X1: s - g*g*delta/(2*t), Eps: g * math.Sqrt(delta)}
		}},
		{sampler.NoisyODE{Diffusion: sampler.Constant(eta)}, func(t, s float64) sampler.Coeffs {
			return sampler.Coeffs{X0: 1 - s, X1: s, Eps: eta * math.Sqrt(t-s)}
		}},
		{sampler.FlowCPS{Eta: eta}, func(t, s float64) sampler.Coeffs { return mix(s, math.Cos(eta*math.Pi/2)) }},
		{sampler.FlowCPWS{Diffusion: sampler.Constant(0.2)}, func(t, s float64) sampler.Coeffs {
			return sampler.Coeffs{X0: 1 - s, X1: math.Sqrt(max(0, s*s-0.04*(t-s))), Eps: min(s, 0.2*math.Sqrt(t-s))}
		}},
		{sampler.Exact{Diffusion: sampler.Ratio(eta)}, func(t, s float64) sampler.Coeffs { return mix(s, math.Exp(-eta*eta*h(t, s)/2)) }},
		{sampler.Exact{Diffusion: sampler.Constant(eta)}, func(t, s float64) sampler.Coeffs { return mix(s, math.Exp(-eta*eta*(1/s-1/t)/2)) }},
		{sampler.Exact{Diffusion: sampler.Proportional(eta)}, func(t, s float64) sampler.Coeffs { return mix(s, math.Exp(-eta*eta*(t-s)/2)) }},
		{sampler.Exact{Diffusion: sampler.SquareRoot(eta)}, func(t, s float64) sampler.Coeffs { return mix(s, math.Pow(s/t, eta*eta/2)) }},
		{sampler.DDIM{Eta: eta}, func(t, s float64) sampler.Coeffs {
			eps := eta * s * math.Sqrt(1-math.Exp(-2*h(t, s)))
			return sampler.Coeffs{X0: 1 - s, X1: math.Sqrt(s*s - eps*eps), Eps: eps}
		}},
		{sampler.DPMSDE{}, func(t, s float64) sampler.Coeffs {
			return sampler.Coeffs{X0: 1 - s, X1: s * (2 - math.Exp(h(t, s))), Eps: s * math.Sqrt(math.Exp(2*h(t, s))-1)}
		}},
		{sampler.DPMSDEPlus{}, func(t, s float64) sampler.Coeffs { return mix(s, math.Exp(-h(t, s))) }},
		{sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(eta)}, func(t, s float64) sampler.Coeffs {
			return sampler.Coeffs{X0: 1 - s, X1: s - eta*eta*s*(t-s)/(2*s), Eps: eta * math.Sqrt(s) * math.Sqrt(t-s)}
		}},
		{sampler.ModifiedSDE{Diffusion: sampler.Proportional(eta)}, func(t, s float64) sampler.Coeffs {
			return sampler.Coeffs{X0: 1 - s, X1: s - sq(eta*s)*(t-s)/(2*s), Eps: eta * s * math.Sqrt(t-s)}
		}},
		{sampler.ModifiedSDE{Diffusion: sampler.Constant(eta)}, func(t, s float64) sampler.Coeffs {
			return sampler.Coeffs{X0: 1 - s, X1: s - eta*eta*(t-s)/(2*s), Eps: eta * math.Sqrt(t-s)}
		}},
		{sampler.Ancestral{Eta: eta}, func(t, s float64) sampler.Coeffs {
			down := s * (1 + (s/t-1)*eta)
			return mix(s, down*(1-s)/((1-down)*s))
		}},
		{sampler.Renoise{}, func(t, s float64) sampler.Coeffs { return mix(s, 0) }},
		{sampler.ERSDE{}, func(t, s float64) sampler.Coeffs {
			phi := func(x float64) float64 { return x * (math.Exp(math.Pow(x, 0.3)) + 10) }
			before, after := t/(1-t), s/(1-s)
			return mix(s, phi(after)*before/(phi(before)*after))
		}},
		{sampler.SAGE{Eta: eta}, func(t, s float64) sampler.Coeffs {
			v := eta * eta * (math.Log((1-s)/(1-min(t, 1-3e-3))) - (t - s))
			return sampler.Coeffs{X0: 1 - s, X1: s - v/(2*t), Eps: math.Sqrt(v)}
		}},
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			s := 0.05 + 0.9*rng.Float64()
			u := s + (0.99-s)*(0.01+0.99*rng.Float64())
			got, want := coeffs(t, p.rule, schedule.Level(u), schedule.Level(s)), p.want(u, s)
			if math.Abs(got.X0-want.X0) > 1e-11 || math.Abs(got.X1-want.X1) > 1e-11 || math.Abs(got.Eps-want.Eps) > 1e-11 {
				t.Errorf("%+v from %v to %v: %+v, the formula gives %+v", p.rule, u, s, got, want)
			}
		}
	}
}

// On a variance-preserving path the rules equal those printed in the literature.
func TestFormulasOnVP(t *testing.T) {
	const eta = 0.6
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		a := 0.9 * rng.Float64()
		b := a + (0.99-a)*(0.01+0.99*rng.Float64())
		from, to := schedule.VPLevel(0.5, a), schedule.VPLevel(0.25, b)

		// DDIM in ᾱ (arXiv 2010.02502, Eq. 12 and 16)
		eps := eta * math.Sqrt((1-b)/(1-a)) * math.Sqrt(1-a/b)
		want := sampler.Coeffs{X0: math.Sqrt(b), X1: math.Sqrt(1 - b - eps*eps), Eps: eps}
		got := coeffs(t, sampler.DDIM{Eta: eta}, from, to)
		if math.Abs(got.X1-want.X1) > 1e-13 || math.Abs(got.Eps-want.Eps) > 1e-13 {
			t.Errorf("DDIM from ᾱ %v to %v: %+v, want %+v", a, b, got, want)
		}

		// The Euler step in the latent: x + βx/2 - β·x̂1/σ + √β·ε, in x̂0 and x̂1
		beta := 1 - a/b
		want = sampler.Coeffs{
			X0:  (1 + beta/2) * math.Sqrt(a),
			X1:  (1+beta/2)*math.Sqrt(1-a) - beta/math.Sqrt(1-a),
			Eps: math.Sqrt(beta),
		}
		got = coeffs(t, sampler.VPSDE{}, from, to)
		if math.Abs(got.X0-want.X0) > 1e-13 || math.Abs(got.X1-want.X1) > 1e-13 || math.Abs(got.Eps-want.Eps) > 1e-13 {
			t.Errorf("VPSDE from ᾱ %v to %v: %+v, want %+v", a, b, got, want)
		}
	}
}

// badEtas are parameters that rules and diffusions must refuse.
var badEtas = []float64{-1e-300, -0.5, math.NaN(), math.Inf(1), math.Inf(-1)}

func TestBadEta(t *testing.T) {
	for _, f := range families {
		if f.param == noEta {
			continue
		}
		bad := badEtas
		if f.param == unitEta {
			bad = append([]float64{math.Nextafter(1, 2), 1.7, 2, 5}, bad...)
		}
		for _, eta := range bad {
			for _, to := range []float64{0.6, 0.5, 0} { // also where the step needs no η
				_, err := f.at(eta).Coeffs(schedule.Level(0.6), schedule.Level(to))
				rule, diffusion, _ := strings.Cut(f.name, "/")
				wantError(t, err, sampler.ErrEta, rule, diffusion, "eta", show(eta))
			}
		}
	}
}

// Every rule that divides by the fall of the noise refuses a step to more noise.
func TestUphill(t *testing.T) {
	for _, f := range families {
		from, to := schedule.Level(0.3), schedule.Level(0.7)
		if f.Path == sampler.VPPath {
			from, to = schedule.VPLevel(0.3, 0.9), schedule.VPLevel(0.7, 0.2)
		}
		c, err := f.at(0.5).Coeffs(from, to)
		switch {
		case err != nil:
			wantError(t, err, sampler.ErrPath, "noise", "does not fall")
		case !f.jumps() && f.name != "FlowODE":
			t.Errorf("%s: %+v and no error", f.name, c)
		}
	}
}

// Rules that are called directly return finite coefficients with Eps ≥ 0, or an
// error that names them. This holds for every parameter and every pair of points,
// whatever New would refuse.
func directCallIsFinite(t *rapid.T, f family) {
	wild := rapid.OneOf(
		rapid.Float64(), rapid.Float64Range(0, 1),
		rapid.Map(rapid.Float64Range(-308, 308), func(x float64) float64 { return math.Pow(10, x) }),
		rapid.SampledFrom([]float64{0, 1, math.MaxFloat64, 5e-324, nan, inf, -inf}))
	from, to := f.points(t)
	if rapid.IntRange(0, 3).Draw(t, "points") == 0 {
		from = schedule.Point{Signal: wild.Draw(t, "signal"), Noise: wild.Draw(t, "noise")}
		to = schedule.Point{Signal: wild.Draw(t, "signal'"), Noise: wild.Draw(t, "noise'")}
	}
	r := f.at(wild.Draw(t, "eta"))
	c, err := r.Coeffs(from, to)
	switch {
	case err == nil:
		if !(math.Abs(c.X0) <= math.MaxFloat64 && math.Abs(c.X1) <= math.MaxFloat64 && c.Eps >= 0 && c.Eps <= math.MaxFloat64) {
			t.Fatalf("%+v from %+v to %+v: %+v", r, from, to, c)
		}
	case c != sampler.Coeffs{}:
		t.Fatalf("%+v from %+v to %+v: %+v beside %v", r, from, to, c, err)
	case !strings.HasPrefix(err.Error(), f.Name+": "):
		t.Fatalf("%+v from %+v to %+v: %v", r, from, to, err)
	}
}

func TestDirectCallIsFinite(t *testing.T) { forFamilies(t, all, directCallIsFinite) }
func FuzzDirectCallIsFinite(f *testing.F) { f.Fuzz(anyFamily(all, directCallIsFinite)) }

// Some parameters are too large for a formula, and some points too small.
func TestTooLarge(t *testing.T) {
	from, to := schedule.Level(0.6), schedule.Level(0.5)
	for _, r := range []sampler.Rule{
		sampler.FlowSDE{Diffusion: sampler.Ratio(1e200)},
		sampler.ModifiedSDE{Diffusion: sampler.Constant(1e200)},
		sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(1e200)},
		sampler.SAGE{Eta: 1e200},
	} {
		_, err := r.Coeffs(from, to)
		wantError(t, err, sampler.ErrSingular, sampler.FactsOf(r).Name+": ", "Inf", "not finite")
	}
	// The squares of these signals underflow to 0.
	c := coeffs(t, sampler.VPSDE{}, schedule.Point{Signal: 3e-200, Noise: 1}, schedule.Point{Signal: 5e-200, Noise: 1})
	if beta := 1 - 0.36; !closeTo(c.Eps, math.Sqrt(beta), 1e-15) || !closeTo(c.X0, (1+beta/2)*3e-200, 1e-15) || !closeTo(c.X1, 1-beta/2, 1e-15) {
		t.Errorf("%+v", c)
	}
}
