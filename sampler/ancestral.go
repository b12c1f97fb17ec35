package sampler

import (
	"math"

	"cps/schedule"
)

// Ancestral is ComfyUI's Euler-ancestral sampler for rectified flow
// (sample_euler_ancestral_RF). It takes a deterministic step to a lower level s_d,
// then adds noise to return to level s:
//
//	X0 = 1-s   X1 = ρs   Eps = s√(1-ρ²)
//	s_d = s·r   r = 1 + (s/t - 1)η   ρ = s_d(1-s)/((1-s_d)s)
//
// Eta lies in [0, 1]. It preserves coefficients. It serves the rectified-flow path
// only.
type Ancestral struct{ Eta float64 }

// Facts implements [Describer].
func (Ancestral) Facts() Facts {
	return Facts{Source: "Euler-ancestral for rectified flow, ComfyUI", Path: FlowPath, Preserving: true}.first()
}

// Coeffs implements [Rule].
func (r Ancestral) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	if err := f.unit(r.Eta); err != nil {
		return Coeffs{}, err
	}
	if err := f.down(from, to); err != nil {
		return Coeffs{}, err
	}
	if r.Eta == 0 || same(from, to) {
		return ode(to), nil
	}
	t, s := from.Noise, to.Noise
	down := r.Eta * (t - s) / t     // 1 - r, so that 1-ρ² does not cancel
	up := (1 - s) + float64(s*down) // 1 - sr
	return f.step(preserving(to, (1-down)*(1-s)/up, math.Sqrt(down*(2*(1-s)-float64(down*(1-2*s))))/up))
}

// Renoise predicts the clean sample and adds new noise to it. Latent consistency
// models (arXiv 2310.04378) and diffusers' stochastic_sampling do so:
//
//	X0 = α'   X1 = 0   Eps = σ'
//
// It preserves coefficients. It serves every path.
type Renoise struct{}

// Facts implements [Describer].
func (Renoise) Facts() Facts {
	return Facts{Source: "LCM 2310.04378; diffusers' `stochastic_sampling`", Preserving: true}.apart()
}

// Coeffs implements [Rule].
func (r Renoise) Coeffs(_, to schedule.Point) (Coeffs, error) {
	return FactsOf(r).step(preserving(to, 0, 1))
}
