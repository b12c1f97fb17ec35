// Command paper reproduces the experiments of Coefficients-Preserving Sampling (arXiv
// 2509.05952) in small: what the paper shows with image models on eight GPUs is done
// with a flow model of handwritten digits on a processor, all sampling, log-probabilities,
// advantages and gradients by this library.
//
//	go run ./examples/paper
//
// It writes paper.md, a page that sets every figure and table beside what the paper reports
// and says, computed from the numbers, where they agree, differ or cannot say; and for
// each of them a PNG and a CSV. Its 1226 trainings took 35 minutes on two virtual cores of
// an AMD EPYC (Zen 3), beside other work. What they find is kept in the folder runs: after
// Ctrl-C or a crash the same command goes on, with the bits of a run that was never
// interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	o, err := parse(os.Args[1:], os.Stdout)
	if err == nil {
		err = run(ctx, o, os.Stdout, os.Stderr)
	}
	stop()
	switch usage := (usageError{}); {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "paper: %v (see -h)\n", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "paper: %v\n", err)
		os.Exit(1)
	}
}

// run makes the page. To be interrupted is no error.
func run(ctx context.Context, o options, w, progress io.Writer) error {
	err := produce(ctx, o, w, progress)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(w, "interrupted; what was done is kept in %s: the same command goes on\n", filepath.Join(o.out, "runs"))
		return nil
	}
	return err
}
