package main

import (
	"context"
	"fmt"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"cps/noise"
	"cps/sampler"
	"cps/sampler/guidance"
	"cps/schedule"
)

// A lab has all that samples are made with and measured by.
type lab struct {
	velocity, classifier *ort.DynamicAdvancedSession
	key                  noise.Key
	steps                int
	border               []int // pixels that are -1 in all training images
}

func (l *lab) sampler(r sampler.Rule) (*sampler.Sampler, error) {
	return sampler.New(sampler.Config{Scheduler: schedule.Linear(l.steps), Rule: r})
}

// A timing says where the time of rollouts went.
type timing struct {
	total, model time.Duration
	images       int
}

// library is the share of the time that the library took.
func (t timing) library() float64 { return 1 - t.model.Seconds()/t.total.Seconds() }

// perHundred is the time for 100 images, in milliseconds.
func (t timing) perHundred() float64 { return t.total.Seconds() * 1e5 / float64(t.images) }

// sample makes n images, from sample 0 on, with a scale of guidance.
func (l *lab) sample(ctx context.Context, s *sampler.Sampler, n int, scale float64) (images, timing, error) {
	var all images
	spent := timing{images: n}
	const batch = 100
	for first := 0; first < n; first += batch {
		classes := classesOf(first, min(batch, n-first))
		model := conditional(l.velocity, classes)
		timed := func(ctx context.Context, c sampler.Call[[]float32]) error {
			start := time.Now()
			defer func() { spent.model += time.Since(start) }()
			return model(ctx, c)
		}
		guided, err := guidance.New(sampler.CPU{}, timed, guidance.Guidance{Scale: scale})
		if err != nil {
			return all, spent, err
		}
		start := time.Now()
		run, _, err := l.rollout(ctx, s, guided.Velocity, first, len(classes), sampler.Window{Start: s.Steps(), End: s.Steps()})
		if err != nil {
			return all, spent, err
		}
		spent.total += time.Since(start)
		all.pixels, all.classes = append(all.pixels, run.Latents[s.Steps()]...), append(all.classes, classes...)
	}
	return all, spent, nil
}

// rollout samples n images from the one numbered first on, and keeps the steps of a window.
func (l *lab) rollout(ctx context.Context, s *sampler.Sampler, model sampler.Model[[]float32], first, n int, keep sampler.Window) (
	*sampler.Trajectory[[]float32], sampler.Batch, error) {
	samples := make([]uint64, n)
	for i := range samples {
		samples[i] = uint64(first + i)
	}
	cpu, b := sampler.CPU{}, s.Batch(dim, l.key, samples...)
	run := sampler.NewTrajectory(b, s.Steps(), keep)
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(ctx, cpu, s, b, run, model); err != nil {
		return nil, b, fmt.Errorf("onnxruntime: %w", err)
	}
	return run, b, nil
}
