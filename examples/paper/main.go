// Command paper repeats the experiments of Coefficients-Preserving Sampling (arXiv
// 2509.05952) in small. The paper shows them with image models on eight GPUs. Here a flow
// model of handwritten digits is trained on a processor. This library does all sampling,
// log-probabilities, advantages and gradients.
//
//	go run ./examples/paper
//
// It writes paper.md, a page that sets every figure and table beside what the paper reports.
// Verdicts on the page are computed from the numbers: the two agree, differ, or the numbers
// cannot say. Each figure has a PNG and a CSV file. The 1226 trainings of the full study took
// 35 minutes on two virtual cores of an AMD EPYC (Zen 3), beside other work. The folder runs
// keeps what they find. After Ctrl-C or a crash the same command goes on, with the bits of a
// run that was never interrupted.
//
//	go run ./examples/paper -page -out examples/paper/results
//
// writes a page again from the files in its folder, without training.
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

// run makes the page. An interrupt is not an error.
func run(ctx context.Context, o options, w, progress io.Writer) error {
	err := produce(ctx, o, w, progress)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(w, "interrupted; %s keeps what was done, and the same command goes on\n", filepath.Join(o.out, "runs"))
		return nil
	}
	return err
}
