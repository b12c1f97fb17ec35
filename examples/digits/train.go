package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cps/internal/digits"
	"cps/internal/progress"
)

// train trains the networks with the committed settings and writes them where the
// next build embeds them.
func train(ctx context.Context, w io.Writer) error {
	dir := filepath.Join("internal", "digits")
	if _, err := os.Stat(filepath.Join(dir, digits.VelocityFile)); err != nil {
		return fmt.Errorf("-train writes to %s, so it must run in the root of the module: %w", dir, err)
	}
	start := time.Now()
	critic, err := digits.TrainCritic(ctx, 0, 0, shown("critic"))
	if err != nil {
		return err
	}
	net, judge, err := digits.Train(ctx, digits.TrainConfig{}, shown("velocity and classifier"))
	if err != nil {
		return err
	}
	if err := digits.WriteCritic(dir, critic); err != nil {
		return err
	}
	if err := digits.WriteWeights(dir, net, judge); err != nil {
		return err
	}
	fmt.Fprintf(w, "trained in %.0f s; wrote %s, %s and %s to %s\n",
		time.Since(start).Seconds(), digits.CriticFile, digits.VelocityFile, digits.ClassifierFile, dir)
	return nil
}

// shown returns a function that shows the steps of a training.
func shown(what string) func(step, of int, loss float64) {
	var p *progress.Progress
	done := 0
	return func(step, of int, loss float64) {
		if p == nil {
			p = progress.New(os.Stderr, what, "steps", 0, of)
		}
		p.Describe(fmt.Sprintf("%s: loss %.4f", what, loss))
		p.Add(step - done)
		if done = step; step == of {
			p.End()
		}
	}
}
