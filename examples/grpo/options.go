package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
	"cps/grpo"
	"cps/internal/rules"
	"cps/logprob"
)

// options are the settings of the command line.
type options struct {
	config            finetune.Config // that of the first seed
	family            rules.Family    // of the rule
	rule              string          // name for titles, with its eta if it has one
	eta               float64         // of the rule
	window            string          // value of -window
	seeds, iterations int
	out, save, load   string
	resume            bool
}

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// quick has the values of flags that -quick sets, unless the command line sets them.
var quick = map[string]string{"iterations": "10", "seeds": "2", "group": "8", "samples": "10"}

// parse reads the command line; help goes to w. Mistakes are usage errors.
func parse(args []string, w io.Writer) (options, error) {
	var o options
	c := &o.config
	var (
		form, kl, reward, batch, name string
		isQuick                       bool
	)
	f := flag.NewFlagSet("grpo", flag.ContinueOnError)
	f.SetOutput(io.Discard) // mistakes are reported once, by main
	f.StringVar(&name, "rule", "flowcps", "`rule` of the stochastic steps: "+strings.Join(ruleNames(), ", "))
	f.Float64Var(&o.eta, "eta", 0.9, "exploration: `η` of the rule, if it has one")
	f.IntVar(&c.Steps, "steps", 10, "`number` of sampling steps; the last is not trained")
	f.Float64Var(&c.Shift, "shift", 1, "timestep shift `s` of the schedule")
	f.StringVar(&o.window, "window", "all", "`steps` that draw noise and are trained: all, START:END (END is at most one less than -steps), sliding:SIZE:STRIDE:ITERATIONS (MixGRPO) or random:SIZE (Flow-GRPO-Fast)")
	f.StringVar(&form, "form", "paper", "`form` of log p: paper (without denominator) or gaussian, means over elements; paper-sum or gaussian-sum")
	f.Float64Var(&c.Objective.ClipHigh, "clip", 5e-4, "`range` of the ratio to each side, in the units of -form; 0: no clip")
	f.StringVar(&kl, "kl", "velocity", "`form` of the divergence from the start: velocity, or as -form")
	f.Float64Var(&c.KL.Beta, "beta", 0, "`weight` of the divergence -kl; 0: none")
	f.StringVar(&reward, "reward", "glyph", "`reward`: "+strings.Join(finetune.RewardNames(), ", "))
	f.IntVar(&c.Group, "group", 12, "`number` of samples of a group")
	f.IntVar(&c.Prompts, "prompts", 10, "`number` of groups of an iteration; digits take turns")
	f.BoolVar(&c.SharedStart, "shared", false, "samples of a group share their initial latent")
	f.IntVar(&c.History, "history", 0, "`number` of rewards remembered per prompt, over iterations; 0: only those of the iteration")
	f.Float64Var(&c.Rate, "rate", 5e-4, "learning `rate`")
	f.IntVar(&c.Epochs, "epochs", 1, "inner `epochs` of an iteration")
	f.StringVar(&batch, "minibatch", "0:3", "rows and trained steps of a minibatch, `ROWS:STEPS`, where 0 is all of them")
	f.Float64Var(&c.Stop.Target, "stop", 0, "approximate `KL` that ends the inner epochs; 0: none")
	f.Float64Var(&c.Average.Decay, "average", 0, "`decay` of the averaged weights, which are then evaluated; 0: no average")
	f.IntVar(&c.Samples, "samples", 20, "`number` of samples of each digit in an evaluation")
	c.Seed = 1
	f.Func("seed", "first `seed`, a whole number from 0 (default 1)", func(s string) (err error) {
		if c.Seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			return errors.New("take a whole number from 0 to 18446744073709551615")
		}
		return nil
	})
	f.IntVar(&o.seeds, "seeds", 3, "`number` of runs, with a seed each")
	f.IntVar(&o.iterations, "iterations", 100, "`number` of iterations of a run")
	f.StringVar(&o.out, "out", "out", "`folder` for pictures and checkpoints")
	f.BoolVar(&o.resume, "resume", false, "go on with the checkpoints in -out")
	f.StringVar(&o.save, "save", "", "`file` for the weights of the first seed, rounded to float16")
	f.StringVar(&o.load, "load", "", "start from the weights in this `file`")
	f.BoolVar(&isQuick, "quick", false, "a run of seconds, to see that everything works")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(w, "Fine-tune a flow model of handwritten digits with GRPO.\n\n\tgo run ./examples/grpo [flags]\n\n")
		f.SetOutput(w)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, usageError{err}
	}
	if isQuick {
		said := map[string]bool{}
		f.Visit(func(f *flag.Flag) { said[f.Name] = true })
		for name, value := range quick {
			if !said[name] {
				f.Set(name, value)
			}
		}
	}
	if f.NArg() > 0 {
		return o, usageError{fmt.Errorf("unexpected argument %q", f.Arg(0))}
	}
	if o.out == "" {
		return o, usageError{errors.New("-out is empty")}
	}
	c.Objective.ClipLow = c.Objective.ClipHigh
	c.KL.Velocity = kl == velocity
	c.Form, c.KL.Form = forms[form], forms[kl]
	for _, choice := range []struct {
		flag, value string
		names       []string
	}{
		{"reward", reward, finetune.RewardNames()},
		{"form", form, formNames},
		{"kl", kl, append([]string{velocity}, formNames...)},
	} {
		if !slices.Contains(choice.names, choice.value) {
			return o, usageError{fmt.Errorf("-%s %q is none of %s", choice.flag, choice.value, strings.Join(choice.names, ", "))}
		}
	}
	if err := o.build(name, reward, batch); err != nil {
		return o, usageError{err}
	}
	return o, nil
}

