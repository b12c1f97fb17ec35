package schedule

import (
	"errors"
	"fmt"
	"math"
)

// ErrTimestep is the reason when a VP does not have a timestep.
var ErrTimestep = errors.New("timestep is not one of the model's")

// Points returns the run that visits the given timesteps and ends at final. The
// timesteps, highest first, come from Leading, Trailing or Linspace, or are the
// caller's own. The last step arrives at final. Published code takes one of two
// points:
//
//	Point{Signal: 1}    the clean sample (set_alpha_to_one)
//	v.Point(0)          the first timestep (set_alpha_to_one=False, Stable Diffusion)
//
// The error is ErrTimestep for a timestep outside [0, Len()), or that of Validate.
// A run that visits timestep 0 cannot end at v.Point(0), since that step would do
// nothing.
//
// Every step arrives where the next one starts. diffusers' DDIM steps from t to t -
// ⌊T/n⌋ instead, whatever the next timestep is. The two differ for Trailing where n
// does not divide T, and for Linspace.
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
// This is the default of diffusers' DDIM and DDPM. Stable Diffusion has offset 1.
// With either, a run of few steps misses the last timestep, and with it the effect
// of ZeroSNR. Leading returns nil for n below 1 or above MaxSteps. For n > T it
// repeats timesteps, which Points refuses.
func (v *VP) Leading(n, offset int) []int {
	return timesteps(n, func(i int) int { return (n-1-i)*(v.Len()/n) + offset })
}

// Trailing returns n timesteps, highest first, spaced down from the last one:
//
//	round(T - i·T/n) - 1,    i = 0 … n-1
//
// halves to even (Lin et al., arXiv 2305.08891, Table 2). The arithmetic is that of
// numpy's arange, since the rounding of halves depends on it. The timesteps equal
// diffusers', except that arange yields one more, -1, for some n such as 61.
// Trailing returns nil for n below 1 or above MaxSteps. For n > T it repeats
// timesteps, which Points refuses.
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
// A single timestep is T-1; numpy, and so diffusers, has 0. Linspace returns nil
// for n below 1 or above MaxSteps. For n > T it repeats timesteps, which Points
// refuses.
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
