package sampler_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cps/sampler"
	"cps/schedule"
)

// Rollouts ask a model about all rows of the run, in order, with one time for each row in
// its own units.
func TestCall(t *testing.T) {
	s := mustNew(t, sampler.Config{
		Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: 0.6},
		Clock: sampler.Clock{Scale: 1000, Reversed: true},
	})
	b := s.Batch(6, 9, 4, 4, 8)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	type key struct{}
	ctx := context.WithValue(bg, key{}, "here")
	calls := 0
	model := func(ctx context.Context, c sampler.Call[[]float32]) error {
		want := []float64{0, 250, 500, 750}[calls]
		if c.Dim != 6 || len(c.X) != 18 || len(c.V) != 18 || !slices.Equal(c.Rows, []int{0, 1, 2}) ||
			!slices.Equal(c.Times, []float64{want, want, want}) || ctx.Value(key{}) != "here" {
			t.Errorf("call %d: %+v", calls, c)
		}
		if s.Time(calls) != want {
			t.Errorf("Time(%d) is %v", calls, s.Time(calls))
		}
		calls++
		clear(c.V)
		return nil
	}
	if err := sampler.Rollout(ctx, sampler.CPU{}, s, b, run, model); err != nil || calls != 4 {
		t.Error(calls, err)
	}
}

func TestClock(t *testing.T) {
	for _, tc := range []struct {
		clock   sampler.Clock
		t, want float64
	}{
		{sampler.Clock{}, 0.25, 0.25},
		{sampler.Clock{Reversed: true}, 0.25, 0.75},
		{sampler.Clock{Scale: 1000}, 0.25, 250},
		{sampler.Clock{Scale: 1000, Reversed: true}, 0.25, 750},
		{sampler.Clock{Scale: 1000, Rounding: sampler.RoundDown}, 0.6669, 666},
		{sampler.Clock{Scale: 1000, Rounding: sampler.RoundNearest}, 0.6669, 667},
		{sampler.Clock{Scale: 10, Rounding: sampler.RoundNearest}, 0.25, 2}, // halves to even
		{sampler.Clock{Scale: 10, Rounding: sampler.RoundNearest}, 0.35, 4},
	} {
		if got := tc.clock.At(tc.t); got != tc.want {
			t.Errorf("%+v at %v: %v, want %v", tc.clock, tc.t, got, tc.want)
		}
	}
}

// On the grid of a clock of integers, a reversed clock tells exact integers, with any
// rounding.
func TestReversedClockOnItsGrid(t *testing.T) {
	for _, rounding := range []sampler.Rounding{sampler.RoundDown, sampler.RoundNearest} {
		c := sampler.Clock{Scale: 1000, Reversed: true, Rounding: rounding}
		for i := range 1001 {
			if got := c.At(float64(i) / 1000); got != float64(1000-i) {
				t.Errorf("%v at %d/1000: %v", rounding, i, got)
			}
		}
	}
}

