package grpo

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

type window struct{ start, end int }

func at(t tb, s Strategy, iteration, steps int) window {
	t.Helper()
	start, end, err := s.Window(iteration, steps)
	if err != nil {
		t.Fatalf("%+v: iteration %d of %d steps: %v", s, iteration, steps, err)
	}
	return window{start, end}
}

func TestWindows(t *testing.T) {
	half := ExpDecay{First: 4, Threshold: 1, Rate: math.Log(2)}
	for _, tc := range []struct {
		name  string
		s     Strategy
		steps int
		want  []window // iteration by iteration
	}{
		{"zero Fixed", Fixed{}, 5, []window{{0, 5}, {0, 5}}},
		{"Fixed", Fixed{1, 3}, 5, []window{{1, 3}, {1, 3}}},
		{"by 1", Sliding{Size: 2, Stride: 1, Interval: Every(2)}, 4,
			[]window{{0, 2}, {0, 2}, {1, 3}, {1, 3}, {2, 4}, {2, 4}, {0, 2}, {0, 2}, {1, 3}}},
		{"hold", Sliding{Size: 2, Stride: 1, Interval: Every(1), Hold: true}, 4,
			[]window{{0, 2}, {1, 3}, {2, 4}, {2, 4}, {2, 4}}},
		{"by size", Sliding{Size: 2, Stride: 2, Interval: Every(1)}, 6,
			[]window{{0, 2}, {2, 4}, {4, 6}, {0, 2}}},
		{"last place ends with the steps", Sliding{Size: 3, Stride: 3, Interval: Every(1)}, 7,
			[]window{{0, 3}, {3, 6}, {4, 7}, {0, 3}}},
		{"all", Sliding{Size: 3, Stride: 1, Interval: Every(2)}, 3, []window{{0, 3}, {0, 3}, {0, 3}, {0, 3}}},
		{"all, hold", Sliding{Size: 3, Stride: 1, Interval: Every(2), Hold: true}, 3, []window{{0, 3}, {0, 3}, {0, 3}}},
		{"exponential", Sliding{Size: 1, Stride: 1, Interval: half}, 4, []window{ // 4, 4, 2, 1 iterations
			{0, 1}, {0, 1}, {0, 1}, {0, 1}, {1, 2}, {1, 2}, {1, 2}, {1, 2}, {2, 3}, {2, 3}, {3, 4}, {0, 1}}},
		{"linear", Sliding{Size: 1, Stride: 1, Interval: LinearDecay{4, 1}}, 3, []window{ // 4, 3, 2 iterations
			{0, 1}, {0, 1}, {0, 1}, {0, 1}, {1, 2}, {1, 2}, {1, 2}, {2, 3}, {2, 3}, {0, 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i, want := range tc.want {
				if got := at(t, tc.s, i, tc.steps); got != want {
					t.Errorf("iteration %d: %v, want %v", i, got, want)
				}
			}
		})
	}
}

// MixGRPO's script over its 25 steps: 22 places of 25 iterations, then again.
func TestMixGRPO(t *testing.T) {
	for iteration, want := range map[int]window{
		0: {0, 4}, 24: {0, 4}, 25: {1, 5}, 299: {11, 15}, 300: {12, 16},
		21 * 25: {21, 25}, 22*25 - 1: {21, 25}, 22 * 25: {0, 4}, 1e6 * 22 * 25: {0, 4},
	} {
		if got := at(t, MixGRPO, iteration, 25); got != want {
			t.Errorf("iteration %d: %v, want %v", iteration, got, want)
		}
	}
}

func TestIntervals(t *testing.T) {
	// The published default for 25 steps: 5·exp(-0.1·(start-13)), rounded up.
	e := ExpDecay{First: 5, Threshold: 13, Rate: 0.1}
	for start, want := range map[int]int{0: 5, 13: 5, 14: 5, 15: 5, 16: 4, 18: 4, 19: 3, 22: 3, 23: 2, 40: 1, 1 << 30: 1} {
		if got := e.Iterations(start, 25); got != want {
			t.Errorf("exponential: %d iterations at %d, want %d", got, start, want)
		}
	}
	l := LinearDecay{First: 10, Last: 1}
	for start, want := range map[int]int{0: 10, 1: 9, 5: 8, 10: 6, 20: 2, 24: 1} {
		if got := l.Iterations(start, 25); got != want {
			t.Errorf("linear: %d iterations at %d, want %d", got, start, want)
		}
	}
	// 10·(1-0.7) is 2.9999999999999996 in float64.
	if got := (LinearDecay{First: 10}).Iterations(7, 10); got != 3 {
		t.Errorf("linear: %d iterations of 10·0.3", got)
	}
}

// drawStrategy draws a strategy that has windows within steps.
func drawStrategy(t *rapid.T, steps int) Strategy {
	size := rapid.IntRange(1, steps).Draw(t, "size")
	interval := rapid.OneOf(
		rapid.Map(rapid.IntRange(1, 30), func(n int) Interval { return Every(n) }),
		rapid.Map(rapid.IntRange(1, 30), func(n int) Interval { return ExpDecay{n, steps / 2, 0.3} }),
		rapid.Map(rapid.IntRange(1, 30), func(n int) Interval { return LinearDecay{n, 1} }),
	).Draw(t, "interval")
	all := []Strategy{
		Fixed{},
		Fixed{steps - size, steps},
		Random{Size: size, Key: rapid.Uint64().Draw(t, "key")},
		Random{Size: 1, From: steps - size, To: steps - size + 1},
		Sliding{size, rapid.IntRange(1, size).Draw(t, "stride"), interval, rapid.Bool().Draw(t, "hold")},
	}
	if steps > 1 {
		all = append(all, Fixed{0, steps - 1})
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "strategy")]
}

