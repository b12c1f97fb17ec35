package main

import (
	"cmp"
	"slices"

	"cps/sampler"
)

// An arm is a rule with the parameter that it is shown with: its users' own, or η = 0.9.
type arm struct {
	name, remark string
	rule         sampler.Rule
	first        bool // one of the picture that shows a few
}

// arms returns every rule that samples a rectified flow from pure noise, those that preserve
// coefficients behind the others.
func arms() []arm {
	all := []arm{
		{"Flow-ODE", "no exploration", sampler.FlowODE{}, true},
		{"Flow-SDE  η 0.7", "Flow-GRPO", sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}, true},
		{"Flow-SDE  η 0.9", "", sampler.FlowSDE{Diffusion: sampler.Ratio(0.9)}, false},
		{"Flow-SDE  constant 0.3", "DanceGRPO", sampler.FlowSDE{Diffusion: sampler.Constant(0.3)}, true},
		{"Noisy ODE  constant 0.3", "DanceGRPO, sde_solver off", sampler.NoisyODE{Diffusion: sampler.Constant(0.3)}, false},
		{"Modified SDE  η 0.9", "Appendix C, η√s", sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(0.9)}, false},
		{"SAGE  η 0.9", "SAGE-GRPO", sampler.SAGE{Eta: 0.9}, false},
		{"Flow-CPS  η 0.7", "", sampler.FlowCPS{Eta: 0.7}, false},
		{"Flow-CPS  η 0.9", "the paper's sampler", sampler.FlowCPS{Eta: 0.9}, true},
		{"Flow-CPWS  η 0.9", "Theorem 1", sampler.FlowCPWS{Diffusion: sampler.Ratio(0.9)}, false},
		{"Exact  η 0.9", "Flow-SDE's equation, solved", sampler.Exact{Diffusion: sampler.Ratio(0.9)}, true},
		{"DDIM  η 0.9", "", sampler.DDIM{Eta: 0.9}, false},
		{"SDE-DPM-Solver++", "first order", sampler.DPMSDEPlus{}, false},
		{"Euler ancestral  η 0.9", "", sampler.Ancestral{Eta: 0.9}, false},
		{"ER-SDE", "first order", sampler.ERSDE{}, false},
		{"Renoise", "LCM", sampler.Renoise{}, false},
	}
	slices.SortStableFunc(all, func(a, b arm) int { return cmp.Compare(a.group(), b.group()) })
	return all
}

// group is 0 for the ODE, 1 for rules that leave noise, 2 for those that preserve
// coefficients.
func (a arm) group() int {
	switch {
	case a.rule == sampler.FlowODE{}:
		return 0
	case !a.preserving():
		return 1
	}
	return 2
}

func (a arm) preserving() bool { return sampler.FactsOf(a.rule).Preserving }
