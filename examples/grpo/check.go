package main

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"cps/grpo"
	"cps/sampler"
	"cps/schedule"
)

// check returns an error that names the first flag with a value that cannot run. Package
// finetune would name a field instead of a flag, and would take a 0 for its default. Here a
// flag set to 0 means 0.
func (o options) check() error {
	c := o.config
	for _, f := range []struct {
		flag             string
		value, low, high int
	}{
		{"seeds", o.seeds, 1, 1000},
		{"iterations", o.iterations, 1, math.MaxInt32},
		{"steps", c.Steps, 2, 1000},
		{"group", c.Group, 2, 10000},
		{"prompts", c.Prompts, 1, 1000},
		{"history", c.History, 0, math.MaxInt32},
		{"epochs", c.Epochs, 1, 1000},
		{"samples", c.Samples, 2, 1000},
	} {
		if f.value < f.low || f.value > f.high {
			return fmt.Errorf("-%s %d is not in [%d, %d]", f.flag, f.value, f.low, f.high)
		}
	}
	if n := uint64(o.seeds - 1); c.Seed > math.MaxUint64-n {
		return fmt.Errorf("-seed %d: the last of %d seeds is beyond 18446744073709551615: take a smaller one", c.Seed, o.seeds)
	}
	for _, f := range []struct {
		flag  string
		value float64
		ok    func(float64) bool
		want  string
	}{
		{"shift", c.Shift, positive, "positive and finite"},
		{"clip", c.Objective.ClipHigh, notNegative, "a finite number ≥ 0"},
		{"beta", c.KL.Beta, notNegative, "a finite number ≥ 0"},
		{"rate", c.Rate, positive, "positive and finite"},
		{"stop", c.Stop.Target, notNegative, "a finite number ≥ 0"},
		{"average", c.Average.Decay, decay, "in [0, 1)"},
	} {
		if !f.ok(f.value) {
			return fmt.Errorf("-%s %v is not %s", f.flag, f.value, f.want)
		}
	}
	if err := o.checkRule(); err != nil {
		return err
	}
	return o.checkWindow()
}

func positive(x float64) bool    { return x > 0 && x <= math.MaxFloat64 }
func notNegative(x float64) bool { return x >= 0 && x <= math.MaxFloat64 }
func decay(x float64) bool       { return x >= 0 && x < 1 }

// checkRule tries the schedule with the ODE and then with the rule. An error of the rule
// alone is due to -eta or -rule.
func (o options) checkRule() error {
	c := sampler.Config{Scheduler: schedule.Linear(o.config.Steps).Shift(o.config.Shift), Rule: ode}
	if _, err := sampler.New(c); err != nil {
		return fmt.Errorf("-steps %d -shift %v: %w", o.config.Steps, o.config.Shift, err)
	}
	c.Rule = o.config.Rule
	rule, eta := "-rule "+o.family.Name(), fmt.Sprintf("-eta %v", o.eta)
	s, err := sampler.New(c)
	switch {
	case errors.Is(err, sampler.ErrEta):
		return fmt.Errorf("%s: %w", eta, err)
	case err != nil:
		return fmt.Errorf("%s: %w", rule, err)
	}
	culprit := rule
	if o.family.HasEta() {
		culprit = eta
	}
	for i := range o.config.Steps - 1 {
		if !s.At(i).Stochastic() {
			return fmt.Errorf("%s: the rule draws no noise at step %d, so that step cannot be trained", culprit, i)
		}
	}
	return nil
}

func (o options) checkWindow() error {
	w, trained := o.config.Window, o.config.Steps-1
	if w == nil {
		return nil
	}
	_, _, err := w.Window(0, trained)
	if w == (grpo.Fixed{}) { // package grpo would take it for all steps
		err = fmt.Errorf("window [0, 0): %w", grpo.ErrWindow)
	}
	if err != nil {
		return fmt.Errorf("-window %s: %s (of %d steps the last draws no noise; the %d before it can be trained, from step 0)",
			o.window, strings.TrimPrefix(err.Error(), "grpo: "), o.config.Steps, trained)
	}
	return nil
}