// Windows lie within the steps, are not empty, and depend on the arguments alone.
func propWindow(t *rapid.T) {
	steps := rapid.IntRange(1, 60).Draw(t, "steps")
	s := drawStrategy(t, steps)
	iteration := rapid.OneOf(rapid.IntRange(0, 2000), rapid.IntRange(0, math.MaxInt)).Draw(t, "iteration")
	w := at(t, s, iteration, steps)
	if w.start < 0 || w.start >= w.end || w.end > steps {
		t.Errorf("%+v: %v of %d steps", s, w, steps)
	}
	if r, ok := s.(Random); ok && (w.start < r.From || w.end-w.start != r.Size) {
		t.Errorf("%+v: %v", s, w)
	}
	at(t, s, rapid.IntRange(0, 2000).Draw(t, "another"), steps)
	if again := at(t, s, iteration, steps); again != w {
		t.Errorf("%+v: %v, then %v", s, w, again)
	}
}

func TestWindow(t *testing.T) { rapid.Check(t, propWindow) }
func FuzzWindow(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propWindow)) }

// A sliding window goes through its places in order, rests at each as long as the
// interval says, reaches every step, and starts again or holds.
func propSliding(t *rapid.T) {
	steps := rapid.IntRange(1, 40).Draw(t, "steps")
	s, ok := drawStrategy(t, steps).(Sliding)
	if !ok {
		t.Skip("another strategy")
	}
	trained := make([]bool, steps)
	iteration, start := 0, 0
	for {
		for range s.Interval.Iterations(start, steps) {
			if got := at(t, s, iteration, steps); got != (window{start, start + s.Size}) {
				t.Fatalf("%+v: iteration %d of %d steps: %v, want start %d", s, iteration, steps, got, start)
			}
			iteration++
		}
		for i := range s.Size {
			trained[start+i] = true
		}
		if start+s.Size == steps {
			break
		}
		start = min(start+s.Stride, steps-s.Size)
	}
	for i, ok := range trained {
		if !ok {
			t.Errorf("%+v: step %d of %d is never trained", s, i, steps)
		}
	}
	if !s.Hold {
		start = 0
	}
	if got := at(t, s, iteration, steps); got.start != start {
		t.Errorf("%+v: after a round of %d iterations at %d, want %d", s, iteration, got.start, start)
	}
}

func TestSliding(t *testing.T) { rapid.Check(t, propSliding) }

// Random places are equally likely. 20000 draws of 5 places give 4000 each, with
// standard deviation 57. A difference of 6 deviations, at one of 5 places of 3 keys,
// has odds of 3e-8.
func TestRandomIsUniform(t *testing.T) {
	const draws, places = 20000, 5
	for _, key := range []uint64{0, 1, 1 << 63} {
		r := Random{Size: 2, From: 1, To: 7, Key: key}
		var count [places]int
		for i := range draws {
			count[at(t, r, i, 10).start-1]++
		}
		for place, n := range count {
			if math.Abs(float64(n)-draws/places) > 6*57 {
				t.Errorf("key %d: %d of %d draws at place %d", key, n, draws, place)
			}
		}
	}
}

// Keys are independent. Two keys draw the same one of 5 places as often as by
// chance, and so do neighbouring iterations of one key (same odds and standard
// deviation).
func TestRandomKeys(t *testing.T) {
	const draws = 20000
	place := func(key uint64, i int) int { return at(t, Random{Size: 1, Key: key}, i, 5).start }
	const gamma = 0x9e3779b97f4a7c15 // the step of SplitMix64's state
	var keys, increments, neighbours int
	for i := range draws {
		if place(1, i) == place(2, i) {
			keys++
		}
		if place(1, i+1) == place(1+gamma, i) {
			increments++
		}
		if place(1, i) == place(1, i+1) {
			neighbours++
		}
	}
	for name, n := range map[string]int{"keys": keys, "keys an increment apart": increments, "iterations": neighbours} {
		if math.Abs(float64(n)-draws/5) > 6*57 {
			t.Errorf("%s agree %d times of %d", name, n, draws)
		}
	}
}

