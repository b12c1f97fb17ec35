package main

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"cps/examples/internal/finetune"
)

// fake returns the finding of a training with one evaluation, at the end.
func fake(reward float64) *finding {
	return &finding{
		History: []finetune.Iteration{{Reward: 2 * reward, Eval: &finetune.Evaluation{}}},
		Final:   finetune.Evaluation{Reward: reward, Accuracy: 1},
	}
}

func fakeStudy(b budget, seeds int) *study {
	s := &study{progress: io.Discard, findings: map[string]*finding{}}
	s.seeds, s.budget = seeds, b
	return s
}

// The best rate has the highest average reward over held-out seeds. A rate that collapsed in
// a run is never the best.
func TestChoose(t *testing.T) {
	b := budget{iterations: 1, every: 1, rates: []float64{1, 2, 3, 4}, tuningSeeds: 2}
	s := fakeStudy(b, 3)
	for rate, rewards := range map[float64][2]float64{1: {1, 3}, 2: {3, 3}, 3: {2, 4}, 4: {9, 9}} {
		for k, r := range rewards {
			f := fake(r)
			if rate == 4 && k == 1 {
				f.Final.Accuracy = 0.4
			}
			s.findings[training{flowCPS, "glyph", rate, uint64(heldOut + 1 + k)}.file()] = f
		}
	}
	w := want{flowCPS, "glyph"}
	s.choose(w)
	s.choose(w) // the second call changes nothing
	if len(s.trials) != 4 {
		t.Fatalf("%d trials", len(s.trials))
	}
	if rate := s.rate(w); rate != 2 { // of 2 and 3, which are equal, the lower
		t.Errorf("chose %v of %+v", rate, s.trials)
	}
	if x := s.trials[3].score.Mean; !math.IsInf(x, -1) || s.trials[3].String() != "collapsed" {
		t.Errorf("the score of a rate that collapsed is %v, %q", x, s.trials[3].String())
	}
	edges := func(k, wantLow, wantHigh int) {
		t.Helper()
		s.trials[1].chosen, s.trials[k].chosen = false, true
		if low, high, of := s.atEdges(); low != wantLow || high != wantHigh || of != 1 {
			t.Errorf("rate %d chosen: %d of %d at the lowest, %d at the highest", k, low, of, high)
		}
		s.trials[k].chosen, s.trials[1].chosen = false, true
	}
	edges(0, 1, 0)
	edges(1, 0, 0)
	edges(2, 0, 0)
	edges(3, 0, 0) // for want of a better
	s.trials[3].score.Mean = 9
	edges(3, 0, 1)
	// An arm that takes another's rate, on the seeds of results.
	runs := s.runs(want{flowCPS.penalised(), "glyph"})
	if len(runs) != 3 || runs[0].rate != 2 || runs[0].seed != 1 || runs[2].seed != 3 {
		t.Errorf("runs %+v", runs)
	}
}

// Each way to end badly counts as a collapse.
func TestCollapsed(t *testing.T) {
	if fake(1).collapsed() || fake(0).collapsed() {
		t.Error("a run that ends well, or where it began, collapsed")
	}
	for name, spoil := range map[string]func(*finding){
		"accuracy":        func(f *finding) { f.Final.Accuracy = 0.49 },
		"residual":        func(f *finding) { f.Final.Residual = 1.01 },
		"reward":          func(f *finding) { f.History[0].Eval.Reward = 1.01 },
		"diverged":        func(f *finding) { f.Diverged = "NaN" },
		"NaN of reward":   func(f *finding) { f.Final.Reward = math.NaN() },
		"NaN of residual": func(f *finding) { f.Final.Residual = math.NaN() },
		"NaN of accuracy": func(f *finding) { f.Final.Accuracy = math.NaN() },
	} {
		f := fake(1)
		spoil(f)
		if b := (budget{iterations: 1, every: 1}); !f.collapsed() || collapsed([]*record{b.record("x_1", f), b.record("y_1", fake(1)), b.record("z_1", f)}) != 2 {
			t.Errorf("%s: not collapsed", name)
		}
	}
}

// The range of the ratio clips the same samples with the denominator as without, at a step
// whose deviation is the root mean square over the trained steps.
func TestObjective(t *testing.T) {
	o, err := flowCPS.objective()
	if err != nil || o.ClipLow != 5e-4 || o.ClipHigh != 5e-4 {
		t.Errorf("%+v, %v", o, err)
	}
	g, err := flowCPS.normalised().objective()
	if err != nil {
		t.Fatal(err)
	}
	var square float64
	for i := range steps - 1 { // Eps of FlowCPS is the level after the step times sin(ηπ/2)
		level := 1 - float64(i+1)/steps
		square += math.Pow(level*math.Sin(etaCPS*math.Pi/2), 2) / (steps - 1)
	}
	// Tolerance: rounding of a few operations.
	if want := math.Expm1(math.Log1p(clip) / (2 * square)); math.Abs(g.ClipHigh/want-1) > 1e-12 || !(g.ClipLow > clip && g.ClipLow < g.ClipHigh) {
		t.Errorf("with denominator %+v, want %v", g, want)
	}
}

