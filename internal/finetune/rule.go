package finetune

import (
	"fmt"
	"strings"

	"cps/sampler"
)

// A family is the rules of one name, by eta.
type family struct {
	name string
	rule func(eta float64) sampler.Rule
}

var families = []family{
	{"cps", func(eta float64) sampler.Rule { return sampler.FlowCPS{Eta: eta} }},
	{"sde", func(eta float64) sampler.Rule { return sampler.FlowSDE{Diffusion: sampler.Ratio(eta)} }},
	{"dance", func(eta float64) sampler.Rule { return sampler.FlowSDE{Diffusion: sampler.Constant(eta)} }},
	{"cpws", func(eta float64) sampler.Rule { return sampler.FlowCPWS{Diffusion: sampler.Ratio(eta)} }},
	{"exact", func(eta float64) sampler.Rule { return sampler.Exact{Diffusion: sampler.Ratio(eta)} }},
	{"ancestral", func(eta float64) sampler.Rule { return sampler.Ancestral{Eta: eta} }},
	{"ddim", func(eta float64) sampler.Rule { return sampler.DDIM{Eta: eta} }},
	{"dpm++", func(float64) sampler.Rule { return sampler.DPMSDEPlus{} }},
}

// RuleNames returns the names that NewRule knows: Flow-CPS, Flow-SDE with Flow-GRPO's
// and with Dance-GRPO's diffusion, Flow-CPWS and the exact solution with Flow-GRPO's,
// Euler-ancestral, DDIM, and SDE-DPM-Solver++1, which has no eta.
func RuleNames() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.name)
	}
	return names
}

// NewRule returns the rule of a name at an eta. Whether the rule takes that eta,
// sampler.New finds out.
func NewRule(name string, eta float64) (sampler.Rule, error) {
	for _, f := range families {
		if f.name == name {
			return f.rule(eta), nil
		}
	}
	return nil, fmt.Errorf("finetune: rule %q is none of %s", name, strings.Join(RuleNames(), ", "))
}
