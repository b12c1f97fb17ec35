package sampler

import (
	"math"

	"cps/schedule"
)

// Ancestral is the Euler-ancestral sampler for rectified flow of k-diffusion's
// descendants (ComfyUI, sample_euler_ancestral_RF): a deterministic step to a
// lower level s_d, then noise back up to s:
//
//	X0 = 1-s   X1 = ρs   Eps = s√(1-ρ²)
//	s_d = s·r   r = 1 + (s/t - 1)η   ρ = s_d(1-s)/((1-s_d)s)
//
// Eta lies in [0, 1]. It preserves coefficients and serves the rectified-flow path
// only.
type Ancestral struct{ Eta float64 }

// Coeffs implements [Rule].
func (r Ancestral) Coeffs(from, to schedule.Point) (Coeffs, error) {
	if err := checkUnit("Ancestral", r.Eta); err != nil {
		return Coeffs{}, err
	}
	if err := checkFlow("Ancestral", from, to); err != nil || r.Eta == 0 || same(from, to) {
		return ode(to), err
	}
	t, s := from.Noise, to.Noise
	down := r.Eta * (t - s) / t     // 1 - r, so that 1-ρ² does not cancel
	up := (1 - s) + float64(s*down) // 1 - sr
	return mix(to, (1-down)*(1-s)/up, math.Sqrt(down*(2*(1-s)-float64(down*(1-2*s))))/up), nil
}

// Renoise predicts the clean sample and noises it anew, as latent consistency
// models do (arXiv 2310.04378) and diffusers' stochastic_sampling:
//
//	X0 = α'   X1 = 0   Eps = σ'
//
// It preserves coefficients and serves every path.
type Renoise struct{}

// Coeffs implements [Rule].
func (Renoise) Coeffs(_, to schedule.Point) (Coeffs, error) { return mix(to, 0, 1), nil }
