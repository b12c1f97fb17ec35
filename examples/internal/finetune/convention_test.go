package finetune

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cps/examples/internal/digits"
	"cps/sampler"
	"cps/schedule"
)

// On digits of the data set, the committed network follows the convention that it is sampled
// with. An error names what is wrong with a model or its data, though samples and training
// give no other sign.
func TestConvention(t *testing.T) {
	net, err := digits.Velocity()
	if err != nil {
		t.Fatal(err)
	}
	set, err := digits.Load()
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	classes := set.Labels[:n]
	pass := digits.NewPass(net, n)
	// model returns the network with its time changed by a function and its output by a sign.
	model := func(time func(float64) float64, sign float32) sampler.Model[[]float32] {
		return func(_ context.Context, c sampler.Call[[]float32]) error {
			var of []int
			var times []float64
			for i, row := range c.Rows {
				u := time(c.Times[i])
				if u < 0 || u > 1 {
					return fmt.Errorf("time %v is none", u)
				}
				of, times = append(of, classes[row]), append(times, u)
			}
			pass.Forward(c.V, c.X, of, times)
			for i := range c.V {
				c.V[i] *= sign
			}
			return nil
		}
	}
	plain := func(u float64) float64 { return u }
	flip := func(u float64) float64 { return 1 - u }
	thousands := func(u float64) float64 { return u / 1000 }
	for _, tc := range []struct {
		what    string
		model   sampler.Model[[]float32]
		factor  float32 // of the data
		shift   float32 // added after that
		want    error
		culprit string
	}{
		{"as it is", model(plain, 1), 1, 0, nil, ""},
		{"sign and time", model(flip, -1), 1, 0, sampler.ErrConvention, "with PredictReversedVelocity with Clock{Scale: 1, Reversed: true}"},
		{"sign", model(plain, -1), 1, 0, sampler.ErrConvention, "with PredictReversedVelocity with Clock{Scale: 1}"},
		{"time", model(flip, 1), 1, 0, sampler.ErrConvention, "with PredictVelocity with Clock{Scale: 1, Reversed: true}"},
		{"thousands", model(thousands, 1), 1, 0, sampler.ErrConvention, "with PredictVelocity with Clock{Scale: 1000}"},
		{"ten times too wide", model(plain, 1), 10, 0, sampler.ErrScale, "wide"},
		{"ten times too narrow", model(plain, 1), 0.1, 0, sampler.ErrScale, "narrow"},
		{"a Stable Diffusion too wide", model(plain, 1), 1 / 0.18215, 0, sampler.ErrScale, "wide"},
		{"twice too wide", model(plain, 1), 2, 0, sampler.ErrScale, "wide"},
		{"from 0 to 1", model(plain, 1), 0.5, 0.5, sampler.ErrScale, "0.5 above the data that the model knows, and 2 times as narrow"},
		{"too light", model(plain, 1), 1, 0.5, sampler.ErrScale, "0.5 above the data that the model knows: "},
		{"too dark", model(plain, 1), 1, -1, sampler.ErrScale, "1 below the data that the model knows: "},
		{"twice too narrow", model(plain, 1), 0.5, 0, sampler.ErrScale, "narrow"},
	} {
		c := sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowODE{}}
		s, err := sampler.New(c)
		if err != nil {
			t.Fatal(err)
		}
		samples := make([]uint64, n)
		data := make([]float32, n*digits.Dim)
		for i := range data {
			samples[i/digits.Dim] = uint64(i / digits.Dim)
			data[i] = tc.factor*set.Pixels[i] + tc.shift
		}
		losses, err := sampler.CheckModel(context.Background(), sampler.CPU{}, c, s.Batch(digits.Dim, 3, samples...), data, tc.model)
		t.Logf("%s: %v", tc.what, err)
		if tc.want == nil {
			if err != nil {
				t.Errorf("%s: %v, losses %+v", tc.what, err, losses)
			}
			continue
		}
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.culprit) {
			t.Errorf("%s: error %v, want one of the kind %q that names %q", tc.what, err, tc.want, tc.culprit)
		}
	}
}
