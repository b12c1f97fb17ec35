package sampler

import (
	"math"

	"cps/schedule"
)

// SAGE is the sampler of the published code of arXiv 2603.21872:
//
//	X0 = 1-s   X1 = s - Eps²/(2t)
//	Eps² = η²(log((1-s)/(1-min(t, 1-0.003))) - Δ)
//
// Eta is any finite number ≥ 0. The clamp of t acts only inside the logarithm. So
// Eps² can be negative close to t = 1, which is an error (ErrSingular). SAGE does
// not preserve coefficients: level² = s² + Eps²(1 - s/t) + Eps⁴/(4t²). It serves
// the rectified-flow path only.
type SAGE struct{ Eta float64 }

// Facts implements [Describer].
func (SAGE) Facts() Facts { return Facts{Source: "2603.21872", Path: FlowPath}.first() }

// Coeffs implements [Rule].
func (r SAGE) Coeffs(from, to schedule.Point) (Coeffs, error) {
	f := FactsOf(r)
	if err := checkEta(r.Eta); err != nil {
		return Coeffs{}, named(f.Name, err)
	}
	if err := f.down(from, to); err != nil {
		return Coeffs{}, err
	}
	if r.Eta == 0 || same(from, to) {
		return ode(to), nil
	}
	t, s := from.Noise, to.Noise
	c := min(t, 1-0.003)
	v := r.Eta * r.Eta * (-math.Log1p(-(c-s)/(1-s)) - (t - s))
	if c == t {
		v = max(v, 0) // rounding alone puts it below 0, close to level 0
	}
	if v < 0 {
		return Coeffs{}, f.fail(ErrSingular, "the variance %v of the step %v → %v is negative: close to noise 1, take a longer step, or leave the step out of Window", v, t, s)
	}
	return f.step(Coeffs{to.Signal, s - v/(2*t), math.Sqrt(v)})
}
