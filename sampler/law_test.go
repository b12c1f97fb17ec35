package sampler_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// These tests compute the laws of latents exactly. Let data be N(m, S²), every
// element on its own. Then the latents at a point with signal α and noise σ should be
// N(αm, V), with V = α²S² + σ². The exact model predicts
//
//	x̂0 = m + αS²/V·(x - αm)    x̂1 = σ/V·(x - αm)    v = x̂1 - x̂0
//
// All of this is affine in x. So a step takes a normal law to a normal law, and both
// moments follow in closed form. By Lagrange's identity for (α'S, X1) and (αS, σ), a
// rule with X0 = α' turns the right law into
//
//	mean' = α'm    var' = α'²S² + level² - S²(α'σ - X1·α)²/V        (*)
//
// For S = 0 the model is exact in the sense of Section 3.1, and the variance is
// level². Preserving rules then keep the law at every step of any length. Other rules
// are off by their excess.
//
// For S > 0 even preserving rules fall short, by the last term: x̂0 and x̂1 are
// correlated predictions, not the sample and the noise. If a rule discretises an SDE
// or ODE, α'σ - X1·α is of first order in Δ. The term is then of second order, and a
// run converges with first order. For FlowCPS with fixed η it stays, since X1·α/σ
// does not tend to α'.

// gauss is the law of one element, N(mean, sd²).
type gauss struct{ mean, sd float64 }

// variance returns V at the point p.
func (g gauss) variance(p schedule.Point) float64 {
	return p.Signal*p.Signal*g.sd*g.sd + p.Noise*p.Noise
}

// velocity returns slope and offset of the exact velocity, v = slope·x + offset.
func (g gauss) velocity(p schedule.Point) (slope, offset float64) {
	slope = (p.Noise - p.Signal*g.sd*g.sd) / g.variance(p)
	return slope, -g.mean - slope*p.Signal*g.mean
}

// A moments holds the mean and the variance of the latents.
type moments struct{ mean, variance float64 }

// after returns the moments after the step.
func (m moments) after(a sampler.Affine, g gauss, from schedule.Point) moments {
	slope, offset := g.velocity(from)
	w := a.X + a.V*slope
	return moments{w*m.mean + a.V*offset, w*w*m.variance + a.Eps*a.Eps}
}

// exact returns the step of a transition without rounding its weights to float32.
func exact(t sampler.Transition) sampler.Affine {
	return t.Coeffs.Affine(sampler.PredictVelocity, t.From)
}

var lawSchedules = map[string]schedule.Flow{
	"linear":  schedule.Linear(10),
	"shifted": schedule.Linear(10).Shift(3),
	"karras":  schedule.Karras(12, 0.99, 0.01, 7),
	"one":     schedule.Linear(1),
}

// For point masses, a preserving rule leaves the variance that the schedule
// allocates, after every step. The tolerance is a few roundings of each of 12 steps,
// in units of the variance before the step. The unit is that one because at level 0
// the weight of x is 1 - t·(1/t).
func TestPointMassKeepsVariance(t *testing.T) {
	for name, f := range lawSchedules {
		for _, r := range families {
			if !r.Preserving || r.Path == sampler.VPPath {
				continue
			}
			for _, η := range []float64{0, 0.3, 0.9, 1} {
				s := mustNew(t, sampler.Config{Scheduler: f, Rule: r.at(η)})
				g := gauss{mean: 1.5}
				m := moments{f.At(0).Signal * g.mean, f[0] * f[0]}
				for i := range s.Steps() {
					tr := s.At(i)
					before := m.variance
					m = m.after(exact(tr), g, tr.From)
					want := moments{tr.To.Signal * g.mean, tr.To.Noise * tr.To.Noise}
					if math.Abs(m.variance-want.variance) > 1e-12*before || math.Abs(m.mean-want.mean) > 1e-12 {
						t.Errorf("%v(%v) on %v, step %d: %+v, want %+v", r.name, η, name, i, m, want)
					}
				}
			}
		}
	}
}

