package sampler_test

import (
	"math"
	"testing"

	"cps/sampler"
	"cps/schedule"

	"gonum.org/v1/gonum/stat"
	"pgregory.net/rapid"
)

// DDIM with η = 1, SDE-DPM-Solver++1 and, on the flow path, the exact solution for
// Ratio(√2) are one rule. The first two evaluate the same expressions. The third
// takes e^{-h} through a logarithm, and √2 squared for 2. These are a few roundings
// of h. Each shifts ρ = e^{-h} by h·e^{-h} < 0.4 of its size, and shifts 1-ρ²
// relatively.
func sameRule(t *rapid.T) {
	f := family{Facts: sampler.Facts{Path: anyPath(t)}}
	from, to := f.points(t)
	plus, err := sampler.DPMSDEPlus{}.Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	ddim, err := sampler.DDIM{Eta: 1}.Coeffs(from, to)
	if err != nil || ddim != plus {
		t.Fatalf("from %+v to %+v: DDIM(1) gives %+v, %v, DPMSDEPlus %+v", from, to, ddim, err, plus)
	}
	if f.Path != sampler.FlowPath {
		return
	}
	exact, err := sampler.Exact{Diffusion: sampler.Ratio(math.Sqrt2)}.Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	const tol = 16 * 0x1p-53
	s := to.Noise
	if exact.X0 != plus.X0 || math.Abs(exact.X1-plus.X1) > tol*s+4*ulp(0) || math.Abs(exact.Eps-plus.Eps) > tol*plus.Eps+4*ulp(0) {
		t.Fatalf("from %+v to %+v: Exact(Ratio √2) gives %+v, DPMSDEPlus %+v", from, to, exact, plus)
	}
}

func TestDDIMIsDPMSDEPlusIsExact(t *testing.T) { rapid.Check(t, sameRule) }
func FuzzDDIMIsDPMSDEPlusIsExact(f *testing.F) { f.Fuzz(rapid.MakeFuzz(sameRule)) }

func TestFlowCPSOfOneIsRenoise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := family{Facts: sampler.Facts{Path: anyPath(t)}}.points(t)
		cps, err := sampler.FlowCPS{Eta: 1}.Coeffs(from, to)
		renoise, err2 := sampler.Renoise{}.Coeffs(from, to)
		if err != nil || err2 != nil || cps != renoise {
			t.Fatalf("FlowCPS(1) %+v, %v; Renoise %+v, %v", cps, err, renoise, err2)
		}
	})
}

// FlowCPS with η just below 1 is close to FlowCPS with η = 1.
func TestFlowCPSIsContinuousAtOne(t *testing.T) {
	c := coeffs(t, sampler.FlowCPS{Eta: math.Nextafter(1, 0)}, schedule.Level(0.6), schedule.Level(0.5))
	if c.Eps != 0.5 || !(c.X1 >= 0 && c.X1 < 1e-15) {
		t.Errorf("%+v, want {0.5 0 0.5}", c)
	}
}

// composed returns the law of two steps with the same predicted sample. x̂1 is the
// noise from which the first step starts. The second step starts from (X1·x̂1 +
// Eps·ε)/u.
func composed(first, second sampler.Coeffs, u float64) sampler.Coeffs {
	return sampler.Coeffs{
		X0:  second.X0,
		X1:  second.X1 * (first.X1 / u),
		Eps: math.Hypot(second.X1*(first.Eps/u), second.Eps),
	}
}

// The exact solution of an SDE does not depend on where the interval is cut, since
// exponents add up. A few roundings of the exponent a shift ρ = e^{-a} by at most
// as many roundings of 1. They shift 1 - ρ² relatively.
func composes(t *rapid.T) {
	d := rapid.SampledFrom([]string{"DPMSDEPlus", "Ratio", "Constant", "Proportional", "SquareRoot"}).Draw(t, "diffusion")
	var r sampler.Rule = sampler.DPMSDEPlus{}
	if g, ok := diffusions[d]; ok {
		r = sampler.Exact{Diffusion: g(rapid.Float64Range(0, 3).Draw(t, "eta"))}
	}
	from, to := flowPoints(t)
	s, hi := to.Noise, from.Noise
	u := s + rapid.Float64Range(0, 1).Draw(t, "cut")*(hi-s)
	if !(s < u && u < hi) || s == 0 {
		t.Skip("no room between the levels")
	}
	mid := schedule.Level(u)
	c1, err1 := r.Coeffs(from, mid)
	c2, err2 := r.Coeffs(mid, to)
	whole, err3 := r.Coeffs(from, to)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	if e := max(c1.Eps, c2.Eps, whole.Eps); e > 0 && e < 1e-140 {
		t.Skip("g² underflows")
	}
	got := composed(c1, c2, u)
	const tol = 64 * 0x1p-53
	if got.X0 != whole.X0 || math.Abs(got.X1-whole.X1) > tol*s+4*ulp(0) || math.Abs(got.Eps-whole.Eps) > tol*whole.Eps+8*ulp(0) {
		t.Fatalf("%+v: %v → %v → %v gives %+v, one step %+v", r, hi, u, s, got, whole)
	}
}

func TestExactComposes(t *testing.T) { rapid.Check(t, composes) }
func FuzzExactComposes(f *testing.F) { f.Fuzz(rapid.MakeFuzz(composes)) }

