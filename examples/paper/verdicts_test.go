package main

import (
	"strings"
	"testing"

	"cps/examples/internal/finetune"
	"cps/sampler"
)

// withRewards is a study of two seeds in which the ODE gives each arm the rewards of a
// list: of both evaluations, seed by seed.
func withRewards(rewards map[string][2][2]float64) *study {
	s := fakeStudy(budget{iterations: 1, every: 1, rates: []float64{1}}, 2)
	for name, seeds := range rewards {
		s.trials = append(s.trials, trial{arm: name, reward: "glyph", rate: 1, chosen: true})
		for k, y := range seeds {
			s.findings[training{arm{name: name}, "glyph", 1, uint64(k + 1)}.file()] = &finding{
				History: []finetune.Iteration{{Eval: &finetune.Evaluation{Reward: y[0]}}},
				Final:   finetune.Evaluation{Reward: y[1]},
			}
		}
	}
	return s
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
		var out section
		s.judgeBands(&out, arm{name: "a"}, arm{name: "b"}, "glyph")
		if v := out.verdicts[0]; v.outcome != c.want || !v.key || v.own {
			t.Errorf("%s: %v (%s), want %v", name, v.outcome, v.evidence, c.want)
		}
	}
}

// The paper's eta is the best only if it is measurably better than each of the others, and
// is not if one of them is measurably better.
func TestAskBest(t *testing.T) {
	arms := []arm{{name: "a"}, {name: "paper"}, {name: "b"}}
	paper := [2][2]float64{{5, 5}, {5.2, 5.3}}
	lower, higher, near := [2][2]float64{{4, 4}, {4.2, 4.31}}, [2][2]float64{{6, 6}, {6.2, 6.31}}, [2][2]float64{{5, 5}, {5.3, 5.1}}
	for name, c := range map[string]struct {
		a, b [2][2]float64
		want outcome
		says string
	}{
		"both lower":            {lower, lower, agrees, "lower: 0.1"},
		"one near":              {lower, near, cannotSay, "undecided: 0.3"},
		"one higher":            {higher, lower, differs, "higher: 0.1"},
		"one higher, one near":  {near, higher, differs, "higher: 0.3"},
		"both near":             {near, near, cannotSay, "undecided: 0.1"},
		"one near, which is up": {near, lower, cannotSay, "lower: 0.3"},
	} {
		s := withRewards(map[string][2][2]float64{"a": c.a, "paper": paper, "b": c.b})
		var out section
		s.askBest(&out, arms, 1, "glyph")
		if v := out.verdicts[0]; v.outcome != c.want || !v.own || !v.key || !strings.Contains(v.evidence, c.says) {
			t.Errorf("%s: %v (%s), want %v with %q", name, v.outcome, v.evidence, c.want, c.says)
		}
	}
}

// Rules that preserve coefficients must leave no more noise than the ODE, the others more; of
// rules beyond the paper it is asked.
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
		var out section
		judgeLevels(&out, []levels{of(1, 0.01, preserving, false), c.levels})
		if len(out.verdicts) != len(c.want) {
			t.Fatalf("%s: %d verdicts", name, len(out.verdicts))
		}
		for k, want := range c.want {
			if v := out.verdicts[k]; v.outcome != want || v.own != (c.own || k == 1) {
				t.Errorf("%s, verdict %d: %v, own %v (%s)", name, k, v.outcome, v.own, v.evidence)
			}
		}
	}
}
