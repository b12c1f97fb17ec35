package sampler

import (
	"math"

	"cps/schedule"
)

// In the formulas, α and σ are Signal and Noise of the point a step starts from,
// α' and σ' of the one it goes to; on the rectified-flow path these are 1-t, t,
// 1-s and s, and Δ = t-s.

// FlowODE is the deterministic step (Eq. 9), the Euler step of the flow:
//
//	X0 = α'   X1 = σ'   Eps = 0
//
// It preserves coefficients and serves every path, where it is DDIM with η = 0.
type FlowODE struct{}

// Coeffs implements [Rule].
func (FlowODE) Coeffs(_, to schedule.Point) (Coeffs, error) { return ode(to), nil }

// FlowSDE is the Euler-Maruyama step of the SDE with the flow's marginals (Eq. 10):
//
//	X0 = 1-s   X1 = s - g²Δ/(2t)   Eps = g√Δ
//
// With [Ratio] it is Flow-GRPO's sampler, with [Constant] Dance-GRPO's. It does
// not preserve coefficients (Eq. 11):
//
//	level² = s² + g²Δ²/t + g⁴Δ²/(4t²)
//
// It serves the rectified-flow path only.
type FlowSDE struct{ Diffusion Diffusion }

// Coeffs implements [Rule].
func (r FlowSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	c, err := flowIncrement("FlowSDE", r.Diffusion, from, to)
	if c == 0 {
		return ode(to), err
	}
	return Coeffs{to.Signal, to.Noise - c*(c/(2*from.Noise)), c}, nil
}

// NoisyODE is the Euler step of the flow with noise added and never taken off,
// Dance-GRPO's sampler with sde_solver off:
//
//	X0 = 1-s   X1 = s   Eps = g√Δ
//
// It does not preserve coefficients: level² = s² + g²Δ. It serves the
// rectified-flow path only.
type NoisyODE struct{ Diffusion Diffusion }

// Coeffs implements [Rule].
func (r NoisyODE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	c, err := flowIncrement("NoisyODE", r.Diffusion, from, to)
	return Coeffs{to.Signal, to.Noise, c}, err
}

// FlowCPS is coefficients-preserving sampling (Eq. 13):
//
//	X0 = α'   X1 = σ'·cos(ηπ/2)   Eps = σ'·sin(ηπ/2)
//
// Eta lies in [0, 1]; 0 is [FlowODE] and 1 is [Renoise]. The published code takes
// any number and silently aliases what lies outside. It serves every path.
//
// The share of noise that is replaced does not depend on the length of the step,
// so with fixed η and ever more steps FlowCPS tends to replace all of it, and its
// samples not to the model's law but to one of less variance. [Exact] tends to the
// model's law.
type FlowCPS struct{ Eta float64 }

// Coeffs implements [Rule].
func (r FlowCPS) Coeffs(_, to schedule.Point) (Coeffs, error) {
	if err := checkUnit("FlowCPS", r.Eta); err != nil {
		return Coeffs{}, err
	}
	if r.Eta == 1 { // where cos(π/2) of the rounded π is not 0
		return mix(to, 0, 1), nil
	}
	sin, cos := math.Sincos(r.Eta * (math.Pi / 2))
	return mix(to, cos, sin), nil
}

// FlowCPWS preserves coefficients with the noise of the SDE's Euler step (Eq. 17):
//
//	X0 = 1-s   X1 = √(s² - g²Δ)   Eps = min(g√Δ, s)
//
// [FlowSDE] converges to it as Δ → 0 (Theorem 1). It serves the rectified-flow
// path only.
type FlowCPWS struct{ Diffusion Diffusion }

// Coeffs implements [Rule].
func (r FlowCPWS) Coeffs(from, to schedule.Point) (Coeffs, error) {
	c, err := flowIncrement("FlowCPWS", r.Diffusion, from, to)
	s := to.Noise
	c = min(c, s)
	if c == 0 {
		return ode(to), err
	}
	// Two roots, since the product underflows near level 0.
	return Coeffs{to.Signal, math.Sqrt(s-c) * math.Sqrt(s+c), c}, nil
}

// ModifiedSDE is FlowSDE with the level of the end of the step in the drift, the
// paper's variant for bounded coefficients (Appendix C, Eq. 28):
//
//	X0 = 1-s   X1 = s - g²Δ/(2s)   Eps = g√Δ
//
// The formula of the coefficient cannot be recovered in full from the text;
// [RootLevel] and [Level] are its two readings and are finite at s = 0, where
// other diffusions are an error (ErrSingular). It does not preserve coefficients,
// but is nearer to it than FlowSDE: level² = s² + (g²Δ/(2s))². It serves the
// rectified-flow path only.
type ModifiedSDE struct{ Diffusion Diffusion }

// Coeffs implements [Rule].
func (r ModifiedSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	c, err := flowIncrement("ModifiedSDE", r.Diffusion, from, to)
	if err != nil {
		return Coeffs{}, err
	}
	s, Δ := to.Noise, from.Noise-to.Noise
	drift := c * (c / (2 * s))
	switch η := r.Diffusion.(type) {
	case RootLevel:
		drift = float64(η*η) * Δ / 2
	case Level:
		drift = float64(η*η) * Δ * s / 2
	default:
		if s == 0 && c == 0 {
			drift = 0
		} else if s == 0 {
			return Coeffs{}, fail(ErrSingular, "ModifiedSDE: %s divides by the level, which is 0", typeName(r.Diffusion))
		}
	}
	return Coeffs{to.Signal, s - drift, c}, nil
}

// flowIncrement checks the path and the diffusion of a rule and returns g√Δ.
func flowIncrement(rule string, d Diffusion, from, to schedule.Point) (float64, error) {
	if err := checkFlow(rule, from, to); err != nil {
		return 0, err
	}
	if same(from, to) {
		return 0, checkDiffusion(rule, d)
	}
	return increment(rule, d, from.Noise, to.Noise)
}
