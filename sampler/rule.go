package sampler

import (
	"math"

	"cps/schedule"
)

// A Rule is a sampler: the coefficients of the step from one point to a cleaner
// one. Rules are comparable values without state, safe for concurrent use; equal
// points give equal coefficients. An error of a Rule names the rule and the
// parameter; [New] adds the step, and the type of a rule that is not of this package.
//
// The rules of this package accept any points with 0 ≤ to.Noise ≤ from.Noise on the
// paths they serve, but for what their own documentation excepts. A step between
// equal points is the identity, except for [FlowCPS] and [Renoise], which inject their
// noise however short the step.
type Rule interface {
	Coeffs(from, to schedule.Point) (Coeffs, error)
}

// checkUnit returns an error unless 0 ≤ eta ≤ 1.
func checkUnit(rule string, eta float64) error {
	if eta >= 0 && eta <= 1 {
		return nil
	}
	return fail(ErrEta, "%s: eta %v is not in [0, 1]", rule, eta)
}

// checkPositive returns an error unless eta is finite and not negative.
func checkPositive(rule string, eta float64) error {
	if eta >= 0 && eta <= math.MaxFloat64 {
		return nil
	}
	return fail(ErrEta, "%s: eta %v is not a finite number ≥ 0", rule, eta)
}

// checkFlow returns an error unless the step is one down the rectified-flow path.
func checkFlow(rule string, from, to schedule.Point) error {
	for _, p := range [2]schedule.Point{from, to} {
		if !p.OnFlow() {
			return fail(ErrPath, "%s: signal %v and noise %v do not add up to 1, so this is not the rectified-flow path", rule, p.Signal, p.Noise)
		}
	}
	if to.Noise > from.Noise {
		return noisier(rule, from, to)
	}
	return nil
}

// ode returns the coefficients of the deterministic step to a point (Eq. 9).
func ode(to schedule.Point) Coeffs { return Coeffs{X0: to.Signal, X1: to.Noise} }

// same reports whether a step goes nowhere.
func same(from, to schedule.Point) bool {
	return from.Signal == to.Signal && from.Noise == to.Noise
}

// mix returns the member ρ of the coefficients-preserving family at to,
//
//	X0 = α'   X1 = ρ·σ'   Eps = root·σ'
//
// with root = √(1-ρ²), which the caller knows better than ρ tells.
func mix(to schedule.Point, rho, root float64) Coeffs {
	return Coeffs{to.Signal, rho * to.Noise, root * to.Noise}
}

// shrink returns e^{-h} = ασ'/(σα'), the factor by which the noise-to-signal ratio
// falls in a step, and 1 - e^{-h}, both without cancellation on the flow path. It
// returns an error if the ratio does not fall.
func shrink(rule string, from, to schedule.Point) (e, rest float64, err error) {
	if from.OnFlow() && to.OnFlow() {
		t, s := from.Noise, to.Noise
		d := t * (1 - s)
		e, rest = (1-t)*s/d, (t-s)/d
	} else {
		d := from.Noise * to.Signal
		p := from.Signal * to.Noise
		// The difference of products, with the rounding error of the second (Kahan).
		e, rest = p/d, (math.FMA(from.Noise, to.Signal, -p)-math.FMA(from.Signal, to.Noise, -p))/d
	}
	if !(rest >= 0) { // NaN too
		return 0, 0, noisier(rule, from, to)
	}
	return e, min(rest, 1), nil // above 1 only by rounding
}

// noisier is the error of a step to a larger ratio of noise to signal.
func noisier(rule string, from, to schedule.Point) error {
	return fail(ErrPath, "%s: the ratio of noise to signal does not fall from %v/%v to %v/%v",
		rule, from.Noise, from.Signal, to.Noise, to.Signal)
}
