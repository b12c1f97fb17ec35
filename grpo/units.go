package grpo

import (
	"fmt"
	"math"
)

// SumFactor returns dim: what turns a log p, a log-ratio or a divergence that is the
// mean over dim elements into the sum.
//
//	sum = SumFactor(dim)·mean
func SumFactor(dim int) float64 { return float64(dim) }

// UnnormalizedFactor returns 2std²: what turns a Gaussian log-ratio or divergence
// (Eq. 14) into the one without denominator (Eq. 15).
//
//	unnormalized = UnnormalizedFactor(std)·gaussian
//
// std is the standard deviation of the whole step, Eps of its Affine, √Δ included.
// Log p itself differs by a constant besides, which ratios do not see.
func UnnormalizedFactor(std float64) float64 { return 2 * std * std }

// In returns the objective that stops the same samples when log-ratios are
// multiplied by factor. Bounds of a ratio are bounds of its logarithm, so
//
//	1 + ClipHigh' = (1 + ClipHigh)^factor   1 - ClipLow' = (1 - ClipLow)^factor
//
// which is factor·Clip while that is small. Going from the mean over the elements
// to their sum, factor is [SumFactor]; from Gaussian to without denominator,
// [UnnormalizedFactor]; the other way, 1/factor; for both, the product. A ClipHigh'
// that overflows is infinite, which never clips; a ClipLow of 1 or more, which never
// clips either, stays. A ClipLow' above 1 - 2^-54 rounds to 1: the ratios that it
// would stop, below e^-37, have no gradient to speak of, but no longer count as
// clipped.
//
// The clipped samples are the same, the losses are not: a gradient by log p grows
// with factor, and so does what a ratio off 1 adds to it.
//
// In reports a factor that is not above 0 and finite, and bad bounds.
func (o Objective) In(factor float64) (Objective, error) {
	if err := o.validate(); err != nil {
		return Objective{}, wrap(err)
	}
	if !(finite(factor) && factor > 0) {
		return Objective{}, fmt.Errorf("grpo: factor of the log-ratio %v: %w", factor, ErrSetting)
	}
	p := Objective{
		ClipLow:  o.ClipLow,
		ClipHigh: math.Expm1(factor * math.Log1p(o.ClipHigh)),
	}
	if o.ClipLow < 1 {
		p.ClipLow = -math.Expm1(factor * math.Log1p(-o.ClipLow))
	}
	// A bound of 0 would mean not to clip at all.
	if p.ClipLow == 0 && o.ClipLow > 0 || p.ClipHigh == 0 && o.ClipHigh > 0 {
		return Objective{}, fmt.Errorf("grpo: bounds times %v vanish: %w", factor, ErrSetting)
	}
	return p, nil
}
