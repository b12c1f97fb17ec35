package rules

import (
	"math"
	"strings"
	"testing"

	"cps/sampler"
	"cps/schedule"
)

// Every name finds its own family, in upper and lower case. No two families are alike.
func TestFind(t *testing.T) {
	seen := map[sampler.Rule]string{}
	for _, f := range All() {
		for _, name := range []string{f.Name(), f.Label, strings.ToUpper(f.Name())} {
			got, err := Find(strings.ReplaceAll(name, " ", "-"))
			if err != nil || got.Label != f.Label || got.At(0.5) != f.At(0.5) {
				t.Errorf("%q finds %q, %v", name, got.Label, err)
			}
		}
		if other, ok := seen[f.At(0.25)]; ok {
			t.Errorf("%s and %s are one rule", f.Label, other)
		}
		seen[f.At(0.25)] = f.Label
	}
	for name, want := range map[string]sampler.Rule{
		"flowcps":                sampler.FlowCPS{Eta: 0.25},
		"flowsde-ratio":          sampler.FlowSDE{Diffusion: sampler.Ratio(0.25)},
		"flowsde-constant":       sampler.FlowSDE{Diffusion: sampler.Constant(0.25)},
		"modifiedsde-squareroot": sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(0.25)},
		"exact-proportional":     sampler.Exact{Diffusion: sampler.Proportional(0.25)},
		"dpmsdeplus":             sampler.DPMSDEPlus{},
	} {
		if got := Must(name).At(0.25); got != want {
			t.Errorf("%s is %#v", name, got)
		}
	}
}

// The error for an unknown name lists all names.
func TestUnknownName(t *testing.T) {
	for _, name := range []string{"heun", "", "cps", "flowsde", "flowcps ", "flowsde ratio"} {
		_, err := Find(name)
		if err == nil || !strings.HasPrefix(err.Error(), `rule "`+name+`" is none of flowode, flowcps, `) {
			t.Errorf("%q: error %v", name, err)
			continue
		}
		for _, f := range All() {
			if !strings.Contains(err.Error(), f.Name()) {
				t.Errorf("the error does not list %s: %v", f.Name(), err)
			}
		}
	}
	defer func() {
		if got := recover(); got == nil || !strings.Contains(got.(string), `rules: rule "heun"`) {
			t.Errorf("Must panics with %v", got)
		}
	}()
	Must("heun")
}

func TestDescribe(t *testing.T) {
	for name, want := range map[string]string{
		"flowcps": "FlowCPS, η = 0.9", "renoise": "Renoise", "exact-ratio": "Exact Ratio, η = 0.9", "flowode": "FlowODE",
	} {
		if got := Must(name).Describe(0.9); got != want {
			t.Errorf("%s is called %q, want %q", name, got, want)
		}
	}
}

// At passes eta to the rule: a higher eta injects more noise, and eta 0 injects none.
func TestEta(t *testing.T) {
	for _, f := range All() {
		if !f.HasEta() {
			continue
		}
		var last float64
		for i, eta := range []float64{0, 0.1, 0.2} {
			c, err := f.At(eta).Coeffs(schedule.Level(0.6), schedule.Level(0.5))
			if err != nil || (i == 0) != (c.Eps == 0) || i > 0 && !(c.Eps > last) || math.IsNaN(c.Eps) {
				t.Errorf("%s, eta %v: %+v, %v", f.Label, eta, c, err)
			}
			last = c.Eps
		}
	}
}
