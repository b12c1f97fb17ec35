package sampler

import (
	"math"

	"cps/schedule"
)

// DPMSDE is SDE-DPM-Solver-1 (Lu et al., arXiv 2211.01095; Eq. 22-24), the
// exponential integrator in the predicted noise:
//
//	X0 = α'   X1 = σ'(2 - e^h)   Eps = σ'√(e^{2h} - 1)   e^h = σα'/(ασ')
//
// It does not preserve coefficients: level = σ'√(1 + 2(e^h-1)²). A step to σ' = 0
// leaves noise, X1 = -σ/α and Eps = σ/α: the published sampler does so too. At α =
// 0 the step is not finite, which is an error (ErrSingular): start a run just
// below. It serves every path.
type DPMSDE struct{}

// Facts implements [Describer].
func (DPMSDE) Facts() Facts { return Facts{Source: "Eq. 22-24; 2211.01095"}.first() }

// Coeffs implements [Rule].
func (r DPMSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	switch {
	case same(from, to):
		return f.step(ode(to))
	case from.Signal == 0:
		return Coeffs{}, f.fail(ErrSingular, "divides by the signal, which is 0 at noise %v", from.Noise)
	}
	_, rest, err := f.ratio(from, to)
	if err != nil {
		return Coeffs{}, err
	}
	q := from.Noise * to.Signal / from.Signal // σ'e^h, finite at σ' = 0
	return f.step(Coeffs{to.Signal, 2*to.Noise - q, math.Sqrt(q * rest * (q + to.Noise))})
}

// DPMSDEPlus is SDE-DPM-Solver++1 (Lu et al., arXiv 2211.01095; Eq. 25-27), the
// exponential integrator in the predicted sample:
//
//	X0 = α'   X1 = σ'e^{-h}   Eps = σ'√(1 - e^{-2h})   e^{-h} = ασ'/(σα')
//
// It preserves coefficients and equals DDIM{Eta: 1} and, on the rectified-flow
// path, Exact{Ratio(√2)}. It serves every path.
type DPMSDEPlus struct{}

// Facts implements [Describer].
func (DPMSDEPlus) Facts() Facts {
	return Facts{Source: "Eq. 25-27; 2211.01095", Preserving: true}.first()
}

// Coeffs implements [Rule].
func (r DPMSDEPlus) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	if same(from, to) {
		return f.step(ode(to))
	}
	e, rest, err := f.ratio(from, to)
	if err != nil {
		return Coeffs{}, err
	}
	return f.step(preserving(to, e, math.Sqrt(rest*(1+e))))
}
