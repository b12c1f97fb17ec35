package schedule

import (
	"errors"
	"fmt"
	"math"
)

// ErrTimestep is wrapped by errors about a timestep that a VP does not have.
var ErrTimestep = errors.New("timestep is not one of the model's")

// Points returns the run that visits the given timesteps and ends at final. The
// timesteps, highest first, are from Leading, Trailing or Linspace, or the
// caller's own. final is where the last step arrives, and published code differs
// about it:
//
//	Point{Signal: 1}    the clean sample (set_alpha_to_one)
//	v.Point(0)          the first timestep (set_alpha_to_one=False, Stable Diffusion)
//
// Points returns what Validate accepts, or an error: ErrTimestep for a timestep
// outside [0, Len()), and those of Validate. So a run that visits timestep 0
// cannot end at v.Point(0): that step would do nothing.
//
// diffusers' DDIM steps to t - T/n in whole numbers whatever the next timestep
// is, which is another one where n does not divide T (trailing) and with
// linspace; here every step arrives where the next one starts.
func (v *VP) Points(timesteps []int, final Point) (Points, error) {
	p := make(Points, 0, len(timesteps)+1)
	for i, t := range timesteps {
		if t < 0 || t >= v.Len() {
			return nil, fmt.Errorf("schedule: level %d: timestep %d is not in [0, %d): %w", i, t, v.Len(), ErrTimestep)
		}
		p = append(p, v.Point(t))
	}
	p = append(p, final)
	if err := Validate(p); err != nil {
		return nil, err
	}
	return p, nil
}

// Leading returns n timesteps, highest first, at multiples of the whole part of
// T/n, plus offset:
//
//	(n-1)·⌊T/n⌋ + offset, …, ⌊T/n⌋ + offset, offset
//
// DDIM and DDPM of diffusers do so by default; Stable Diffusion has offset 1. It
// never visits the last timesteps, so it wastes a ZeroSNR. It returns nil for n
// below 1 or above MaxSteps, and repeats timesteps for n > T, which Points refuses.
func (v *VP) Leading(n, offset int) []int {
	return timesteps(n, func(i int) int { return (n-1-i)*(v.Len()/n) + offset })
}

// Trailing returns n timesteps, highest first, from the last one down:
//
//	round(T - i·T/n) - 1,    i = 0 … n-1
//
// halves to even (Lin et al., arXiv 2305.08891, Table 2). The arithmetic is that
// of numpy's arange, on which the rounding of halves depends, and so are the
// timesteps of diffusers; but arange yields one more, -1, for some n such as 61.
// It returns nil for n below 1 or above MaxSteps, and repeats timesteps for n > T,
// which Points refuses.
func (v *VP) Trailing(n int) []int {
	last := float64(v.Len())
	step := (last - last/float64(n)) - last
	return timesteps(n, func(i int) int {
		return int(math.RoundToEven(last+float64(float64(i)*step))) - 1
	})
}

// Linspace returns n timesteps, highest first, evenly spaced from T-1 to 0 and
// rounded, halves to even, in the arithmetic of numpy's linspace:
//
//	round((n-1-i)·((T-1)/(n-1))),    i = 0 … n-1
//
// A single one is T-1, where numpy, and so diffusers, has 0. It returns nil for n
// below 1 or above MaxSteps, and repeats timesteps for n > T, which Points refuses.
func (v *VP) Linspace(n int) []int {
	last := v.Len() - 1
	step := float64(last) / float64(n-1)
	return timesteps(n, func(i int) int {
		if i == 0 {
			return last
		}
		return int(math.RoundToEven(float64(n-1-i) * step))
	})
}

func timesteps(n int, timestep func(i int) int) []int {
	if !count(n) {
		return nil
	}
	t := make([]int, n)
	for i := range t {
		t[i] = timestep(i)
	}
	return t
}
