package main

import (
	"math"
	"testing"

	"cps/examples/internal/digits"
	"cps/noise"
	"cps/sampler"

	"pgregory.net/rapid"
)

// The exploration of FlowCPS is its eta, and every family finds the eta that explores as
// much. Tolerance: arithmetic of nine numbers below 1, and a bisection to 2⁻⁴⁰ of at most
// 4, where the exploration rises no faster than ten times eta.
func TestMatchExploration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := rapid.Float64Range(0.15, 0.55).Draw(t, "target")
		for name, family := range map[string]func(float64) sampler.Rule{"cps": cps, "exact": exact, "cpws": cpws, "sde": sde, "ancestral": ancestral} {
			eta, err := matchExploration(family, target)
			if err != nil {
				t.Fatalf("%s at %v: %v", name, target, err)
			}
			if got, err := exploration(family(eta)); err != nil || math.Abs(got-target) > 1e-10 {
				t.Errorf("%s: eta %v explores %v, %v; want %v", name, eta, got, err, target)
			}
			if name == "cps" && math.Abs(eta-target) > 1e-10 {
				t.Errorf("cps: eta %v, want %v", eta, target)
			}
		}
	})
}

// A target that a family cannot reach is an error.
func TestExplorationOutOfReach(t *testing.T) {
	if eta, err := matchExploration(ancestral, 0.95); err == nil {
		t.Errorf("ancestral explores 0.95 at eta %v", eta)
	}
	if eta, err := matchExploration(exact, 0.06); err == nil { // its first step alone is 1/9
		t.Errorf("exact explores 0.06 at eta %v", eta)
	}
}

// Where a rule injects more than the level, the equivalent eta is 1.
func TestEquivalentEtas(t *testing.T) {
	etas, err := equivalentEtas(sde(etaSDE))
	if err != nil {
		t.Fatal(err)
	}
	if len(etas) != steps-1 || etas[len(etas)-1] != 1 || etas[3] >= 1 {
		t.Errorf("%v", etas)
	}
	if off, err := stepwise(); err != nil || off > 1e-12 {
		t.Errorf("FlowCPS at the equivalent eta is off SDE-DPM-Solver++1 by %v, %v", off, err)
	}
}

// The residual of latents that are signal·mean + noise·N(0, 1) is the noise. 2000 rows of
// eleven pixels estimate 0.3 with a standard error of 0.0014; the bound is five of them (p =
// 6e-7), for a fixed key.
func TestResidual(t *testing.T) {
	l, err := newLab(200)
	if err != nil {
		t.Fatal(err)
	}
	const signal, level = 0.6, 0.3
	x := make([]float32, len(l.classes)*digits.Dim)
	noise.Normal(x, 7, noise.ID{}, 0)
	for i := range x {
		x[i] *= level
	}
	mean := map[int]float64{}
	for j, pixel := range l.background.Pixels {
		mean[pixel] = l.background.Mean[j]
	}
	for i := range l.classes {
		for pixel, m := range mean {
			x[i*digits.Dim+pixel] += float32(signal * m)
		}
	}
	m := l.residual(x, signal)
	rms, se := m.value, m.se
	want := level / math.Sqrt(2*float64(len(l.classes)*len(mean)))
	if math.Abs(rms-level) > 5*want || math.Abs(se/want-1) > 0.1 {
		t.Errorf("residual %v ± %v, want %v ± %v", rms, se, level, want)
	}
}

// The lab's samples of a digit begin with the same noise however many there are.
func TestLab(t *testing.T) {
	a, err := newLab(2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newLab(3)
	if err != nil {
		t.Fatal(err)
	}
	if a.samples[3] != b.samples[4] || a.classes[3] != 1 || b.classes[4] != 1 {
		t.Errorf("sample %d of %d, %d of %d", a.samples[3], a.classes[3], b.samples[4], b.classes[4])
	}
	x := make([]float32, len(a.classes)*digits.Dim)
	for i := range x {
		x[i] = float32(i / digits.Dim)
	}
	shown := a.show(x, 1)
	if len(shown) != 10*digits.Dim || shown[0] != 0 || shown[digits.Dim] != 2 {
		t.Errorf("shows rows %v, %v", shown[0], shown[digits.Dim])
	}
}