// A model of the reversed velocity with a reversed clock gives the results of the plain
// model.
func TestConventionsAreData(t *testing.T) {
	c := sampler.Config{Scheduler: schedule.Linear(6).Shift(2), Rule: sampler.FlowCPS{Eta: 0.8}}
	want := walk(t, c, 30, nil, 1, 2)
	c.Prediction, c.Clock = sampler.PredictReversedVelocity, sampler.Clock{Reversed: true, Scale: 1}
	s := mustNew(t, c)
	b := s.Batch(30, 5, 1, 2)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(func(v, x []float32, time float64) error {
		plain := c.Scheduler.At(slices.IndexFunc([]int{0, 1, 2, 3, 4, 5}, func(i int) bool { return 1-c.Scheduler.At(i).Time == time })).Time
		err := testModel(v, x, plain)
		for i := range v {
			v[i] = -v[i]
		}
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Latents {
		if !sameBits(run.Latents[i], want.Latents[i]) {
			t.Errorf("latents %d differ", i)
		}
	}
}

func TestOneTime(t *testing.T) {
	if sampler.OneTime[[]float32](nil) != nil {
		t.Error("a nil function is a model")
	}
	called := 0
	m := sampler.OneTime(func(v, x []float32, time float64) error { called++; return nil })
	err := m(bg, sampler.Call[[]float32]{Dim: 1, Rows: []int{3, 4}, Times: []float64{0.5, 0.25}})
	wantError(t, err, sampler.ErrCall, "0.5", "0.25", "OneTime")
	wantError(t, m(bg, sampler.Call[[]float32]{Dim: 1}), sampler.ErrCall, "no times")
	nan := math.NaN()
	wantError(t, m(bg, sampler.Call[[]float32]{Dim: 1, Rows: []int{3, 4}, Times: []float64{nan, nan}}), sampler.ErrCall, "row 0", "NaN")
	wantError(t, m(bg, sampler.Call[[]float32]{Dim: 1, Rows: []int{3, ^4}, Times: []float64{0.5, 0.5}}), sampler.ErrCall, "row 1 of the call is row 4 without its condition")
	if err := m(bg, sampler.Call[[]float32]{Dim: 1, Rows: []int{3, 4}, Times: []float64{0.5, 0.5}}); err != nil || called != 1 {
		t.Error(called, err)
	}
}

// An observer sees the model's input and output, and the clean sample that they predict.
// Its error ends the run.
func TestObserve(t *testing.T) {
	for _, p := range predictions {
		s := mustNew(t, sampler.Config{
			Scheduler: schedule.Flow{0.9, 0.6, 0.3, 0.1}, Rule: sampler.FlowCPS{Eta: 0.4},
			Prediction: p, Start: sampler.FromData,
		})
		b := s.Batch(5, 2, 0, 1)
		run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
		sampler.CPU{}.Step(run.Latents[0], make([]float32, b.Len()), nil, b, nil)
		seen := 0
		run.Observe = func(_ context.Context, o sampler.Observation[[]float32]) error {
			if o.Transition != seen || &o.X[0] != &run.Latents[seen][0] || &o.V[0] != &run.V[0] || o.Batch.Rows[1] != s.Row(1, seen) {
				t.Errorf("%v: transition %d: %+v", p, seen, o)
			}
			preview := make([]float32, b.Len())
			sampler.CPU{}.Step(preview, o.X, o.V, o.Batch.WithAffine(s.PredictedSample(seen)), nil)
			a := sampler.Coeffs{X0: 1}.Affine(p, s.At(seen).From)
			for i, got := range preview {
				want := a.X*float64(o.X[i]) + a.V*float64(o.V[i])
				// Weights and two products round to float32: 4 roundings of terms of this
				// size.
				if size := math.Abs(a.X*float64(o.X[i])) + math.Abs(a.V*float64(o.V[i])); math.Abs(float64(got)-want) > 4*size*0x1p-24 {
					t.Errorf("%v: x̂0 is %v, want %v", p, got, want)
				}
			}
			seen++
			return nil
		}
		if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil || seen != 3 {
			t.Errorf("%v: %d observations, %v", p, seen, err)
		}
	}
	s, b, run := start(t, sampler.Float32, sampler.Window{})
	boom := errors.New("disk full")
	run.Observe = func(_ context.Context, o sampler.Observation[[]float32]) error {
		if o.Transition == 3 {
			return boom
		}
		return nil
	}
	wantError(t, sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)), boom, "Observe at step 3")
}

// The ODE backwards and then forwards returns to the data, for a field that does not
// depend on x. Every step is undone, but for rounding.
func TestInversion(t *testing.T) {
	field := func(v, x []float32, time float64) error {
		for i := range v {
			v[i] = float32(i) * 0.25
		}
		return nil
	}
	levels := schedule.Linear(8).Shift(3)
	run := func(c sampler.Config, x []float32) []float32 {
		s := mustNew(t, c)
		b := s.Batch(len(x), 1, 0)
		run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
		sampler.CPU{}.Step(run.Latents[0], x, nil, b, nil)
		if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(field)); err != nil {
			t.Fatal(err)
		}
		return run.Latents[s.Steps()]
	}
	data := []float32{0.5, -1, 2, 0.125}
	noise := run(sampler.Config{Scheduler: schedule.Invert(levels), Rule: sampler.FlowODE{}, Start: sampler.FromData}, data)
	for i, x := range noise {
		// x1 = x0 + v is the integral of a constant field, in 8 steps of 3 roundings.
		if want := data[i] + float32(i)*0.25; math.Abs(float64(x-want)) > 24*2*0x1p-24 {
			t.Errorf("element %d: noise %v, want %v", i, x, want)
		}
	}
	back := run(sampler.Config{Scheduler: levels, Rule: sampler.FlowODE{}, Start: sampler.FromPart}, noise)
	for i, x := range back {
		if math.Abs(float64(x-data[i])) > 48*2*0x1p-24 {
			t.Errorf("element %d: back at %v, from %v", i, x, data[i])
		}
	}
}

