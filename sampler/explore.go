package sampler

import (
	"fmt"
	"math"

	"cps/schedule"
)

// EquivalentEta returns the eta at which [FlowCPS] injects as much noise as r in the step
// (Figure 7, right):
//
//	σ'·sin(ηπ/2) = Eps
//
// If r injects nothing, eta is 0, also at σ' = 0. ErrNoEta says that r injects more than
// the level of to, which FlowCPS never does.
func EquivalentEta(r Rule, from, to schedule.Point) (float64, error) {
	c, err := coeffs(r, from, to)
	switch s := to.Noise; {
	case err != nil:
		return 0, fmt.Errorf("sampler: %w", err)
	case c.Eps == 0:
		return 0, nil
	case !(c.Eps <= s*(1+0x1p-50)): // a few roundings above the level count as the level
		return 0, fail(ErrNoEta, "sampler: %s injects %v into the level %v", FactsOf(r).Name, c.Eps, s)
	default:
		eps := min(c.Eps, s)
		return math.Atan2(eps, math.Sqrt(s-eps)*math.Sqrt(s+eps)) * (2 / math.Pi), nil
	}
}

// MatchEta returns the eta at which a family of rules injects the noise eps in the step,
// so that rules can be compared at equal exploration. For the family of FlowCPS, it
// inverts [EquivalentEta]: eps is σ'·sin(ηπ/2).
//
// The injected noise must rise with eta, as in every family of this package. The family
// must accept all eta up to a limit, which may be infinite. MatchEta finds the smallest
// eta by bisection, to the last bit, and tries none above 2³². ErrNoEta says that no eta
// that the family accepts gives eps. A nil family is ErrConfig.
//
//	family := func(eta float64) Rule { return Exact{Diffusion: Ratio(eta)} }
func MatchEta(family func(eta float64) Rule, eps float64, from, to schedule.Point) (float64, error) {
	if family == nil {
		return 0, fail(ErrConfig, "sampler: the family of rules is nil")
	}
	if !(eps >= 0 && eps <= math.MaxFloat64) {
		return 0, fail(ErrNoEta, "sampler: noise %v is not a finite number ≥ 0", eps)
	}
	inject := func(eta float64) (float64, error) {
		c, err := coeffs(family(eta), from, to)
		return c.Eps, err
	}
	none, err := inject(0)
	if err != nil {
		return 0, fmt.Errorf("sampler: %w", err)
	}
	if none >= eps {
		return 0, nil
	}
	// lo injects less. hi injects enough, or the family refuses it with an error.
	lo, hi := 0.0, 1.0
	for {
		got, e := inject(hi)
		if err = e; err != nil || got >= eps {
			break
		}
		if hi >= 1<<32 {
			return 0, fail(ErrNoEta, "sampler: %s injects less than %v from noise %v to %v at every eta",
				FactsOf(family(hi)).Name, eps, from.Noise, to.Noise)
		}
		lo, hi = hi, 2*hi
	}
	for {
		m := lo + (hi-lo)/2
		if m <= lo || m >= hi {
			break
		}
		if got, e := inject(m); e != nil || got >= eps {
			hi, err = m, e
		} else {
			lo = m
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%w; at eta %v: %w", fail(ErrNoEta,
			"sampler: %s injects less than %v from noise %v to %v at every eta it accepts",
			FactsOf(family(lo)).Name, eps, from.Noise, to.Noise), hi, err)
	}
	return hi, nil
}