// The reference outputs for seed 1234567, and the frozen draws made of them.
func TestSplitMix(t *testing.T) {
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if got := splitmix(1234567, uint64(i)); got != want {
			t.Errorf("output %d is %d, want %d", i, got, want)
		}
	}
	var got [12]int
	for i := range got {
		got[i] = at(t, Random{Size: 2, Key: 42}, i, 10).start
	}
	if want := [12]int{3, 8, 4, 0, 6, 0, 1, 6, 1, 6, 5, 1}; got != want {
		t.Errorf("places are %v, want %v", got, want)
	}
}

func TestWindowErrors(t *testing.T) {
	for _, tc := range []struct {
		s                Strategy
		iteration, steps int
		text             string
	}{
		{Fixed{}, -1, 5, "grpo: window at iteration -1, which is negative: no such window of steps"},
		{Random{Size: 1}, -1, 5, "grpo: window at iteration -1, which is negative: no such window of steps"},
		{Fixed{}, 0, 0, "grpo: window of 0 steps: no such window of steps"},
		{MixGRPO, 0, 0, "grpo: window of 0 steps: no such window of steps"},
		{Fixed{2, 2}, 0, 5, "grpo: Fixed: window [2, 2) of 5 steps: no such window of steps"},
		{Fixed{3, 1}, 0, 5, "grpo: Fixed: window [3, 1) of 5 steps: no such window of steps"},
		{Fixed{-1, 2}, 0, 5, "grpo: Fixed: window [-1, 2) of 5 steps: no such window of steps"},
		{Fixed{2, 6}, 0, 5, "grpo: Fixed: window [2, 6) of 5 steps: no such window of steps"},
		{Random{}, 0, 5, "grpo: Random: 0 steps within [0, 5) of 5: no such window of steps"},
		{Random{Size: 6}, 0, 5, "grpo: Random: 6 steps within [0, 5) of 5: no such window of steps"},
		{Random{Size: 2, From: 4}, 0, 5, "grpo: Random: 2 steps within [4, 5) of 5: no such window of steps"},
		{Random{Size: 1, To: 6}, 0, 5, "grpo: Random: 1 steps within [0, 6) of 5: no such window of steps"},
		{Random{Size: math.MaxInt, To: -5}, 0, 5, "grpo: Random: " + fmt.Sprint(math.MaxInt) + " steps within [0, -5) of 5: no such window of steps"},
		{Random{Size: 1, From: -1}, 0, 5, "grpo: Random: 1 steps within [-1, 5) of 5: no such window of steps"},
		{Sliding{}, 0, 5, "grpo: Sliding: Size 0 is not in [1, 5]: no such window of steps"},
		{Sliding{Size: 6, Stride: 1, Interval: Every(1)}, 0, 5, "grpo: Sliding: Size 6 is not in [1, 5]: no such window of steps"},
		{Sliding{Size: 2, Stride: 3, Interval: Every(1)}, 0, 5, "grpo: Sliding: Stride 3 is not in [1, Size 2]: no such window of steps"},
		{Sliding{Size: 2, Stride: 0, Interval: Every(1)}, 0, 5, "grpo: Sliding: Stride 0 is not in [1, Size 2]: no such window of steps"},
		{Sliding{Size: 2, Stride: 1}, 0, 5, "grpo: Sliding.Interval is nil; take Every, ExpDecay or LinearDecay: no such window of steps"},
		{Sliding{Size: 2, Stride: 1, Interval: Every(0)}, 0, 5, "grpo: Sliding: grpo.Every 0 gives 0 iterations at step 0, want 1 or more: no such window of steps"},
		{Sliding{Size: 2, Stride: 1, Interval: ExpDecay{First: 3, Rate: -1}}, 0, 5, "grpo: Sliding: grpo.ExpDecay {First:3 Threshold:0 Rate:-1} gives 0 iterations at step 0, want 1 or more: no such window of steps"},
		{Sliding{Size: 2, Stride: 1, Interval: ExpDecay{First: 3, Rate: nan}}, 0, 5, "grpo: Sliding: grpo.ExpDecay {First:3 Threshold:0 Rate:NaN} gives 0 iterations at step 0, want 1 or more: no such window of steps"},
		{Sliding{Size: 2, Stride: 1, Interval: ExpDecay{First: 0}}, 9, 5, "grpo: Sliding: grpo.ExpDecay {First:0 Threshold:0 Rate:0} gives 0 iterations at step 0, want 1 or more: no such window of steps"},
		{Sliding{Size: 1, Stride: 1, Interval: LinearDecay{First: 4}}, 100, 5, "grpo: Sliding: grpo.LinearDecay {First:4 Last:0} gives 0 iterations at step 4, want 1 or more: no such window of steps"},
	} {
		_, _, err := tc.s.Window(tc.iteration, tc.steps)
		if err == nil {
			t.Errorf("%+v: no error, want %q", tc.s, tc.text)
			continue
		}
		wantError(t, err, ErrWindow, tc.text)
	}
}

func TestWindowDoesNotAllocate(t *testing.T) {
	for _, s := range []Strategy{Fixed{}, Random{Size: 2}, MixGRPO} {
		wantNoAllocs(t, "Window", func() { s.Window(1000, 25) })
	}
}
