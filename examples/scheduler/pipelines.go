package main

import (
	"fmt"
	"strings"

	"cps/sampler"
	"cps/schedule"
)

// A pipeline is the configuration of a published image or video model: its levels, what it
// predicts, and how it counts time. Tokens are those of the latent of an image, (w/16)·(h/16)
// for w by h pixels; models with a fixed shift ignore them.
type pipeline struct {
	name, remark string
	config       func(steps, tokens int) sampler.Config
}

var pipelines = []pipeline{
	{"flux1", "FLUX.1 dev", func(n, tokens int) sampler.Config {
		return sampler.Config{Scheduler: schedule.Flux1(n, tokens), Rule: sampler.FlowODE{}}
	}},
	{"flux1-schnell", "FLUX.1 schnell", func(n, _ int) sampler.Config {
		return sampler.Config{Scheduler: schedule.Linear(n), Rule: sampler.FlowODE{}}
	}},
	{"flux2", "FLUX.2", func(n, tokens int) sampler.Config {
		return sampler.Config{Scheduler: schedule.Flux2(n, tokens), Rule: sampler.FlowODE{}}
	}},
	{"sd3", "Stable Diffusion 3 and 3.5", func(n, _ int) sampler.Config {
		return sampler.Config{
			Scheduler: schedule.SD3(n),
			Rule:      sampler.FlowODE{},
			Clock:     sampler.Clock{Scale: 1000}, // timesteps, with fractions
		}
	}},
	{"z-image", "Z-Image, whose velocity points from noise to data and whose time is 1 - t", func(n, _ int) sampler.Config {
		return sampler.Config{
			Scheduler:  schedule.ZImage(n),
			Rule:       sampler.FlowODE{},
			Prediction: sampler.PredictReversedVelocity,
			Clock:      sampler.Clock{Reversed: true},
		}
	}},
	{"wan", "Wan with flow_shift 5", func(n, _ int) sampler.Config {
		return sampler.Config{
			Scheduler: schedule.UniPC(n, 5),
			Rule:      sampler.FlowODE{},
			Clock:     sampler.Clock{Scale: 1000, Rounding: sampler.RoundDown}, // integers
		}
	}},
	{"qwen-image", "Qwen-Image", func(n, tokens int) sampler.Config {
		return sampler.Config{Scheduler: schedule.QwenImage(n, tokens), Rule: sampler.FlowODE{}}
	}},
}

// find returns the pipeline of a name. The error lists all names.
func find(name string) (pipeline, error) {
	var names []string
	for _, p := range pipelines {
		if p.name == name {
			return p, nil
		}
		names = append(names, p.name)
	}
	return pipeline{}, fmt.Errorf("model %q is none of %s", name, strings.Join(names, ", "))
}
