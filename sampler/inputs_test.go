package sampler_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"cps/sampler"
	"cps/schedule"
)

// reads is a model of some inputs: a sum of one term each.
func reads(in sampler.Inputs) sampler.Model[[]float32] {
	return func(_ context.Context, c sampler.Call[[]float32]) error {
		for i, r := range c.Rows {
			for k := range c.Dim {
				v := float32(.25)
				if in.Latents {
					v += c.X[i*c.Dim+k]
				}
				if in.Time {
					v += float32(c.Times[i])
				}
				if in.Condition && r < 0 {
					v += .5
				}
				if r < 0 {
					r = ^r
				}
				if in.Row {
					v += float32(r / 2)
				}
				c.V[i*c.Dim+k] = v
			}
		}
		return nil
	}
}

// ran is a trajectory of n transitions that holds some latents.
func ran(b sampler.Batch, n int) *sampler.Trajectory[[]float32] {
	t := sampler.NewTrajectory(b, n, sampler.Window{})
	copy(t.Latents[0], normal(b.Len(), 1))
	return t
}

// What a model reads is found, of all sixteen kinds, with samples that are one row and two.
func TestFindInputs(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(5), Rule: sampler.FlowCPS{Eta: .5}})
	b := s.Batch(8, 3, 1, 2, 3, 4)
	run := ran(b, 5)
	for bits := range 16 {
		want := sampler.Inputs{Latents: bits&1 != 0, Time: bits&2 != 0, Row: bits&4 != 0, Condition: bits&8 != 0}
		for _, b := range []sampler.Batch{b, b.Spans(4)} {
			got, err := sampler.FindInputs(t.Context(), sampler.CPU{}, s, b, ran(b, 5), reads(want), true)
			if err != nil || got != want {
				t.Errorf("%d rows: %+v, want %+v, %v", len(b.Rows), got, want, err)
			}
			want := want
			want.Condition = false
			got, err = sampler.FindInputs(t.Context(), sampler.CPU{}, s, b, ran(b, 5), reads(want), false)
			if err != nil || got != want {
				t.Errorf("%d rows, not guided: %+v, want %+v, %v", len(b.Rows), got, want, err)
			}
		}
	}
	// An output may differ at one time alone.
	last := func(ctx context.Context, c sampler.Call[[]float32]) error {
		return reads(sampler.Inputs{Latents: true, Row: c.Times[0] == s.Time(4), Condition: c.Times[0] == s.Time(2)})(ctx, c)
	}
	got, err := sampler.FindInputs(t.Context(), sampler.CPU{}, s, b, run, last, true)
	if want := (sampler.Inputs{Latents: true, Time: true, Row: true, Condition: true}); err != nil || got != want {
		t.Errorf("%+v, want %+v, %v", got, want, err)
	}
	// To see what a row changes, every sample gets the latents of the first, span by span.
	cut, calls := b.Spans(4), 0
	run = ran(cut, 5)
	_, err = sampler.FindInputs(t.Context(), sampler.CPU{}, s, cut, run, func(ctx context.Context, c sampler.Call[[]float32]) error {
		if calls++; calls > 4 { // after the latents, half of them, and two other times
			for row := range cut.Rows {
				if !sameBits(c.X[4*row:][:4], run.Latents[0][row%2*4:][:4]) {
					t.Errorf("call %d: row %d has not the latents of span %d of the first sample", calls, row, row%2)
				}
			}
		}
		return reads(sampler.Inputs{Latents: true})(ctx, c)
	}, false)
	if err != nil || calls != 7 {
		t.Errorf("%d calls, %v", calls, err)
	}
	one := mustNew(t, sampler.Config{Scheduler: schedule.Linear(1), Rule: sampler.FlowODE{}})
	calls = 0
	got, err = sampler.FindInputs(t.Context(), sampler.CPU{}, one, b, ran(b, 1), func(ctx context.Context, c sampler.Call[[]float32]) error {
		calls++
		return reads(sampler.Inputs{Time: true, Row: true})(ctx, c)
	}, false)
	if want := (sampler.Inputs{Row: true}); err != nil || got != want || calls != 3 {
		t.Errorf("one step has one time: %+v, want %+v, %d calls, %v", got, want, calls, err)
	}
}

