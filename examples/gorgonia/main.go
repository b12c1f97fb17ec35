// Command gorgonia fine-tunes a flow model that Gorgonia trained, with Gorgonia's own solver.
//
//	cd examples/gorgonia && go run . -out out
//
// model.go is the trainer that was there before, glue.go what it needs to be fine-tuned.
// README.md has figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
	"cps/examples/internal/strips"
	"cps/grpo"
	"cps/grpo/trainer"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

type options struct {
	width, pretrain, seeds, iterations int
	group, rows                        int
	rate                               float64
	out                                string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	o, err := parse(os.Args[1:], os.Stdout)
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "gorgonia:", err)
		os.Exit(1)
	}
}

// parse reads the command line; help goes to w.
func parse(args []string, w io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("gorgonia", flag.ContinueOnError)
	f.SetOutput(w)
	f.IntVar(&o.width, "width", 128, "`units` of a layer")
	f.IntVar(&o.pretrain, "pretrain", 3000, "`steps` of flow matching")
	f.IntVar(&o.seeds, "seeds", 3, "`number` of runs")
	f.IntVar(&o.iterations, "iterations", 40, "`number` of iterations of a run")
	f.IntVar(&o.group, "group", 12, "samples of each digit in an iteration, 2 or more")
	f.IntVar(&o.rows, "rows", 120, "`rows` of a graph, which larger batches are cut to and smaller ones padded to")
	f.Float64Var(&o.rate, "rate", 3e-4, "learning `rate` of fine-tuning")
	f.StringVar(&o.out, "out", "", "`folder` for the picture; empty: none")
	quick := f.Bool("quick", false, "a run of seconds, to see that all works")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if *quick {
		o.width, o.pretrain, o.seeds, o.iterations, o.group, o.rows = 32, 300, 1, 3, 4, 32
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("argument %q: there are flags alone", f.Arg(0))
	}
	if !(o.rate > 0 && o.rate < 1) {
		return o, fmt.Errorf("-rate is %v, and must be between 0 and 1", o.rate)
	}
	for _, name := range []string{"width", "pretrain", "seeds", "iterations", "group", "rows"} {
		least := 1
		if name == "group" {
			least = 2 // to compare
		}
		if n := f.Lookup(name).Value.(flag.Getter).Get().(int); n < least {
			return o, fmt.Errorf("-%s is %d, and must be %d or more", name, n, least)
		}
	}
	return o, nil
}

// run does what o says and reports to w.
func run(ctx context.Context, o options, w io.Writer) error {
	reward, err := finetune.NewReward("glyph")
	if err != nil {
		return err
	}
	began, trained := time.Now(), newWeights(o.width, rand.New(rand.NewPCG(1, 0)))
	loss, err := pretrain(ctx, trained, o.pretrain, rand.New(rand.NewPCG(2, 0)))
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "flow matching: %d steps in %.1f s, loss %.3f\n", o.pretrain, time.Since(began).Seconds(), loss)
	switch err := checkConvention(ctx, o, trained, sampling()); {
	case errors.Is(err, sampler.ErrUndecided) || errors.Is(err, sampler.ErrScale): // it has hardly learned
		fmt.Fprintln(w, "convention: not to be told yet:", err)
	case err != nil:
		return err
	default:
		fmt.Fprintln(w, "convention: the network predicts noise - data, and time runs from data to noise, as its data say")
	}
	before, err := sampleODE(ctx, o, trained)
	if err != nil {
		return err
	}
	rows := []strips.Strip{strip("before", before, reward)}
	fmt.Fprintf(w, "samples of the ODE before: %s\n", rows[0].Remark)
	for seed := range o.seeds {
		tuned := trained.clone()
		if err := fineTune(ctx, o, tuned, reward, noise.Key(seed), w); err != nil {
			return err
		}
		after, err := sampleODE(ctx, o, tuned)
		if err != nil {
			return err
		}
		s := strip(fmt.Sprintf("after, seed %d", seed), after, reward)
		fmt.Fprintf(w, "  samples of the ODE after: %s\n", s.Remark)
		rows = append(rows, s)
	}
	if o.out == "" {
		return nil
	}
	glyphs, err := finetune.Glyphs()
	if err != nil {
		return err
	}
	target := strips.Strip{Label: "target"}
	for class := range digits.Classes {
		glyph := glyphs[class*digits.Dim:][:digits.Dim]
		target.Images = append(append(target.Images, glyph...), glyph...)
	}
	rows = append(rows, target)
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	return strips.Save(filepath.Join(o.out, "samples.png"), fmt.Sprintf("%d iterations of GRPO on a Gorgonia graph", o.iterations),
		"the same initial noise, sampled by the ODE; the reward is the correlation with the digit's glyph", rows)
}

// sampling says what is known of the network. The zero Prediction and Clock are its
// convention.
func sampling() sampler.Config {
	return sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowCPS{Eta: 0.9}}
}

// shape cuts and pads batches to the rows of the graphs.
func (o options) shape() trainer.Shape { return trainer.Shape{Rows: o.rows, Fixed: true} }

