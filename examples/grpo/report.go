package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"cps/examples/internal/finetune"

	"gonum.org/v1/gonum/stat"
)

// A report has the evaluations before and after training.
type report struct {
	before, beforeRule finetune.Evaluation
	after, afterRule   []finetune.Evaluation // by seed
	timing             finetune.Timing       // of all seeds
}

func measure(ctx context.Context, before *finetune.Trainer, trainers []*finetune.Trainer) (r report, err error) {
	rule := before.Config().Rule
	if r.before, err = before.Evaluate(ctx); err != nil {
		return r, err
	}
	if r.beforeRule, err = before.EvaluateRule(ctx, rule); err != nil {
		return r, err
	}
	for _, t := range trainers {
		e, err := t.Evaluate(ctx)
		if err != nil {
			return r, err
		}
		under, err := t.EvaluateRule(ctx, rule)
		if err != nil {
			return r, err
		}
		r.after, r.afterRule = append(r.after, e), append(r.afterRule, under)
		r.timing = r.timing.Add(t.Timing())
	}
	return r, nil
}

func (r report) print(w io.Writer, o options, took time.Duration) {
	fmt.Fprintf(w, "\n%s, %d steps, %d iterations, seeds %d to %d\n\n",
		o.rule, o.config.Steps, o.iterations, o.config.Seed, o.config.Seed+uint64(o.seeds-1))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\treward\tdiversity\taccuracy\tresidual noise\t")
	row := func(label string, all ...finetune.Evaluation) {
		var e finetune.Evaluation
		rewards := make([]float64, len(all))
		for i, x := range all {
			n := float64(len(all))
			rewards[i] = x.Reward
			e.Diversity += x.Diversity / n
			e.Accuracy += x.Accuracy / n
			e.Residual += x.Residual / n
		}
		mean, std := meanStd(rewards)
		reward := fmt.Sprintf("%.3f", mean)
		if len(all) > 1 {
			reward += fmt.Sprintf(" ± %.3f", std)
		}
		fmt.Fprintf(t, "%s\t%s\t%.3f\t%.1f %%\t%.3f\t\n", label, reward, e.Diversity, 100*e.Accuracy, e.Residual)
	}
	row("before, by the ODE", r.before)
	row("after, by the ODE", r.after...)
	row("before, by the rule", r.beforeRule)
	row("after, by the rule", r.afterRule...)
	t.Flush()
	fmt.Fprint(w, `
reward          mean, and standard deviation over seeds
diversity       mean distance to the nearest other sample of the digit
accuracy        of a classifier of real digits
residual noise  root mean square deviation on the pixels that hardly vary in the data

`)
	if r.timing.Iterations == 0 {
		return // a resumed run had no iteration left
	}
	c := o.config
	fmt.Fprintf(w, "network evaluations a sample and iteration: %d in the rollout, %.1f in training\n",
		c.Steps, float64(r.timing.Trained)/float64(r.timing.Iterations*c.Prompts*c.Group))
	total := r.timing.Total - r.timing.Evaluation
	percent := func(d time.Duration) float64 { return 100 * float64(d) / float64(total) }
	fmt.Fprintf(w, "%d iterations in %.1f s: network %.1f %%, reward %.1f %%; library %.1f %% (sampling %.1f %%, log-prob %.1f %%, gradients %.1f %%)\n",
		r.timing.Iterations, took.Seconds(), percent(r.timing.Network), percent(r.timing.Reward), 100*r.timing.Share(),
		percent(r.timing.Sampling), percent(r.timing.LogProb), percent(r.timing.Gradients))
}

// meanStd returns the mean and the sample standard deviation, 0 for one number.
func meanStd(x []float64) (mean, std float64) {
	if len(x) == 1 {
		return x[0], 0
	}
	return stat.MeanStdDev(x, nil)
}
