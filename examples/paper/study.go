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

// A want is an arm that a figure needs, with a reward.
type want struct {
	arm
	reward string
}

// wants returns every arm with every reward.
func wants(rewards []string, arms ...arm) []want {
	var w []want
	for _, r := range rewards {
		for _, a := range arms {
			w = append(w, want{a, r})
		}
	}
	return w
}

// A study trains and measures. It fills a folder with files.
type study struct {
	scores
	bench    *bench
	progress io.Writer
	findings map[string]*finding // by training.file
}

func newStudy(o options, progress io.Writer) (*study, error) {
	s := &study{progress: progress, findings: map[string]*finding{}}
	s.options, s.budget = o, o.budget()
	var err error
	s.bench, err = newBench(s.budget, filepath.Join(o.out, "runs"), progress)
	return s, err
}

// train does all trainings that figures need. The first are trials, on seeds of their own,
// that choose a learning rate for every arm and reward. Then come the runs themselves.
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
	for _, w := range all {
		runs = append(runs, s.runs(w)...)
	}
	if err := s.do(ctx, "trainings", runs); err != nil {
		return err
	}
	s.records = map[string]*record{}
	for name, f := range s.findings {
		s.records[name] = s.record(name, f)
	}
	return nil
}

// choose fills in the trials of an arm. It chooses the rate with the highest mean reward of
// the ODE over all evaluations of a run. This area under the curve counts both how fast the
// reward rises and where it ends. A rate that collapsed in a trial is chosen only if all
// did, and then it is the lowest.
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

// area returns the mean reward of the ODE over the evaluations of a run.
func (b budget) area(f *finding) float64 { return sampleOf(b.rewardsBy(f)).Mean }

// findingsOf returns what the trainings of an arm found, one for each seed.
func (s *study) findingsOf(a arm, reward string) []*finding {
	return each(s.runs(want{a, reward}), func(t training) *finding { return s.findings[t.file()] })
}

// do does trainings, as many at once as there are processors, each on one goroutine. It
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
	var failure error   // the first error; one other than being stopped comes before it
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

// A curve is a mean with its band over seeds, by iteration.
type curve struct {
	x []float64
	y []sample
}

// byODE returns the curve of rewards of the ODE's samples.
func (s *study) byODE(findings []*finding) curve {
	c := curve{x: s.evaluations()}
	all := each(findings, s.rewardsBy)
	for i := range c.x {
		c.y = append(c.y, sampleOf(each(all, func(y []float64) float64 { return y[i] })))
	}
	return c
}

// inTraining returns the curve of rewards of the samples that training draws. A run that
// diverged stays at its last reward.
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
