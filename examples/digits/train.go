package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cps/internal/digits"

	"github.com/schollz/progressbar/v3"
)

// train trains the networks with the committed settings and writes them where the
// next build embeds them.
func train(ctx context.Context, w io.Writer) error {
	dir := filepath.Join("internal", "digits")
	if _, err := os.Stat(filepath.Join(dir, digits.VelocityFile)); err != nil {
		return fmt.Errorf("-train writes to %s, so it must run in the root of the module: %w", dir, err)
	}
	start := time.Now()
	critic, err := digits.TrainCritic(ctx, 0, 0, progress())
	if err != nil {
		return err
	}
	net, judge, err := digits.Train(ctx, digits.TrainConfig{}, progress())
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

// progress returns a function that shows the steps of a training in a bar of its own.
func progress() func(step, of int, loss float64) {
	var bar *progressbar.ProgressBar
	return func(step, of int, loss float64) {
		if bar == nil {
			bar = progressbar.NewOptions(of, progressbar.OptionSetWriter(os.Stderr),
				progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond))
		}
		bar.Describe(fmt.Sprintf("loss %.4f", loss))
		bar.Set(step)
		if step == of {
			fmt.Fprintln(os.Stderr)
		}
	}
}
