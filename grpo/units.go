package grpo

import (
	"fmt"
	"math"
)

// SumFactor returns dim. It converts the mean of a log p, log-ratio or divergence
// over dim elements into the sum:
//
//	sum = SumFactor(dim)·mean
func SumFactor(dim int) float64 { return float64(dim) }

// UnnormalizedFactor returns 2std². It converts a Gaussian log-ratio or divergence
// (Eq. 14 of arXiv 2509.05952) into the form without denominator (Eq. 15):
//
//	unnormalized = UnnormalizedFactor(std)·gaussian
//
// std is the standard deviation of the whole step, the Eps of its Affine,
// including √Δ. For log p itself a constant is added, which cancels in ratios.
func UnnormalizedFactor(std float64) float64 { return 2 * std * std }

// In returns the objective that stops the same samples after log-ratios are
// multiplied by factor:
//
//	1 + ClipHigh' = (1 + ClipHigh)^factor   1 - ClipLow' = (1 - ClipLow)^factor
//
// While factor·Clip is small, Clip' is about factor·Clip. From the mean over
// elements to the sum, factor is [SumFactor]. From Gaussian to without
// denominator, it is [UnnormalizedFactor]. For both, take the product. For the
// other direction, take 1/factor.
//
// A ClipHigh' that overflows is infinite and never clips. A ClipLow of 1 or more
// never clips either, and stays. A ClipLow' above 1 - 2^-54 rounds to 1. The
// ratios that it would stop, below e^-37, then no longer count as clipped, but
// their gradient is negligible.
//
// The clipped samples stay the same, but the losses do not. The gradient by log p
// grows with factor.
//
// A factor that is not above 0 and finite and bad bounds are errors. So is a bound
// above 0 that would become 0, since a bound of 0 does not clip.
func (o Objective) In(factor float64) (Objective, error) {
	if err := o.validate(); err != nil {
		return Objective{}, wrap(err)
	}
	if !(finite(factor) && factor > 0) {
		return Objective{}, fmt.Errorf("grpo: factor %v of the log-ratio is not above 0 and finite: %w", factor, ErrSetting)
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
		return Objective{}, fmt.Errorf("grpo: factor %v makes a clip bound 0, which would not clip: %w", factor, ErrSetting)
	}
	return p, nil
}
