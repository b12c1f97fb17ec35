package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// options are the settings of the command line.
type options struct {
	out   string
	quick bool
	seeds int
	only  []string // ids of figures; empty: all

	page   bool   // make the page alone, of the files in out
	commit string // of this code, for the page; "": the one that the build recorded
}

// A budget says how much a study computes. full is that of a study, brief that of -quick.
type budget struct {
	iterations, group int       // of a training
	every, samples    int       // iterations between evaluations, and samples of each digit in one
	rates             []float64 // learning rates that are tried, ascending
	tuningSeeds       int       // seeds of a trial of a rate
	images            int       // of each digit, where samplers are measured without training
}

var (
	full  = budget{iterations: 60, group: 12, every: 5, samples: 30, rates: []float64{2.5e-4, 5e-4, 1e-3, 1.4e-3, 2e-3, 2.8e-3, 4e-3}, tuningSeeds: 3, images: 100}
	brief = budget{iterations: 2, group: 4, every: 1, samples: 4, rates: []float64{5e-4, 1e-3}, tuningSeeds: 1, images: 20}
)

func (o options) budget() budget {
	if o.quick {
		return brief
	}
	return full
}

// command returns the command that makes the study, for the page.
func (o options) command() string {
	c := "go run ./examples/paper"
	if o.quick {
		c += " -quick"
	}
	c += fmt.Sprintf(" -seeds %d", o.seeds)
	if len(o.only) > 0 {
		c += " -only " + strings.Join(o.only, ",")
	}
	return c
}

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// parse reads the command line; help goes to w. Mistakes are usage errors.
func parse(args []string, w io.Writer) (options, error) {
	var o options
	var only string
	f := flag.NewFlagSet("paper", flag.ContinueOnError)
	f.SetOutput(io.Discard) // mistakes are reported once, by main
	f.StringVar(&o.out, "out", "out/paper", "`folder` for the page, its figures and tables, and what trainings found")
	f.BoolVar(&o.quick, "quick", false, "a run of less than a minute, to see that everything works; its numbers mean nothing")
	f.IntVar(&o.seeds, "seeds", 0, "`number` of trainings of every arm [5, with -quick 2]")
	f.StringVar(&only, "only", "", "`figures` to make, separated by commas; the page has only these: "+strings.Join(figureIDs(), ", ")+" [all]")
	f.BoolVar(&o.page, "page", false, "train nothing: write the page again from the files in the folder of -out")
	f.StringVar(&o.commit, "commit", "", "`commit` of this code, named on the page [the one that go build recorded]")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(w, "Reproduce the figures and tables of arXiv 2509.05952 in small.\n\n\tgo run ./examples/paper [flags]\n\n")
		f.SetOutput(w)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, usageError{err}
	}
	if isSet(f, "only") {
		o.only = each(strings.Split(only, ","), strings.TrimSpace)
	}
	if o.seeds == 0 && !isSet(f, "seeds") {
		if o.seeds = 5; o.quick {
			o.seeds = 2
		}
	}
	if o.page {
		for _, name := range []string{"quick", "seeds", "only", "commit"} {
			if isSet(f, name) {
				return o, usageError{fmt.Errorf("-page takes what -%s says from %s; leave one of the two out", name, filepath.Join(o.out, madeFile))}
			}
		}
	}
	return o, o.check(f.Args())
}

func isSet(f *flag.FlagSet, name string) (set bool) {
	f.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// check returns an error that names the first value that is not allowed.
func (o options) check(args []string) error {
	var err error
	switch unknown := slices.IndexFunc(o.only, func(id string) bool { return !slices.Contains(figureIDs(), id) }); {
	case len(args) > 0:
		err = fmt.Errorf("unexpected argument %q", args[0])
	case o.seeds < 1 || o.seeds > heldOut:
		err = fmt.Errorf("-seeds %d is not in [1, %d]", o.seeds, heldOut)
	case o.out == "":
		err = errors.New("-out is empty")
	case unknown >= 0:
		err = fmt.Errorf("-only %q is none of %s", o.only[unknown], strings.Join(figureIDs(), ", "))
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}
