package grpo

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever rewards, weights and settings are given, there is an error or finite numbers.
func propAnything(t *rapid.T) {
	number := rapid.OneOf(rapid.Float64Range(-2, 2), rapid.Float64(), rapid.SampledFrom([]float64{0, 1, nan, inf, -inf, 1e308, -1e308, 5e-324}))
	n := rapid.IntRange(0, 6).Draw(t, "n")
	list := func(label string, n int) []float64 { return rapid.SliceOfN(number, n, n).Draw(t, label) }
	kinds := rapid.IntRange(0, 3).Draw(t, "kinds")
	var rewards [][]float64
	for range kinds {
		rewards = append(rewards, list("rewards", n))
	}
	c := Norm{Scope: Scope(rapid.IntRange(0, 3).Draw(t, "scope")), Sample: rapid.Bool().Draw(t, "sample")}
	if rapid.Bool().Draw(t, "settings") {
		c.Eps, c.Floor = number.Draw(t, "eps"), number.Draw(t, "floor")
	}
	g, err := ByID(rapid.SliceOfN(rapid.IntRange(0, 2), n, n).Draw(t, "ids"))
	if err != nil {
		g = Groups{}
	}
	check := func(what string, x []float64, err error) {
		t.Helper()
		if err != nil && x != nil {
			t.Fatalf("%s: %v beside %v", what, x, err)
		}
		for i, v := range x {
			if !finite(v) {
				t.Fatalf("%s of %v: %d is %v", what, rewards, i, v)
			}
		}
	}
	weights := list("weights", kinds)
	x, err := WeightedSum(make([]float64, n), weights, rewards)
	check("WeightedSum", x, err)
	x, err = c.GDPO(make([]float64, n), weights, rewards, g)
	check("GDPO", x, err)
	for _, r := range rewards {
		x, err := c.Advantages(make([]float64, n), r, g)
		check("Advantages", x, err)
		s, err := MeasureSpread(r, g)
		check("MeasureSpread", map[bool][]float64{true: {s.ZeroStd, s.MeanStd, s.MeanSize}}[err == nil], err)
		tr := Tracker[int]{Norm: c, Limit: rapid.IntRange(-1, 3).Draw(t, "limit"), MinCount: rapid.IntRange(-1, 3).Draw(t, "least")}
		for range 2 {
			x, err := tr.Advantages(make([]float64, n), r, rapid.SliceOfN(rapid.IntRange(0, 2), n, n).Draw(t, "prompts"))
			check("Tracker", x, err)
		}
	}
}

func TestAnything(t *testing.T) { rapid.Check(t, propAnything) }
func FuzzAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propAnything)) }
