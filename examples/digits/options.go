package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"cps/examples/internal/digits"
	"cps/internal/rules"
	"cps/sampler"
)

// options are the settings of the command line.
type options struct {
	steps, class, samples int
	eta, shift            float64
	rule, out             string
	seed                  uint64
	train                 bool
}

// maxSamples is the largest number of samples of a class. Each class has as many sample
// numbers, so the first samples do not depend on how many are drawn.
const maxSamples = 1000

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// parse reads the command line; help goes to w. Mistakes are usage errors.
func parse(args []string, w io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("digits", flag.ContinueOnError)
	f.SetOutput(io.Discard) // mistakes are reported once, by main
	f.IntVar(&o.steps, "steps", 10, "`number` of steps, 1 to 1000")
	f.Float64Var(&o.eta, "eta", 0.9, "exploration: `η` of every stochastic rule, 0 or more; FlowCPS takes 1 at most")
	f.Float64Var(&o.shift, "shift", 1, "timestep shift `s` of the schedule, s·t/(1+(s-1)t)")
	f.StringVar(&o.rule, "rule", "", "sample with this `rule` alone: "+strings.Join(rules.Names(), ", "))
	f.Uint64Var(&o.seed, "seed", 1, "`key` of the noise")
	f.IntVar(&o.class, "class", -1, "sample this `digit` alone, 0 to 9; -1: all")
	f.IntVar(&o.samples, "samples", 40, "`number` of samples of each class in the table, 2 to 1000")
	f.StringVar(&o.out, "out", "out", "`folder` for the pictures")
	f.BoolVar(&o.train, "train", false, "train the networks again, into examples/internal/digits")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(w, "Sample a flow model of handwritten digits with several rules.\n\n\tgo run ./examples/digits [flags]\n\n")
		f.SetOutput(w)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, usageError{err}
	}
	return o, o.check(f.Args(), f.NFlag())
}

// check returns an error that names the first value that is not allowed. Package sampler
// checks the settings of schedule and rule.
func (o options) check(args []string, flags int) error {
	var err error
	switch {
	case len(args) > 0:
		err = fmt.Errorf("unexpected argument %q", args[0])
	case o.train && flags > 1:
		err = errors.New("-train takes no other flag: it writes the weights that the module embeds")
	case o.steps < 1 || o.steps > 1000:
		err = fmt.Errorf("-steps %d is not in [1, 1000]", o.steps)
	case o.class < -1 || o.class >= digits.Classes:
		err = fmt.Errorf("-class %d is not a digit, 0 to 9, or -1", o.class)
	case o.samples < 2 || o.samples > maxSamples:
		err = fmt.Errorf("-samples %d is not in [2, %d]", o.samples, maxSamples)
	case !(o.shift > 0):
		err = fmt.Errorf("-shift %v is not positive", o.shift)
	case o.out == "":
		err = errors.New("-out is empty")
	default:
		_, err = o.rules()
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

// run returns the number of steps in words.
func (o options) run() string {
	if o.steps == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", o.steps)
}

// A rule is a row of the picture and of the table.
type rule struct {
	label string
	sampler.Rule
}

// all returns the rules of the table and the picture, at one eta.
func all(eta float64) []rule {
	var all []rule
	for _, name := range []string{"flowode", "flowsde-ratio", "flowsde-constant", "flowcps", "flowcpws-ratio", "exact-ratio"} {
		f := rules.Must(name)
		all = append(all, rule{f.Label, f.At(eta)})
	}
	return all
}

// rules returns the rules asked for.
func (o options) rules() ([]rule, error) {
	if o.rule == "" {
		return all(o.eta), nil
	}
	f, err := rules.Find(o.rule)
	if err != nil {
		return nil, fmt.Errorf("-%w", err)
	}
	return []rule{{f.Label, f.At(o.eta)}}, nil
}