// For point masses, FlowSDE follows the recursion behind Eq. 11,
//
//	P' = (s - g²Δ/(2t))²·P/t² + g²Δ
//
// From P = t² this is Eq. 11 itself. The excess never dies out.
func TestPointMassEquation11(t *testing.T) {
	for name, f := range lawSchedules {
		for dname, g := range diffusions {
			d := g(0.7)
			s := mustNew(t, sampler.Config{Scheduler: f, Rule: sampler.FlowSDE{Diffusion: d}})
			m, p := moments{variance: f[0] * f[0]}, f[0]*f[0]
			for i := range s.Steps() {
				tr := s.At(i)
				u, v := tr.From.Noise, tr.To.Noise
				e := math.Pow(d.G(u, v), 2) * (u - v) // g²Δ

				first := moments{variance: u * u}.after(exact(tr), gauss{}, tr.From)
				if want := v*v + e*(u-v)/u + e*e/(4*u*u); !closeTo(first.variance, want, 1e-12) && want > 1e-20 {
					t.Errorf("%v on %v, step %d: variance %v, Eq. 11 says %v", dname, name, i, first.variance, want)
				}
				m = m.after(exact(tr), gauss{}, tr.From)
				p = math.Pow(v-e/(2*u), 2)*p/(u*u) + e
				if math.Abs(m.variance-p) > 1e-12*max(p, u*u) {
					t.Errorf("%v on %v, step %d: variance %v, the recursion says %v", dname, name, i, m.variance, p)
				}
			}
			if last := s.At(s.Steps() - 1); dname == "Constant" || dname == "Ratio" {
				if !(m.variance > last.To.Noise*last.To.Noise+5e-5) {
					t.Errorf("%v on %v: variance %v at level %v: the excess is gone", dname, name, m.variance, last.To.Noise)
				}
			}
		}
	}
}

// For Gaussian data, equation (*) holds for every rule on the flow path, at any step.
// Both sides are sums of squares with a few roundings each. They cancel to no less
// than var'.
func oneStepOfGaussian(t *rapid.T, f family) {
	draw := rapid.Float64Range(0.02, 0.98)
	hi, lo := draw.Draw(t, "t"), draw.Draw(t, "s")
	if hi-lo < 1e-3 {
		t.Skip("too short a step")
	}
	from, to := schedule.Level(hi), schedule.Level(lo)
	g := gauss{rapid.Float64Range(-2, 2).Draw(t, "mean"), rapid.Float64Range(0, 2).Draw(t, "sd")}
	c, err := f.at(rapid.Float64Range(0, 1).Draw(t, "eta")).Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	got := moments{from.Signal * g.mean, g.variance(from)}.after(c.Affine(sampler.PredictVelocity, from), g, from)
	sq := func(x float64) float64 { return x * x }
	level := c.NoiseLevel()
	want := moments{
		mean:     to.Signal * g.mean,
		variance: sq(to.Signal*g.sd) + sq(level) - sq(g.sd*(to.Signal*from.Noise-c.X1*from.Signal))/g.variance(from),
	}
	scale := sq(to.Signal*g.sd) + sq(level) + 1
	if math.Abs(got.mean-want.mean) > 1e-12*(1+math.Abs(c.X1)) || math.Abs(got.variance-want.variance) > 1e-12*scale {
		t.Fatalf("%v from %v to %v, data %+v: %+v, want %+v", f.name, hi, lo, g, got, want)
	}
	if f.Preserving && !(got.variance <= g.variance(to)+1e-12*scale) {
		t.Fatalf("%v from %v to %v, data %+v: variance %v is above that of the law, %v", f.name, hi, lo, g, got.variance, g.variance(to))
	}
}

func onFlow(f family) bool { return f.Path != sampler.VPPath }

func TestGaussianStep(t *testing.T) { forFamilies(t, onFlow, oneStepOfGaussian) }
func FuzzGaussianStep(f *testing.F) { f.Fuzz(anyFamily(onFlow, oneStepOfGaussian)) }

// relativeError returns the relative error of the variance after n even steps from
// level 0.95 to 0.2. All diffusions are smooth between these levels.
func relativeError(t *testing.T, r sampler.Rule, g gauss, n int) float64 {
	return relativeErrorOn(t, schedule.Level, r, g, n)
}

