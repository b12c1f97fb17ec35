package main

import (
	"fmt"
	"strings"

	"cps/internal/rules"
	"cps/sampler"
	"cps/sampler/solver"
)

// solvers are the rules that look back at earlier evaluations. The ancestral solver samples
// with Flow-CPS's share of noise, so its eta is that of Flow-CPS.
var solvers = []rules.Family{
	{Label: "2M SDE", At: func(eta float64) sampler.Rule { return solver.DPMPlus{Order: 2, Eta: eta} }},
	{Label: "3M SDE", At: func(eta float64) sampler.Rule { return solver.DPMPlus{Order: 3, Eta: eta, Heun: true} }},
	{Label: "Ancestral 2M", At: func(eta float64) sampler.Rule {
		return solver.Ancestral{Inner: solver.DPMPlus{Order: 2}, Share: solver.CPS(eta)}
	}},
}

// ruleNames returns the values of -rule.
func ruleNames() []string {
	names := rules.Names()
	for _, f := range solvers {
		names = append(names, f.Name())
	}
	return names
}

// findRule returns the rule of a name.
func findRule(name string) (rules.Family, error) {
	for _, f := range solvers {
		if f.Name() == strings.ToLower(name) {
			return f, nil
		}
	}
	f, err := rules.Find(name)
	if err != nil {
		err = fmt.Errorf("rule %q is none of %s", name, strings.Join(ruleNames(), ", "))
	}
	return f, err
}
