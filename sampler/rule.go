package sampler

import (
	"fmt"
	"strings"

	"cps/schedule"
)

// A Rule is a sampler: it returns the coefficients of the step from one point to a
// cleaner one. Rules are comparable values without state, safe for concurrent use. Equal
// points give equal coefficients. An error of a Rule names the parameter. [New] adds the
// step and the name of the rule.
//
// The rules of this package accept any points with 0 ≤ to.Noise ≤ from.Noise on the
// paths that they serve; their own documentation names exceptions. They return finite
// coefficients with Eps ≥ 0, or an error that names the rule. A step between equal
// points is the identity. Only [FlowCPS] and [Renoise] inject noise in a step of any
// length, even 0.
//
// A rule that is a [Describer] also states its [Facts].
type Rule interface {
	Coeffs(from, to schedule.Point) (Coeffs, error)
}

// coeffs returns the coefficients of a rule and checks them: rules of the caller may
// return anything.
func coeffs(r Rule, from, to schedule.Point) (Coeffs, error) {
	switch {
	case r == nil:
		return Coeffs{}, fail(ErrConfig, "the rule is nil")
	case isNil(r):
		return Coeffs{}, fail(ErrConfig, "the rule is a nil %s", typeName(r))
	}
	f := FactsOf(r)
	if err := f.onPath(from, to); err != nil {
		return Coeffs{}, err
	}
	c, err := r.Coeffs(from, to)
	if err != nil {
		return Coeffs{}, named(f.Name, err)
	}
	if c, err = f.step(c); err == nil {
		err = f.keeps(c, to)
	}
	if err != nil {
		return Coeffs{}, err
	}
	return c, nil
}

// named returns err with the name in front, unless err begins with it already.
func named(name string, err error) error {
	if strings.HasPrefix(err.Error(), name+": ") {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// ode returns the coefficients of the deterministic step to a point (Eq. 9).
func ode(to schedule.Point) Coeffs { return Coeffs{X0: to.Signal, X1: to.Noise} }

// same reports whether a step goes nowhere.
func same(from, to schedule.Point) bool {
	return from.Signal == to.Signal && from.Noise == to.Noise
}

// preserving returns the member ρ of the coefficients-preserving family at the point to,
//
//	X0 = α'   X1 = ρ·σ'   Eps = root·σ'
//
// with root = √(1-ρ²). The caller computes root more precisely than from ρ.
func preserving(to schedule.Point, rho, root float64) Coeffs {
	return Coeffs{to.Signal, rho * to.Noise, root * to.Noise}
}

// ratio returns [schedule.Point.RatioTo] with rest ≤ 1. It returns an error of the rule
// if the ratio of noise to signal does not fall.
func (f Facts) ratio(from, to schedule.Point) (e, rest float64, err error) {
	e, rest = from.RatioTo(to)
	if !(rest >= 0) { // also NaN
		return 0, 0, f.noisier(from, to)
	}
	return e, min(rest, 1), nil // rounding alone puts it above 1
}
