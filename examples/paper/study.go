package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"cps/examples/internal/progress"
)

// heldOut is the last seed for results; those of trials of learning rates are above.
const heldOut = 1000

// A want is an arm that a figure needs, with a reward.
type want struct {
	arm
	reward string
}

// wants returns all combinations.
func wants(rewards []string, arms ...arm) []want {
	var w []want
	for _, r := range rewards {
		for _, a := range arms {
			w = append(w, want{a, r})
		}
	}
	return w
}

// A study is what all figures are made of.
type study struct {
	options
	budget
	bench    *bench
	progress io.Writer

	trials   []trial
	findings map[string]*finding // by training.file
	results  map[string]bool     // the findings that figures are made of
}

// A trial is a learning rate that was tried.
type trial struct {
	arm, reward string
	rate        float64
	score       sample // mean reward by the ODE over a run, by seed; -Inf if a run collapsed
	chosen      bool
}

func newStudy(o options, progress io.Writer) (*study, error) {
	s := &study{options: o, budget: o.budget(), progress: progress, findings: map[string]*finding{}}
	var err error
	s.bench, err = newBench(s.budget, filepath.Join(o.out, "runs"), progress)
	return s, err
}

// train does all trainings that figures need: first the trials that choose a learning
// rate for every arm and reward, on seeds of their own, then the runs themselves.
func (s *study) train(ctx context.Context, all []want) error {
	var trials, runs []training
	for _, w := range all {
		source := slices.IndexFunc(all, func(v want) bool { return v.name == w.tuned() && v.reward == w.reward })
		if source < 0 {
			return fmt.Errorf("%s takes the learning rate of %s, which no figure trains with reward %s", w.name, w.tuned(), w.reward)
		}
		if w.like != "" {
			continue
		}
		for _, rate := range s.rates {
			for k := range s.tuningSeeds {
				trials = append(trials, training{w.arm, w.reward, rate, uint64(heldOut + 1 + k)})
			}
		}
	}
	if err := s.do(ctx, "learning rates", trials); err != nil {
		return err
	}
	for _, w := range all {
		if w.like == "" {
			s.choose(w)
		}
	}
	s.results = map[string]bool{}
	for _, w := range all {
		for _, t := range s.runs(w) {
			runs = append(runs, t)
			s.results[t.file()] = true
		}
	}
	return s.do(ctx, "trainings", runs)
}

// choose fills in the trials of an arm. The rate with the highest mean reward, by the
// ODE, over all evaluations of a run is chosen: the area under its curve, which counts
// both how fast it rises and where it ends. A rate with which a trial collapses is chosen
// only where all do, and then it is the lowest.
func (s *study) choose(w want) {
	if slices.ContainsFunc(s.trials, func(t trial) bool { return t.arm == w.name && t.reward == w.reward }) {
		return
	}
	best := -1
	for _, rate := range s.rates {
		var scores []float64
		for k := range s.tuningSeeds {
			f := s.findings[training{w.arm, w.reward, rate, uint64(heldOut + 1 + k)}.file()]
			score := s.area(f)
			if f.collapsed() {
				score = math.Inf(-1)
			}
			scores = append(scores, score)
		}
		t := trial{arm: w.name, reward: w.reward, rate: rate, score: sampleOf(scores)}
		if t.collapsed() {
			t.score.Std = 0
		}
		if best < 0 || t.score.Mean > s.trials[best].score.Mean {
			best = len(s.trials)
		}
		s.trials = append(s.trials, t)
	}
	s.trials[best].chosen = true
}

// area is the mean reward by the ODE over the evaluations of a run.
func (s *study) area(f *finding) float64 { return sampleOf(s.rewardsBy(f)).Mean }

// trialAt returns the trial of an arm with the rate of an index.
func (s *study) trialAt(a arm, reward string, rate int) trial {
	i := slices.IndexFunc(s.trials, func(t trial) bool { return t.arm == a.name && t.reward == reward })
	return s.trials[i+rate]
}

