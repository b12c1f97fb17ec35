package sampler_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// A ledger is a CPU that knows which of its buffers are in use.
type ledger struct {
	sampler.CPU
	out        map[*float32]bool
	made, fail int // fail is the number of the buffer that cannot be made, from 1
	faults     []string
}

func (l *ledger) Make(n int, t sampler.Storage) ([]float32, error) {
	if l.made+1 == l.fail {
		return nil, errNoMemory
	}
	b, err := l.CPU.Make(n, t)
	l.made++
	l.out[&b[0]] = true
	return b, err
}

func (l *ledger) Like(_ []float32, n int) ([]float32, error) { return l.Make(n, sampler.Float32) }

func (l *ledger) Free(b []float32) error {
	if !l.out[&b[0]] {
		l.faults = append(l.faults, fmt.Sprintf("a buffer of %d elements is freed that is not out", len(b)))
	}
	delete(l.out, &b[0])
	return nil
}

// All functions that make memory give it back, once, however they end. They may succeed. The model
// may fail, or the context may be done, at any call. Any buffer may fail to be made.
func TestMemoryIsGivenBack(t *testing.T) {
	config := sampler.Config{Scheduler: schedule.Linear(5), Rule: solver.DPMPlus{Order: 2, Eta: 1}}
	s := mustNew(t, config)
	if s.Scratch() == 0 {
		t.Fatal("the solver does not look back")
	}
	b := s.Batch(8, 3, some(16)...)
	run := rolled(t, s, b)
	type model = sampler.Model[[]float32]
	calls := map[string]func(ctx context.Context, l *ledger, m model) error{
		"Rollout": func(ctx context.Context, l *ledger, m model) error {
			fresh := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
			copy(fresh.Latents[0], run.Latents[0])
			return sampler.Rollout(ctx, l, s, b, fresh, m)
		},
		"Replay": func(ctx context.Context, l *ledger, m model) error {
			return sampler.Replay(ctx, l, s, b, run, m)
		},
		"CheckOnPolicy": func(ctx context.Context, l *ledger, m model) error {
			return sampler.CheckOnPolicy(ctx, l, s, b, run, m, 7)
		},
		"ReplayBatches": func(ctx context.Context, l *ledger, m model) error {
			return sampler.ReplayBatches(ctx, l, s, b, run, m, func([]int, [][]float64) error { return nil }, 7)
		},
		"FindInputs": func(ctx context.Context, l *ledger, m model) error {
			_, err := sampler.FindInputs(ctx, l, s, b, run, m, false)
			return err
		},
		"CheckModel": func(ctx context.Context, l *ledger, m model) error {
			_, err := sampler.CheckModel(ctx, l, config, b, run.Latents[5], m)
			if errors.Is(err, sampler.ErrUndecided) || errors.Is(err, sampler.ErrConvention) || errors.Is(err, sampler.ErrScale) {
				return nil // a verdict on a model that means nothing here
			}
			return err
		},
	}
	errModel := errors.New("model failed")
	for name, call := range calls {
		// try calls with a model that fails at call number fail, and memory that fails at
		// noMemory.
		try := func(fail, noMemory int, cancel bool) (asked, made int, err error) {
			ctx, stop := context.WithCancel(bg)
			defer stop()
			l := &ledger{out: map[*float32]bool{}, fail: noMemory}
			right := sampler.OneTime(testModel)
			err = call(ctx, l, func(ctx context.Context, c sampler.Call[[]float32]) error {
				if asked++; asked == fail && cancel {
					stop()
				} else if asked == fail {
					return errModel
				}
				return right(ctx, c)
			})
			for _, f := range l.faults {
				t.Errorf("%s, model fails at %d, memory at %d: %s", name, fail, noMemory, f)
			}
			if len(l.out) != 0 {
				t.Errorf("%s, model fails at %d, memory at %d: %d of %d buffers are not given back", name, fail, noMemory, len(l.out), l.made)
			}
			return asked, l.made, err
		}
		asked, made, err := try(0, 0, false)
		if err != nil || asked == 0 || made == 0 {
			t.Fatalf("%s: %d calls of the model, %d buffers: %v", name, asked, made, err)
		}
		for fail := 1; fail <= asked; fail++ {
			// CheckModel also asks with other clocks, which a model may refuse.
			if _, _, err := try(fail, 0, false); !errors.Is(err, errModel) && name != "CheckModel" {
				t.Errorf("%s, model fails at %d: %v", name, fail, err)
			}
			if _, _, err := try(fail, 0, true); fail < asked && !errors.Is(err, context.Canceled) {
				t.Errorf("%s, stopped at %d: %v", name, fail, err)
			}
		}
		for fail := 1; fail <= made; fail++ {
			if _, _, err := try(0, fail, false); !errors.Is(err, errNoMemory) {
				t.Errorf("%s, no memory at %d: %v", name, fail, err)
			}
		}
	}
	wantVisit := errors.New("visit failed")
	for fail := 1; fail <= 4; fail++ {
		l, visits := &ledger{out: map[*float32]bool{}}, 0
		err := sampler.ReplayBatches(bg, l, s, b, run, sampler.OneTime(testModel), func([]int, [][]float64) error {
			if visits++; visits == fail {
				return wantVisit
			}
			return nil
		}, 7)
		if !errors.Is(err, wantVisit) || len(l.out) != 0 {
			t.Errorf("visit fails at %d: %d buffers are not given back: %v", fail, len(l.out), err)
		}
	}
}