// model returns the network for any number of rows.
func (o options) model(w weights, class func(row int) int) (sampler.Model[[]float32], error) {
	p, err := newPolicy(w, o.rows, o.rate, class)
	if err != nil {
		return nil, err
	}
	return trainer.Shaped[[]float32](sampler.CPU{}, p, o.shape()).Velocity, nil
}

// checkConvention compares c with images. Rows are images then, and their
// classes labels.
func checkConvention(ctx context.Context, o options, w weights, c sampler.Config) error {
	set, err := digits.Load()
	if err != nil {
		return err
	}
	model, err := o.model(w, func(row int) int { return set.Labels[row] })
	if err != nil {
		return err
	}
	s, err := sampler.New(c)
	if err != nil {
		return err
	}
	b := s.Batch(digits.Dim, 11, numbers(256)...)
	_, err = sampler.CheckModel(ctx, sampler.CPU{}, c, b, set.Pixels[:b.Len()], model)
	return err
}

// each is the number of samples of a digit that the ODE draws.
const each = 12

// sampleODE returns samples of the ODE, each of every digit, from the same noise in every call.
func sampleODE(ctx context.Context, o options, w weights) ([]float32, error) {
	model, err := o.model(w, func(row int) int { return row / each })
	if err != nil {
		return nil, err
	}
	c := sampling()
	c.Rule = sampler.FlowODE{}
	s, err := sampler.New(c)
	if err != nil {
		return nil, err
	}
	cpu, b := sampler.CPU{}, s.Batch(digits.Dim, 12, numbers(each*digits.Classes)...)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{Start: s.Steps(), End: s.Steps()})
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	err = sampler.Rollout(ctx, cpu, s, b, run, model)
	return run.Latents[s.Steps()], err
}

// numbers are 0 to n-1.
func numbers(n int) []uint64 {
	x := make([]uint64, n)
	for i := range x {
		x[i] = uint64(i)
	}
	return x
}

// strip shows two samples of every digit, of those that sampleODE drew, and the mean reward
// of all.
func strip(label string, x []float32, reward finetune.Reward) strips.Strip {
	classes, scores := make([]int, each*digits.Classes), make([]float64, each*digits.Classes)
	for i := range classes {
		classes[i] = i / each
	}
	reward.Score(scores, x, classes)
	s := strips.Strip{Label: label, Remark: fmt.Sprintf("reward %.3f", mean(scores))}
	for class := range digits.Classes {
		s.Images = append(s.Images, x[class*each*digits.Dim:][:2*digits.Dim]...)
	}
	return s
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// newTrainer returns the trainer of a policy.
func newTrainer(o options, p *policy, reward finetune.Reward, key noise.Key) (*trainer.Trainer[[]float32], error) {
	return trainer.New(sampler.CPU{}, trainer.Policy[[]float32](p), trainer.Config[[]float32]{
		Key:      key,
		Sampling: sampling(),
		Dim:      digits.Dim, Prompts: digits.Classes, Group: o.group,
		Reward: func(_ context.Context, dst []float64, x []float32, classes []int) error {
			reward.Score(dst, x, classes)
			return nil
		},
		Limit:       5,
		Objective:   trainer.Clip{ClipLow: 5e-4, ClipHigh: 5e-4},
		Minibatches: grpo.Minibatches{Steps: 3},
		Shape:       o.shape(),
	})
}

var errNotTrained = errors.New("every ratio is 1 after steps of the solver: the graph that evaluates does not have the weights that learn")

// moved reports an iteration in which the solver stepped and no ratio moved.
func moved(it trainer.Iteration) error {
	if it.Updates > 1 && it.ZeroStd < 1 && it.Deviation == 0 {
		return errNotTrained
	}
	return nil
}

// fineTune trains w.
func fineTune(ctx context.Context, o options, w weights, reward finetune.Reward, key noise.Key, out io.Writer) error {
	p, err := newPolicy(w, o.rows, o.rate, func(row int) int { return row / o.group })
	if err != nil {
		return err
	}
	t, err := newTrainer(o, p, reward, key)
	if err != nil {
		return err
	}
	if err := t.CheckOnPolicy(ctx); err != nil {
		return err
	}
	if err := t.CheckBackward(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "seed %d: on policy, every ratio exactly 1 in the minibatches of training; the gradient is that by differences\n", key)
	began := time.Now()
	var rewards []float64
	if err := t.Run(ctx, o.iterations, func(it trainer.Iteration) error {
		rewards = append(rewards, it.Reward)
		return moved(it)
	}); err != nil {
		return err
	}
	last := rewards[max(0, len(rewards)-5):]
	fmt.Fprintf(out, "  reward %.3f at first, %.3f in the last %d of %d iterations, which took %.1f s\n", rewards[0], mean(last), len(last), len(rewards), time.Since(began).Seconds())
	tm := t.Timing()
	fmt.Fprintf(out, "  library %.2f %% of the time, Gorgonia %.1f %%\n", 100*float64(tm.Sampling+tm.LogProb+tm.Gradients)/float64(tm.Total), 100*float64(tm.Policy)/float64(tm.Total))
	return nil
}
