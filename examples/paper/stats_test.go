package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

func TestSampleOf(t *testing.T) {
	if s := sampleOf([]float64{1, 2, 3, 4, 5}); s.Mean != 3 || math.Abs(s.Std-math.Sqrt(2.5)) > 1e-15 || s.N != 5 || math.Abs(s.se()-math.Sqrt(0.5)) > 1e-15 {
		t.Errorf("%+v", s)
	}
	if s := sampleOf([]float64{7}); s != (sample{7, 0, 1, 0}) {
		t.Errorf("one value: %+v", s)
	}
	// A NaN is a value that is not known. It counts in Lost alone.
	if s := sampleOf([]float64{math.NaN(), 1, 3, math.NaN()}); s != (sample{2, math.Sqrt2, 2, 2}) {
		t.Errorf("with unknown values: %+v", s)
	}
}

// Student's data, ten patients with two drugs (Biometrika 6, 1908): the mean difference is
// 1.58 with a standard deviation of 1.22999, and the 97.5 % quantile for 9 degrees of
// freedom is 2.262157 in any table.
func TestPaired(t *testing.T) {
	a := []float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4}
	b := []float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2}
	want := 2.262157 * 1.229995 / math.Sqrt(10)
	if d := paired(a, b); math.Abs(d.Value-1.58) > 1e-12 || math.Abs(d.Half-want) > 1e-6 || d.positive() != agrees {
		t.Errorf("%+v, want 1.58 ± %v", d, want)
	}
	nan := math.NaN()
	if d := paired(append(a, nan, 5), append(b, 7, nan)); d != paired(a, b) {
		t.Errorf("pairs that are not known count: %+v", d)
	}
	for _, c := range []struct {
		a, b []float64
		want outcome
	}{
		// A spread over seeds that both share decides nothing.
		{[]float64{1, 10, 100}, []float64{0, 9.1, 98.9}, agrees},
		{[]float64{0, 9.1, 98.9}, []float64{1, 10, 100}, differs},
		{[]float64{1, 2, 3}, []float64{3, 2, 1.5}, cannotSay},
		{[]float64{9}, []float64{1}, cannotSay},       // one seed has no spread
		{[]float64{9, 8}, []float64{1, 0}, cannotSay}, // nor have two differences that are equal
		{[]float64{nan, 9}, []float64{1, 1}, cannotSay},
	} {
		if got := paired(c.a, c.b).positive(); got != c.want {
			t.Errorf("%v - %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// The claim that something is at most 0 is judged by the same interval from the other side.
// A wide interval decides neither claim.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		difference
		positive, notPositive outcome
		reaches0              bool
	}{
		{difference{3, 1}, agrees, differs, false},
		{difference{-3, 1}, differs, agrees, false},
		{difference{-1, 3}, cannotSay, cannotSay, true},
		{difference{1, math.Inf(1)}, cannotSay, cannotSay, true},
		{difference{math.NaN(), math.Inf(1)}, cannotSay, cannotSay, false},
	} {
		if c.difference.positive() != c.positive || c.difference.notPositive() != c.notPositive || c.difference.reaches0() != c.reaches0 {
			t.Errorf("%+v: %v, %v, %v", c.difference, c.difference.positive(), c.difference.notPositive(), c.difference.reaches0())
		}
	}
	for _, c := range []struct {
		of   []outcome
		want outcome
	}{
		{[]outcome{agrees, agrees}, agrees},
		{[]outcome{agrees, cannotSay}, cannotSay},
		{[]outcome{cannotSay, differs, agrees}, differs},
	} {
		if got := allOf(c.of...); got != c.want {
			t.Errorf("all of %v: %v, want %v", c.of, got, c.want)
		}
	}
}

// If no value is known, the page says so and the panel draws nothing.
func TestUnknown(t *testing.T) {
	s := sampleOf([]float64{math.NaN(), math.NaN()})
	if s.String() != "unknown (0 of 2)" {
		t.Errorf("%q", s.String())
	}
	if d := paired([]float64{math.NaN(), math.NaN()}, []float64{1, 2}); d.String() != "unknown" || d.positive() != cannotSay {
		t.Errorf("%q, %v", d.String(), d.positive())
	}
	if _, err := barPanel("title", "y", []bar{{"nothing", s, blue}, {"one", sampleOf([]float64{1}), red}}); err != nil {
		t.Error(err)
	}
}

func TestPairedProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(t, "n")
		draw := func(name string) []float64 {
			return rapid.SliceOfN(rapid.Float64Range(-9, 9), n, n).Draw(t, name)
		}
		a, b := draw("a"), draw("b")
		d, e := paired(a, b), paired(b, a)
		if d.Value != -e.Value || d.Half != e.Half {
			t.Errorf("not antisymmetric: %+v, %+v", d, e)
		}
		// A shift of both values of a seed changes nothing, to the rounding of numbers below 18.
		shift := draw("shift")
		add := func(x []float64) []float64 {
			y := make([]float64, n)
			for k := range x {
				y[k] = x[k] + shift[k]
			}
			return y
		}
		if f := paired(add(a), add(b)); math.Abs(f.Value-d.Value) > 1e-13 {
			t.Errorf("%+v with shifts, %+v without", f, d)
		}
	})
}

func TestApart(t *testing.T) {
	line := func(y ...float64) curve {
		var c curve
		for i, v := range y {
			c.x, c.y = append(c.x, float64(5*i)), append(c.y, sample{v, 1, 3, 0})
		}
		return c
	}
	g := apart(line(0, 3, 3, 0), line(0, 0.5, 1.5, 4))
	if g != (gap{above: 1, below: 1, first: 5, of: 4}) {
		t.Errorf("%+v", g)
	}
	single := line(0, 9)
	single.y[1].N = 1
	if g := apart(single, line(0, 0)); g.above != 0 {
		t.Errorf("one seed has no band: %+v", g)
	}
}

func TestTable(t *testing.T) {
	u := table{columns: []string{"arm", "reward"}}
	u.add("a,b", sample{0.1, 1. / 3, 5, 0})
	dir := t.TempDir()
	if err := u.spread().save(dir, "x.csv"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "x.csv"))
	if want := "arm,reward,reward std,reward seeds\n\"a,b\",0.1,0.3333333333333333,5\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v; want %q", text, err, want)
	}
	for v, want := range map[any]string{sample{0.1234, 0.02, 5, 0}: "0.123 ± 0.020", sample{0.5, 0, 1, 0}: "0.500", sample{1.23e6, 4.56e6, 5, 0}: "1.2e+06 ± 4.6e+06",
		sample{0.1234, 0.02, 3, 2}: "0.123 ± 0.020 (3 of 5)", sample{math.NaN(), 0, 0, 2}: "unknown (0 of 2)", 1.0 / 3: "0.3333", 7: "7", true: "true", "x": "x"} {
		if got := cell(v); got != want {
			t.Errorf("cell(%v) = %q, want %q", v, got, want)
		}
	}
}
