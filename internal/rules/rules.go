// Package rules has the rules of package sampler by name, as programs spell them in their
// flags. It lists every rule with every diffusion coefficient, which a test makes sure of.
package rules

import (
	"fmt"
	"reflect"
	"strings"

	"cps/sampler"
)

// A Family is the rules of one name, by eta.
type Family struct {
	// Label is the rule's name, and that of its diffusion coefficient: FlowSDE Ratio.
	Label string
	// At returns the rule at an eta: the same at any eta, if it has none. Whether the
	// rule takes that eta, sampler.New finds out.
	At func(eta float64) sampler.Rule
}

// Name is the family on a command line: its label in small letters, flowsde-ratio.
func (f Family) Name() string { return strings.ToLower(strings.ReplaceAll(f.Label, " ", "-")) }

// HasEta reports whether the rule depends on eta.
func (f Family) HasEta() bool { return f.At(0) != f.At(1) }

// Describe names the rule at an eta, for titles: FlowCPS, η = 0.9.
func (f Family) Describe(eta float64) string {
	if !f.HasEta() {
		return f.Label
	}
	return fmt.Sprintf("%s, η = %v", f.Label, eta)
}

// All returns all families. Those with a diffusion coefficient come once for each.
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

// of returns the family of a rule, under the name that its facts give it.
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

// Find returns the family of a name, in small or capital letters. An error lists the
// names there are.
func Find(name string) (Family, error) {
	for _, f := range All() {
		if f.Name() == strings.ToLower(name) {
			return f, nil
		}
	}
	return Family{}, fmt.Errorf("rule %q is none of %s", name, strings.Join(Names(), ", "))
}

// Must is Find of a name in the program's own text. It panics on one that there is not.
func Must(name string) Family {
	f, err := Find(name)
	if err != nil {
		panic("rules: " + err.Error())
	}
	return f
}