// relativeErrorOn is relativeError on another path, a function from noise to points.
func relativeErrorOn(t *testing.T, path func(noise float64) schedule.Point, r sampler.Rule, g gauss, n int) float64 {
	var f schedule.Points
	for _, u := range schedule.Linear(n) {
		f = append(f, path(0.2+0.75*u))
	}
	s := mustNew(t, sampler.Config{Scheduler: f, Rule: r, Start: sampler.FromData, End: sampler.ToPart})
	m := moments{f.At(0).Signal * g.mean, g.variance(f.At(0))}
	for i := range s.Steps() {
		m = m.after(exact(s.At(i)), g, s.At(i).From)
	}
	return m.variance/g.variance(f.At(n)) - 1
}

// For point masses the model is exact in the sense of Section 3.1. Rules that do not
// preserve coefficients then converge with first order, too. FlowSDE converges from
// above, by its excess noise (Theorem 1: to the preserving rules with first order
// over a run). [TestFactsAreMeasured] has the orders of all rules for Gaussian data.
func TestVarianceOfPointsConverges(t *testing.T) {
	rules := map[string]sampler.Rule{
		"DPMSDE":    sampler.DPMSDE{},
		"FlowSDE/3": sampler.FlowSDE{Diffusion: sampler.Constant(0.3)},
	}
	for name, g := range diffusions {
		rules["FlowSDE/"+name] = sampler.FlowSDE{Diffusion: g(0.7)}
	}
	for name, r := range rules {
		var logN, logError []float64
		for n := 256; n <= 4096; n *= 2 {
			e := relativeError(t, r, gauss{}, n)
			if !(e > 0) {
				t.Errorf("%v: relative error %v after %d steps is not an excess", name, e, n)
			}
			logN = append(logN, math.Log(float64(n)))
			logError = append(logError, math.Log(math.Abs(e)))
		}
		_, order := stat.LinearRegression(logN, logError, nil, false)
		t.Logf("%v: order %.3f", name, -order)
		if math.Abs(order+1) > 0.1 {
			t.Errorf("%v: the variance converges with order %v, want 1", name, -order)
		}
	}
}

// FlowCPS with fixed η does not converge for Gaussian data. With ρ = cos(ηπ/2) the
// variance settles, after very many steps, at the P that (*) with Δ = 0 keeps,
//
//	P = V·(1+ρ)V/(2V - (1-ρ)σ²)
//
// At level 0 this is V(1+ρ)/2: at η = 1 half of the data's variance is gone.
func TestFixedEtaCPSShrinksGaussians(t *testing.T) {
	g := gauss{1, 0.5}
	for _, η := range []float64{0.3, 0.6, 1} {
		ρ := math.Cos(η * math.Pi / 2)
		to := schedule.Level(0.2)
		v, s2 := g.variance(to), to.Noise*to.Noise
		want := (1+ρ)*v/(2*v-(1-ρ)*s2) - 1
		half := relativeError(t, sampler.FlowCPS{Eta: η}, g, 1<<13)
		got := relativeError(t, sampler.FlowCPS{Eta: η}, g, 1<<14)
		t.Logf("FlowCPS(%v): relative error %.5f after %d steps, limit %.5f", η, got, 1<<14, want)
		// The rest is of first order, since the level moves while the variance
		// settles.
		if order := math.Log2((half - want) / (got - want)); math.Abs(got-want) > 2e-4 || math.Abs(order-1) > 0.05 {
			t.Errorf("FlowCPS(%v): relative error %v, then %v, want %v with order 1, not %v", η, half, got, want, order)
		}
		if e := relativeError(t, sampler.FlowCPS{Eta: η}, gauss{1, 0}, 1<<10); math.Abs(e) > 1e-11 {
			t.Errorf("FlowCPS(%v): relative error %v for a point mass", η, e)
		}
	}
}

