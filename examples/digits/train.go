package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cps/examples/internal/digits"
	"cps/examples/internal/progress"
)

// train trains the networks with the committed settings. It writes them to the folder from
// which the next build embeds them.
func train(ctx context.Context, w io.Writer) error {
	dir := filepath.Join("examples", "internal", "digits")
	if _, err := os.Stat(filepath.Join(dir, digits.VelocityFile)); err != nil {
		return fmt.Errorf("-train writes to %s, so it must run in the root of the module: %w", dir, err)
	}
	start := time.Now()
	show, end := shown("critic")
	critic, err := digits.TrainCritic(ctx, 0, 0, show)
	end()
	if err != nil {
		return err
	}
	show, end = shown("velocity and classifier")
	net, judge, err := digits.Train(ctx, digits.TrainConfig{}, show)
	end()
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

// shown returns a function that shows the progress of a training, and one that ends the
// display.
func shown(what string) (show func(step, of int, loss float64), end func()) {
	var p *progress.Progress // from the first call on, which says how many steps there are
	done := 0
	show = func(step, of int, loss float64) {
		if p == nil {
			p = progress.New(os.Stderr, what, "steps", 0, of)
		}
		p.Describe(fmt.Sprintf("%s: loss %.4f", what, loss))
		p.Add(step - done)
		done = step
	}
	end = func() {
		if p != nil {
			p.End()
		}
	}
	return show, end
}