// First latents that the storage type does not hold are rounded in place, so the run is
// on policy.
func TestFirstLatentsAreRounded(t *testing.T) {
	for _, storage := range []sampler.Storage{sampler.BFloat16, sampler.Float16} {
		s, b, run := start(t, storage, sampler.Window{})
		for i := range run.Latents[0] {
			run.Latents[0][i] = float32(i)/7 - 3
		}
		if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
			t.Fatal(err)
		}
		for i, x := range run.Latents[0] {
			if want := storage.Round(float32(i)/7 - 3); x != want {
				t.Fatalf("%v: element %d is %v, want %v", storage, i, x, want)
			}
		}
		if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
			t.Error(err)
		}
	}
}

// CheckOnPolicy asks about rows in other batches, and finds a model whose output depends
// on the batch.
func TestCheckOnPolicyInOtherBatches(t *testing.T) {
	s, b, run := start(t, sampler.Float32, sampler.Window{Start: 2, End: 4})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	check := func(spoil func(c sampler.Call[[]float32]) bool, sizes ...int) (asked [][]int, err error) {
		err = sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, func(_ context.Context, c sampler.Call[[]float32]) error {
			if c.Times[0] == s.Time(2) {
				asked = append(asked, slices.Clone(c.Rows))
			}
			testModel(c.V, c.X, c.Times[0])
			if spoil != nil && spoil(c) {
				c.V[0] += 1e-3
			}
			return nil
		}, sizes...)
		return asked, err
	}
	for _, tc := range []struct {
		sizes []int
		want  string
	}{
		{nil, "[[0 1 2] [2 1 0] [0 1] [2 0] [0] [1] [2]]"},
		{[]int{2}, "[[0 1 2] [2 1 0] [0 1] [2 0]]"},
		{[]int{5}, "[[0 1 2] [2 1 0] [0 1 2 0 1]]"},
	} {
		asked, err := check(nil, tc.sizes...)
		if err != nil || fmt.Sprint(asked) != tc.want {
			t.Errorf("sizes %v: asked %v, want %v; error %v", tc.sizes, asked, tc.want, err)
		}
	}
	_, err := check(func(c sampler.Call[[]float32]) bool { return c.Rows[0] == 2 && len(c.Rows) == 3 })
	wantError(t, err, sampler.ErrOffPolicy, "step 2", "row 2", "sample 5", "batch of 3 rows from row 2", "rollout's of 3")
	_, err = check(func(c sampler.Call[[]float32]) bool {
		return len(c.Rows) == 1 && c.Rows[0] == 1 && c.Times[0] == s.Time(3)
	})
	wantError(t, err, sampler.ErrOffPolicy, "step 3", "row 1", "sample 3", "batch of 1 rows", "rollout's of 3")
	_, err = check(func(c sampler.Call[[]float32]) bool { return len(c.Rows) == 4 }, 4)
	wantError(t, err, sampler.ErrOffPolicy, "batch of 4 rows")
	_, err = check(func(c sampler.Call[[]float32]) bool { return len(c.Rows) == 2 }, 3, 1)
	if err != nil {
		t.Errorf("no batch has two rows, but %v", err)
	}
	_, err = check(nil, 0)
	wantError(t, err, sampler.ErrConfig, "size 0 of a batch")
}

// Batches keep the spans of a sample together.
func TestCheckOnPolicyOfSpans(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(3), Rule: sampler.FlowCPS{Eta: 0.6}})
	b := s.Batch(12, 9, 8, 3, 5).Spans(4)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	var asked []string
	model := func(_ context.Context, c sampler.Call[[]float32]) error {
		asked = append(asked, fmt.Sprint(c.Rows))
		return testModel(c.V, c.X, c.Times[0])
	}
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, model); err != nil {
		t.Fatal(err)
	}
	asked = nil
	if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, model, 1); err != nil {
		t.Fatal(err)
	}
	want := []string{"[6 7 8 3 4 5 0 1 2]", "[0 1 2]", "[3 4 5]", "[6 7 8]"}
	for _, w := range want {
		if !slices.Contains(asked, w) {
			t.Errorf("not asked about %s: %v", w, asked)
		}
	}
}

