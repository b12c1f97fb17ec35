// Package rules lists the rules of package sampler by name, for the flags of programs. A rule
// that takes a diffusion coefficient is listed once for each coefficient.
package rules

import (
	"fmt"
	"reflect"
	"strings"

	"cps/sampler"
)

// A Family has the rules of one name. They differ in eta alone.
type Family struct {
	// Label is the name of the rule and of its diffusion coefficient, such as FlowSDE Ratio.
	Label string
	// At returns the rule with an eta. A rule without eta is always the same. At does not
	// check eta; sampler.New does.
	At func(eta float64) sampler.Rule
}

// Name returns the name for command lines: the label in lower case, such as flowsde-ratio.
func (f Family) Name() string { return strings.ToLower(strings.ReplaceAll(f.Label, " ", "-")) }

// HasEta reports whether the rule depends on eta.
func (f Family) HasEta() bool { return f.At(0) != f.At(1) }

// Describe returns the name of the rule at an eta for titles, such as FlowCPS, η = 0.9.
func (f Family) Describe(eta float64) string {
	if !f.HasEta() {
		return f.Label
	}
	return fmt.Sprintf("%s, η = %v", f.Label, eta)
}

// All returns all families. A rule with a diffusion coefficient has a family for each one.
func All() []Family {
	all := []Family{
		of(func(float64) sampler.Rule { return sampler.FlowODE{} }),
		of(func(eta float64) sampler.Rule { return sampler.FlowCPS{Eta: eta} }),
		of(func(eta float64) sampler.Rule { return sampler.DDIM{Eta: eta} }),
		of(func(float64) sampler.Rule { return sampler.DPMSDEPlus{} }),
		of(func(float64) sampler.Rule { return sampler.DPMSDE{} }),
		of(func(eta float64) sampler.Rule { return sampler.Ancestral{Eta: eta} }),
		of(func(float64) sampler.Rule { return sampler.Renoise{} }),
		of(func(float64) sampler.Rule { return sampler.ERSDE{} }),
		of(func(float64) sampler.Rule { return sampler.VPSDE{} }),
		of(func(eta float64) sampler.Rule { return sampler.SAGE{Eta: eta} }),
	}
	for _, g := range []func(eta float64) sampler.Diffusion{
		func(eta float64) sampler.Diffusion { return sampler.Ratio(eta) },
		func(eta float64) sampler.Diffusion { return sampler.Constant(eta) },
		func(eta float64) sampler.Diffusion { return sampler.Proportional(eta) },
		func(eta float64) sampler.Diffusion { return sampler.SquareRoot(eta) },
	} {
		for _, with := range []func(sampler.Diffusion) sampler.Rule{
			func(d sampler.Diffusion) sampler.Rule { return sampler.FlowSDE{Diffusion: d} },
			func(d sampler.Diffusion) sampler.Rule { return sampler.NoisyODE{Diffusion: d} },
			func(d sampler.Diffusion) sampler.Rule { return sampler.FlowCPWS{Diffusion: d} },
			func(d sampler.Diffusion) sampler.Rule { return sampler.Exact{Diffusion: d} },
			func(d sampler.Diffusion) sampler.Rule { return sampler.ModifiedSDE{Diffusion: d} },
		} {
			f := of(func(eta float64) sampler.Rule { return with(g(eta)) })
			f.Label += " " + reflect.TypeOf(g(0)).Name()
			all = append(all, f)
		}
	}
	return all
}

// of returns the family of a rule. Its label is the name in the facts of the rule.
func of(at func(eta float64) sampler.Rule) Family {
	return Family{sampler.FactsOf(at(0)).Name, at}
}

// Names returns the names of all families.
func Names() []string {
	var names []string
	for _, f := range All() {
		names = append(names, f.Name())
	}
	return names
}

// Find returns the family of a name. Upper and lower case are the same. The error for an
// unknown name lists all names.
func Find(name string) (Family, error) {
	for _, f := range All() {
		if f.Name() == strings.ToLower(name) {
			return f, nil
		}
	}
	return Family{}, fmt.Errorf("rule %q is none of %s", name, strings.Join(Names(), ", "))
}

// Must returns the family of a name that a program's source contains. It panics if there is
// none.
func Must(name string) Family {
	f, err := Find(name)
	if err != nil {
		panic("rules: " + err.Error())
	}
	return f
}
