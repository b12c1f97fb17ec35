package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
)

// A training is one run of GRPO: a point of the study's grid.
type training struct {
	arm
	reward string
	rate   float64
	seed   uint64
}

// file returns the name of the file of the finding, without extension.
func (t training) file() string {
	return fmt.Sprintf("%s_%s_%g_%d", t.name, t.reward, t.rate, t.seed)
}

// A finding is what a training found.
type finding struct {
	Config     string // of the run, all of it
	Iterations int
	History    []finetune.Iteration
	Final      finetune.Evaluation // by the ODE, after the last iteration
	After      *after              `json:",omitempty"` // nil if the run diverged
	Diverged   string              // the error that ended the run or its judgement; Final is then the evaluation before it
	Timing     finetune.Timing     // of the last process that worked on the run
}

// after is what is known of the network after the last iteration, besides the evaluation.
type after struct {
	Rule    finetune.Evaluation // by the rule in all steps
	Others  map[string]float64  // all rewards of what the ODE samples
	Novelty float64             // mean distance from those samples to the nearest image of the data
}

// Of a run that diverged the following are not known: they are NaN.
func underRule(f *finding) float64 { return f.known(func(a *after) float64 { return a.Rule.Reward }) }
func novelty(f *finding) float64   { return f.known(func(a *after) float64 { return a.Novelty }) }

// other returns a function for the mean of another reward over the samples.
func other(name string) func(f *finding) float64 {
	return func(f *finding) float64 { return f.known(func(a *after) float64 { return a.Others[name] }) }
}

func (f *finding) known(value func(*after) float64) float64 {
	if f.After == nil {
		return math.NaN()
	}
	return value(f.After)
}

// Bounds that tell a run that collapsed, by its samples at the end.
const (
	leastAccuracy = 0.5
	mostResidual  = 1. // pixels are in [-1, 1]
)

// collapsed reports whether the run ended badly. The signs are numbers that overflowed,
// fewer than half of the digits right, noise beyond the range of pixels, and a reward below
// that at the start.
func (f *finding) collapsed() bool {
	e := f.Final
	fine := e.Accuracy >= leastAccuracy && e.Residual <= mostResidual && e.Reward >= f.start()
	return f.Diverged != "" || !fine // also with a NaN
}

// start returns the reward of the ODE's samples before training.
func (f *finding) start() float64 {
	if len(f.History) == 0 {
		return f.Final.Reward
	}
	return f.History[0].Eval.Reward
}

// saveEvery is the number of iterations between checkpoints. After a crash the iterations
// since the last one are computed again, with the same bits.
const saveEvery = 20

// A bench runs trainings and keeps what they found in a folder.
type bench struct {
	budget
	dir     string
	rewards map[string]finetune.Reward
	data    []float32 // images of the data set
	notes   io.Writer // for what somebody should know
	noting  sync.Mutex
}

func newBench(b budget, dir string, notes io.Writer) (*bench, error) {
	w := &bench{budget: b, dir: dir, rewards: map[string]finetune.Reward{}, notes: notes}
	for _, name := range finetune.RewardNames() {
		r, err := finetune.NewReward(name)
		if err != nil {
			return nil, err
		}
		w.rewards[name] = r
	}
	set, err := digits.Load()
	if err != nil {
		return nil, err
	}
	w.data = set.Pixels
	return w, os.MkdirAll(dir, 0o777)
}

// begin returns the trainer of t before its first iteration.
func (b *bench) begin(t training) (*finetune.Trainer, error) {
	c, err := t.config(b.budget, b.rewards[t.reward], t.rate, t.seed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.file(), err)
	}
	trainer, err := finetune.New(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.file(), err)
	}
	return trainer, nil
}