// On a queue, which gives back all memory, and what it refuses.
func TestFindInputsErrors(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(5), Rule: sampler.FlowCPS{Eta: .5}})
	b := s.Batch(8, 3, 1, 2)
	x, model := ran(b, 5), reads(sampler.Inputs{Latents: true})
	find := func(m sampler.Memory[[]float32], s *sampler.Sampler, b sampler.Batch, x *sampler.Trajectory[[]float32], model sampler.Model[[]float32]) error {
		_, err := sampler.FindInputs(t.Context(), m, s, b, x, model, true)
		return err
	}
	cpu := sampler.CPU{}
	wantError(t, find(nil, s, b, x, model), sampler.ErrConfig, "memory")
	wantError(t, find(cpu, nil, b, x, model), sampler.ErrConfig, "sampler")
	wantError(t, find(cpu, s, b, x, nil), sampler.ErrConfig, "model")
	wantError(t, find(cpu, s, b, nil, model), sampler.ErrConfig, "trajectory")
	wantError(t, find(cpu, s, s.Batch(8, 3), x, model), sampler.ErrTrajectory, "no rows")
	wantError(t, find(cpu, s, s.Batch(9, 3, 1, 2), x, model), sampler.ErrTrajectory, "V has 16 elements for 2 rows of 9")
	wantError(t, find(cpu, s, b, x, sampler.OneTime(func(v, _ []float32, _ float64) error { clear(v); return nil })), sampler.ErrCall, "without its condition")
	broken := errors.New("broken")
	for _, samples := range [][]uint64{{1}, {1, 2}} {
		b := s.Batch(8, 3, samples...)
		for call, step := range []int{0, 0, 2, 4, 0, 0, 2, 2, 4, 4} { // of every call, in order
			left := call
			err := find(cpu, s, b, ran(b, 5), func(ctx context.Context, c sampler.Call[[]float32]) error {
				if left--; left < 0 {
					return broken
				}
				return model(ctx, c)
			})
			wantError(t, err, broken, fmt.Sprintf("step %d (time %v)", step, s.Time(step)))
		}
	}
	var n *sampler.NonFiniteError
	if err := find(cpu, s, b, x, func(_ context.Context, c sampler.Call[[]float32]) error {
		clear(c.V)
		c.V[9] = float32(math.NaN())
		return nil
	}); !errors.As(err, &n) || n.Row != 1 || n.Sample != 2 {
		t.Errorf("NaN: %v", err)
	}
	if err := find(cpu, s, b, sampler.NewTrajectory(b, 5, sampler.Window{}), model); !errors.As(err, &n) || n.Row != 0 {
		t.Errorf("a run that was not run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sampler.FindInputs(ctx, cpu, s, b, x, model, false); !errors.Is(err, context.Canceled) {
		t.Errorf("done: %v", err)
	}

	q, s, b, run := queued(t, sampler.Window{})
	if err := sampler.Rollout(t.Context(), q, s, b, run, sampler.OneTime(q.model)); err != nil {
		t.Fatal(err)
	}
	calls := 0
	got, err := sampler.FindInputs(t.Context(), q, s, b, run, func(ctx context.Context, c sampler.Call[*memory]) error {
		calls++
		q.Sync() // as a framework does before it reads
		return reads(sampler.Inputs{Latents: true, Time: true})(ctx, sampler.Call[[]float32]{Dim: c.Dim, V: c.V.data, X: c.X.data, Rows: c.Rows, Times: c.Times})
	}, false)
	if want := (sampler.Inputs{Latents: true, Time: true}); err != nil || got != want || calls != 7 {
		t.Errorf("on a queue: %+v, want %+v, %d calls, %v", got, want, calls, err)
	}
}
