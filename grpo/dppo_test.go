package grpo

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestDPPODrops(t *testing.T) {
	const far, close = 0.5, 0.1
	o := DPPO{MaxKL: 0.2}
	for _, tc := range []struct {
		x, adv, kl float64
		want       bool
	}{
		{0.1, 1, far, true},    // up and further up
		{-0.1, -1, far, true},  // down and further down
		{-0.1, 1, far, false},  // down, but back up
		{0.1, -1, far, false},  // up, but back down
		{0, 1, far, false},     // ratio 1: no direction
		{0, -1, far, false},    //
		{0.1, 0, far, false},   // no update
		{0.1, 1, close, false}, // within the region
		{-0.1, -1, close, false},
		{0.1, 1, 0.2, true}, // the threshold itself is outside, as published
		{0.1, 1, math.Nextafter(0.2, 0), false},
	} {
		if got := o.Drops(tc.x, tc.adv, tc.kl); got != tc.want {
			t.Errorf("log-ratio %v, advantage %v, divergence %v: dropped is %v", tc.x, tc.adv, tc.kl, got)
		}
	}
}

// Dropped samples have no loss and gradient exactly 0; the others are those of
// importance sampling. The mean is over all.
func propDPPO(t *rapid.T) {
	x := drawTransitions(t)
	n := len(x.logp)
	o := DPPO{MaxKL: rapid.Float64Range(1e-3, 0.3).Draw(t, "MaxKL")}
	grad, plain := make([]float64, n), make([]float64, n)
	s := must(o.Loss(grad, x.logp, x.old, x.adv, x.kl))(t)
	p := must(Objective{}.Loss(plain, x.logp, x.old, x.adv))(t)
	var loss, dropped float64
	for i := range grad {
		d := x.logp[i] - x.old[i]
		if o.Drops(d, x.adv[i], x.kl[i]) {
			dropped++
			plain[i] = 0
		} else {
			loss -= x.adv[i] * math.Exp(d)
		}
	}
	same(t, "gradient", grad, plain)
	near(t, "loss and fraction", []float64{s.Loss, s.Policy, s.Stopped},
		[]float64{loss / float64(n), loss / float64(n), dropped / float64(n)}, 1e-14) // sums of 8 terms below 4
	if s.MeanRatio != p.MeanRatio || s.Deviation != p.Deviation || s.ApproxKL != p.ApproxKL || s.ClipFraction != 0 {
		t.Errorf("statistics are %+v, want ratios of %+v", s, p)
	}
}

func TestDPPO(t *testing.T) { rapid.Check(t, propDPPO) }
func FuzzDPPO(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propDPPO)) }

func propDPPOGradient(t *rapid.T) {
	x := drawTransitions(t)
	for i := range x.logp {
		if math.Abs(x.logp[i]-x.old[i]) < 1e-3 {
			t.Skip("the mask jumps where the ratio passes 1")
		}
	}
	o := DPPO{MaxKL: 0.1}
	grad := make([]float64, len(x.logp))
	must(o.Loss(grad, x.logp, x.old, x.adv, x.kl))(t)
	near(t, "gradient", grad, gradient(func(logp []float64) float64 {
		return must(o.Loss(nil, logp, x.old, x.adv, x.kl))(t).Loss
	}, x.logp), gradientTol)
}

func TestDPPOGradient(t *testing.T) { rapid.Check(t, propDPPOGradient) }
