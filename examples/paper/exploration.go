package main

import (
	"errors"
	"fmt"

	"cps/grpo"
	"cps/sampler"
	"cps/schedule"
)

// steps is the number of sampling steps of all trainings. The last one is never trained.
const steps = 10

// equivalentEtas returns, for every trained step, the eta of FlowCPS that injects as much
// noise as r. Where r injects more than the level, the eta is 1: FlowCPS can inject no more.
func equivalentEtas(r sampler.Rule) ([]float64, error) {
	s := schedule.Linear(steps)
	etas := make([]float64, steps-1)
	for i := range etas {
		eta, err := sampler.EquivalentEta(r, s.At(i), s.At(i+1))
		if errors.Is(err, sampler.ErrNoEta) {
			eta, err = 1, nil
		}
		if err != nil {
			return nil, err
		}
		etas[i] = eta
	}
	return etas, nil
}

// injected returns the squares of the deviations that r injects at the trained steps.
func injected(r sampler.Rule) ([]float64, error) {
	s := schedule.Linear(steps)
	squares := make([]float64, steps-1)
	for i := range squares {
		c, err := r.Coeffs(s.At(i), s.At(i+1))
		if err != nil {
			return nil, err
		}
		squares[i] = c.Eps * c.Eps
	}
	return squares, nil
}

// injects returns the sum of Eps² over the steps that an iteration trains, averaged over n
// iterations.
func (a arm) injects(n int) (float64, error) {
	squares, err := injected(a.rule)
	if err != nil {
		return 0, err
	}
	strategy := a.window
	if strategy == nil {
		strategy = grpo.Fixed{}
	}
	var sum float64
	for i := range n {
		start, end, err := strategy.Window(i, len(squares))
		if err != nil {
			return 0, err
		}
		for _, v := range squares[start:end] {
			sum += v / float64(n)
		}
	}
	return sum, nil
}

// exploration measures how much a rule explores. It returns the mean of equivalentEtas, each
// of which is at most 1. The exploration of FlowCPS is its eta.
//
// Rules of equal noise at every step could not be compared: two rules that preserve
// coefficients, inject the same noise at every step, and do not turn the predicted noise
// around are the same rule.
func exploration(r sampler.Rule) (float64, error) {
	etas, err := equivalentEtas(r)
	return mean(etas, func(eta float64) float64 { return eta }), err
}

// matchExploration returns the eta at which a family of rules explores as much as FlowCPS at
// eta = target. It bisects, so exploration must rise with eta. Exploration may jump: that of
// rules with Ratio does above eta 0, where their first step draws all noise anew. A target
// within a jump is an error.
func matchExploration(family func(eta float64) sampler.Rule, target float64) (float64, error) {
	lo, hi := 0.0, 1.0
	for {
		e, err := exploration(family(hi))
		if err != nil {
			return 0, fmt.Errorf("exploration %v is out of reach: %w", target, err)
		}
		if e >= target {
			break
		}
		lo, hi = hi, 2*hi
	}
	for range 40 { // to 1e-12 of eta, and then to three digits
		m := (lo + hi) / 2
		e, err := exploration(family(m))
		if err != nil {
			return 0, err
		}
		if e < target {
			lo = m
		} else {
			hi = m
		}
	}
	e, err := exploration(family(hi))
	if err != nil {
		return 0, err
	}
	if e-target > 1e-9 {
		return 0, fmt.Errorf("exploration %v is out of reach: the next is %v", target, e)
	}
	return hi, nil
}
