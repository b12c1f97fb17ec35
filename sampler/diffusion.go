package sampler

import (
	"math"
	"reflect"
)

// A Diffusion is a diffusion coefficient g of the rectified-flow SDE (Eq. 4). G
// returns its value for the step from level t to level s, where s < t; G(u, u) is
// the pointwise value g(u). Most ignore s. A value must be finite and not negative
// where a rule asks for it; otherwise the rule reports an error.
type Diffusion interface{ G(t, s float64) float64 }

// A Decayer is a Diffusion whose integral for [Exact] has a closed form:
//
//	Decay(t, s) = ½∫ₛᵗ g(u)²/u² du        0 < s < t ≤ 1
//
// It may be +Inf. Exact integrates other diffusions numerically.
type Decayer interface {
	Diffusion
	Decay(t, s float64) float64
}

// Ratio is Flow-GRPO's g = η√(t/(1-t)). At t = 1, and only there, the t of 1-t is
// replaced by s, as the published code replaces it by the second level of the
// schedule (yifan123/flow_grpo, sd3_sde_with_logprob.py).
type Ratio float64

// G returns η√(t/(1-t)).
func (g Ratio) G(t, s float64) float64 {
	if t == 1 {
		return float64(g) * math.Sqrt(1/(1-s))
	}
	return float64(g) * math.Sqrt(t/(1-t))
}

// Decay returns η²h/2, h = log(t(1-s)/((1-t)s)). It is +Inf at t = 1, and NaN there
// for η = 0, which Exact does not ask for.
func (g Ratio) Decay(t, s float64) float64 {
	h := logRatio(t, s) + logRatio(1-s, 1-t)
	if x := (t - s) / (t * (1 - s)); x < 0.5 {
		h = -math.Log1p(-x)
	}
	return square(g, h) / 2
}

// Constant is Dance-GRPO's g = η.
type Constant float64

// G returns η.
func (g Constant) G(_, _ float64) float64 { return float64(g) }

// Decay returns ½η²(1/s - 1/t).
func (g Constant) Decay(t, s float64) float64 {
	return float64(g) * (float64(g) / s) * ((t - s) / t) / 2
}

// Level is g = η·s, one of two readings of the paper's Appendix C, whose formula
// for the bounded coefficient cannot be recovered in full from the text; the other
// is [RootLevel]. A step takes the value at its end.
type Level float64

// G returns η·s.
func (g Level) G(_, s float64) float64 { return float64(g) * s }

// Decay returns ½η²(t - s).
func (g Level) Decay(t, s float64) float64 { return square(g, t-s) / 2 }

// RootLevel is g = η√s, see [Level].
type RootLevel float64

// G returns η√s.
func (g RootLevel) G(_, s float64) float64 { return float64(g) * math.Sqrt(s) }

// Decay returns ½η²·log(t/s).
func (g RootLevel) Decay(t, s float64) float64 {
	return square(g, logRatio(t, s)) / 2
}

// square returns g²·x, in an order that underflows last.
func square[T ~float64](g T, x float64) float64 { return float64(g) * (float64(g) * x) }

// logRatio returns log(a/b) for 0 ≤ b < a, also where a/b overflows.
func logRatio(a, b float64) float64 {
	switch q := a / b; {
	case q < 2:
		return math.Log1p((a - b) / b)
	case q <= math.MaxFloat64:
		return math.Log(q)
	}
	return math.Log(a) - math.Log(b)
}

// eta returns the parameter of the diffusions of this package.
func eta(d Diffusion) (float64, bool) {
	switch g := d.(type) {
	case Ratio:
		return float64(g), true
	case Constant:
		return float64(g), true
	case Level:
		return float64(g), true
	case RootLevel:
		return float64(g), true
	}
	return 0, false
}

// checkDiffusion returns an error if d is nil or its parameter is out of range.
func checkDiffusion(rule string, d Diffusion) error {
	if d == nil {
		return fail(ErrDiffusion, "%s: the diffusion is nil", rule)
	}
	if v := reflect.ValueOf(d); v.Kind() == reflect.Pointer && v.IsNil() {
		return fail(ErrDiffusion, "%s: the diffusion is a nil %s", rule, typeName(d))
	}
	if η, ok := eta(d); ok {
		return checkPositive(rule+": "+typeName(d), η)
	}
	return nil
}

// increment returns g√Δ, the standard deviation of the noise of one Euler step.
func increment(rule string, d Diffusion, t, s float64) (float64, error) {
	if err := checkDiffusion(rule, d); err != nil {
		return 0, err
	}
	g := d.G(t, s)
	if !(g >= 0 && g <= math.MaxFloat64) {
		return 0, fail(ErrDiffusion, "%s: %s: g(%v → %v) = %v is not a finite number ≥ 0", rule, typeName(d), t, s, g)
	}
	return g * math.Sqrt(t-s), nil
}
