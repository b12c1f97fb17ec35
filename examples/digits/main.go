// Command digits samples a flow model of handwritten digits with the rules of package
// sampler. It shows and measures the noise that Flow-SDE leaves and Flow-CPS does not.
//
//	go run ./examples/digits
//
// It prints a table and writes two pictures. digits.png has a row of samples for each of six
// rules. levels.png plots the noise level after each step beside that of the schedule (Figure
// 2 of arXiv 2509.05952). All rules start from the same noise and call the same network. The
// network was trained on the data set that the module embeds; -train trains it again.
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

	"cps/examples/internal/strips"
	"cps/sampler"
	"cps/schedule"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	o, err := parse(os.Args[1:], os.Stdout)
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	stop()
	switch usage := (usageError{}); {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "digits: %v (see -h)\n", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "digits: %v\n", err)
		os.Exit(1)
	}
}

// run does what the options say and reports to w.
func run(ctx context.Context, o options, w io.Writer) error {
	if o.train {
		return train(ctx, w)
	}
	rules, err := o.rules()
	if err != nil {
		return err
	}
	// Configurations are checked before anything is computed.
	samplers := make([]*sampler.Sampler, len(rules))
	for i, r := range rules {
		if samplers[i], err = newSampler(o, r); err != nil {
			return usageError{err}
		}
	}
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}

	lab, err := newLab(o)
	if err != nil {
		return err
	}
	rows := []row{lab.reference()}
	pictures := []strips.Strip{lab.real(rows[0])}
	for i, s := range samplers {
		x, r, err := lab.sample(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", rules[i].label, err)
		}
		r.rule = rules[i]
		rows = append(rows, r)
		pictures = append(pictures, strips.Strip{
			Label:  rules[i].label,
			Remark: remark(r.residual),
			Images: lab.show(x),
		})
	}

	printTable(w, o, rows, lab)
	picture, levels := filepath.Join(o.out, "digits.png"), filepath.Join(o.out, "levels.png")
	title := fmt.Sprintf("%s, shift %v, η = %v, seed %d: the same initial noise in every row", o.run(), o.shift, o.eta, o.seed)
	if err := strips.Save(picture, title, "residual noise: on the pixels that hardly vary in the data, root mean square", pictures); err != nil {
		return err
	}
	if err := plotLevels(levels, rules, samplers); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nwrote %s and %s\n", picture, levels)
	return nil
}

// newSampler returns the sampler of a rule.
func newSampler(o options, r rule) (*sampler.Sampler, error) {
	return sampler.New(sampler.Config{
		Scheduler: schedule.Linear(o.steps).Shift(o.shift),
		Rule:      r.Rule,
	})
}
