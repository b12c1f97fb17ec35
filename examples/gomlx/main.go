// Command gomlx fine-tunes a flow model that GoMLX trained, with GoMLX's own trainer.
//
//	cd examples/gomlx && go run . -out out
//
// model.go is a trainer without this library. glue.go is the code that fine-tuning adds,
// and graph.go is another recipe. README.md has figures.
package main

import (
	stdctx "context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
	"cps/grpo"
	"cps/grpo/trainer"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/ml/context"
)

type options struct {
	backend                            string
	width, pretrain, seeds, iterations int
	group                              int
	rate                               float64
	loss, out                          string
}

func main() {
	o := options{}
	flag.StringVar(&o.backend, "backend", "dotgeneral_large", "`configuration` of the backend simplego; empty picks the matrix product by size")
	flag.IntVar(&o.width, "width", 96, "`units` of a layer")
	flag.IntVar(&o.pretrain, "pretrain", 3000, "`steps` of flow matching")
	flag.IntVar(&o.seeds, "seeds", 3, "`number` of runs")
	flag.IntVar(&o.iterations, "iterations", 40, "`number` of iterations of a run")
	flag.IntVar(&o.group, "group", 12, "samples of each digit in an iteration")
	flag.Float64Var(&o.rate, "rate", 5e-4, "learning `rate` of fine-tuning")
	flag.StringVar(&o.loss, "loss", "injected", "injected: ∂loss/∂v by package trainer; graph: the loss in operations of the graph")
	flag.StringVar(&o.out, "out", "", "`folder` for the picture; empty: none")
	quick := flag.Bool("quick", false, "a run of seconds, to see that all works")
	flag.Parse()
	if *quick {
		o.width, o.pretrain, o.seeds, o.iterations, o.group = 32, 200, 1, 3, 4
	}
	ctx, stop := signal.NotifyContext(stdctx.Background(), os.Interrupt)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gomlx:", err)
		if errors.Is(err, sampler.ErrOffPolicy) {
			fmt.Fprintln(os.Stderr, "simplego picks its matrix product by size: -backend dotgeneral_large takes one for all")
		}
		os.Exit(1)
	}
}

// run does what o says and reports to w.
func run(ctx stdctx.Context, o options, w io.Writer) error {
	if o.loss != "injected" && o.loss != "graph" {
		return fmt.Errorf("-loss %q is neither injected nor graph", o.loss)
	}
	backend, err := simplego.New(o.backend)
	if err != nil {
		return err
	}
	defer backend.Finalize()
	trained, err := newContext(o.width, 42)
	if err != nil {
		return err
	}
	began := time.Now()
	loss, err := pretrain(backend, trained, o.pretrain)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "flow matching: %d steps in %.1f s, loss %.3f\n", o.pretrain, time.Since(began).Seconds(), loss)
	switch err := checkConvention(ctx, o, backend, trained, sampling()); {
	case errors.Is(err, sampler.ErrUndecided) || errors.Is(err, sampler.ErrScale): // it has hardly learned
		fmt.Fprintln(w, "convention: cannot be decided yet:", err)
	case err != nil:
		return err
	default:
		fmt.Fprintln(w, "convention: the network predicts data - noise, and time runs from noise to data, as its data say")
	}
	var curves [][]float64
	for seed := range o.seeds {
		network, err := trained.Clone()
		if err != nil {
			return err
		}
		p, err := newPolicy(backend, network, o.rate, func(row int) int32 { return int32(row / o.group) })
		if err != nil {
			return err
		}
		t, err := newTrainer(o, p, noise.Key(seed))
		if err != nil {
			return err
		}
		if err := t.CheckOnPolicy(ctx); err != nil {
			return err
		}
		fmt.Fprintf(w, "seed %d: on policy, every ratio exactly 1 in the minibatches of training\n", seed)
		curve, err := fineTune(ctx, o, backend, network, p, t, w)
		if err != nil {
			return err
		}
		curves = append(curves, curve)
	}
	if o.out == "" {
		return nil
	}
	return plotRewards(filepath.Join(o.out, "rewards.png"), curves)
}

// sampling returns the configuration of the network: what it predicts and how it counts
// time.
func sampling() sampler.Config {
	return sampler.Config{
		Scheduler:  schedule.Linear(10),
		Rule:       sampler.FlowCPS{Eta: 0.9},
		Prediction: sampler.PredictReversedVelocity,
		Clock:      sampler.Clock{Reversed: true},
	}
}

// checkConvention compares c with images. There the rows are images, and their classes
// labels.
func checkConvention(ctx stdctx.Context, o options, backend backends.Backend, network *context.Context, c sampler.Config) error {
	set, err := digits.Load()
	if err != nil {
		return err
	}
	network, err = network.Clone()
	if err != nil {
		return err
	}
	p, err := newPolicy(backend, network, o.rate, func(row int) int32 { return int32(set.Labels[row]) })
	if err != nil {
		return err
	}
	s, err := sampler.New(c)
	if err != nil {
		return err
	}
	ids := make([]uint64, 256)
	for i := range ids {
		ids[i] = uint64(i)
	}
	b := s.Batch(digits.Dim, 11, ids...)
	_, err = sampler.CheckModel(ctx, sampler.CPU{}, c, b, set.Pixels[:b.Len()], p.Velocity)
	return err
}

// newTrainer returns the trainer of a policy.
func newTrainer(o options, p *policy, key noise.Key) (*trainer.Trainer[[]float32], error) {
	reward, err := finetune.NewReward("glyph")
	if err != nil {
		return nil, err
	}
	return trainer.New(sampler.CPU{}, trainer.Policy[[]float32](p), trainer.Config[[]float32]{
		Key:      key,
		Sampling: sampling(),
		Dim:      digits.Dim, Prompts: digits.Classes, Group: o.group,
		Reward: func(_ stdctx.Context, dst []float64, x []float32, classes []int) error {
			reward.Score(dst, x, classes)
			return nil
		},
		Limit:       5,
		Objective:   trainer.Clip{ClipLow: 5e-4, ClipHigh: 5e-4},
		Minibatches: grpo.Minibatches{Steps: 3},
	})
}

// fineTune does the iterations of a run, and returns their rewards.
func fineTune(ctx stdctx.Context, o options, backend backends.Backend, network *context.Context, p *policy, t *trainer.Trainer[[]float32], w io.Writer) (rewards []float64, err error) {
	step := t.Step
	if o.loss == "graph" {
		step = newGraphTrainer(backend, network, o.rate, p, t).step
	}
	began := time.Now()
	for range o.iterations {
		it, err := step(ctx)
		if err != nil {
			return nil, err
		}
		rewards = append(rewards, it.Reward)
	}
	n := min(5, len(rewards))
	fmt.Fprintf(w, "  reward %.3f at first, %.3f in the last %d of %d iterations, which took %.1f s\n", rewards[0], mean(rewards[len(rewards)-n:]), n, len(rewards), time.Since(began).Seconds())
	if o.loss == "injected" {
		tm := t.Timing()
		fmt.Fprintf(w, "  library %.2f %% of the time, GoMLX %.1f %%\n", 100*float64(tm.Sampling+tm.LogProb+tm.Gradients)/float64(tm.Total), 100*float64(tm.Policy)/float64(tm.Total))
	}
	return rewards, nil
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}
