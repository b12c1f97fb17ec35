package main

import (
	"cmp"
	"slices"

	"cps/sampler"
	"cps/sampler/solver"
)

// An arm is a rule with the parameter that it is shown with: its users' own, or η = 0.9.
type arm struct {
	name, remark string
	rule         sampler.Rule
	first        bool // one of the picture that shows a few
}

// arms returns every rule that samples a rectified flow from pure noise, and solvers of higher
// order: those without noise, those that leave noise, and those that preserve coefficients.
func arms() []arm {
	two := solver.DPMPlus{Order: 2}
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
		{"DPM-Solver++ 2M", "second order, no exploration", two, false},
		{"SDE-DPM-Solver++ 2M", "second order", solver.DPMPlus{Order: 2, Eta: 1}, false},
		{"SDE-DPM-Solver++ 3M", "third order, k-diffusion", solver.DPMPlus{Order: 3, Eta: 1, Heun: true}, false},
		{"2M ancestral  η 0.9", "with Flow-CPWS's noise", solver.Ancestral{Inner: two, Share: solver.NoiseOf{Rule: sampler.FlowCPWS{Diffusion: sampler.Ratio(0.9)}}}, false},
		{"2M ancestral  η 0.5", "with Flow-CPS's noise", solver.Ancestral{Inner: two, Share: solver.CPS(0.5)}, false},
	}
	slices.SortStableFunc(all, func(a, b arm) int { return cmp.Compare(a.group(), b.group()) })
	return all
}

// group is 0 for rules that draw no noise, 1 for those that leave some, 2 for those that
// preserve coefficients.
func (a arm) group() int {
	switch {
	case !sampler.FactsOf(a.rule).Density:
		return 0
	case !a.preserving():
		return 1
	}
	return 2
}

func (a arm) preserving() bool { return sampler.FactsOf(a.rule).Preserving }
