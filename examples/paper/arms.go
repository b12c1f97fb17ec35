package main

import (
	"fmt"
	"image/color"
	"math"

	"cps/examples/internal/finetune"
	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
)

// An arm is a way to train. With a reward, a learning rate and a seed it is a training.
type arm struct {
	name  string // in files
	label string // in figures
	rule  sampler.Rule
	ink   color.RGBA

	window   grpo.Strategy
	gaussian bool    // log p with denominator (Eq. 14)
	beta     float64 // of the divergence from the start, as distance of velocities

	like string // the arm whose learning rate it takes; "": its own
}

// tuned returns the name of the arm whose learning rate a takes.
func (a arm) tuned() string {
	if a.like != "" {
		return a.like
	}
	return a.name
}

// The settings of the published trainers, and of this study.
const (
	etaCPS   = 0.9 // the paper's
	etaSDE   = 0.7 // Flow-GRPO's
	etaDance = 0.3 // DanceGRPO's
	etaEqual = 0.5 // at which rules are compared at equal mean equivalent eta
	beta     = 1e-3

	// The MixGRPO window has six places in the nine trained steps. A run of 60 iterations
	// visits each for ten.
	mixSize, mixInterval = 4, 10
)

var (
	blue   = color.RGBA{31, 98, 175, 255}
	orange = color.RGBA{214, 110, 20, 255}
	green  = color.RGBA{46, 140, 70, 255}
	purple = color.RGBA{130, 80, 170, 255}
	red    = color.RGBA{190, 40, 50, 255}
	teal   = color.RGBA{0, 150, 160, 255}
	grey   = color.RGBA{110, 110, 110, 255}
	brown  = color.RGBA{135, 85, 50, 255}
	pink   = color.RGBA{215, 95, 160, 255}
)

func cps(eta float64) sampler.Rule   { return sampler.FlowCPS{Eta: eta} }
func sde(eta float64) sampler.Rule   { return sampler.FlowSDE{Diffusion: sampler.Ratio(eta)} }
func dance(eta float64) sampler.Rule { return sampler.FlowSDE{Diffusion: sampler.Constant(eta)} }
func cpws(eta float64) sampler.Rule  { return sampler.FlowCPWS{Diffusion: sampler.Ratio(eta)} }
func exact(eta float64) sampler.Rule { return sampler.Exact{Diffusion: sampler.Ratio(eta)} }
func ancestral(eta float64) sampler.Rule {
	return sampler.Ancestral{Eta: eta}
}

// The arms that several figures need.
var (
	flowCPS  = arm{name: "cps-0.9", label: "Flow-CPS 0.9", rule: cps(etaCPS), ink: blue}
	flowSDE  = arm{name: "sde-0.7", label: "Flow-SDE 0.7", rule: sde(etaSDE), ink: orange}
	flowSDE9 = arm{name: "sde-0.9", label: "Flow-SDE 0.9", rule: sde(etaCPS), ink: red}
	danceSDE = arm{name: "dance-0.3", label: "Dance-SDE 0.3", rule: dance(etaDance), ink: green}
	dpmPlus  = arm{name: "dpmpp", label: "SDE-DPM-Solver++1", rule: sampler.DPMSDEPlus{}, ink: purple}
)

// penalised returns a with a penalty on the distance from the network at the start.
func (a arm) penalised() arm {
	a.like = a.tuned()
	a.name += "-kl"
	a.label += " + KL"
	a.beta = beta
	return a
}

// normalised returns a with the Gaussian log p, which has a denominator.
func (a arm) normalised() arm {
	a.name += "-gaussian"
	a.label += ", with denominator"
	a.gaussian = true
	a.ink = pink
	return a
}

// ablation returns Flow-CPS at an eta, with a learning rate of its own. Less noise gives
// smaller gradients, so a shared rate would decide which eta is best.
func ablation(eta float64) arm {
	return arm{name: fmt.Sprintf("cps-%.1f", eta), label: fmt.Sprintf("Flow-CPS %.1f", eta), rule: cps(eta), ink: grey}
}

// matchedCPS returns Flow-CPS with the mean equivalent eta of SDE-DPM-Solver++1.
func matchedCPS() (arm, error) {
	eta, err := exploration(dpmPlus.rule)
	eta = math.Round(1000*eta) / 1000
	return arm{name: fmt.Sprintf("cps-%.3f", eta), label: fmt.Sprintf("Flow-CPS %.3f", eta), rule: cps(eta), ink: teal}, err
}

// equals returns the arms with the mean equivalent eta of FlowCPS at etaEqual.
func equals() ([]arm, error) {
	arms := []arm{{name: "cps-0.5", label: "Flow-CPS 0.5", rule: cps(etaEqual), ink: blue}}
	for _, f := range []struct {
		name, label string
		family      func(eta float64) sampler.Rule
		ink         color.RGBA
	}{
		{"sde", "Flow-SDE", sde, orange},
		{"exact", "Exact", exact, red},
		{"cpws", "Flow-CPWS", cpws, green},
		{"ancestral", "Ancestral", ancestral, purple},
	} {
		eta, err := matchExploration(f.family, etaEqual)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.label, err)
		}
		eta = math.Round(1000*eta) / 1000
		arms = append(arms, arm{
			name:  fmt.Sprintf("%s-%.3f", f.name, eta),
			label: fmt.Sprintf("%s %.3f", f.label, eta),
			rule:  f.family(eta), ink: f.ink,
		})
	}
	return append(arms, arm{
		name: "mix-0.5", label: "Flow-CPS 0.5, MixGRPO window", rule: cps(etaEqual), ink: brown,
		window: grpo.Sliding{Size: mixSize, Stride: 1, Interval: grpo.Every(mixInterval)},
	}), nil
}

// clip is the range of the ratio to either side, for log p without denominator. It is the
// default of examples/grpo.
const clip = 5e-4

// objective returns the loss of a, with the range of the ratio in the units of its log p.
// The Gaussian log p of a step is the log p without denominator divided by 2·Eps². Eps
// changes along the run, but the range cannot. Therefore the range is converted with the
// root mean square of Eps over the trained steps.
func (a arm) objective() (grpo.Objective, error) {
	o := grpo.Objective{ClipLow: clip, ClipHigh: clip}
	if !a.gaussian {
		return o, nil
	}
	squares, err := injected(a.rule)
	if err != nil {
		return o, err
	}
	rms := math.Sqrt(mean(squares, func(v float64) float64 { return v }))
	return o.In(1 / grpo.UnnormalizedFactor(rms))
}

// config returns the configuration of a training.
func (a arm) config(b budget, reward finetune.Reward, rate float64, seed uint64) (finetune.Config, error) {
	objective, err := a.objective()
	return finetune.Config{
		Seed: seed, Rule: a.rule, Steps: steps, Window: a.window,
		Reward: reward, Group: b.group,
		Form:      logprob.Form{Gaussian: a.gaussian},
		Objective: objective,
		KL:        finetune.Divergence{Beta: a.beta, Velocity: true},
		Rate:      rate,
		Every:     b.every, Samples: b.samples,
	}, err
}