// However a sample is cut into spans, its latents are those of the whole, through a whole
// run.
func TestSpansAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := sampler.Config{
			Scheduler: schedule.Linear(3), Rule: sampler.FlowCPS{Eta: 0.6},
			Storage: rapid.SampledFrom([]sampler.Storage{sampler.Float32, sampler.BFloat16, sampler.Float16}).Draw(t, "storage"),
		}
		dim := 4 * rapid.IntRange(1, 700).Draw(t, "dim/4")
		span := 4 * rapid.SampledFrom(divisors(dim/4)).Draw(t, "span/4")
		whole := walk(t, c, dim, nil, 3, 1<<40)
		s, err := sampler.New(c)
		if err != nil {
			t.Fatal(err)
		}
		b := s.Batch(dim, 5, 3, 1<<40).Spans(span)
		run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
		sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
		if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
			t.Fatal(err)
		}
		for i := range whole.Latents {
			if !sameBits(run.Latents[i], whole.Latents[i]) {
				t.Fatalf("spans of %d of %d: latents %d differ", span, dim, i)
			}
		}
		// The sums of spans add up to that of the whole. Where spans begin at multiples
		// of 1024, they do so exactly in this sense. Elsewhere they do so within the
		// roundings of float32 sums, at most 15 a block.
		for i, sq := range whole.SumSquares {
			for row, want := range sq {
				var got float64
				for _, x := range run.SumSquares[i][row*dim/span : (row+1)*dim/span] {
					got += x
				}
				tol := 32 * 0x1p-24 * want
				if span%1024 == 0 {
					tol = float64(dim) * 0x1p-53 * want
				}
				if math.Abs(got-want) > tol {
					t.Fatalf("spans of %d of %d: sums add up to %v, want %v", span, dim, got, want)
				}
			}
		}
	})
}

// The spans of a row that ends beyond its sample would begin at blocks that overflow.
func TestSpansBeyondTheSample(t *testing.T) {
	b := sampler.Batch{Dim: 8, Rows: []sampler.Row{{Block: 1<<32 - 2}}}
	if got := b.Spans(4).Rows[1].Block; got != 1<<32-1 {
		t.Errorf("the last span begins at block %d", got)
	}
	b.Rows[0].Block++
	wantPanic(t, "sampler: row 0 (sample 0), of 8 elements from block 4294967295 on, ends beyond the 2³⁴ elements of its sample", func() { b.Spans(4) })
}

func divisors(n int) (d []int) {
	for i := 1; i <= n; i++ {
		if n%i == 0 {
			d = append(d, i)
		}
	}
	return d
}

// Spans of a sample may stand at different steps. Spans that wait keep their latents.
func TestSpansAtDifferentSteps(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: 0.6}})
	b := s.Batch(12, 9, 8).Spans(4)
	x, v := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, make([]float32, 12)
	for i, step := range []int{0, 2} {
		block := b.Rows[i].Block
		b.Rows[i] = s.Row(8, step)
		b.Rows[i].Block = block
	}
	b.Rows[2].Affine = sampler.Affine{X: 1}
	next, sq := make([]float32, 12), make([]float64, 3)
	sampler.CPU{}.Step(next, x, v, b, sq)
	if !slices.Equal(next[8:], x[8:]) || sq[2] != 0 {
		t.Errorf("the span that stands still is %v, with sum %v", next[8:], sq[2])
	}
	for i, step := range []int{0, 2} {
		one := s.Batch(12, 9, 8)
		s.SetStep(one, step)
		whole := make([]float32, 12)
		sampler.CPU{}.Step(whole, x, v, one, nil)
		if !sameBits(next[4*i:4*i+4], whole[4*i:4*i+4]) {
			t.Errorf("span %d differs from the whole at step %d", i, step)
		}
	}
	for _, n := range []int{0, 2, 3, 5, 8} {
		wantPanic(t, fmt.Sprintf("sampler: Spans: %d is not a multiple of 4 that divides Dim 12", n), func() { s.Batch(12, 9, 8).Spans(n) })
	}
}
