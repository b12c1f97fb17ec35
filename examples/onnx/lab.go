package main

import (
	"context"
	"fmt"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"cps/noise"
	"cps/sampler"
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

// guided is classifier-free guidance: the model's answer for rows without their class, and the
// difference that the class makes, times a weight.
func guided(model sampler.Model[[]float32], weight float64) sampler.Model[[]float32] {
	if weight == 1 {
		return model
	}
	return func(ctx context.Context, c sampler.Call[[]float32]) error {
		if err := model(ctx, c); err != nil {
			return err
		}
		dropped := c
		dropped.V, dropped.Rows = make([]float32, len(c.V)), make([]int, len(c.Rows))
		for i, row := range c.Rows {
			dropped.Rows[i] = ^row
		}
		if err := model(ctx, dropped); err != nil {
			return err
		}
		sampler.Apply(c.V, dropped.V, c.V, nil, sampler.Affine{X: 1 - weight, V: weight})
		return nil
	}
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

// sample makes n images, from sample 0 on, with a weight of guidance.
func (l *lab) sample(ctx context.Context, s *sampler.Sampler, n int, weight float64) (images, timing, error) {
	var all images
	spent := timing{images: n}
	const batch = 100
	for first := 0; first < n; first += batch {
		classes := classesOf(first, min(batch, n-first))
		model := guided(conditional(l.velocity, classes), weight)
		timed := func(ctx context.Context, c sampler.Call[[]float32]) error {
			start := time.Now()
			defer func() { spent.model += time.Since(start) }()
			return model(ctx, c)
		}
		start := time.Now()
		run, _, err := l.rollout(ctx, s, timed, first, len(classes), sampler.Window{Start: s.Steps(), End: s.Steps()})
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
