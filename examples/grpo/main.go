// Command grpo fine-tunes a flow model of handwritten digits with GRPO. In a minute it shows
// what the library is for: samplers that explore, exact ratios, and a reward that rises in
// samples of the ODE.
//
//	go run ./examples/grpo
//
// It first replays a batch and checks that every ratio of probabilities is exactly 1. Then
// it trains once for each seed. It writes a checkpoint for each seed and two pictures.
// rewards.png plots the reward under the training rule and under the ODE. samples.png shows
// samples before and after, from the same initial noise.
//
// Ctrl-C saves and leaves. -resume says where it goes on, and ends with the bits of a run
// that was never interrupted. Without -resume an earlier checkpoint is kept under another
// name.
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
	"time"

	"cps/examples/internal/finetune"
	"cps/examples/internal/progress"
	"cps/sampler"
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
		fmt.Fprintf(os.Stderr, "grpo: %v (see -h)\n", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "grpo: %v\n", err)
		os.Exit(1)
	}
}

// checkpointEvery is the number of iterations from one checkpoint to the next. After a crash
// the iterations since the last one are computed again, with the same bits.
const checkpointEvery = 10

// run does what the options say and reports to w. An interrupt is not an error.
func run(ctx context.Context, o options, w io.Writer) error {
	trainers, err := o.prepare(ctx, w)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(w, "interrupted before training; %s is as it was\n", o.out)
		return nil
	}
	if err != nil {
		return err
	}
	err = finetuned(ctx, o, trainers, w)
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(w, "interrupted; the checkpoints are in %s, and -resume with the same flags goes on\n", o.out)
		return nil
	case finetune.Diverged(err):
		return fmt.Errorf("%w: training has diverged: take a smaller -rate than %v, or a -clip closer to 0 than %v", err, o.config.Rate, o.config.Objective.ClipHigh)
	}
	return err
}

// prepare does all that can fail before training begins.
func (o options) prepare(ctx context.Context, w io.Writer) ([]*finetune.Trainer, error) {
	if err := writable(o.out); err != nil {
		return nil, fmt.Errorf("-out: %w", err)
	}
	if o.save != "" {
		if err := writable(filepath.Dir(o.save)); err != nil {
			return nil, fmt.Errorf("-save: %w", err)
		}
		if f, err := os.Stat(o.save); err == nil && f.IsDir() {
			return nil, fmt.Errorf("-save: %s is a folder", o.save)
		}
	}
	trainers := make([]*finetune.Trainer, o.seeds)
	for k := range trainers {
		var err error
		if trainers[k], err = o.trainer(k, w); err != nil {
			return nil, err
		}
	}
	c := trainers[0].Config()
	if err := trainers[0].CheckOnPolicy(ctx); err != nil {
		return nil, err
	}
	if err := trainers[0].CheckBackward(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "on policy: %d samples replayed, every ratio is exactly 1\n", c.Prompts*c.Group)
	fmt.Fprintf(w, "reward %q: %s\n", c.Reward.Name, c.Reward.About)
	return trainers, nil
}

// writable makes a folder, and returns an error if files cannot be made there.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func finetuned(ctx context.Context, o options, trainers []*finetune.Trainer, w io.Writer) error {
	before, err := finetune.New(trainers[0].Config())
	if err != nil {
		return err
	}
	start := time.Now()
	if err := train(ctx, o, trainers); err != nil {
		return err
	}
	took := time.Since(start)

	r, err := measure(ctx, before, trainers)
	if err != nil {
		return err
	}
	r.print(w, o, took)
	rewards, samples := filepath.Join(o.out, "rewards.png"), filepath.Join(o.out, "samples.png")
	if err := plotRewards(rewards, o, trainers, r); err != nil {
		return err
	}
	if err := drawSamples(ctx, samples, o, before, trainers[0], r); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nwrote %s and %s\n", rewards, samples)
	if o.save != "" {
		if err := finetune.WriteFile(o.save, trainers[0].Net().Save); err != nil {
			return err
		}
		fmt.Fprintf(w, "wrote %s, the weights of seed %d\n", o.save, o.config.Seed)
	}
	return nil
}

// train does the remaining iterations of every run. It also saves when it is interrupted.
// After another error the state of a trainer is incomplete, and the last checkpoint stays.
func train(ctx context.Context, o options, trainers []*finetune.Trainer) error {
	done := 0
	for _, t := range trainers {
		done += t.Iteration()
	}
	if done == o.seeds*o.iterations {
		return nil
	}
	if !o.resume { // checkpoints in the folder are of other runs
		for k := range trainers {
			if err := o.keep(k); err != nil {
				return err
			}
		}
	}
	p := progress.New(os.Stderr, "training", "iterations", done, o.seeds*o.iterations)
	defer p.End()
	for k, t := range trainers {
		save := func() error { return t.Save(o.checkpoint(k)) }
		err := t.Run(ctx, o.iterations, func(it finetune.Iteration) error {
			p.Describe(fmt.Sprintf("seed %d: reward %.3f", t.Config().Seed, it.Reward))
			p.Add(1)
			if t.Iteration()%checkpointEvery == 0 {
				return save()
			}
			return nil
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if e := save(); e != nil {
			return e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trainer returns the trainer of seed number k. With -resume it loads the checkpoint, and
// tells w at which iteration the run goes on.
func (o options) trainer(k int, w io.Writer) (*finetune.Trainer, error) {
	c := o.config
	c.Seed += uint64(k)
	if o.resume {
		t, err := finetune.Load(c, o.checkpoint(k))
		switch {
		case errors.Is(err, os.ErrNotExist):
			fmt.Fprintf(w, "seed %d: no checkpoint in %s, so training starts from the beginning\n", c.Seed, o.out)
		case err != nil:
			return nil, err
		case t.Iteration() > o.iterations:
			return nil, fmt.Errorf("%s already has %d iterations, more than -iterations %d", o.checkpoint(k), t.Iteration(), o.iterations)
		case t.Iteration() == o.iterations:
			fmt.Fprintf(w, "seed %d: all %d iterations are done\n", c.Seed, o.iterations)
			return t, nil
		default:
			fmt.Fprintf(w, "seed %d: going on after iteration %d of %d\n", c.Seed, t.Iteration(), o.iterations)
			return t, nil
		}
	}
	t, err := finetune.New(c)
	if err != nil {
		return nil, usageError{err}
	}
	if o.resume {
		return t, nil
	}
	if _, err := os.Stat(o.checkpoint(k)); err == nil {
		fmt.Fprintf(w, "seed %d: training starts from the beginning; the earlier checkpoint is kept as %s\n", c.Seed, o.previous(k))
	}
	return t, nil
}

// keep renames the checkpoint of seed number k, if there is one. Its run can then still go
// on.
func (o options) keep(k int) error {
	err := os.Rename(o.checkpoint(k), o.previous(k))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// previous returns the first free name for the checkpoint of an earlier run.
func (o options) previous(k int) string {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.previous-%d", o.checkpoint(k), n)
		if _, err := os.Lstat(name); err != nil { // the name is free, or Rename will report the error
			return name
		}
	}
}

// checkpoint returns the file of seed number k.
func (o options) checkpoint(k int) string {
	return filepath.Join(o.out, fmt.Sprintf("seed-%d.checkpoint", o.config.Seed+uint64(k)))
}

// ode is the rule of evaluations.
var ode = sampler.FlowODE{}
