package sampler

import (
	"math"

	"cps/schedule"
)

// A Diffusion is a diffusion coefficient g of the rectified-flow SDE (Eq. 4). G
// returns its value for the step from level t to level s, where s < t; G(u, u) is the
// pointwise value g(u). Most diffusions ignore s. Where a rule asks for a value, it
// must be finite and not negative; otherwise the rule returns an error.
//
// A diffusion may have further methods: [Decayer], [Drifter], [Validator]. The
// diffusions of this package have all three. Rules know nothing else of a diffusion.
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

// A Drifter is a Diffusion whose drift for [ModifiedSDE] is also known at s = 0, as a
// limit:
//
//	Drift(t, s) = g²(t - s)/(2s)        0 ≤ s < t ≤ 1
//
// It may be +Inf.
type Drifter interface {
	Diffusion
	Drift(t, s float64) float64
}

// A Validator is a Diffusion that can be invalid by itself, for example by a negative
// parameter. Rules call Validate first, even in a step that needs no g.
type Validator interface {
	Diffusion
	Validate() error
}

// Ratio is Flow-GRPO's g = η√(t/(1-t)). At t = 1 alone, s replaces t in 1-t. The
// published code puts the second level of the schedule there (yifan123/flow_grpo,
// sd3_sde_with_logprob.py).
type Ratio float64

// G returns η√(t/(1-t)).
func (g Ratio) G(t, s float64) float64 {
	if t == 1 {
		return float64(g) * math.Sqrt(1/(1-s))
	}
	return float64(g) * math.Sqrt(t/(1-t))
}

// Decay returns η²h/2, h = log(t(1-s)/((1-t)s)). At t = 1 it is +Inf, and 0 for η = 0.
func (g Ratio) Decay(t, s float64) float64 {
	if g == 0 {
		return 0
	}
	h := logRatio(t, s) + logRatio(1-s, 1-t)
	if x := (t - s) / (t * (1 - s)); x < 0.5 {
		h = -math.Log1p(-x)
	}
	return square(g, h) / 2
}

// Drift returns g²(t-s)/(2s). At s = 0 it is +Inf, and 0 for η = 0.
func (g Ratio) Drift(t, s float64) float64 { return drift(g, t, s) }

// Validate returns ErrEta unless η is finite and not negative.
func (g Ratio) Validate() error { return checkEta(float64(g)) }

// Constant is Dance-GRPO's g = η.
type Constant float64

// G returns η.
func (g Constant) G(_, _ float64) float64 { return float64(g) }

// Decay returns ½η²(1/s - 1/t).
func (g Constant) Decay(t, s float64) float64 {
	return float64(g) * (float64(g) / s) * ((t - s) / t) / 2
}

// Drift returns η²(t-s)/(2s). At s = 0 it is +Inf, and 0 for η = 0.
func (g Constant) Drift(t, s float64) float64 { return drift(g, t, s) }

// Validate returns ErrEta unless η is finite and not negative.
func (g Constant) Validate() error { return checkEta(float64(g)) }

// Proportional is g = η·s, with the level s at the end of the step. It is one of two
// readings of the paper's Appendix C, whose text does not give the formula of the
// bounded coefficient in full. The other is [SquareRoot].
type Proportional float64

// G returns η·s.
func (g Proportional) G(_, s float64) float64 { return float64(g) * s }

// Decay returns ½η²(t - s).
func (g Proportional) Decay(t, s float64) float64 { return square(g, t-s) / 2 }

// Drift returns ½η²(t - s)s.
func (g Proportional) Drift(t, s float64) float64 { return float64(g*g) * (t - s) * s / 2 }

// Validate returns ErrEta unless η is finite and not negative.
func (g Proportional) Validate() error { return checkEta(float64(g)) }

// SquareRoot is g = η√s. See [Proportional].
type SquareRoot float64

// G returns η√s.
func (g SquareRoot) G(_, s float64) float64 { return float64(g) * math.Sqrt(s) }

// Decay returns ½η²·log(t/s).
func (g SquareRoot) Decay(t, s float64) float64 {
	return square(g, logRatio(t, s)) / 2
}

// Drift returns ½η²(t - s).
func (g SquareRoot) Drift(t, s float64) float64 { return float64(g*g) * (t - s) / 2 }

// Validate returns ErrEta unless η is finite and not negative.
func (g SquareRoot) Validate() error { return checkEta(float64(g)) }

// square returns g²·x as g·(g·x), which underflows later than (g·g)·x.
func square[T ~float64](g T, x float64) float64 { return float64(g) * (float64(g) * x) }

// drift returns g²(t-s)/(2s) of a g that need not go to 0 with s.
func drift(g Diffusion, t, s float64) float64 {
	c := g.G(t, s) * math.Sqrt(t-s)
	if c == 0 {
		return 0
	}
	return c * (c / (2 * s))
}

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

// checkEta returns an error unless eta is finite and not negative.
func checkEta(eta float64) error {
	if eta >= 0 && eta <= math.MaxFloat64 {
		return nil
	}
	return fail(ErrEta, "eta %v is not a finite number ≥ 0", eta)
}

// diffusion returns an error if d is nil or not valid.
func (f Facts) diffusion(d Diffusion) error {
	switch {
	case d == nil:
		return f.fail(ErrDiffusion, "the diffusion is nil")
	case isNil(d):
		return f.fail(ErrDiffusion, "the diffusion is a nil %s", typeName(d))
	}
	if v, ok := d.(Validator); ok {
		if err := v.Validate(); err != nil {
			return named(f.Name, named(typeName(d), err))
		}
	}
	return nil
}

// increment checks the path and the diffusion of a rule. It returns g√Δ, the standard
// deviation of the noise in one Euler step.
func (f Facts) increment(d Diffusion, from, to schedule.Point) (float64, error) {
	if err := f.down(from, to); err != nil {
		return 0, err
	}
	if err := f.diffusion(d); err != nil || same(from, to) {
		return 0, err
	}
	t, s := from.Noise, to.Noise
	g := d.G(t, s)
	if !(g >= 0 && g <= math.MaxFloat64) {
		return 0, f.fail(ErrDiffusion, "%s: g(%v → %v) = %v is not a finite number ≥ 0", typeName(d), t, s, g)
	}
	return g * math.Sqrt(t-s), nil
}
