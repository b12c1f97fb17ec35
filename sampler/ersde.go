package sampler

import (
	"math"

	"cps/schedule"
)

// ERSDE is the first-order extended reverse-time SDE solver (Cui et al.,
// arXiv 2309.06169, with the paper's recommended noise scale function):
//
//	X0 = α'   X1 = ρσ'   Eps = σ'√(1-ρ²)
//	ρ = ψ(Λ')/ψ(Λ)   ψ(x) = e^{x^0.3} + 10   Λ = σ/α
//
// and ρ = 0 where there is no signal; ComfyUI's ER-SDE moves t = 1 to 0.9999
// instead. It preserves coefficients and serves every path.
type ERSDE struct{}

func (ERSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	if same(from, to) {
		return ode(to), nil
	}
	p := math.Pow(from.Noise/from.Signal, 0.3)
	q := math.Pow(to.Noise/to.Signal, 0.3)
	ψ := math.Exp(p) + 10
	if math.IsInf(ψ, 1) && !math.IsNaN(q) {
		return mix(to, 0, 1), nil
	}
	rest := math.Exp(q) * math.Expm1(p-q) / ψ // 1 - ρ
	rho := (math.Exp(q) + 10) / ψ
	return mix(to, rho, math.Sqrt(rest*(1+rho))), nil
}
