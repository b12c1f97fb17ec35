package main

import (
	"strings"
	"testing"

	"cps/examples/internal/finetune"
	"cps/sampler"
)

// withRewards returns a study of two seeds in which the ODE gives each arm the rewards of a
// list: those of both evaluations, seed by seed.
func withRewards(rewards map[string][2][2]float64) *study {
	s := fakeStudy(budget{iterations: 1, every: 1, rates: []float64{1}}, 2)
	s.records = map[string]*record{}
	for name, seeds := range rewards {
		s.trials = append(s.trials, trial{arm: name, reward: "glyph", rate: 1, chosen: true})
		for k, y := range seeds {
			file := training{arm{name: name}, "glyph", 1, uint64(k + 1)}.file()
			s.findings[file] = &finding{
				History: []finetune.Iteration{{Eval: &finetune.Evaluation{Reward: y[0]}}},
				Final:   finetune.Evaluation{Reward: y[1]},
			}
			s.records[file] = s.record(file, s.findings[file])
		}
	}
	return s
}

func sectionOf(t *testing.T, f figure) *section {
	t.Helper()
	out, err := newSection(f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestJudgeBands(t *testing.T) {
	low := [2][2]float64{{1, 2}, {1.1, 2.1}}
	for name, c := range map[string]struct {
		a, b [2][2]float64
		want outcome
	}{
		"above and higher":                   {[2][2]float64{{3, 4}, {3.1, 4.2}}, low, agrees},
		"above once, the end as high":        {[2][2]float64{{3, 2}, {3.1, 2.1}}, low, agrees},
		"above once, below once":             {[2][2]float64{{3, 1}, {3.1, 1.2}}, low, differs},
		"nowhere apart":                      {[2][2]float64{{1, 2.05}, {1.1, 2.1}}, low, cannotSay},
		"above once, the end lower":          {[2][2]float64{{3, 1.9}, {3.1, 2.1}}, low, cannotSay},
		"above once, the end lower for sure": {[2][2]float64{{3, 1.999}, {3.1, 2.0991}}, low, differs},
		"below":                              {[2][2]float64{{0, 1}, {0.1, 1.1}}, low, differs},
	} {
		s := withRewards(map[string][2][2]float64{"a": c.a, "b": c.b})
		out := sectionOf(t, verifiableFigure)
		g := apart(s.byODE(s.findingsOf(arm{name: "a"}, "glyph")), s.byODE(s.findingsOf(arm{name: "b"}, "glyph")))
		s.judgeBands(out, arm{name: "a"}, arm{name: "b"}, "glyph", g)
		if v := out.Verdicts[0]; out.err != nil || v.outcome != c.want || v.finding == "" || v.own {
			t.Errorf("%s: %v (%s), want %v; %v", name, v.outcome, v.Evidence, c.want, out.err)
		}
	}
}

// The paper's eta is the best only if it is measurably better than each of the others. It is
// not the best if one of them is measurably better.
func TestAskBest(t *testing.T) {
	arms := []arm{{name: "a"}, {name: "paper"}, {name: "b"}}
	paper := [2][2]float64{{5, 5}, {5.2, 5.3}}
	lower, higher, near := [2][2]float64{{4, 4}, {4.2, 4.31}}, [2][2]float64{{6, 6}, {6.2, 6.31}}, [2][2]float64{{5, 5}, {5.3, 5.1}}
	for name, c := range map[string]struct {
		a, b [2][2]float64
		want outcome
		says string
	}{
		"both lower":            {lower, lower, agrees, "Lower: 0.1"},
		"one near":              {lower, near, cannotSay, "Undecided: 0.3"},
		"one higher":            {higher, lower, differs, "Higher: 0.1"},
		"one higher, one near":  {near, higher, differs, "Higher: 0.3"},
		"both near":             {near, near, cannotSay, "Undecided: 0.1"},
		"one near, which is up": {near, lower, cannotSay, "Lower: 0.3"},
	} {
		s := withRewards(map[string][2][2]float64{"a": c.a, "paper": paper, "b": c.b})
		out := sectionOf(t, ablationFigure)
		s.askBest(out, arms, 1, "glyph")
		if v := out.Verdicts[0]; out.err != nil || v.outcome != c.want || !v.own || v.finding == "" || !strings.Contains(v.Evidence, c.says) {
			t.Errorf("%s: %v (%s), want %v with %q; %v", name, v.outcome, v.Evidence, c.want, c.says, out.err)
		}
	}
}

// Rules that preserve coefficients must leave no more noise than the ODE, the others more.
// For rules beyond the paper these are questions of the study.
func TestJudgeLevels(t *testing.T) {
	preserving, not := sampler.Audit{{}}, sampler.Audit{{Excess: 0.1}}
	of := func(value, se float64, a sampler.Audit, own bool) levels {
		return levels{noisy: noisy{own: own}, audit: a, seen: []measured{{9, 0}, {value, se}}}
	}
	for name, c := range map[string]struct {
		levels
		want []outcome
		own  bool
	}{
		"as much":            {of(1, 0.01, preserving, false), []outcome{agrees, agrees}, false},
		"less":               {of(0.9, 0.01, preserving, true), []outcome{agrees, differs}, true},
		"a little more":      {of(1.1, 0.01, preserving, false), []outcome{agrees, differs}, false},
		"too much":           {of(1.4, 0.01, preserving, false), []outcome{differs, differs}, false},
		"too wide":           {of(1, 0.5, preserving, false), []outcome{cannotSay, agrees}, false},
		"noisy":              {of(1.4, 0.01, not, false), []outcome{agrees}, false},
		"noisy, within":      {of(1.1, 0.1, not, true), []outcome{cannotSay}, true},
		"noisy, and is less": {of(0.5, 0.1, not, false), []outcome{differs}, false},
	} {
		out := sectionOf(t, levelsFigure)
		judgeLevels(out, []levels{of(1, 0.01, preserving, false), c.levels})
		if len(out.Verdicts) != len(c.want) || out.err != nil {
			t.Fatalf("%s: %d verdicts, %v", name, len(out.Verdicts), out.err)
		}
		for k, want := range c.want {
			if v := out.Verdicts[k]; v.outcome != want || v.own != (c.own || k == 1) {
				t.Errorf("%s, verdict %d: %v, own %v (%s)", name, k, v.outcome, v.own, v.Evidence)
			}
		}
	}
}

// The page says that a difference of gaps is mostly the gap of Flow-CPS only if that gap is
// more than half of it.
func TestGapOfFlowCPS(t *testing.T) {
	s := fakeStudy(budget{iterations: 1, every: 1, rates: []float64{1}}, 2)
	s.records = map[string]*record{}
	gaps := map[string]float64{flowCPS.name: 0.3, flowSDE.name: -0.1, danceSDE.name: -0.9, dpmPlus.name: 0}
	for _, reward := range beyondRewards {
		for _, a := range beyondArms() {
			s.trials = append(s.trials, trial{arm: a.name, reward: reward, rate: 1, chosen: true})
			for k := range 2 {
				gap := gaps[a.name] * (1 + 0.01*float64(k)) // equal differences have no interval
				s.records[training{a, reward, 1, uint64(k + 1)}.file()] = &record{final: 2, underRule: 2 + gap}
			}
		}
	}
	out := sectionOf(t, gapFigure)
	if err := writeGap(&results{scores: s.scores}, out); err != nil || out.err != nil || len(out.Verdicts) != 4 {
		t.Fatalf("%d verdicts, %v, %v", len(out.Verdicts), err, out.err)
	}
	const mostly = "Most of the difference is the gap of Flow-CPS."
	for i, v := range out.Verdicts {
		if strings.Contains(v.Evidence, mostly) != (i%2 == 0) || v.outcome != agrees {
			t.Errorf("verdict %d: %v, %s", i, v.outcome, v.Evidence)
		}
	}
}
