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
	if s := sampleOf([]float64{7}); s != (sample{7, 0, 1}) {
		t.Errorf("one value: %+v", s)
	}
}

// With equal numbers and variances Welch's interval is Student's of 2n-2 degrees of freedom,
// whose 97.5 % quantile for 8 is 2.306004 in any table.
func TestWelch(t *testing.T) {
	a, b := sampleOf([]float64{2, 3, 4, 5, 6}), sampleOf([]float64{1, 2, 3, 4, 5})
	if d := a.minus(b); d.Value != 1 || math.Abs(d.Half-2.306004) > 1e-6 {
		t.Errorf("%+v", d)
	}
	for _, c := range []struct {
		a, b sample
		want outcome
	}{
		{a, b, cannotSay},
		{sample{9, 1, 5}, b, agrees},
		{b, sample{9, 1, 5}, differs},
		{sample{9, 0, 1}, b, cannotSay},               // one seed has no spread
		{sample{9, 0, 2}, sample{1, 0, 2}, cannotSay}, // nor have two that are equal
	} {
		if got := c.a.minus(c.b).positive(); got != c.want {
			t.Errorf("%+v - %+v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestWelchProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) sample {
			return sample{rapid.Float64Range(-9, 9).Draw(t, name), rapid.Float64Range(0.01, 9).Draw(t, name), rapid.IntRange(2, 20).Draw(t, name)}
		}
		a, b := draw("a"), draw("b")
		d, e := a.minus(b), b.minus(a)
		if d.Value != -e.Value || math.Abs(d.Half-e.Half) > 1e-12*d.Half {
			t.Errorf("not antisymmetric: %+v, %+v", d, e)
		}
		// Degrees of freedom lie between the smaller n-1 and the sum of both.
		se := math.Hypot(a.se(), b.se())
		if d.Half < 1.959*se || d.Half > 12.71*se {
			t.Errorf("half-width %v for a standard error of %v", d.Half, se)
		}
	})
}

func TestApart(t *testing.T) {
	line := func(y ...float64) curve {
		var c curve
		for i, v := range y {
			c.x, c.y = append(c.x, float64(5*i)), append(c.y, sample{v, 1, 3})
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
	u.add("a,b", sample{0.1, 1. / 3, 5})
	dir := t.TempDir()
	if err := u.spread().save(dir, "x.csv"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "x.csv"))
	if want := "arm,reward,reward std,reward seeds\n\"a,b\",0.1,0.3333333333333333,5\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v; want %q", text, err, want)
	}
	for v, want := range map[any]string{sample{0.1234, 0.02, 5}: "0.123 ± 0.020", sample{0.5, 0, 1}: "0.500", sample{1.23e6, 4.56e6, 5}: "1.2e+06 ± 4.6e+06", 1.0 / 3: "0.3333", 7: "7", true: "true", "x": "x"} {
		if got := cell(v); got != want {
			t.Errorf("cell(%v) = %q, want %q", v, got, want)
		}
	}
}
