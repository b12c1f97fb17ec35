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

// train trains both networks with the committed settings and writes them where the
// next build embeds them.
func train(ctx context.Context, w io.Writer) error {
	dir := filepath.Join("internal", "digits")
	if _, err := os.Stat(filepath.Join(dir, digits.VelocityFile)); err != nil {
		return fmt.Errorf("-train writes to %s, so it must run in the root of the module: %w", dir, err)
	}
	start := time.Now()
	var bar *progressbar.ProgressBar
	net, judge, err := digits.Train(ctx, digits.TrainConfig{}, func(step, of int, loss float64) {
		if bar == nil {
			bar = progressbar.NewOptions(of, progressbar.OptionSetWriter(os.Stderr),
				progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond))
		}
		bar.Describe(fmt.Sprintf("loss %.4f", loss))
		bar.Set(step)
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr)
	if err := digits.WriteWeights(dir, net, judge); err != nil {
		return err
	}
	fmt.Fprintf(w, "trained in %.0f s; wrote %s and %s to %s\n",
		time.Since(start).Seconds(), digits.VelocityFile, digits.ClassifierFile, dir)
	return nil
}
