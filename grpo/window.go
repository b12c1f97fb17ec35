package grpo

import (
	"fmt"
	"math"
	"math/bits"
)

// A Strategy says which steps of a run are stochastic and trained at an iteration:
// the half-open window [start, end) within [0, steps), never empty. The result is a
// pure function of the arguments, so that a resumed run, every worker and the sampler
// agree without sharing state. Strategies are comparable values, safe for
// concurrent use.
//
// steps counts the steps that may be trained, the first ones of a run. A rule that
// preserves coefficients draws no noise in the last step, so it is one less than the
// run has; others are trained without the last too, where the Gaussian is so peaked
// that log p loses its digits.
//
// Window reports a negative iteration and a strategy that has no window within steps.
type Strategy interface {
	Window(iteration, steps int) (start, end int, err error)
}

// Fixed is the window [Start, End) at all iterations. The zero Fixed is all
// steps, as flow_grpo trains without a window.
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

// Random is Size consecutive steps within [From, To), with all places equally likely
// and drawn anew at every iteration: Flow-GRPO-Fast, whose Size is 1 or 2, and
// MixGRPO's strategy "random". A To of 0 stands for the number of steps.
//
// The draw depends on Key and iteration alone. Give every prompt or worker a key
// of its own to train on different windows at once; flow_grpo, which seeds a
// generator by process instead, draws other windows.
type Random struct {
	Size     int
	From, To int
	Key      uint64
}

// Window implements [Strategy]. The place is the high word of the product of the
// number of places and a word of SplitMix64: uniform to 2⁻⁶⁴ times their number.
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

// Sliding is a window of Size steps that starts at the noisiest and moves by Stride
// towards the data, resting at every place for as many iterations as Interval says:
// the strategies of MixGRPO (arXiv 2507.21802, fastvideo/utils/grpo_states.py),
// "progressive" with [Every], "exp_decay" with [ExpDecay], "decay" with
// [LinearDecay]. After the last place it starts again (roll_back), or stays there if
// Hold is set. The paper's setting for 25 steps is [MixGRPO].
//
// Stride must not exceed Size, or steps would never be trained.
//
// One deviation from the published code: the last place is the one whose window ends
// with the last step, where the code's windows shrink and at the end are empty.
type Sliding struct {
	Size, Stride int
	Interval     Interval
	Hold         bool
}

// MixGRPO is the window of MixGRPO's published script: 4 steps that move by 1
// every 25 iterations, round and round.
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
		return 0, 0, fmt.Errorf("grpo: Sliding.Interval is nil: %w", ErrWindow)
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

// walk returns the place of the window at an iteration of the first round, and how
// many iterations are left after that round, negative if it is not over.
func (s Sliding) walk(iteration, steps int) (start, left int, err error) {
	last := steps - s.Size
	for left = iteration; ; start = min(start+s.Stride, last) {
		k := s.Interval.Iterations(start, steps)
		if k < 1 {
			return 0, 0, fmt.Errorf("grpo: Sliding: %T %+v: %d iterations at step %d: %w", s.Interval, s.Interval, k, start, ErrWindow)
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

// An Interval says for how many iterations a window that starts at step start, of
// steps, stays there. It must be a pure function.
type Interval interface {
	Iterations(start, steps int) int
}

// Every is the same number of iterations at every place.
type Every int

// Iterations implements [Interval].
func (e Every) Iterations(_, _ int) int { return int(e) }

// ExpDecay stays First iterations at the noisy steps and ever less after step
// Threshold,
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

// LinearDecay stays First iterations at step 0 and less and less towards Last, which
// a window after the last step would have,
//
//	max(Last, ⌊First·(1 - start/steps) + Last·start/steps⌋)
//
// The published script has First 10, Last 1.
type LinearDecay struct{ First, Last int }

// Iterations implements [Interval].
func (l LinearDecay) Iterations(start, steps int) int {
	// In integers: the published float64 expression rounds whole numbers down.
	return max(l.Last, (l.First*(steps-start)+l.Last*start)/steps)
}

func checkCall(iteration, steps int) error {
	switch {
	case iteration < 0:
		return fmt.Errorf("grpo: window at iteration %d: %w", iteration, ErrWindow)
	case steps < 1:
		return fmt.Errorf("grpo: window of %d steps: %w", steps, ErrWindow)
	}
	return nil
}

// draw returns output i of the SplitMix64 generator (Steele, Lea and Flood, OOPSLA
// 2014) whose seed is the first output for key: keys that are a few increments apart
// would otherwise share a sequence at an offset.
func draw(key, i uint64) uint64 { return splitmix(splitmix(key, 0), i) }

// splitmix returns output i, from 0, of SplitMix64 with that seed.
func splitmix(seed, i uint64) uint64 {
	z := seed + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
