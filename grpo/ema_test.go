package grpo

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// The schedule of EMAModuleWrapper: factors (1+n)/(10+n) up to Decay, at steps 7, 15, …
func TestEMAKnownWeights(t *testing.T) {
	for _, c := range []struct {
		e    EMA
		step int
		want float64
	}{
		{EMA{Decay: 0.9999}, 0, 1 - 1.0/10},
		{EMA{Decay: 0.9999}, 1, 1 - 2.0/11},
		{EMA{Decay: 0.9999}, 90, 1 - 91.0/100},
		{EMA{Decay: 0.9}, 80, 1 - 81.0/90}, // the last factor below, or at, Decay
		{EMA{Decay: 0.9}, 81, 1 - 0.9},
		{FlowGRPOEMA, 6, 0},
		{FlowGRPOEMA, 7, 1 - 8.0/17},
		{FlowGRPOEMA, 8, 0},
		{FlowGRPOEMA, 799, 1 - 0.9},
		{EMA{}, 5, 1},
		{EMA{Decay: 0.9, Every: 1}, 1, 1 - 2.0/11},
	} {
		// One subtraction and one division.
		near(t, fmt.Sprintf("weight of %+v at %d", c.e, c.step), []float64{must(c.e.Weight(c.step))(t)}, []float64{c.want}, 2*eps)
	}
}

// A mean stays between the values it has seen, and one of a constant goes to it.
func TestAverage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := EMA{rapid.Float64Range(0, 0.999).Draw(t, "Decay"), rapid.IntRange(0, 4).Draw(t, "Every")}
		start := some(t, "start", 3, -5, 5)
		mean := append([]float64(nil), start...)
		lo, hi := append([]float64(nil), mean...), append([]float64(nil), mean...)
		left := 1.0
		for step := range 20 {
			x := some(t, "params", 3, -5, 5)
			if err := Average(mean, x, e, step); err != nil {
				t.Fatal(err)
			}
			w := must(e.Weight(step))(t)
			left *= 1 - w
			for i := range x {
				lo[i], hi[i] = min(lo[i], x[i]), max(hi[i], x[i])
				// Roundings of values up to 5, one an update.
				if !(lo[i]-100*eps <= mean[i] && mean[i] <= hi[i]+100*eps) {
					t.Fatalf("mean %v is not within [%v, %v]", mean[i], lo[i], hi[i])
				}
				if w == 1 && mean[i] != x[i] {
					t.Fatal("weight 1 does not give the parameters")
				}
			}
		}
		constant, from := []float64{2, 2, 2}, append([]float64(nil), start...)
		for step := range 20 {
			must(0, Average(from, constant, e, step))(t)
		}
		for i := range from {
			near(t, "rest", []float64{from[i] - 2}, []float64{left * (start[i] - 2)}, 200*eps)
		}
	})
}

func TestAverageFloat32(t *testing.T) {
	mean, params := []float32{0, 1}, []float32{1, 3}
	must(0, Average(mean, params, EMA{Decay: 0.5}, 100))(t)
	if mean[0] != 0.5 || mean[1] != 2 {
		t.Errorf("got %v", mean)
	}
	wantNoAllocs(t, "Average", func() { Average(mean, params, EMA{Decay: 0.5}, 100) })
	wantPanic(t, "grpo: length of mean is 2, not that of params, 1", func() { Average(mean, params[1:], EMA{}, 0) })
}

func TestEMAErrors(t *testing.T) {
	mean := []float64{1}
	for _, c := range []struct {
		e    EMA
		step int
		text string
	}{
		{EMA{Decay: 1}, 0, "grpo: EMA.Decay 1 is not in [0, 1): setting out of range"},
		{EMA{Decay: -0.1}, 0, "grpo: EMA.Decay -0.1 is not in [0, 1): setting out of range"},
		{EMA{Decay: math.NaN()}, 0, "grpo: EMA.Decay NaN is not in [0, 1): setting out of range"},
		{EMA{Every: -1}, 0, "grpo: EMA.Every -1 is negative: setting out of range"},
		{EMA{}, -1, "grpo: EMA at step -1, which is negative: setting out of range"},
	} {
		wantError(t, Average(mean, []float64{5}, c.e, c.step), ErrSetting, c.text)
	}
	if mean[0] != 1 {
		t.Error("an error changed the mean")
	}
}

func ExampleAverage() {
	mean, params := []float64{0}, []float64{1}
	for step := range 24 {
		if err := Average(mean, params, FlowGRPOEMA, step); err != nil {
			fmt.Println(err)
			return
		}
		if step%8 == 7 {
			fmt.Printf("after %2d steps: %.3f\n", step+1, mean[0])
		}
	}
	// Output:
	// after  8 steps: 0.529
	// after 16 steps: 0.699
	// after 24 steps: 0.781
}