// rate returns the learning rate that was chosen for w.
func (s *study) rate(w want) float64 {
	for _, t := range s.trials {
		if t.chosen && t.arm == w.tuned() && t.reward == w.reward {
			return t.rate
		}
	}
	panic("paper: no learning rate was chosen")
}

// runs returns the trainings of w, one a seed.
func (s *study) runs(w want) []training {
	var runs []training
	for seed := range s.seeds {
		runs = append(runs, training{w.arm, w.reward, s.rate(w), uint64(seed + 1)})
	}
	return runs
}

// found returns what the trainings of w found, one a seed.
func (s *study) found(a arm, reward string) []*finding {
	return each(s.runs(want{a, reward}), func(t training) *finding { return s.findings[t.file()] })
}

// do does trainings, each on one goroutine, as many at once as there are processors. It
// stops at the first error.
func (s *study) do(ctx context.Context, what string, all []training) error {
	var queue []training
	for _, t := range all {
		if _, ok := s.findings[t.file()]; ok {
			continue
		}
		f, err := s.bench.known(t)
		if err != nil {
			return err
		}
		if s.findings[t.file()] = f; f == nil {
			queue = append(queue, t)
		}
	}
	if len(queue) == 0 {
		return nil
	}
	shown := progress.New(s.progress, fmt.Sprintf("%d %s", len(queue), what), "iterations", 0, len(queue)*s.iterations)
	defer shown.End()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs := make(chan training)
	var workers sync.WaitGroup
	var lock sync.Mutex // of findings and failure
	var failure error   // the first, but any rather than that of being stopped
	for range min(runtime.GOMAXPROCS(0), len(queue)) {
		workers.Go(func() {
			for t := range jobs {
				f, err := s.bench.run(ctx, t, shown.Add)
				lock.Lock()
				s.findings[t.file()] = f
				if err != nil && (failure == nil || errors.Is(failure, context.Canceled)) {
					failure = err
				}
				lock.Unlock()
				if err != nil {
					cancel()
					return
				}
			}
		})
	}
feed:
	for _, t := range queue {
		select {
		case jobs <- t:
		case <-ctx.Done():
			break feed
		}
	}
	close(jobs)
	workers.Wait()
	if failure == nil {
		return ctx.Err()
	}
	return failure
}

// values returns f of the findings, one a seed.
func values(findings []*finding, f func(*finding) float64) sample {
	return sampleOf(each(findings, f))
}

// differ returns by how much f of arm a exceeds f of arm b, seed by seed.
func (s *study) differ(a, b arm, reward string, f func(*finding) float64) difference {
	return paired(each(s.found(a, reward), f), each(s.found(b, reward), f))
}

func final(f *finding) float64     { return f.Final.Reward }
func accuracy(f *finding) float64  { return f.Final.Accuracy }
func diversity(f *finding) float64 { return f.Final.Diversity }
func residual(f *finding) float64  { return f.Final.Residual }

// A curve is a mean with its band over seeds, by iteration.
type curve struct {
	x []float64
	y []sample
}

// byODE is the curve of rewards of what the ODE samples.
func (s *study) byODE(findings []*finding) curve {
	c := curve{x: s.evaluations()}
	all := each(findings, s.rewardsBy)
	for i := range c.x {
		c.y = append(c.y, sampleOf(each(all, func(y []float64) float64 { return y[i] })))
	}
	return c
}

// inTraining is the curve of rewards of the training's own samples. A run that diverged
// stands still at its last.
func (s *study) inTraining(findings []*finding) curve {
	var c curve
	for i := range s.iterations {
		c.x = append(c.x, float64(i))
		c.y = append(c.y, sampleOf(each(findings, func(f *finding) float64 {
			if len(f.History) == 0 {
				return f.Final.Reward
			}
			return f.History[min(i, len(f.History)-1)].Reward
		})))
	}
	return c
}
