package sampler_test

import (
	"math"
	"math/big"
	"testing"

	"cps/sampler"
	"cps/schedule"
)

// At these values a plainer formula would be wrong.

// The signal-to-noise ratio of a very short step is a difference of the products σα'
// and ασ', each of which rounds to 53 bits.
func TestShortStepOnAnyPath(t *testing.T) {
	from := schedule.Point{Time: 0.5, Signal: 0.7312345678901234, Noise: 0.5123456789012345}
	to := schedule.Point{Time: 0.4, Signal: from.Signal + 0x1p-44, Noise: from.Noise - 0x1p-43}
	exact := func(x float64) *big.Rat { return new(big.Rat).SetFloat64(x) }
	mul := func(x, y *big.Rat) *big.Rat { return new(big.Rat).Mul(x, y) }
	d := mul(exact(from.Noise), exact(to.Signal))
	rest := new(big.Rat).Quo(new(big.Rat).Sub(d, mul(exact(from.Signal), exact(to.Noise))), d)
	r, _ := rest.Float64()
	want := to.Noise * math.Sqrt(r*(2-r)) // √(1-e^{-2h}) of 1-e^{-h}
	for _, rule := range []sampler.Rule{sampler.DPMSDEPlus{}, sampler.DDIM{Eta: 1}} {
		if c := coeffs(t, rule, from, to); !closeTo(c.Eps, want, 1e-15) {
			t.Errorf("%T: Eps %v, want %v", rule, c.Eps, want)
		}
	}
}

// In a very short step, the first derivative gives 1-ρ of ERSDE. Its relative error
// is 1e-9, the length of the step.
func TestShortStepOfERSDE(t *testing.T) {
	const u, delta = 0.6, 1e-10
	from, to := schedule.Level(u), schedule.Level(u-delta)
	lambda := u / (1 - u)
	psi := math.Exp(math.Pow(lambda, 0.3)) + 10
	slope := math.Exp(math.Pow(lambda, 0.3)) * 0.3 * math.Pow(lambda, -0.7) / (1 - u) / (1 - u) / psi // of log ψ by u
	step := from.Noise - to.Noise
	if c, want := coeffs(t, sampler.ERSDE{}, from, to), u*math.Sqrt(2*slope*step); !closeTo(c.Eps, want, 1e-8) {
		t.Errorf("Eps %v, want %v", c.Eps, want)
	}
	// Here 1-e^{-h} rounds to more than 1.
	c := coeffs(t, sampler.ERSDE{}, schedule.Level(0.9999999999999999), schedule.Level(0.01954857343099542))
	if !closeTo(c.NoiseLevel(), 0.01954857343099542, 1e-15) {
		t.Errorf("%+v", c)
	}
}

// SAGE's clamp of t, at 0.997, acts only in the logarithm.
func TestSAGENearLevelOne(t *testing.T) {
	from, to := schedule.Level(0.999), schedule.Level(0.5)
	v := 0.49 * (math.Log(0.5/0.003) - 0.499)
	c := coeffs(t, sampler.SAGE{Eta: 0.7}, from, to)
	if !closeTo(c.Eps*c.Eps, v, 1e-13) || !closeTo(c.X1, 0.5-v/(2*0.999), 1e-13) {
		t.Errorf("%+v, want Eps² %v", c, v)
	}
}

// A coefficient has a feature a hundredth as wide as the step. It lies between the
// nodes of a quadrature over the whole step.
func TestQuadratureFindsNarrowFeatures(t *testing.T) {
	const t1, s1 = 0.9, 0.3
	width := math.Log(t1 / s1)
	for _, at := range []float64{0.11, 0.27, 0.53, 0.77} {
		g := func(u float64) float64 {
			z := (math.Log(u/s1)/width - at) / 0.02
			return 0.3 + math.Exp(-z*z)
		}
		// Simpson's rule in log u, fine enough for 1e-12.
		const n = 1 << 16
		var sum float64
		for i := 0; i <= n; i++ {
			u := s1 * math.Exp(width*float64(i)/n)
			w := 2.0 + 2*float64(i%2)
			if i == 0 || i == n {
				w = 1
			}
			sum += w * g(u) * g(u) / u
		}
		a := sum * width / n / 3 / 2
		c := coeffs(t, sampler.Exact{Diffusion: diffusionFunc(g)}, schedule.Level(t1), schedule.Level(s1))
		if want := s1 * math.Exp(-a); !closeTo(c.X1, want, 1e-10) {
			t.Errorf("feature at %v: X1 %v, want %v", at, c.X1, want)
		}
	}
}

// A family may end at any eta, not only at a power of two.
func TestMatchEtaOfLimitedFamily(t *testing.T) {
	from, to := schedule.Level(0.7), schedule.Level(0.3)
	family := func(eta float64) sampler.Rule {
		if eta > 1.5 {
			return sampler.FlowCPS{Eta: 7} // which is an error
		}
		return sampler.FlowCPS{Eta: eta / 1.5}
	}
	for _, want := range []float64{1.4, 1.5, 0.3} {
		got, err := sampler.MatchEta(family, coeffs(t, family(want), from, to).Eps, from, to)
		// At the end of the family the sine is flat, see FuzzEquivalentEta.
		if err != nil || math.Abs(got-want) > 4e-8 {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	_, err := sampler.MatchEta(family, 0.31, from, to)
	wantError(t, err, sampler.ErrNoEta, "FlowCPS", "0.31", "at eta 1.5")
}
