package sampler_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// affineData returns factor·x + shift for n samples of the patterns.
func affineData(n int, factor, shift float32) []float32 {
	data := patternData(n, 1)
	for i, x := range data {
		data[i] = factor*x + shift
	}
	return data
}

// checkData calls CheckModel for a model with the zero convention.
func checkData(t *testing.T, p path, data []float32, model sampler.Model[[]float32]) error {
	t.Helper()
	config := sampler.Config{Scheduler: p.points(), Rule: sampler.FlowODE{}, Start: sampler.FromPart}
	b := mustNew(t, config).Batch(patternDim, 5, some(len(data)/patternDim)...)
	_, err := sampler.CheckModel(bg, sampler.CPU{}, config, b, data, model)
	return err
}

// CheckModel names the shift of the data to within a tenth, and a shift together with a
// factor. It does so with few samples and with many.
func TestCheckModelFindsTheShift(t *testing.T) {
	for name, p := range paths {
		right := exactModel(p, sampler.Convention{})
		for _, n := range []int{64, 256, 1024} {
			for _, tc := range []struct {
				factor, shift float32
				want          []string // at the end; the shift comes first
			}{
				{1, 1, []string{"1", "above", "data that the model knows: is the shift"}},
				{1, -0.5, []string{"0.5", "below", "data that the model knows: is the shift"}},
				{1, 0.1, []string{"0.1", "above", "is the shift"}},
				{0.5, 0.5, []string{"0.5", "above", "2 times as narrow", "the shift and the factor", "[0, 1] for [-1, 1]"}}, // [0, 1] for [-1, 1]
				{4, -2, []string{"2", "below", "4 times as wide", "the shift and the factor"}},
			} {
				err := checkData(t, p, affineData(n, tc.factor, tc.shift), right)
				wantError(t, err, sampler.ErrScale, tc.want[1:]...)
				var got, want float64
				fmt.Sscanf(fmt.Sprint(err), "sampler: the clean samples are about %g", &got)
				fmt.Sscan(tc.want[0], &want)
				if math.Abs(got-want) > 0.1*want+0.025 { // the patterns are not equally frequent
					t.Errorf("%s, %d samples: a shift of %v is said to be %v", name, n, tc.shift, got)
				}
			}
			for _, shift := range []float32{0, 0.005, -0.005} {
				if err := checkData(t, p, affineData(n, 1, shift), right); err != nil {
					t.Errorf("%s, %d samples: a shift of %v: %v", name, n, shift, err)
				}
			}
		}
	}
}

// CheckModel blames a factor alone or a shift alone where that explains the data, also where
// their mean is far from 0.
func TestCheckModelPrefersOneMistake(t *testing.T) {
	const dim, n, mean = 64, 256, -0.8
	gaussians := make([]float64, dim*n)
	noise.Normal(gaussians, 4, noise.ID{Sample: 1}, 0)
	config := sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowODE{}}
	b := mustNew(t, config).Batch(dim, 5, some(n)...)
	model := sampler.OneTime(func(v, x []float32, time float64) error { // exact for N(mean, ¼)
		const variance = 0.25
		gain := (1 - time) * variance / ((1-time)*(1-time)*variance + time*time)
		for i := range v {
			x0 := mean + gain*(float64(x[i])-(1-time)*mean)
			v[i] = float32((float64(x[i]) - x0) / time)
		}
		return nil
	})
	for _, tc := range []struct {
		factor, shift float64
		want          string // empty: no error
	}{
		{1, 0, ""}, {3, 0, "3 times as wide as the data"}, {0.25, 0, "4 times as narrow as the data"},
		{1, 0.75, "above the data that the model knows: is the shift"}, {2, 1.5, "1.5 above the data that the model knows, and 2 times as wide"},
	} {
		data := make([]float32, dim*n)
		for i, g := range gaussians {
			data[i] = float32(tc.factor*(mean+0.5*g) + tc.shift)
		}
		_, err := sampler.CheckModel(bg, sampler.CPU{}, config, b, data, model)
		if tc.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantError(t, err, sampler.ErrScale, tc.want)
	}
}

// An offset of the velocity, and data that are no data of the model, never pass.
func TestCheckModelRefusesOffsets(t *testing.T) {
	for name, p := range paths {
		right := exactModel(p, sampler.Convention{})
		for _, n := range []int{64, 1024} {
			err := checkData(t, p, patternData(n, 1), func(ctx context.Context, c sampler.Call[[]float32]) error {
				err := right(ctx, c)
				for i := range c.V {
					c.V[i] += 0.3
				}
				return err
			})
			wantError(t, err, sampler.ErrUndecided, "data shifted by -0.2", "fits them no better")
			// An error that no shift of the data changes: x̂0 follows the latent.
			err = checkData(t, p, patternData(n, 1), func(ctx context.Context, c sampler.Call[[]float32]) error {
				point := p(c.Times[0])
				for i, x := range c.X {
					x0 := float64(x)/point.Signal - 3
					x1 := (float64(x) - point.Signal*x0) / point.Noise
					c.V[i] = float32(x1 - x0)
				}
				return nil
			})
			wantError(t, err, sampler.ErrUndecided, "the mean of x0 - x̂0 is 3", "no shift of the data mends that")
			random := make([]float32, n*patternDim)
			r := rand.New(rand.NewPCG(1, 2))
			for i := range random {
				random[i] = r.Float32()
			}
			if checkData(t, p, random, right) == nil {
				t.Errorf("%s: %d samples of random numbers pass", name, n)
			}
		}
	}
}

// An error says that the output ignores the time, and says it only then.
func TestCheckModelSaysThatTimeIsIgnored(t *testing.T) {
	const hint = "; the model's output does not depend on its time"
	right := exactModel(paths["flow"], sampler.Convention{})
	blind := func(ctx context.Context, c sampler.Call[[]float32]) error {
		for i := range c.Times {
			c.Times[i] = 0.5
		}
		return right(ctx, c)
	}
	for _, n := range []int{64, 256} {
		wantError(t, checkData(t, paths["flow"], patternData(n, 1), blind), sampler.ErrUndecided, hint)
		wantError(t, checkData(t, paths["flow"], affineData(n, -3, 0), blind), sampler.ErrUndecided, hint)
		for _, model := range []sampler.Model[[]float32]{right, func(_ context.Context, c sampler.Call[[]float32]) error { clear(c.V); return nil }} {
			err := checkData(t, paths["flow"], affineData(n, 1, 1), model)
			if err == nil || strings.Contains(err.Error(), hint) {
				t.Errorf("a model that reads its time, or gives 0: %v", err)
			}
		}
	}
}

// The noise of CheckModel does not repeat where sample numbers do, so that its standard
// errors hold.
func TestCheckModelOfRepeatedNumbers(t *testing.T) {
	p, plain := paths["flow"], sampler.Convention{}
	config := sampler.Config{Scheduler: p.points(), Rule: sampler.FlowODE{}, Start: sampler.FromPart}
	const n = 256
	b := mustNew(t, config).Batch(patternDim, 5, some(n)...)
	want, err := sampler.CheckModel(bg, sampler.CPU{}, config, b, patternData(n, 1), exactModel(p, plain))
	if err != nil {
		t.Fatal(err)
	}
	b.Rows = make([]sampler.Row, n)
	got, err := sampler.CheckModel(bg, sampler.CPU{}, config, b, patternData(n, 1), exactModel(p, plain))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %+v, want %+v", err, got, want)
	}
}