// Curves are means and bands over seeds. A run that diverged keeps its last reward.
func TestCurves(t *testing.T) {
	s := fakeStudy(budget{iterations: 2, every: 1}, 2)
	long, short := fake(4), fake(2)
	long.History = append(long.History, finetune.Iteration{Reward: 10, Eval: &finetune.Evaluation{Reward: 1}})
	all := []*finding{long, short}
	c := s.byODE(all)
	want := []sample{{0, 0, 2, 0}, {1.5, math.Sqrt2 / 2, 2, 0}, {3, math.Sqrt2, 2, 0}}
	for i, w := range want {
		if g := c.y[i]; math.Abs(g.Mean-w.Mean)+math.Abs(g.Std-w.Std) > 1e-15 || g.N != 2 || c.x[i] != float64(i) {
			t.Errorf("by the ODE at %v: %+v, want %+v", c.x[i], g, w)
		}
	}
	c = s.inTraining(all)
	if len(c.y) != 2 || c.y[0].Mean != 6 || c.y[1].Mean != 7 {
		t.Errorf("in training: %+v", c)
	}
}

// Every arm that a figure wants can be trained. Its rate comes from an arm that the same
// figure trains. No two arms have the same name.
func TestFigures(t *testing.T) {
	if err := (options{out: "x", seeds: 1, only: figureIDs()}).check(nil); err != nil {
		t.Error(err)
	}
	reward := finetune.Reward{Name: "x", Score: func([]float64, []float32, []int) {}}
	arms := map[string]arm{}
	for _, f := range figures {
		all, err := wanted([]figure{f})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range all {
			c, err := w.config(full, reward, 1e-3, 1)
			if err == nil {
				_, err = finetune.New(c)
			}
			if err != nil {
				t.Errorf("%s: %s: %v", f.id, w.name, err)
			}
			source := false
			for _, v := range all {
				source = source || v.like == "" && v.name == w.tuned() && v.reward == w.reward
			}
			if !source {
				t.Errorf("%s: nothing tunes %s for %s", f.id, w.tuned(), w.name)
			}
			if old, ok := arms[w.name]; ok && (old.rule != w.rule || old.beta != w.beta || old.gaussian != w.gaussian || old.window != w.window) {
				t.Errorf("two arms are called %s", w.name)
			}
			arms[w.name] = w.arm
		}
	}
	if places := steps - 1 - mixSize + 1; full.iterations != places*mixInterval {
		t.Errorf("a run of %d iterations does not visit %d places for %d each", full.iterations, places, mixInterval)
	}
	if len(arms) != 24 {
		t.Errorf("%d arms", len(arms))
	}
}

// A training that fails stops the others, and do returns its error.
func TestFailure(t *testing.T) {
	b := small
	b.iterations = 2
	s := fakeStudy(b, 1)
	var err error
	if s.bench, err = newBench(b, t.TempDir(), io.Discard); err != nil {
		t.Fatal(err)
	}
	bad := training{flowCPS, "glyph", -1, 1} // a rate that is none
	jobs := []training{{flowCPS, "glyph", 1e-3, 1}, bad, {flowCPS, "glyph", 1e-3, 2}, {flowCPS, "glyph", 1e-3, 3}}
	if err := s.do(t.Context(), "trainings", jobs); err == nil || !strings.Contains(err.Error(), "Rate -1") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s = fakeStudy(b, 1)
	if s.bench, err = newBench(b, t.TempDir(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := s.do(ctx, "trainings", jobs[:1]); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// Trainings with a finding are not done again, so a context that is cancelled stops nothing.
func TestKnown(t *testing.T) {
	s := fakeStudy(small, 1)
	var err error
	if s.bench, err = newBench(small, t.TempDir(), io.Discard); err != nil {
		t.Fatal(err)
	}
	jobs := []training{{flowCPS, "glyph", 1e-3, 1}, {flowSDE, "glyph", 1e-3, 1}}
	if err := s.do(t.Context(), "trainings", jobs); err != nil {
		t.Fatal(err)
	}
	again := fakeStudy(small, 1)
	again.bench = s.bench
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := again.do(stopped, "trainings", jobs); err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs {
		sameFinding(t, again.findings[job.file()], s.findings[job.file()])
	}
	if err := again.do(stopped, "trainings", []training{{flowCPS, "glyph", 2e-3, 1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("what is not known: %v", err)
	}
}