// run trains and returns the finding. A run that was interrupted goes on with the same bits.
// advance is called with the number of iterations just done.
func (b *bench) run(ctx context.Context, t training, advance func(n int)) (*finding, error) {
	fresh, err := b.begin(t)
	if err != nil {
		return nil, err
	}
	c := fresh.Config()
	checkpoint := filepath.Join(b.dir, t.file()+".checkpoint")
	trainer, err := finetune.Load(c, checkpoint)
	switch {
	case errors.Is(err, os.ErrNotExist):
		trainer = fresh
	case errors.Is(err, finetune.ErrConfig) || errors.Is(err, finetune.ErrCheckpoint):
		b.note("%v: starting over", err)
		trainer = fresh
	case err != nil:
		return nil, err
	case trainer.Iteration() > b.iterations:
		b.note("%s has %d iterations, more than the %d of this study: starting over", checkpoint, trainer.Iteration(), b.iterations)
		trainer = fresh
	}
	if trainer.Iteration() == 0 {
		if err := trainer.CheckOnPolicy(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", t.file(), err)
		}
	}
	advance(trainer.Iteration())
	var unsaved error
	err = trainer.Run(ctx, b.iterations, func(finetune.Iteration) error {
		advance(1)
		if n := trainer.Iteration(); n%saveEvery == 0 && n < b.iterations {
			unsaved = trainer.Save(checkpoint)
		}
		return unsaved
	})
	f := &finding{}
	switch {
	case unsaved != nil:
		return nil, unsaved
	case errors.Is(err, context.Canceled): // before an update: the trainer is whole
		if err := trainer.Save(checkpoint); err != nil {
			return nil, err
		}
		return nil, err
	case err != nil && !finetune.Diverged(err): // among them sampler.ErrOffPolicy
		return nil, fmt.Errorf("%s: %w", t.file(), err)
	case err != nil:
		f.Diverged = err.Error()
		advance(b.iterations - trainer.Iteration())
	}
	f.Config, f.Iterations = c.String(), b.iterations
	f.History, f.Timing = trainer.History(), trainer.Timing()
	if f.Diverged == "" {
		// An interrupt during the judgement must cost no iteration.
		if err := trainer.Save(checkpoint); err != nil {
			return nil, err
		}
		if err = b.judge(ctx, trainer, f); err != nil && finetune.Diverged(err) {
			f.Diverged = err.Error() // the last update did it
		}
	}
	if f.Diverged != "" {
		err = b.judgeDiverged(ctx, c, f)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.file(), err)
	}
	err = finetune.WriteFile(b.path(t), func(w io.Writer) error { return json.NewEncoder(w).Encode(f) })
	if err != nil {
		return nil, err
	}
	if err := os.Remove(checkpoint); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return f, nil
}

// note writes a line to notes.
func (b *bench) note(format string, args ...any) {
	b.noting.Lock()
	defer b.noting.Unlock()
	fmt.Fprintf(b.notes, "\npaper: "+format+"\n", args...)
}

// judgeDiverged takes the last evaluation as the final one. If there is none, it evaluates
// the network at the start.
func (b *bench) judgeDiverged(ctx context.Context, c finetune.Config, f *finding) error {
	start, err := finetune.New(c)
	if err != nil {
		return err
	}
	if f.Final, err = start.Evaluate(ctx); err != nil {
		return err
	}
	for _, it := range f.History {
		if it.Eval != nil {
			f.Final = *it.Eval
		}
	}
	return nil
}

// untrained returns the finding of the network before any iteration of t.
func (b *bench) untrained(ctx context.Context, t training) (*finding, error) {
	trainer, err := b.begin(t)
	if err != nil {
		return nil, err
	}
	f := &finding{}
	return f, b.judge(ctx, trainer, f)
}

// judge evaluates the network. A change of what it does needs a new version in package
// finetune.
func (b *bench) judge(ctx context.Context, trainer *finetune.Trainer, f *finding) error {
	final, err := trainer.Evaluate(ctx)
	if err != nil {
		return err
	}
	a := &after{Others: map[string]float64{}}
	if a.Rule, err = trainer.EvaluateRule(ctx, trainer.Config().Rule); err != nil {
		return err
	}
	x, classes, err := trainer.Samples(ctx, ode, b.samples)
	if err != nil {
		return err
	}
	for name, r := range b.rewards {
		scores := make([]float64, len(classes))
		r.Score(scores, x, classes)
		a.Others[name] = sampleOf(scores).Mean
	}
	a.Novelty = digits.Novelty(x, b.data)
	f.Final, f.After = final, a
	return nil
}

func (b *bench) path(t training) string { return filepath.Join(b.dir, t.file()+".json") }

// known returns the finding of an earlier run of t. It returns nil if there is none, or if
// its settings differ.
func (b *bench) known(t training) (*finding, error) {
	text, err := os.ReadFile(b.path(t))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := &finding{}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("%s: %w", b.path(t), err)
	}
	fresh, err := b.begin(t)
	if err != nil {
		return nil, err
	}
	if f.Config != fresh.Config().String() || f.Iterations != b.iterations {
		return nil, nil
	}
	return f, nil
}

// rewardsBy returns the rewards of the ODE's samples at all evaluations. A run that diverged
// repeats its last one.
func (b budget) rewardsBy(f *finding) []float64 {
	var y []float64
	for i := 0; i < b.iterations; i += b.every {
		if i < len(f.History) {
			y = append(y, f.History[i].Eval.Reward)
		} else {
			y = append(y, f.Final.Reward)
		}
	}
	return append(y, f.Final.Reward)
}

// evaluations returns the iterations after which rewardsBy evaluates.
func (b budget) evaluations() []float64 {
	var x []float64
	for i := 0; i < b.iterations; i += b.every {
		x = append(x, float64(i))
	}
	return append(x, float64(b.iterations))
}
