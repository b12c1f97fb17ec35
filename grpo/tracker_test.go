package grpo

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// One call on an empty tracker is the advantages of its groups: flow_grpo, which
// clears after every epoch.
func TestTrackerOfOneCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "n")
		rewards := some(t, "rewards", n, -3, 3)
		prompts := rapid.SliceOfN(rapid.IntRange(0, 4), n, n).Draw(t, "prompts")
		norm := rapid.SampledFrom([]Norm{FlowGRPO, FlowGRPOGlobal, DanceGRPO, FlowFactory, {}}).Draw(t, "norm")
		tr := Tracker[int]{Norm: norm}
		for range 2 {
			got := must(tr.Advantages(make([]float64, n), rewards, prompts))(t)
			want := must(norm.Advantages(make([]float64, n), rewards, must(ByID(prompts))(t)))(t)
			same(t, "advantages", got, want)
			tr.Clear()
		}
	})
}

// The last of several calls equals one call on all their rewards. With a limit, it
// equals one call on the last rewards of each prompt.
func trackerProperty(t *rapid.T) {
	const prompts = 3
	limit := rapid.IntRange(0, 9).Draw(t, "limit")
	tr := Tracker[int]{Norm: Norm{Eps: 0.01}, Limit: limit}
	var past [prompts][]float64
	for range 4 {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		rewards := some(t, "rewards", n, -3, 3)
		ids := rapid.SliceOfN(rapid.IntRange(0, prompts-1), n, n).Draw(t, "ids")
		for i, id := range ids {
			past[id] = append(past[id], rewards[i])
		}
		for id := range past {
			if limit > 0 {
				past[id] = past[id][max(0, len(past[id])-limit):]
			}
		}
		got := must(tr.Advantages(make([]float64, n), rewards, ids))(t)
		for i, id := range ids {
			// The plain formulas, which leave a residue where all are equal.
			var mean, square float64
			for _, r := range past[id] {
				mean += r / float64(len(past[id]))
			}
			for _, r := range past[id] {
				square += (r - mean) * (r - mean) / float64(len(past[id]))
			}
			want := 0.0
			if slices.Min(past[id]) != slices.Max(past[id]) {
				want = (rewards[i] - mean) / (math.Sqrt(square) + 0.01)
			}
			// Rewards up to 6 apart, over at least 0.01: a few hundred eps.
			near(t, "advantage", got[i:i+1], []float64{want}, 1e-11)
		}
	}
	for _, r := range tr.Records() {
		same(t, "record", r.Rewards, past[r.Prompt])
	}
}

func TestTrackerRemembers(t *testing.T) { rapid.Check(t, trackerProperty) }

func FuzzTracker(f *testing.F) { f.Fuzz(rapid.MakeFuzz(trackerProperty)) }

// A tracker that is restored from records goes on with the same bits.
func TestTrackerRestore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Tracker[string]{Norm: FlowGRPOGlobal, Limit: 5, MinCount: rapid.IntRange(0, 6).Draw(t, "MinCount")}
		for range 4 {
			n := rapid.IntRange(1, 8).Draw(t, "n")
			rewards := some(t, "rewards", n, -3, 3)
			ids := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), n, n).Draw(t, "ids")
			b := Tracker[string]{Norm: a.Norm, Limit: a.Limit, MinCount: a.MinCount}
			if err := b.Restore(a.Records()); err != nil {
				t.Fatal(err)
			}
			want := must(a.Advantages(make([]float64, n), rewards, ids))(t)
			same(t, "advantages", must(b.Advantages(rewards, rewards, ids))(t), want)
			if fmt.Sprint(a.Records()) != fmt.Sprint(b.Records()) {
				t.Fatalf("records %v and %v", a.Records(), b.Records())
			}
		}
	})
}

// Rewards so near each other that their squares vanish still differ.
func TestTinySpread(t *testing.T) {
	tr := Tracker[int]{Norm: Norm{Eps: 0.01}, Limit: 3}
	got := must(tr.Advantages(make([]float64, 4), []float64{1, 2e-162, 0, 0}, []int{0, 0, 0, 0}))(t)
	near(t, "advantage of a reward that is no longer remembered", got[:1], []float64{100}, 1e-11)
	got = must(Norm{}.Advantages(make([]float64, 2), []float64{3e-200, 1e-200}, must(BySize(2, 2))(t)))(t)
	near(t, "advantages", got, []float64{1, -1}, 4*eps)
	got = must(Norm{}.Advantages(make([]float64, 2), []float64{math.SmallestNonzeroFloat64, 0}, must(BySize(2, 2))(t)))(t)
	for i, a := range got {
		if !finite(a) {
			t.Errorf("advantage %d is %v", i, a)
		}
	}
}

