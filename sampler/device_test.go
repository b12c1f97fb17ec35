package sampler_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"cps/sampler"
)

// A memory is a buffer of a queue. The host must not look at it while calls wait.
type memory struct{ data []float32 }

// A queue is a Device that does nothing before Sync, as a GPU may. It reads batches and
// scales at the call, and buffers and sums when it runs. Its first failure is sticky.
type queue struct {
	t       testing.TB
	waiting []func()
	syncs   int
	calls   int
	failAt  int // the call that fails, from 1; 0: none
	failed  error
}

var errDevice = errors.New("the device fell off the bus")

func (q *queue) enqueue(f func()) {
	q.calls++
	fails := q.calls == q.failAt
	q.waiting = append(q.waiting, func() {
		if fails {
			q.failed = errDevice
		}
		if q.failed == nil {
			f()
		}
	})
}

func (m *memory) slice() []float32 {
	if m == nil {
		return nil
	}
	return m.data
}

func copied(b sampler.Batch) sampler.Batch {
	b.Rows = slices.Clone(b.Rows)
	return b
}

func (q *queue) Step(dst, x, v *memory, b sampler.Batch, sq []float64) {
	b = copied(b)
	for i := range sq {
		sq[i] = math.NaN() // not valid before Sync
	}
	q.enqueue(func() { sampler.CPU{}.Step(dst.slice(), x.slice(), v.slice(), b, sq) })
}

func (q *queue) SumSquares(sq []float64, next, x, v *memory, b sampler.Batch) {
	b = copied(b)
	for i := range sq {
		sq[i] = math.NaN()
	}
	q.enqueue(func() { sampler.CPU{}.SumSquares(sq, next.slice(), x.slice(), v.slice(), b) })
}

func (q *queue) Grad(dst, next, x, v *memory, b sampler.Batch, scale []float64) {
	b, scale = copied(b), slices.Clone(scale)
	q.enqueue(func() { sampler.CPU{}.Grad(dst.slice(), next.slice(), x.slice(), v.slice(), b, scale) })
}

func (q *queue) Sync() error {
	q.syncs++
	for _, f := range q.waiting {
		f()
	}
	q.waiting = nil
	err := q.failed
	q.failed = nil
	return err
}

func (q *queue) Make(n int, _ sampler.Storage) (*memory, error) {
	return &memory{make([]float32, n)}, nil
}
func (q *queue) Like(_ *memory, n int) (*memory, error) { return q.Make(n, sampler.Float32) }
func (q *queue) Free(*memory) error                     { return nil }
func (q *queue) Slice(m *memory, lo, hi int) *memory    { return &memory{m.data[lo:hi:hi]} }

var _ sampler.Memory[*memory] = (*queue)(nil)

// model queues the test model.
func (q *queue) model(v, x *memory, time float64) error {
	q.enqueue(func() { testModel(v.data, x.data, time) })
	return nil
}

// queued is start on a queue: its trajectory mirrors that of the CPU.
func queued(t testing.TB, w sampler.Window) (*queue, *sampler.Sampler, sampler.Batch, *sampler.Trajectory[*memory]) {
	s, b, run := start(t, sampler.BFloat16, w)
	q := &queue{t: t}
	mirror := map[*float32]*memory{}
	m := &sampler.Trajectory[*memory]{V: &memory{run.V}, SumSquares: run.SumSquares}
	for _, x := range run.Latents {
		if mirror[&x[0]] == nil {
			mirror[&x[0]] = &memory{x}
		}
		m.Latents = append(m.Latents, mirror[&x[0]])
	}
	return q, s, b, m
}

// Rollouts and replays keep the contract of a queue. They wait once, at the end, and the
// results are those of the CPU.
func TestRolloutOnQueue(t *testing.T) {
	for _, w := range []sampler.Window{{}, {Start: 1, End: 4}, {Start: 6, End: 6}} {
		s, b, want := start(t, sampler.BFloat16, w)
		if err := sampler.Rollout(bg, sampler.CPU{}, s, b, want, sampler.OneTime(testModel)); err != nil {
			t.Fatal(err)
		}
		q, s, b, run := queued(t, w)
		if err := sampler.Rollout(bg, q, s, b, run, sampler.OneTime(q.model)); err != nil {
			t.Fatal(err)
		}
		if q.syncs != 1 || q.calls != 13 {
			t.Errorf("%v: %d waits and %d calls, want 1 and 13", w, q.syncs, q.calls)
		}
		for i := range want.Latents {
			if !sameBits(want.Latents[i], run.Latents[i].data) {
				t.Errorf("%v: latents %d differ from the CPU's", w, i)
			}
		}
		for i := range want.SumSquares {
			if !sameBits64(want.SumSquares[i], run.SumSquares[i]) {
				t.Errorf("%v: sums %d differ from the CPU's", w, i)
			}
		}
		if w.Start < w.End || w.End == 0 {
			if err := sampler.CheckOnPolicy(bg, q, s, b, run, sampler.OneTime(q.model)); err != nil {
				t.Error(err)
			}
			if err := sampler.Replay(bg, q, s, b, run, sampler.OneTime(q.model)); err != nil {
				t.Error(err)
			}
			// The check waits once for the batch of the rollout, and once for each of the
			// six others: all rows, two halves, three single rows.
			if q.syncs != 9 {
				t.Errorf("%v: %d waits for three runs", w, q.syncs)
			}
		}
	}
}

// Sync returns a device's failure, wherever it happened, joined with what stopped the
// run.
func TestDeviceFails(t *testing.T) {
	for failAt := 1; failAt <= 12; failAt++ {
		q, s, b, run := queued(t, sampler.Window{})
		q.failAt = failAt
		wantError(t, sampler.Rollout(bg, q, s, b, run, sampler.OneTime(q.model)), errDevice, "sampler: device")
		if q.syncs != 1 {
			t.Errorf("%d waits", q.syncs)
		}
	}
	boom := errors.New("no such tensor")
	q, s, b, run := queued(t, sampler.Window{})
	q.failAt = 1
	err := sampler.Rollout(bg, q, s, b, run, sampler.OneTime(func(v, x *memory, time float64) error {
		if time < 0.9 {
			return boom
		}
		return q.model(v, x, time)
	}))
	wantError(t, err, errDevice, "sampler: device")
	wantError(t, err, boom, "step 1")

	// A run that stops waits for the work that it has queued.
	ctx, cancel := context.WithCancel(bg)
	q, s, b, run = queued(t, sampler.Window{})
	err = sampler.Rollout(ctx, q, s, b, run, sampler.OneTime(func(v, x *memory, time float64) error {
		if q.calls == 5 {
			cancel()
		}
		return q.model(v, x, time)
	}))
	wantError(t, err, context.Canceled, "before step 3")
	if len(q.waiting) != 0 || q.syncs != 1 {
		t.Errorf("%d calls wait after %d syncs", len(q.waiting), q.syncs)
	}
}

func TestNonFiniteOnQueue(t *testing.T) {
	q, s, b, run := queued(t, sampler.Window{})
	err := sampler.Rollout(bg, q, s, b, run, sampler.OneTime(func(v, x *memory, time float64) error {
		q.model(v, x, time)
		if time == s.At(2).From.Time {
			q.enqueue(func() { v.data[60] = float32(math.Inf(-1)) })
		}
		return nil
	}))
	wantNonFinite(t, err, 2, 1)
}
