package schedule

import (
	"fmt"
	"math"
)

// A VP is the noise of a variance-preserving model at its training timesteps
// t = 0 … T-1, as DDPM (arXiv 2006.11239) defines it:
//
//	ᾱ(t) = (1-β(0))·…·(1-β(t)),    Signal √ᾱ,  Noise √(1-ᾱ),  Time t/T
//
// A run visits some of the timesteps: see Points. A VP is immutable and safe for
// concurrent use. The zero VP has no timesteps.
//
// All values are float64; published schedulers keep ᾱ in float32. While 1-ᾱ is
// small it is summed, not subtracted, so both ends have all their digits.
type VP struct {
	alphaBar []float64
	rest     []float64 // 1 - ᾱ
}

// NewVP returns the VP of the betas of timesteps 0 … len(betas)-1. LinearBetas,
// ScaledLinearBetas and CosineBetas make them, and trained models publish theirs.
// NewVP copies what it needs. A beta that is NaN or outside [0, 1] is ErrRange.
// An empty list is ErrShort.
func NewVP(betas []float64) (*VP, error) {
	if len(betas) == 0 {
		return nil, fmt.Errorf("schedule: no betas: %w", ErrShort)
	}
	v := newVP(len(betas))
	signal, noise := 1.0, 0.0 // ᾱ and 1 - ᾱ
	for t, b := range betas {
		if !in01(b) {
			return nil, fmt.Errorf("schedule: beta %d is %v: %w", t, b, ErrRange)
		}
		// 1 - ᾱ(1-β) is 1 - ᾱ + ᾱβ
		signal, noise = balance(signal*(1-b), noise+float64(signal*b))
		v.alphaBar[t], v.rest[t] = signal, noise
	}
	return v, nil
}

func newVP(n int) *VP {
	return &VP{alphaBar: make([]float64, n), rest: make([]float64, n)}
}

// balance makes ᾱ and 1-ᾱ, each computed on its own, sum to 1. The smaller one
// has all its digits, so the larger one becomes 1 minus the smaller.
func balance(alphaBar, rest float64) (float64, float64) {
	if alphaBar < rest {
		return alphaBar, 1 - alphaBar
	}
	return 1 - rest, rest
}

// Len returns T, the number of training timesteps.
func (v *VP) Len() int { return len(v.alphaBar) }

// AlphaBar returns ᾱ(t). It panics unless 0 <= t < Len().
func (v *VP) AlphaBar(t int) float64 { return v.alphaBar[t] }

// Point returns the point of timestep t. Its Time is t/T, so the model's
// timestep is math.Round(Time·T). It panics unless 0 <= t < Len().
func (v *VP) Point(t int) Point {
	return Point{
		Time:   float64(t) / float64(v.Len()),
		Signal: math.Sqrt(v.alphaBar[t]),
		Noise:  math.Sqrt(v.rest[t]),
	}
}

// ZeroSNR returns a copy of v, rescaled so that the last timestep is pure noise
// and the first one stays:
//
//	√ᾱ' = (√ᾱ - √ᾱ(T-1))·√ᾱ(0)/(√ᾱ(0) - √ᾱ(T-1))
//
// (Lin et al., arXiv 2305.08891, Algorithm 1; rescale_betas_zero_snr in
// diffusers). At pure noise, a model that predicts noise learns nothing. Take a
// model that was trained on this schedule. A VP without timesteps is ErrShort.
// If noise does not rise from the first timestep to the last, there is nothing
// to scale: ErrOrder.
func (v *VP) ZeroSNR() (*VP, error) {
	n := v.Len()
	if n == 0 {
		return nil, fmt.Errorf("schedule: no betas: %w", ErrShort)
	}
	first, last := v.Point(0), v.Point(n-1)
	span := v.fall(0, n-1)
	if !(span > 0) {
		return nil, fmt.Errorf("schedule: timestep 0 (%v) is not below timestep %d (%v): %w",
			first.Noise, n-1, last.Noise, ErrOrder)
	}
	w := newVP(n)
	w.alphaBar[0], w.rest[0] = v.alphaBar[0], v.rest[0]
	for t := 1; t < n; t++ {
		// 1 - scaled is the sum of 1 - √ᾱ(0) and √ᾱ(0) - scaled, both positive.
		scaled := first.Signal * (v.fall(t, n-1) / span)
		less := v.rest[0]/(1+first.Signal) + float64(first.Signal*(v.fall(0, t)/span))
		w.alphaBar[t], w.rest[t] = balance(scaled*scaled, less*(1+scaled))
	}
	return w, nil
}

// fall returns √ᾱ(s) - √ᾱ(t) without cancellation. It divides the difference of
// ᾱ, or of 1-ᾱ, by the sum of the roots.
func (v *VP) fall(s, t int) float64 {
	d := v.alphaBar[s] - v.alphaBar[t]
	if v.alphaBar[s] > 0.5 {
		d = v.rest[t] - v.rest[s]
	}
	if d == 0 {
		return 0 // also between two timesteps without signal
	}
	return d / (math.Sqrt(v.alphaBar[s]) + math.Sqrt(v.alphaBar[t]))
}
