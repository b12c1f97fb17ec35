package sampler

import (
	"math"

	"cps/schedule"
)

// DDIM is the sampler of Song et al. (arXiv 2010.02502) on any path (Eq. 7):
//
//	X0 = α'   X1 = √(σ'² - Eps²)   Eps = ησ'√(1 - e^{-2h})   e^{-h} = ασ'/(σα')
//
// On a VP path that is the usual Eps = η·(σ'/σ)·√(1 - α²/α'²). Eta lies in [0, 1];
// 0 is [FlowODE] and 1 is DDPM, equal to [DPMSDEPlus]. It preserves coefficients.
//
// Where the first point has no signal, η = 1 gives X1 = 0 and Eps = σ'; diffusers'
// zero-SNR DDIM gives NaN there, for it takes the root of a rounded difference.
type DDIM struct{ Eta float64 }

// Coeffs implements [Rule].
func (r DDIM) Coeffs(from, to schedule.Point) (Coeffs, error) {
	if err := checkUnit("DDIM", r.Eta); err != nil || r.Eta == 0 || same(from, to) {
		return ode(to), err
	}
	η := r.Eta
	e, rest, err := shrink("DDIM", from, to)
	if err != nil {
		return Coeffs{}, err
	}
	return mix(to, math.Hypot(math.Sqrt((1-η)*(1+η)), η*e), η*math.Sqrt(rest*(1+e))), nil
}

// VPSDE is the Euler step of the reverse variance-preserving SDE (Appendix A),
// with β = 1 - α²/α'²:
//
//	X0 = (1+β/2)α   X1 = (1+β/2)σ - β/σ   Eps = √β
//
// It preserves neither signal nor noise. It serves paths with α² + σ² = 1.
type VPSDE struct{}

// Coeffs implements [Rule].
func (VPSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	for _, p := range [2]schedule.Point{from, to} {
		if !p.OnVP() {
			return Coeffs{}, fail(ErrPath, "VPSDE: the squares of signal %v and noise %v do not add up to 1, so this is not the variance-preserving path", p.Signal, p.Noise)
		}
	}
	switch {
	case same(from, to):
		return ode(to), nil
	case to.Signal < from.Signal:
		return Coeffs{}, noisier("VPSDE", from, to)
	}
	α, σ := from.Signal, from.Noise
	β := (to.Signal - α) * (to.Signal + α) / (to.Signal * to.Signal)
	return Coeffs{(1 + β/2) * α, float64((1+β/2)*σ) - β/σ, math.Sqrt(β)}, nil
}
