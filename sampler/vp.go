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
// 0 is [FlowODE], and 1 is DDPM, which equals [DPMSDEPlus]. It preserves
// coefficients. It serves every path.
//
// Where the first point has no signal, η = 1 gives X1 = 0 and Eps = σ'. There, the
// zero-SNR DDIM of diffusers gives NaN, because it takes the root of a rounded
// difference.
type DDIM struct{ Eta float64 }

// Facts implements [Describer].
func (DDIM) Facts() Facts { return Facts{Source: "Eq. 7; 2010.02502", Preserving: true}.first() }

// Coeffs implements [Rule].
func (r DDIM) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	if err := f.unit(r.Eta); err != nil {
		return Coeffs{}, err
	}
	if r.Eta == 0 || same(from, to) {
		return f.step(ode(to))
	}
	e, rest, err := f.ratio(from, to)
	if err != nil {
		return Coeffs{}, err
	}
	old := math.Hypot(math.Sqrt((1-r.Eta)*(1+r.Eta)), r.Eta*e)
	return f.step(preserving(to, old, r.Eta*math.Sqrt(rest*(1+e))))
}

// VPSDE is the Euler step of the reverse variance-preserving SDE (Appendix A),
// with β = 1 - α²/α'²:
//
//	X0 = (1+β/2)α   X1 = (1+β/2)σ - β/σ   Eps = √β
//
// It does not preserve coefficients, neither signal nor noise. It serves the
// variance-preserving path only.
type VPSDE struct{}

// Facts implements [Describer].
func (VPSDE) Facts() Facts { return Facts{Source: "Appendix A", Path: VPPath}.first() }

// Coeffs implements [Rule].
func (r VPSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	if err := f.onPath(from, to); err != nil {
		return Coeffs{}, err
	}
	switch {
	case same(from, to):
		return ode(to), nil
	case to.Signal < from.Signal:
		return Coeffs{}, f.noisier(from, to)
	}
	a, b, sigma := from.Signal, to.Signal, from.Noise
	beta := (b - a) * (b + a) / (b * b)
	if b < 1e-150 { // its square would lose digits
		beta = (b - a) / b * ((b + a) / b)
	}
	return f.step(Coeffs{(1 + beta/2) * a, float64((1+beta/2)*sigma) - beta/sigma, math.Sqrt(beta)})
}
