// Command scheduler prints the numbers that an image generator needs from this module: the
// time to tell the model at each step, and the weights of the step
//
//	next = X·x + V·v + Eps·ε
//
// for the pipelines of published models. Then it samples with them from a model whose
// result is known.
//
//	go run ./examples/scheduler -model flux2 -steps 4
//	go run ./examples/scheduler -model z-image -steps 8 -strength 0.6 -rule flowcps -eta 0.7
//
// Copy the file scheduler.go to replace a generator's own scheduler. It needs no device of
// this module.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"cps/internal/rules"
	"cps/noise"
	"cps/sampler"
)

func main() {
	switch err := run(os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintf(os.Stderr, "scheduler: %v\n", err)
		os.Exit(1)
	}
}

// run prints what the flags ask for.
func run(args []string, w io.Writer) error {
	flags := flag.NewFlagSet("scheduler", flag.ContinueOnError)
	name := flags.String("model", "flux1", "the `model`: flux1, flux1-schnell, flux2, sd3, z-image, wan or qwen-image")
	steps := flags.Int("steps", 8, "steps of the whole run")
	tokens := flags.Int("tokens", 4096, "tokens of an image: (width/16)·(height/16)")
	strength := flags.Float64("strength", 1, "strength of image-to-image, in (0, 1]; 1 is text-to-image")
	ruleName := flags.String("rule", "flowode", "`name` of a rule")
	eta := flags.Float64("eta", 0.7, "η of a rule that has one")
	seed := flags.Uint64("seed", 1, "seed of the noise")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: only flags are allowed", flags.Arg(0))
	}
	p, err := find(*name)
	if err != nil {
		return err
	}
	rule, err := rules.Find(*ruleName)
	if err != nil {
		return err
	}
	c := p.config(*steps, *tokens)
	c.Rule = rule.At(*eta)
	const dim, is, was = 1 << 14, 0.3, -0.5
	s, err := newScheduler(c, *strength, dim, noise.Key(*seed), 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s, %d of %d steps by %s\n\n", p.remark, s.Steps(), *steps, rule.Describe(*eta))
	printSteps(w, s.Sampler)
	x := generate(s, filled(dim, was), known(c, is))
	mean, deviation := moments(x)
	fmt.Fprintf(w, "\nA model whose data are all %v: latents end at %.4f ± %.4f.\n", is, mean, deviation)
	return nil
}

// printSteps prints the numbers of every step.
func printSteps(w io.Writer, s *sampler.Sampler) {
	fmt.Fprintln(w, "step  level     time told  X         V         Eps")
	for i := range s.Steps() {
		t := s.At(i)
		fmt.Fprintf(w, "%4d  %.6f  %9.4f  %.6f  %+.6f  %.6f\n", t.Step, t.From.Noise, s.Time(i), t.Affine.X, t.Affine.V, t.Affine.Eps)
	}
	fmt.Fprintf(w, "      %.6f\n", s.At(s.Steps()-1).To.Noise)
}

// known returns the exact model of data that all equal value, in the conventions of c. The
// velocity at level t is (x - value)/t.
func known(c sampler.Config, value float32) func(x array, time float64) array {
	return func(x array, time float64) array {
		if c.Clock.Scale != 0 {
			time /= c.Clock.Scale
		}
		if c.Clock.Reversed {
			time = 1 - time
		}
		w := 1 / time
		if c.Prediction == sampler.PredictReversedVelocity {
			w = -w
		}
		return x.plus(filled(len(x), -value)).times(w)
	}
}

func filled(n int, value float32) array {
	x := make(array, n)
	for i := range x {
		x[i] = value
	}
	return x
}

// moments returns mean and standard deviation.
func moments(x array) (mean, deviation float64) {
	for _, e := range x {
		mean += float64(e) / float64(len(x))
	}
	for _, e := range x {
		deviation += (float64(e) - mean) * (float64(e) - mean) / float64(len(x))
	}
	return mean, math.Sqrt(deviation)
}
