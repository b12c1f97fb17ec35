package main

import (
	"math"
	"slices"
)

// heldOut is the last seed for results. The seeds above it are for choosing learning rates.
const heldOut = 1000

// A plan says which trainings a study has, and the learning rates they take.
type plan struct {
	options
	budget
	trials []trial
}

// A trial is a learning rate that was tried for an arm and a reward.
type trial struct {
	arm, reward string
	rate        float64
	score       sample // mean reward of the ODE over a run, by seed; -Inf if a run collapsed
	chosen      bool
}

// collapsed reports whether a run with this rate collapsed.
func (t trial) collapsed() bool { return math.IsInf(t.score.Mean, -1) }

// trialAt returns the trial of an arm with the rate of an index.
func (p *plan) trialAt(a arm, reward string, rate int) trial {
	i := slices.IndexFunc(p.trials, func(t trial) bool { return t.arm == a.name && t.reward == reward })
	return p.trials[i+rate]
}

// chosen returns the learning rate of w and whether one was chosen.
func (p *plan) chosen(w want) (rate float64, ok bool) {
	for _, t := range p.trials {
		if t.chosen && t.arm == w.tuned() && t.reward == w.reward {
			return t.rate, true
		}
	}
	return 0, false
}

// rate returns the learning rate that was chosen for w.
func (p *plan) rate(w want) float64 {
	rate, ok := p.chosen(w)
	if !ok {
		panic("paper: no learning rate was chosen")
	}
	return rate
}

// runs returns the trainings of w, one for each seed.
func (p *plan) runs(w want) []training {
	var runs []training
	for seed := range p.seeds {
		runs = append(runs, training{w.arm, w.reward, p.rate(w), uint64(seed + 1)})
	}
	return runs
}

// edge returns -1 if t has the lowest rate that was tried, 1 if it has the highest, and 0
// otherwise. It returns 0 if every rate collapsed: the choice then says nothing.
func (p *plan) edge(t trial) int {
	switch {
	case len(p.rates) == 1 || t.collapsed():
		return 0
	case t.rate == p.rates[0]:
		return -1
	case t.rate == p.rates[len(p.rates)-1]:
		return 1
	}
	return 0
}

// atEdges counts the chosen learning rates: the lowest tried, the highest tried, and all.
func (p *plan) atEdges() (low, high, of int) {
	for _, t := range p.trials {
		if !t.chosen {
			continue
		}
		of++
		switch p.edge(t) {
		case -1:
			low++
		case 1:
			high++
		}
	}
	return low, high, of
}