// build fills the configuration from the settings of the command line and checks it.
func (o *options) build(name, reward, batch string) (err error) {
	c := &o.config
	if o.family, err = findRule(name); err != nil {
		return fmt.Errorf("-%w", err)
	}
	c.Rule, o.rule = o.family.At(o.eta), o.family.Describe(o.eta)
	if c.Reward, err = finetune.NewReward(reward); err != nil {
		return err
	}
	if c.Window, err = parseWindow(o.window, c.Seed); err != nil {
		return err
	}
	if c.Minibatches, err = parseMinibatch(batch, c.Prompts*c.Group); err != nil {
		return err
	}
	if err = o.check(); err != nil {
		return err
	}
	if o.load != "" {
		if c.Net, err = loadNet(o.load); err != nil {
			return fmt.Errorf("-load: %w", err)
		}
	}
	return nil
}

func loadNet(file string) (*digits.Net, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return digits.LoadNet(f)
}

// velocity is the value of -kl that is not a form of log p.
const velocity = "velocity"

var forms = map[string]logprob.Form{
	"paper":        {},
	"paper-sum":    {Sum: true},
	"gaussian":     {Gaussian: true},
	"gaussian-sum": {Gaussian: true, Sum: true},
}

var formNames = slices.Sorted(maps.Keys(forms))

// numbers reads n whole numbers with colons between them.
func numbers(s string, n int) ([]int, bool) {
	var all []int
	for _, part := range strings.Split(s, ":") {
		k, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		all = append(all, k)
	}
	return all, len(all) == n
}

// parseWindow returns nil for all steps. It checks the syntax; package grpo checks the window.
func parseWindow(s string, seed uint64) (grpo.Strategy, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "all":
		return nil, nil
	case "sliding":
		if n, ok := numbers(rest, 3); ok {
			return grpo.Sliding{Size: n[0], Stride: n[1], Interval: grpo.Every(n[2])}, nil
		}
	case "random":
		if n, ok := numbers(rest, 1); ok {
			return grpo.Random{Size: n[0], Key: seed}, nil
		}
	default:
		if n, ok := numbers(s, 2); ok {
			return grpo.Fixed{Start: n[0], End: n[1]}, nil
		}
	}
	return nil, fmt.Errorf("-window %q is none of all, START:END, sliding:SIZE:STRIDE:ITERATIONS, random:SIZE", s)
}

func parseMinibatch(s string, rows int) (grpo.Minibatches, error) {
	n, ok := numbers(s, 2)
	if !ok || slices.Min(n) < 0 {
		return grpo.Minibatches{}, fmt.Errorf("-minibatch %q is not ROWS:STEPS", s)
	}
	if n[0] == 0 {
		n[0] = rows // all rows; the zero Minibatches would be the trainer's default
	}
	return grpo.Minibatches{Rows: n[0], Steps: n[1]}, nil
}
