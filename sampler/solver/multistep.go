package solver

import (
	"fmt"
	"math"

	"cps/sampler"
	"cps/schedule"
)

// A multistep is a linear multistep solver with one evaluation a step. rule is its step of
// first order.
type multistep struct {
	rule  sampler.Rule
	name  string
	order int
	eta   float64
	final Final
	// weights returns the weights of the divided differences in a step in which λ rises by
	// h. order also counts evaluations at signal 0, although they are no history.
	weights func(h float64, to schedule.Point, order int) (w1, w2 float64)
	share   func(w float64) sampler.Past // the share of weight w of the prediction that the differences are of
}

func (m multistep) plan(points []schedule.Point) ([]sampler.Move, error) {
	switch {
	case m.order < 1 || m.order > 3:
		return nil, fmt.Errorf("%s: order %d is not in [1, 3]: %w", m.name, m.order, sampler.ErrConfig)
	case m.final > EulerFinal:
		return nil, fmt.Errorf("%s: %v is none of the constants: %w", m.name, m.final, sampler.ErrConfig)
	}
	n := len(points) - 1
	moves := make([]sampler.Move, n)
	rises := make([]float64, n) // of λ
	for i := range moves {
		from, to := points[i], points[i+1]
		s, err := newStep(m.name, m.eta, from, to)
		if err != nil {
			return nil, err
		}
		c, err := m.rule.Coeffs(from, to)
		if err != nil {
			return nil, err
		}
		moves[i] = sampler.Move{Step: i, To: to, Coeffs: c}
		rises[i] = s.h
		asked := m.orderOf(i, n)
		order := asked
		for order > 1 && points[i-order+1].Signal == 0 {
			order--
		}
		if to.Noise == 0 || s.still() || order == 1 {
			continue
		}
		w1, w2 := m.weights(s.h, to, asked)
		var w []float64 // of each evaluation, newest first
		if order == 2 {
			w = overOne(w1, rises[i-1]/s.h)
		} else {
			w = overTwo(w1, w2, rises[i-1]/s.h, rises[i-2]/s.h)
		}
		own := m.share(w[0])
		moves[i].Coeffs.X0 += own.X0
		moves[i].Coeffs.X1 += own.X1
		for k, w := range w[1:] {
			past := m.share(w)
			past.Back = k + 1
			moves[i].Past = append(moves[i].Past, past)
		}
	}
	return moves, nil
}

// orderOf returns the order of step i of n, given its number of earlier evaluations and the
// end.
func (m multistep) orderOf(i, n int) int {
	order := min(m.order, i+1)
	switch {
	case m.final == LowerOrder:
		order = min(order, n-i)
	case m.final == EulerFinal && i == n-1:
		order = 1
	}
	return order
}

// overOne returns each evaluation's weight in w₁D₁, with D₁ over one step of r.
func overOne(w1, r float64) []float64 { return []float64{w1 / r, -w1 / r} }

// overTwo returns each evaluation's weight in w₁D₁ + w₂D₂, with differences over steps of r
// and q. D₁ is corrected to the first derivative at the newest evaluation.
func overTwo(w1, w2, r, q float64) []float64 {
	// D₁ = a + r·D₂, D₂ = (a - b)/(r + q), a = (m - m₁)/r, b = (m₁ - m₂)/q
	d2 := (w1*r + w2) / (r + q)
	a, b := w1+d2, -d2
	return []float64{a / r, b/q - a/r, -b / q}
}

// A step holds how the ratio of noise to signal changes from one point to another.
type step struct {
	e, rest float64 // e^{-h} and 1 - e^{-h}
	h       float64 // the rise of λ, +∞ from signal 0 and to noise 0
}

// still reports whether the step goes nowhere.
func (s step) still() bool { return s.rest == 0 }

// newStep returns the step between two points, or an error that names the solver.
func newStep(name string, eta float64, from, to schedule.Point) (step, error) {
	if !(eta >= 0) || math.IsInf(eta, 1) {
		return step{}, fmt.Errorf("%s: eta %v is not a finite number ≥ 0: %w", name, eta, sampler.ErrEta)
	}
	if from == to {
		return step{e: 1}, nil
	}
	e, rest := from.RatioTo(to)
	if !(rest >= 0) { // also NaN
		return step{}, fmt.Errorf("%s: the ratio of noise to signal does not fall from %v/%v to %v/%v: %w",
			name, from.Noise, from.Signal, to.Noise, to.Signal, sampler.ErrPath)
	}
	rest = min(rest, 1) // rounding alone puts it above 1
	return step{e, rest, -math.Log1p(-rest)}, nil
}

// facts returns the facts of a multistep solver. The first step has no history. Its error is
// of order 2 in its length, which bounds the order of a run that begins with it.
func facts(name, source string, order int, eta float64, taylor bool) sampler.Facts {
	f := sampler.Facts{Name: name, Source: source, Evaluations: 1, Density: eta != 0}
	f.Order = min(max(order, 1), 2)
	f.HistoryOrder = f.Order
	if order == 3 && taylor {
		f.HistoryOrder = 3
	}
	return f
}

// phi2 returns (e^{-x}-1)/x + 1, and phi3 returns phi2(x)/x - 1/2, without cancellation.
func phi2(x float64) float64 {
	if math.Abs(x) > 1 {
		return math.Expm1(-x)/x + 1
	}
	return series(x, 2)
}

func phi3(x float64) float64 {
	if math.Abs(x) > 1 {
		return phi2(x)/x - 0.5
	}
	return -series(x, 3)
}

// series returns Σ (-1)^(k+1) x^k/(k+m-1)! over k ≥ 1, for |x| ≤ 1.
func series(x float64, m int) float64 {
	term := 1.0
	for k := 2; k < m; k++ {
		term /= float64(k)
	}
	var sum float64
	for k := 1; k <= 18; k++ { // 1/19! is below 2⁻⁵³ of the first term
		term *= -x / float64(k+m-1)
		sum -= term
	}
	return sum
}
