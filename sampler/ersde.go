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
// Where there is no signal, ρ is 0; ComfyUI's ER-SDE moves t = 1 to 0.9999
// instead. It preserves coefficients. It serves every path.
type ERSDE struct{}

// Facts implements [Describer].
func (ERSDE) Facts() Facts { return Facts{Source: "2309.06169, order 1", Preserving: true}.first() }

// Coeffs implements [Rule].
func (r ERSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	if same(from, to) {
		return f.step(ode(to))
	}
	_, rest, err := f.ratio(from, to)
	if err != nil {
		return Coeffs{}, err
	}
	p := math.Pow(from.Noise/from.Signal, 0.3)
	// Λ'^0.3 - Λ^0.3, computed without cancellation.
	fall := p * math.Expm1(0.3*math.Log1p(-rest))
	// ψ(Λ') and ψ(Λ) overflow near level 1. Divided by e^p they do not.
	ten := 10 * math.Exp(-p)
	rho := (math.Exp(fall) + ten) / (1 + ten)
	rest = -math.Expm1(fall) / (1 + ten) // 1 - ρ
	return f.step(preserving(to, rho, math.Sqrt(rest*(1+rho))))
}