// FlowCPS replaces the same share of noise in a step of any length, so two steps
// replace more than one.
func TestFlowCPSDoesNotCompose(t *testing.T) {
	from, mid, to := schedule.Level(0.8), schedule.Level(0.6), schedule.Level(0.4)
	r := sampler.FlowCPS{Eta: 0.5}
	got := composed(coeffs(t, r, from, mid), coeffs(t, r, mid, to), mid.Noise)
	whole := coeffs(t, r, from, to)
	// cos²(π/4) = ½ of x̂1 is left; one step would leave cos(π/4).
	if math.Abs(got.X1-0.4*0.5) > 1e-15 || math.Abs(whole.X1-0.4*math.Sqrt2/2) > 1e-15 {
		t.Errorf("two steps leave %v of x̂1, one %v", got.X1, whole.X1)
	}
}

// e^{-h} is the same on every shifted schedule, and so is ρ of rules that are
// functions of it. The shift moves levels and their complements by a few roundings,
// relatively. Levels are in [0.01, 0.99], and shifts go up to 16. The test compares
// squares of the new noise, since √(1-ρ²) has no bound on its derivative.
func shiftInvariant(t *rapid.T) {
	draw := rapid.Float64Range(0.01, 0.99)
	a, b := draw.Draw(t, "t"), draw.Draw(t, "s")
	if a == b {
		t.Skip()
	}
	f := schedule.Flow{max(a, b), min(a, b)}
	g := f.Shift(rapid.Float64Range(1.0/16, 16).Draw(t, "shift"))
	eta := rapid.Float64Range(0, 1).Draw(t, "eta")
	for _, r := range []sampler.Rule{sampler.DDIM{Eta: eta}, sampler.DPMSDEPlus{}, sampler.Exact{Diffusion: sampler.Ratio(2 * eta)}} {
		c, err := r.Coeffs(f.At(0), f.At(1))
		d, err2 := r.Coeffs(g.At(0), g.At(1))
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		sq := func(x float64) float64 { return x * x }
		if math.Abs(c.X1/f[1]-d.X1/g[1]) > 1e-11 || math.Abs(sq(c.Eps/f[1])-sq(d.Eps/g[1])) > 1e-11 {
			t.Fatalf("%+v: ρ and √(1-ρ²) are %v, %v on %v, and %v, %v on %v",
				r, c.X1/f[1], c.Eps/f[1], f, d.X1/g[1], d.Eps/g[1], g)
		}
	}
}

func TestShiftInvariance(t *testing.T) { rapid.Check(t, shiftInvariant) }
func FuzzShiftInvariance(f *testing.F) { f.Fuzz(rapid.MakeFuzz(shiftInvariant)) }

// Theorem 1: FlowSDE tends to FlowCPWS as Δ → 0. The distance of the coefficients
// is of second order,
//
//	X1(CPWS) - X1(SDE) = √(s²-g²Δ) - s + g²Δ/(2t) = -(g²/(2t²) + g⁴/(8t³))Δ² + O(Δ³)
//
// There are two causes: the SDE's drift divides by t where preservation needs s,
// and the root has curvature. Over the 1/Δ steps of a run the noise level is off by
// first order, see TestVarianceOfPointsConverges. Exact is as far from both.
func TestTheoremOne(t *testing.T) {
	const u = 0.6
	from := schedule.Level(u)
	for name, g := range diffusions {
		d := g(0.8)
		var logDelta, logDistance, logExcess, logExact []float64
		var last, delta float64
		for k := 4; k <= 14; k++ {
			delta = math.Ldexp(0.1, -k)
			to := schedule.Level(u - delta)
			sde := coeffs(t, sampler.FlowSDE{Diffusion: d}, from, to)
			cpws := coeffs(t, sampler.FlowCPWS{Diffusion: d}, from, to)
			exact := coeffs(t, sampler.Exact{Diffusion: d}, from, to)
			if sde.X0 != cpws.X0 || sde.Eps != cpws.Eps {
				t.Fatalf("%v, Δ = %v: FlowSDE %+v and FlowCPWS %+v differ in more than X1", name, delta, sde, cpws)
			}
			last = sde.X1 - cpws.X1
			logDelta = append(logDelta, math.Log(delta))
			logDistance = append(logDistance, math.Log(last))
			logExcess = append(logExcess, math.Log(sde.NoiseLevel()-to.Noise))
			logExact = append(logExact, math.Log(math.Abs(exact.X1-cpws.X1)))
		}
		for _, y := range []struct {
			what string
			log  []float64
		}{{"FlowSDE - FlowCPWS in X1", logDistance}, {"FlowSDE's excess of noise", logExcess}, {"Exact - FlowCPWS in X1", logExact}} {
			_, order := stat.LinearRegression(logDelta, y.log, nil, false)
			t.Logf("%v: %v is of order %.4f", name, y.what, order)
			// Δ/t ≤ 0.01, so the next term of the series bends the line by less
			// than 1%.
			if math.Abs(order-2) > 0.02 {
				t.Errorf("%v: %v is of order %v, want 2", name, y.what, order)
			}
		}
		g2 := math.Pow(d.G(u, u), 2)
		if want := (g2/(2*u*u) + g2*g2/(8*u*u*u)) * delta * delta; !closeTo(last, want, 1e-3) {
			t.Errorf("%v: FlowSDE - FlowCPWS in X1 is %v at Δ = %v, want %v", name, last, delta, want)
		}
	}
}