// Known answers: the example in flow_grpo's stat_tracking.py, and ddpo-pytorch's
// fallback to the call while there are few rewards.
func TestTrackerKnown(t *testing.T) {
	var prompts = []string{"a", "b", "a", "c", "b", "a"}
	rewards := []float64{1, 2, 3, 4, 5, 6}
	tr := Tracker[string]{Norm: FlowGRPO}
	got := must(tr.Advantages(make([]float64, 6), rewards, prompts))(t)
	// a: mean 10/3, variance 38/9; b: mean 3.5, std 1.5; c is alone.
	sa := math.Sqrt(38.0/9) + 1e-4
	want := []float64{(1 - 10.0/3) / sa, -1.5 / 1.5001, (3 - 10.0/3) / sa, 0, 1.5 / 1.5001, (6 - 10.0/3) / sa}
	near(t, "advantages", got, want, 4*eps)
	if size, seen := tr.Prompts(); size != 2 || seen != 3 {
		t.Errorf("mean size %v, prompts %d; want 2 and 3", size, seen)
	}
	tr.Clear()
	if size, seen := tr.Prompts(); size != 0 || seen != 3 {
		t.Errorf("cleared: mean size %v, prompts %d; want 0 and 3", size, seen)
	}

	ddpo := Tracker[string]{Norm: Norm{Eps: 1e-6}, Limit: 32, MinCount: 3}
	got = must(ddpo.Advantages(make([]float64, 6), rewards, prompts))(t)
	all := math.Sqrt(35.0/12) + 1e-6 // of 1 to 6
	sa = math.Sqrt(38.0/9) + 1e-6
	want = []float64{(1 - 10.0/3) / sa, -1.5 / all, (3 - 10.0/3) / sa, 0.5 / all, 1.5 / all, (6 - 10.0/3) / sa}
	near(t, "ddpo", got, want, 4*eps)
}

func TestTrackerErrors(t *testing.T) {
	tr := Tracker[float64]{}
	must(tr.Advantages([]float64{0, 0}, []float64{1, 2}, []float64{7, 7}))(t)
	before := fmt.Sprint(tr.Records())
	for _, c := range []struct {
		rewards, prompts []float64
		kind             error
		text             string
	}{
		{nil, nil, ErrEmpty, "grpo: batch: empty"},
		{[]float64{1, nan}, []float64{7, 8}, ErrNotFinite, "grpo: reward of sample 1 is NaN: not a finite number"},
		{[]float64{1, 2}, []float64{7, nan}, ErrNotFinite, "grpo: id of sample 1 is NaN: not a finite number"},
	} {
		_, err := tr.Advantages(make([]float64, len(c.rewards)), c.rewards, c.prompts)
		wantError(t, err, c.kind, c.text)
	}
	dance := Tracker[float64]{Norm: DanceGRPO}
	_, wide := dance.Advantages([]float64{0, 0}, []float64{-1.5e308, 1.5e308}, []float64{7, 8})
	wantError(t, wide, ErrOverflow, "grpo: batch: spread of rewards from -1.5e+308 to 1.5e+308: overflows float64")
	// The two rewards that are remembered say nothing of a third so far away.
	near := Tracker[float64]{Limit: 2}
	_, far := near.Advantages(make([]float64, 3), []float64{1e308, 0, 1e-9}, []float64{7, 7, 7})
	wantError(t, far, ErrOverflow, "grpo: advantage of sample 0, with reward 1e+308 and standard deviation 5e-10: overflows float64")
	if len(near.Records()) != 0 {
		t.Error("an error is remembered")
	}
	for _, c := range []struct {
		tracker Tracker[float64]
		text    string
	}{
		{Tracker[float64]{Norm: FlowGRPOBatch}, "grpo: Tracker.Norm.Scope is PerBatch, which has no history; take PerGroup or GlobalStd: setting out of range"},
		{Tracker[float64]{Limit: -1}, "grpo: Tracker.Limit -1 is negative: setting out of range"},
		{Tracker[float64]{MinCount: -1}, "grpo: Tracker.MinCount -1 is negative: setting out of range"},
		{Tracker[float64]{Norm: Norm{Eps: -1}}, "grpo: Norm.Eps -1 is not at least 0 and finite: setting out of range"},
	} {
		_, err := c.tracker.Advantages([]float64{0}, []float64{0}, []float64{0})
		wantError(t, err, ErrSetting, c.text)
	}
	wantError(t, tr.Restore([]Record[float64]{{nan, nil}}), ErrNotFinite, "grpo: record of prompt NaN: not a finite number")
	wantError(t, tr.Restore([]Record[float64]{{1, nil}, {1, nil}}), ErrSetting, "grpo: two records of prompt 1: setting out of range")
	wantError(t, tr.Restore([]Record[float64]{{1, []float64{0, inf}}}), ErrNotFinite, "grpo: record of prompt 1: reward 1 is +Inf: not a finite number")
	if after := fmt.Sprint(tr.Records()); after != before {
		t.Errorf("errors changed what is remembered from %s to %s", before, after)
	}
	wantPanic(t, "grpo: length of dst is 0, not that of rewards, 1", func() { tr.Advantages(nil, []float64{1}, []float64{1}) })
	wantPanic(t, "grpo: length of prompts is 0, not that of rewards, 1", func() { tr.Advantages([]float64{1}, []float64{1}, nil) })
}

func ExampleTracker() {
	tr := Tracker[string]{Norm: Norm{Eps: 1e-4}, Limit: 4}
	prompts := []string{"a cat", "a cat"}
	for _, rewards := range [][]float64{{1, 3}, {3, 5}, {3, 5}} {
		adv, err := tr.Advantages(make([]float64, 2), rewards, prompts)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%.2f\n", adv)
	}
	// Against what the prompt got before, the second rewards are better than the same
	// rewards are later.

	// Output:
	// [-1.00 1.00]
	// [0.00 1.41]
	// [-1.00 1.00]
}
