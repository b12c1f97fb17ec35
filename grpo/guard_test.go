package grpo

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// gaussian is a transition of the old policy, N(0, std²), and the mean of the new one.
type gaussian struct {
	std   float64
	eps   []float64 // noise of the transition, in units of std
	delta []float64 // the new mean
}

func drawGaussian(t *rapid.T) gaussian {
	dim := rapid.IntRange(1, 5).Draw(t, "dim")
	return gaussian{
		std:   rapid.Float64Range(0.2, 2).Draw(t, "std"),
		eps:   some(t, "eps", dim, -2, 2),
		delta: some(t, "delta", dim, -0.3, 0.3),
	}
}

// logs returns log p of the transition under mean delta and under mean 0, and the
// divergence of the two, averaged over the elements.
func (g gaussian) logs(delta []float64, denominator float64) (logp, old, kl float64) {
	n := float64(len(g.eps))
	for i, e := range g.eps {
		x := g.std * e
		logp -= (x - delta[i]) * (x - delta[i]) / denominator / n
		old -= x * x / denominator / n
		kl += delta[i] * delta[i] / denominator / n
	}
	return logp, old, kl
}

// The normalised log-ratio is mean(ε·δ), for both forms of log p, and its gradient by
// the mean is ε/dim: what Guard's documentation derives.
func propGuard(t *rapid.T) {
	g := drawGaussian(t)
	dim := float64(len(g.eps))
	adv := rapid.Float64Range(-2, 2).Draw(t, "adv")
	for name, form := range map[string]struct{ denominator, scale float64 }{
		"Gaussian":     {2 * g.std * g.std, g.std},
		"unnormalized": {1, 1 / (2 * g.std)},
	} {
		loss := func(grad, delta []float64) Stats {
			logp, old, kl := g.logs(delta, form.denominator)
			return must(Guard{}.Loss(grad, []float64{logp}, []float64{old}, []float64{adv}, []float64{kl}, []float64{form.scale}))(t)
		}
		var want float64
		for i, e := range g.eps {
			want += e * g.delta[i] / dim
		}
		grad := make([]float64, 1)
		s := loss(grad, g.delta)
		// log p and its terms are below 200, so the rest of their cancelling
		// below 200 ulp, times a ratio below 2.
		near(t, name+" ratio", []float64{s.MeanRatio}, []float64{math.Exp(want)}, 1e-12)

		// ∂loss/∂mean = grad·(∂log p/∂mean + ∂kl/∂mean), mean by mean.
		got := make([]float64, len(g.eps))
		for i, e := range g.eps {
			dlogp := 2 * (g.std*e - g.delta[i]) / form.denominator / dim
			dkl := 2 * g.delta[i] / form.denominator / dim
			got[i] = grad[0] * (dlogp + dkl)
			near(t, name+" closed form", got[i:i+1], []float64{-adv * math.Exp(want) * e / dim}, 1e-11)
		}
		near(t, name+" gradient", got, gradient(func(delta []float64) float64 { return loss(nil, delta).Loss }, g.delta), gradientTol)
	}
}

func TestGuardOfGaussians(t *testing.T) { rapid.Check(t, propGuard) }

func propGuardGradient(t *rapid.T) {
	x, o := drawTransitions(t), drawObjective(t)
	for i := range x.logp {
		if o.kinked(x.scale[i] * (x.logp[i] - x.old[i] + x.kl[i])) {
			t.Skip("kink")
		}
		x.kl[i] += 1e-3 // a divergence has no derivative from below at 0
	}
	for i := range x.logp {
		if o.kinked(x.scale[i] * (x.logp[i] - x.old[i] + x.kl[i])) {
			t.Skip("kink")
		}
	}
	c := Guard(o)
	grad := make([]float64, len(x.logp))
	must(c.Loss(grad, x.logp, x.old, x.adv, x.kl, x.scale))(t)
	near(t, "gradient by log p", grad, gradient(func(logp []float64) float64 {
		return must(c.Loss(nil, logp, x.old, x.adv, x.kl, x.scale))(t).Loss
	}, x.logp), gradientTol)
	near(t, "gradient by the divergence", grad, gradient(func(kl []float64) float64 {
		return must(c.Loss(nil, x.logp, x.old, x.adv, kl, x.scale))(t).Loss
	}, x.kl), gradientTol)
}

func TestGuardGradient(t *testing.T) { rapid.Check(t, propGuardGradient) }

// Without divergence and with scale 1 a Guard is the Objective; dividing advantages
// by a step length divides the loss by it.
func propGuardReduces(t *rapid.T) {
	x, o := drawTransitions(t), drawObjective(t)
	n := len(x.logp)
	zeros, ones := make([]float64, n), make([]float64, n)
	for i := range ones {
		ones[i] = 1
	}
	want, got := make([]float64, n), make([]float64, n)
	stats := must(o.Loss(want, x.logp, x.old, x.adv))(t)
	if s := must(Guard(o).Loss(got, x.logp, x.old, x.adv, zeros, ones))(t); s != stats {
		t.Errorf("statistics are %+v, want %+v", s, stats)
	}
	same(t, "gradient", got, want)

	const step = 0.125 // a power of 2, for exactness
	adv := make([]float64, n)
	for i, a := range x.adv {
		adv[i] = a / step
	}
	weighted := must(Guard(o).Loss(nil, x.logp, x.old, adv, x.kl, x.scale))(t)
	plain := must(Guard(o).Loss(nil, x.logp, x.old, x.adv, x.kl, x.scale))(t)
	if plain.ApproxKL != stats.ApproxKL {
		t.Errorf("approximate KL is %v, want %v of the plain log-ratios", plain.ApproxKL, stats.ApproxKL)
	}
	if math.Abs(weighted.Loss-plain.Loss/step) > 1e-300 { // denormals lose bits
		t.Errorf("loss is %v, want %v/%v", weighted.Loss, plain.Loss, step)
	}
}

func TestGuardReduces(t *testing.T) { rapid.Check(t, propGuardReduces) }
