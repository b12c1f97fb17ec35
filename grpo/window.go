package grpo

import (
	"fmt"
	"math"
	"math/bits"
)

// A Strategy says which steps of a run are stochastic and trained at an iteration.
// They are the half-open window [start, end) within [0, steps), which is never
// empty. The result is a pure function of the arguments, so a resumed run, all
// workers and the sampler agree without shared state. Strategies are comparable
// values, safe for concurrent use.
//
// steps is the number of steps that may be trained, which are the first ones of a
// run. It is usually one less than the run has. A rule that preserves coefficients
// draws no noise in the last step. Other rules have so narrow a Gaussian there that
// log p loses digits.
//
// A negative iteration and a strategy without a window within steps are errors of
// Window.
type Strategy interface {
	Window(iteration, steps int) (start, end int, err error)
}

// Fixed is the window [Start, End) at all iterations. The zero Fixed is all steps,
// like flow_grpo without a window.
type Fixed struct{ Start, End int }

// Window implements [Strategy].
func (f Fixed) Window(iteration, steps int) (start, end int, err error) {
	if f == (Fixed{}) {
		f.End = steps
	}
	if err := checkCall(iteration, steps); err != nil {
		return 0, 0, err
	}
	if f.Start < 0 || f.Start >= f.End || f.End > steps {
		return 0, 0, fmt.Errorf("grpo: Fixed: window [%d, %d) of %d steps: %w", f.Start, f.End, steps, ErrWindow)
	}
	return f.Start, f.End, nil
}

// Random is a window of Size steps within [From, To). Every iteration draws its
// place anew, with all places equally likely. Flow-GRPO-Fast does so with Size 1 or
// 2, and MixGRPO with its strategy "random". A To of 0 stands for the number of
// steps.
//
// The draw depends on Key and iteration alone. To train on different windows at
// once, give every prompt or worker its own Key. flow_grpo seeds a generator per
// process instead, and draws other windows.
type Random struct {
	Size     int
	From, To int
	Key      uint64
}

// Window implements [Strategy]. It multiplies the number of places by a word of
// SplitMix64 and takes the high word. The place is uniform to 2⁻⁶⁴ times the number
// of places.
func (r Random) Window(iteration, steps int) (start, end int, err error) {
	if err := checkCall(iteration, steps); err != nil {
		return 0, 0, err
	}
	to := r.To
	if to == 0 {
		to = steps
	}
	if r.Size < 1 || r.From < 0 || to < 0 || to > steps || r.From > to-r.Size {
		return 0, 0, fmt.Errorf("grpo: Random: %d steps within [%d, %d) of %d: %w", r.Size, r.From, to, steps, ErrWindow)
	}
	place, _ := bits.Mul64(uint64(to-r.Size-r.From+1), draw(r.Key, uint64(iteration)))
	start = r.From + int(place)
	return start, start + r.Size, nil
}

// Sliding is a window of Size steps. It starts at the noisiest step and moves by
// Stride towards the data. Interval says how many iterations it stays at each
// place. These are the strategies of MixGRPO (arXiv 2507.21802,
// fastvideo/utils/grpo_states.py): "progressive" with [Every], "exp_decay" with
// [ExpDecay], and "decay" with [LinearDecay]. After the last place the window
// starts again (roll_back), or stays there if Hold is set. The paper's setting for
// 25 steps is [MixGRPO].
//
// Stride must not exceed Size, or some steps would never be trained.
//
// One deviation from the published code: the last window ends with the last step.
// The code's windows shrink there and become empty.
type Sliding struct {
	Size, Stride int
	Interval     Interval
	Hold         bool
}

// MixGRPO is the window of MixGRPO's published script: 4 steps that move by 1 every
// 25 iterations, and start again at the end. Copy it, and do not assign to it.
var MixGRPO = Sliding{Size: 4, Stride: 1, Interval: Every(25)}

