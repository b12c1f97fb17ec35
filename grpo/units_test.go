package grpo

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// The factors are what the definitions of log p give.
func TestFactors(t *testing.T) {
	g := gaussian{std: 0.3, eps: []float64{1, -0.5, 2, 0.25}, delta: []float64{0.1, 0, -0.2, 0.05}}
	mean, oldMean, klMean := g.logs(g.delta, 2*g.std*g.std)
	var sum, klSum float64
	for i, e := range g.eps {
		x := g.std * e
		sum += (x*x - (x-g.delta[i])*(x-g.delta[i])) / (2 * 0.09)
		klSum += g.delta[i] * g.delta[i] / (2 * 0.09)
	}
	f := SumFactor(4)
	near(t, "sum", []float64{f * (mean - oldMean), f * klMean}, []float64{sum, klSum}, 1e-14) // terms below 10
	un, oldUn, klUn := g.logs(g.delta, 1)
	f = UnnormalizedFactor(0.3)
	near(t, "unnormalized", []float64{f * (mean - oldMean), f * klMean}, []float64{un - oldUn, klUn}, 1e-15) // terms below 0.5
}

// The same samples are stopped, in either unit.
func propIn(t *rapid.T) {
	x, o := drawTransitions(t), drawObjective(t)
	factor := math.Exp(rapid.Float64Range(-3, 3).Draw(t, "log factor"))
	p := must(o.In(factor))(t)
	moved := make([]float64, len(x.logp))
	zeros := make([]float64, len(x.logp))
	for i := range moved {
		d := x.logp[i] - x.old[i]
		for _, bound := range []float64{math.Log1p(o.ClipHigh), math.Log1p(-o.ClipLow)} {
			if math.Abs(d-bound) < 1e-9 {
				t.Skip("a rounding decides")
			}
		}
		moved[i] = factor * d
	}
	want := must(o.Loss(nil, x.logp, x.old, x.adv))(t)
	got := must(p.Loss(nil, moved, zeros, x.adv))(t)
	near(t, "clip fractions", []float64{got.ClipAbove, got.ClipBelow, got.Stopped},
		[]float64{want.ClipAbove, want.ClipBelow, want.Stopped}, 0)

	back := must(p.In(1 / factor))(t)
	// A bound near 1 loses digits below: 1-0.6 to the power 20 is 1e-8.
	near(t, "there and back", []float64{back.ClipLow, back.ClipHigh}, []float64{o.ClipLow, o.ClipHigh}, 1e-7)
}

func TestIn(t *testing.T) { rapid.Check(t, propIn) }

func TestInEdges(t *testing.T) {
	for _, tc := range []struct {
		o      Objective
		factor float64
		want   Objective
	}{
		{Objective{}, 1e9, Objective{}},
		{Objective{0.2, 0.3}, 1, Objective{0.2, 0.3}},
		{Objective{ClipHigh: 1}, 10, Objective{ClipHigh: 1023}},
		{Objective{0.5, 1}, 2, Objective{0.75, 3}},
		{Objective{1, 0.5}, 2, Objective{1, 1.25}},
		{Objective{7, inf}, 2, Objective{7, inf}},
		{Objective{0.1, 0.1}, 1e9, Objective{1, inf}},
	} {
		got := must(tc.o.In(tc.factor))(t)
		for _, c := range [][2]float64{{got.ClipLow, tc.want.ClipLow}, {got.ClipHigh, tc.want.ClipHigh}} {
			if c[0] != c[1] && !(math.Abs(c[0]-c[1]) <= 1e-14*c[1]) {
				t.Errorf("%+v in %v: %+v, want %+v", tc.o, tc.factor, got, tc.want)
			}
		}
	}
	for _, factor := range []float64{0, -1, nan, inf} {
		if _, err := (Objective{0.1, 0.1}).In(factor); err == nil {
			t.Errorf("factor %v: no error", factor)
		}
	}
	_, err := Objective{}.In(0)
	wantError(t, err, ErrSetting, "grpo: factor 0 of the log-ratio is not above 0 and finite: setting out of range")
	_, err = Objective{ClipLow: -1}.In(2)
	wantError(t, err, ErrSetting, "grpo: Objective.ClipLow -1 is not at least 0: setting out of range")
	_, err = Objective{ClipHigh: 1e-5}.In(1e-322)
	wantError(t, err, ErrSetting, "grpo: factor 1e-322 makes a clip bound 0, which would not clip: setting out of range")
}
