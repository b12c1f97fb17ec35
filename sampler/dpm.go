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
// It does not preserve coefficients: level = σ'√(1 + 2(e^h-1)²). At σ' = 0 noise
// remains, X1 = -σ/α and Eps = σ/α: that is the sampler. At α = 0 it is not finite,
// an error (ErrSingular): start a run just below. It serves every path.
type DPMSDE struct{}

// Coeffs implements [Rule].
func (DPMSDE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	switch {
	case same(from, to):
		return ode(to), nil
	case from.Signal == 0:
		return Coeffs{}, fail(ErrSingular, "DPMSDE: divides by the signal, which is 0 at noise %v", from.Noise)
	}
	_, rest, err := shrink("DPMSDE", from, to)
	if err != nil {
		return Coeffs{}, err
	}
	q := from.Noise * to.Signal / from.Signal // σ'e^h, finite at σ' = 0
	return Coeffs{to.Signal, 2*to.Noise - q, math.Sqrt(q * rest * (q + to.Noise))}, nil
}

// DPMSDEPlus is SDE-DPM-Solver++1 (Lu et al., arXiv 2211.01095; Eq. 25-27), the
// exponential integrator in the predicted sample:
//
//	X0 = α'   X1 = σ'e^{-h}   Eps = σ'√(1 - e^{-2h})   e^{-h} = ασ'/(σα')
//
// It preserves coefficients and equals DDIM{Eta: 1} and, on the rectified-flow
// path, Exact{Ratio(√2)}. It serves every path.
type DPMSDEPlus struct{}

// Coeffs implements [Rule].
func (DPMSDEPlus) Coeffs(from, to schedule.Point) (Coeffs, error) {
	if same(from, to) {
		return ode(to), nil
	}
	e, rest, err := shrink("DPMSDEPlus", from, to)
	if err != nil {
		return Coeffs{}, err
	}
	return mix(to, e, math.Sqrt(rest*(1+e))), nil
}