// Window implements [Strategy]. Interval must be set and give 1 or more.
func (s Sliding) Window(iteration, steps int) (start, end int, err error) {
	if err := checkCall(iteration, steps); err != nil {
		return 0, 0, err
	}
	if s.Size < 1 || s.Size > steps {
		return 0, 0, fmt.Errorf("grpo: Sliding: Size %d is not in [1, %d]: %w", s.Size, steps, ErrWindow)
	}
	if s.Stride < 1 || s.Stride > s.Size {
		return 0, 0, fmt.Errorf("grpo: Sliding: Stride %d is not in [1, Size %d]: %w", s.Stride, s.Size, ErrWindow)
	}
	if s.Interval == nil {
		return 0, 0, fmt.Errorf("grpo: Sliding.Interval is nil; take Every, ExpDecay or LinearDecay: %w", ErrWindow)
	}
	start, left, err := s.walk(iteration, steps)
	if err == nil && left >= 0 {
		round := iteration - left
		start, _, err = s.walk(iteration%round, steps)
	}
	if err != nil {
		return 0, 0, err
	}
	return start, start + s.Size, nil
}

// walk returns the place of the window at an iteration of the first round. left is
// the number of iterations after that round, and negative if the round is not over.
func (s Sliding) walk(iteration, steps int) (start, left int, err error) {
	last := steps - s.Size
	for left = iteration; ; start = min(start+s.Stride, last) {
		k := s.Interval.Iterations(start, steps)
		if k < 1 {
			return 0, 0, fmt.Errorf("grpo: Sliding: %T %+v gives %d iterations at step %d, want 1 or more: %w", s.Interval, s.Interval, k, start, ErrWindow)
		}
		left -= k
		if left < 0 || start == last && !s.Hold {
			return start, left, nil
		}
		if start == last {
			return start, -1, nil
		}
	}
}

// An Interval returns the number of iterations for which a window stays at the
// place that begins at step start, of steps. The number must be 1 or more, and a
// pure function of the arguments.
type Interval interface {
	Iterations(start, steps int) int
}

// Every is an Interval: the same number of iterations at every place.
type Every int

// Iterations implements [Interval].
func (e Every) Iterations(_, _ int) int { return int(e) }

// ExpDecay is an Interval: First iterations at the noisy steps, and ever fewer
// after step Threshold, but at least 1,
//
//	⌈First·exp(-Rate·max(0, start - Threshold))⌉
//
// The published defaults are Threshold 13 and Rate 0.1, for 25 steps.
type ExpDecay struct {
	First     int
	Threshold int
	Rate      float64 // per step, at least 0
}

// Iterations implements [Interval].
func (e ExpDecay) Iterations(start, _ int) int {
	if !(finite(e.Rate) && e.Rate >= 0) {
		return 0
	}
	x := math.Ceil(float64(e.First) * math.Exp(-e.Rate*float64(max(0, start-e.Threshold))))
	return int(max(x, float64(min(e.First, 1))))
}

// LinearDecay is an Interval that falls evenly from First iterations at step 0 to
// Last beyond the last step,
//
//	max(Last, ⌊First·(1 - start/steps) + Last·start/steps⌋)
//
// The published script has First 10, Last 1.
type LinearDecay struct{ First, Last int }

// Iterations implements [Interval].
func (l LinearDecay) Iterations(start, steps int) int {
	// In integers. In float64, as published, rounding makes some whole numbers one
	// too small.
	return max(l.Last, (l.First*(steps-start)+l.Last*start)/steps)
}

func checkCall(iteration, steps int) error {
	switch {
	case iteration < 0:
		return fmt.Errorf("grpo: window at iteration %d, which is negative: %w", iteration, ErrWindow)
	case steps < 1:
		return fmt.Errorf("grpo: window of %d steps: %w", steps, ErrWindow)
	}
	return nil
}

// draw returns output i of a SplitMix64 generator (Steele, Lea and Flood, OOPSLA
// 2014). The generator's seed is the first output for key. Otherwise keys that are
// a few increments apart would share a sequence at an offset.
func draw(key, i uint64) uint64 { return splitmix(splitmix(key, 0), i) }

// splitmix returns output i, from 0, of SplitMix64 with that seed.
func splitmix(seed, i uint64) uint64 {
	z := seed + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
