package sampler_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"cps/internal/rules"
	"cps/sampler"
	"cps/schedule"

	"pgregory.net/rapid"
)

// A family holds the rules of one name, with the facts that they state. Tests compare
// measurements with these facts, and repeat no fact.
type family struct {
	name  string // FlowSDE/Ratio
	at    func(eta float64) sampler.Rule
	param param
	sampler.Facts
}

type param uint8

const (
	noEta       param = iota
	unitEta           // in [0, 1]
	positiveEta       // any finite number ≥ 0
)

// diffusions are the diffusion coefficients of the module.
var diffusions = map[string]func(eta float64) sampler.Diffusion{
	"Ratio":        func(eta float64) sampler.Diffusion { return sampler.Ratio(eta) },
	"Constant":     func(eta float64) sampler.Diffusion { return sampler.Constant(eta) },
	"Proportional": func(eta float64) sampler.Diffusion { return sampler.Proportional(eta) },
	"SquareRoot":   func(eta float64) sampler.Diffusion { return sampler.SquareRoot(eta) },
}

// families are all rules of the module, see [TestFacts].
var families = func() []family {
	var all []family
	for _, r := range rules.All() {
		f := family{name: strings.ReplaceAll(r.Label, " ", "/"), at: r.At, Facts: sampler.FactsOf(r.At(0.5))}
		switch f.Name {
		case "FlowCPS", "DDIM", "Ancestral":
			f.param = unitEta
		default:
			if r.HasEta() {
				f.param = positiveEta
			}
		}
		all = append(all, f)
	}
	return all
}()

// jumps reports whether the rule injects noise even in the shortest step.
func (f family) jumps() bool { return f.Name == "FlowCPS" || f.Name == "Renoise" }

// eta draws a parameter that f accepts. It may be very small or very large.
func (f family) eta(t *rapid.T) float64 {
	tiny := rapid.Map(rapid.Float64Range(0, 300), func(x float64) float64 { return math.Pow(10, -x) })
	switch f.param {
	case unitEta:
		return rapid.OneOf(rapid.Float64Range(0, 1), rapid.SampledFrom([]float64{0, 1, math.Nextafter(1, 0)}), tiny).Draw(t, "eta")
	case positiveEta:
		return rapid.OneOf(rapid.Float64Range(0, 3), rapid.Float64Range(0, 1e6), tiny).Draw(t, "eta")
	}
	return 0
}

// points draws the two ends of a step that f serves. Their noise falls, perhaps by only
// one unit in the last place, and their signal rises.
func (f family) points(t *rapid.T) (from, to schedule.Point) {
	p := f.Path
	if p == sampler.AnyPath {
		p = anyPath(t)
	}
	switch p {
	case sampler.FlowPath:
		return flowPoints(t)
	case sampler.VPPath:
		return vpPoints(t)
	}
	for {
		draw := rapid.Float64Range(1e-6, 1)
		a := schedule.Point{Time: 0.5, Signal: draw.Draw(t, "signal"), Noise: draw.Draw(t, "noise")}
		b := schedule.Point{Time: 0.25, Signal: draw.Draw(t, "signal'"), Noise: draw.Draw(t, "noise'")}
		if a.Noise < b.Noise {
			a, b = b, a
		}
		if b.Noise < a.Noise && a.Signal <= b.Signal {
			return a, b
		}
		if b.Noise < a.Noise {
			a.Signal, b.Signal = b.Signal, a.Signal
			return a, b
		}
	}
}

// anyPath draws a path: AnyPath is none of the others.
func anyPath(t *rapid.T) sampler.Path {
	return rapid.SampledFrom([]sampler.Path{sampler.AnyPath, sampler.FlowPath, sampler.VPPath}).Draw(t, "path")
}

// level draws a flow level in [0, 1], often near the ends or at them.
func level(t *rapid.T, name string) float64 {
	return rapid.OneOf(
		rapid.Float64Range(0, 1),
		rapid.Map(rapid.Float64Range(0, 300), func(x float64) float64 { return math.Pow(10, -x) }),
		rapid.Map(rapid.Float64Range(0, 16), func(x float64) float64 { return 1 - math.Pow(10, -x) }),
		rapid.SampledFrom([]float64{0, 1}),
	).Draw(t, name)
}

// flowPoints draws levels s < t, sometimes next to each other.
func flowPoints(t *rapid.T) (from, to schedule.Point) {
	hi := level(t, "t")
	lo := hi
	switch rapid.IntRange(0, 2).Draw(t, "distance") {
	case 0:
		lo = math.Nextafter(hi, 0)
	case 1:
		lo = hi * (1 - math.Pow(10, -rapid.Float64Range(0, 17).Draw(t, "log relative distance")))
	default:
		lo = level(t, "s")
	}
	if lo > hi {
		lo, hi = hi, lo
	}
	if lo == hi { // the interval has no room, or the draws agree
		lo, hi = 0.25, 0.75
	}
	return schedule.Level(hi), schedule.Level(lo)
}

func vpPoints(t *rapid.T) (from, to schedule.Point) {
	draw := func(name string) float64 {
		return rapid.OneOf(
			rapid.Float64Range(0, 1),
			rapid.Map(rapid.Float64Range(0, 12), func(x float64) float64 { return math.Pow(10, -x) }),
			rapid.SampledFrom([]float64{0, 1}),
		).Draw(t, name)
	}
	a, b := draw("alphaBar"), draw("alphaBar'")
	if a > b {
		a, b = b, a
	}
	from, to = schedule.VPLevel(0.5, a), schedule.VPLevel(0.25, b)
	if from.Noise == to.Noise {
		return schedule.VPLevel(0.5, 0.3), schedule.VPLevel(0.25, 0.4)
	}
	return from, to
}

// ulp is the distance from |x| to the next larger float64.
func ulp(x float64) float64 {
	x = math.Abs(x)
	return math.Nextafter(x, math.Inf(1)) - x
}

// closeTo reports whether got is want to a relative error of tol.
func closeTo(got, want, tol float64) bool { return math.Abs(got-want) <= tol*math.Abs(want) }

// coeffs returns the coefficients of a step that the rule must serve.
func coeffs(t testing.TB, r sampler.Rule, from, to schedule.Point) sampler.Coeffs {
	t.Helper()
	c, err := r.Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// forFamilies runs a property for every family that ok accepts.
func forFamilies(t *testing.T, ok func(family) bool, property func(*rapid.T, family)) {
	t.Helper()
	n := 0
	for _, f := range families {
		if ok(f) {
			n++
			t.Run(f.name, func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) { property(t, f) })
			})
		}
	}
	if n == 0 {
		t.Fatal("no family")
	}
}

// anyFamily makes a fuzz target of a property, for the families that ok accepts.
func anyFamily(ok func(family) bool, property func(*rapid.T, family)) func(*testing.T, []byte) {
	var some []family
	for _, f := range families {
		if ok(f) {
			some = append(some, f)
		}
	}
	return rapid.MakeFuzz(func(t *rapid.T) {
		i := rapid.IntRange(0, len(some)-1).Draw(t, "family")
		property(t, some[i])
	})
}

func (f family) String() string { return fmt.Sprintf("%s (preserving: %v)", f.name, f.Preserving) }