// model is the exact velocity of g as a model for the CPU.
func (g gauss) model(at func(time float64) schedule.Point) func(v, x []float32, time float64) error {
	return func(v, x []float32, time float64) error {
		slope, offset := g.velocity(at(time))
		a, b := float32(slope), float32(offset)
		for i, x := range x {
			v[i] = float32(a*x) + b
		}
		return nil
	}
}

// Rollouts on the CPU follow the exact recursion, for every rule at every step. With
// n independent elements, z = (mean - μ)·√(n/P) is normal, and the sum of squares
// over P has a chi-square law with n-1 degrees of freedom. Each assertion fails by
// chance with odds of 1e-9. There are 532 assertions, and the key is fixed. float32
// moves the moments by 1e-6 at most, and n = 2¹⁸ resolves 2e-2.
func TestRolloutsFollowTheLaw(t *testing.T) {
	const dim, odds = 1 << 10, 1e-9
	rows := 1 << 8
	if testing.Short() {
		rows = 1 << 5
	}
	n := float64(dim * rows)
	chi := distuv.ChiSquared{K: n - 1}
	lo, hi := chi.Quantile(odds/2), chi.Quantile(1-odds/2)
	if !(lo < n && n < hi && hi < 1.06*n) {
		t.Fatalf("quantiles %v, %v of chi-square with %v degrees of freedom", lo, hi, n-1)
	}
	zmax := distuv.UnitNormal.Quantile(1 - odds/2)
	samples := make([]uint64, rows)
	for i := range samples {
		samples[i] = uint64(i)
	}
	levels := schedule.Flow{0.99, 0.9, 0.7, 0.4, 0.1, 0}
	asserted := 0
	for k, f := range families {
		if f.Path == sampler.VPPath {
			continue
		}
		f9 := levels
		if f.name == "ModifiedSDE/Ratio" || f.name == "ModifiedSDE/Constant" {
			f9 = levels[:5]
		}
		for j, g := range []gauss{{mean: 1.5}, {mean: -1, sd: 0.5}} {
			s := mustNew(t, sampler.Config{Scheduler: f9, Rule: f.at(0.7)})
			b := s.Batch(dim, noise.Key(k).Derive(uint64(j)), samples...)
			run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
			start := b.WithAffine(sampler.Affine{Eps: math.Sqrt(g.variance(f9.At(0)))})
			sampler.CPU{}.Step(run.Latents[0], nil, nil, start, nil)
			m := moments{variance: g.variance(f9.At(0))}
			err := sampler.Rollout(context.Background(), sampler.CPU{}, s, b, run, sampler.OneTime(g.model(schedule.Level)))
			if err != nil {
				t.Fatal(err)
			}
			for i := range s.Steps() {
				tr := s.At(i)
				m = m.after(tr.Affine, g, tr.From)
				mean, ss := sumOfSquares(run.Latents[i+1])
				where := fmt.Sprintf("%v, data %+v, step %d", f.name, g, i)
				if m.variance < 1e-12 { // no noise is left but that of float32
					if math.Abs(mean-m.mean) > 1e-6 || ss/n > 1e-12 {
						t.Errorf("%s: mean %v, variance %v, want %v and nothing", where, mean, ss/n, m.mean)
					}
					continue
				}
				asserted += 2
				if z := (mean - m.mean) * math.Sqrt(n/m.variance); math.Abs(z) > zmax {
					t.Errorf("%s: mean %v, want %v: %.1f σ", where, mean, m.mean, z)
				}
				if q := ss / m.variance; q < lo || q > hi {
					t.Errorf("%s: variance %v, want %v", where, ss/n, m.variance)
				}
			}
		}
	}
	t.Logf("%d assertions at odds of %v each", asserted, odds)
	if asserted < 500 {
		t.Errorf("only %d assertions", asserted)
	}
}

// sumOfSquares returns the mean of x and the sum of squares about that mean.
func sumOfSquares(x []float32) (mean, ss float64) {
	for _, x := range x {
		mean += float64(x)
	}
	mean /= float64(len(x))
	for _, x := range x {
		ss += (float64(x) - mean) * (float64(x) - mean)
	}
	return mean, ss
}
