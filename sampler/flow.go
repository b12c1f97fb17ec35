package sampler

import (
	"math"

	"cps/schedule"
)

// FlowODE is the deterministic step (Eq. 9), the Euler step of the flow:
//
//	X0 = α'   X1 = σ'   Eps = 0
//
// It preserves coefficients. It serves every path. It is DDIM with η = 0.
type FlowODE struct{}

// Facts implements [Describer].
func (FlowODE) Facts() Facts {
	f := Facts{Source: "Eq. 9", Preserving: true}.first()
	f.Density = false
	return f
}

// Coeffs implements [Rule].
func (r FlowODE) Coeffs(_, to schedule.Point) (Coeffs, error) { return FactsOf(r).step(ode(to)) }

// FlowSDE is the Euler-Maruyama step of the SDE with the flow's marginals (Eq. 10):
//
//	X0 = 1-s   X1 = s - g²Δ/(2t)   Eps = g√Δ
//
// With [Ratio] it is Flow-GRPO's sampler, with [Constant] DanceGRPO's. It does
// not preserve coefficients (Eq. 11):
//
//	level² = s² + g²Δ²/t + g⁴Δ²/(4t²)
//
// It serves the rectified-flow path only.
type FlowSDE struct{ Diffusion Diffusion }

// Facts implements [Describer].
func (FlowSDE) Facts() Facts {
	return Facts{Source: "Eq. 10; Flow-GRPO 2505.05470, DanceGRPO 2505.07818", Path: FlowPath}.first()
}

// Coeffs implements [Rule].
func (r FlowSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	c, err := f.increment(r.Diffusion, from, to)
	switch {
	case err != nil:
		return Coeffs{}, err
	case c == 0:
		return ode(to), nil
	}
	return f.step(Coeffs{to.Signal, to.Noise - c*(c/(2*from.Noise)), c})
}

// NoisyODE is the Euler step of the flow with noise added. No step removes that
// noise. It is DanceGRPO's sampler with sde_solver off:
//
//	X0 = 1-s   X1 = s   Eps = g√Δ
//
// It does not preserve coefficients: level² = s² + g²Δ. It serves the
// rectified-flow path only.
type NoisyODE struct{ Diffusion Diffusion }

// Facts implements [Describer].
func (NoisyODE) Facts() Facts {
	return Facts{Source: "DanceGRPO's `sde_solver=False`", Path: FlowPath}.apart()
}

// Coeffs implements [Rule].
func (r NoisyODE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	c, err := f.increment(r.Diffusion, from, to)
	if err != nil {
		return Coeffs{}, err
	}
	return f.step(Coeffs{to.Signal, to.Noise, c})
}

// FlowCPS is coefficients-preserving sampling (Eq. 13):
//
//	X0 = α'   X1 = σ'·cos(ηπ/2)   Eps = σ'·sin(ηπ/2)
//
// Eta lies in [0, 1]; 0 is [FlowODE] and 1 is [Renoise]. The published code takes
// any number; outside [0, 1] it silently repeats itself. It preserves
// coefficients. It serves every path.
//
// The share of noise that a step replaces does not depend on the step's length. So
// at fixed η, ever more steps tend to replace all noise. The distribution of the samples
// then tends not to the model's but to one of less variance. [Exact] tends to the
// model's distribution.
type FlowCPS struct{ Eta float64 }

// Facts implements [Describer].
func (FlowCPS) Facts() Facts { return Facts{Source: "Eq. 13", Preserving: true}.apart() }

// Coeffs implements [Rule].
func (r FlowCPS) Coeffs(_, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	if err := f.unit(r.Eta); err != nil {
		return Coeffs{}, err
	}
	sin, cos := 1.0, 0.0 // math.Cos(π/2) is not exactly 0
	if r.Eta != 1 {
		sin, cos = math.Sincos(r.Eta * (math.Pi / 2))
	}
	return f.step(preserving(to, cos, sin))
}

// FlowCPWS preserves coefficients with the noise of the SDE's Euler step (Eq. 17):
//
//	X0 = 1-s   X1 = √(s² - g²Δ)   Eps = min(g√Δ, s)
//
// [FlowSDE] converges to it as Δ → 0 (Theorem 1). It serves the rectified-flow
// path only.
type FlowCPWS struct{ Diffusion Diffusion }

// Facts implements [Describer].
func (FlowCPWS) Facts() Facts {
	return Facts{Source: "Eq. 17, Theorem 1", Path: FlowPath, Preserving: true}.first()
}

// Coeffs implements [Rule].
func (r FlowCPWS) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	c, err := f.increment(r.Diffusion, from, to)
	s := to.Noise
	c = min(c, s)
	switch {
	case err != nil:
		return Coeffs{}, err
	case c == 0:
		return ode(to), nil
	}
	// The product of two roots, since the product of the factors underflows near
	// level 0.
	return f.step(Coeffs{to.Signal, math.Sqrt(s-c) * math.Sqrt(s+c), c})
}

// ModifiedSDE is FlowSDE with the level at the end of the step in the drift, the
// paper's variant for bounded coefficients (Appendix C, Eq. 28):
//
//	X0 = 1-s   X1 = s - g²Δ/(2s)   Eps = g√Δ
//
// The text does not give the bounded coefficient in full. [SquareRoot] and
// [Proportional] are its two readings, and both are finite at s = 0. There,
// [Ratio], [Constant] and any diffusion that is no [Drifter] are errors
// (ErrSingular). ModifiedSDE does not preserve coefficients, but comes closer than
// FlowSDE: level² = s² + (g²Δ/(2s))². It serves the rectified-flow path only.
type ModifiedSDE struct{ Diffusion Diffusion }

// Facts implements [Describer].
func (ModifiedSDE) Facts() Facts {
	return Facts{Source: "Appendix C, Eq. 28", Path: FlowPath}.first()
}

// Coeffs implements [Rule].
func (r ModifiedSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	c, err := f.increment(r.Diffusion, from, to)
	switch {
	case err != nil:
		return Coeffs{}, err
	case same(from, to):
		return ode(to), nil
	}
	drift, err := f.drift(r.Diffusion, c, from.Noise, to.Noise)
	if err != nil {
		return Coeffs{}, err
	}
	return f.step(Coeffs{to.Signal, to.Noise - drift, c})
}

// drift returns g²Δ/(2s), given c = g√Δ.
func (f Facts) drift(d Diffusion, c, t, s float64) (float64, error) {
	own, ok := d.(Drifter)
	if !ok && s > 0 {
		return c * (c / (2 * s)), nil
	}
	if !ok {
		return 0, f.fail(ErrSingular, "%s divides by the level, which is 0: leave this step out of Window, or give the diffusion a method Drift", typeName(d))
	}
	switch x := own.Drift(t, s); {
	case s == 0 && x > math.MaxFloat64:
		return 0, f.fail(ErrSingular, "%s divides by the level, which is 0: leave this step out of Window, or take SquareRoot or Proportional", typeName(d))
	case x >= 0: // also +Inf, where it overflows above level 0
		return x, nil
	default:
		return 0, f.fail(ErrDiffusion, "%s: Drift(%v, %v) = %v is negative or NaN", typeName(d), t, s, x)
	}
}
