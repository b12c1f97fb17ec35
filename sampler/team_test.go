package sampler

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted counts how often each piece is done, and how many goroutines are at work on
// it.
type counted struct {
	done   []atomic.Int32
	inside atomic.Int32
}

func (c *counted) do(_ *worker, lo, hi int) {
	c.inside.Add(1)
	for i := lo; i < hi; i++ {
		c.done[i].Add(1)
		if i%7 == 0 {
			runtime.Gosched()
		}
	}
	c.inside.Add(-1)
}

// Every piece is done once, and nobody works on it when the call returns. Helpers may
// wait, end, or come late. The caller may spin or sleep.
func TestTeam(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, patience := range []time.Duration{0, 20 * time.Microsecond, patience} {
		var wait sync.WaitGroup
		for g := range 3 { // teams at the same time
			wait.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 1))
				team, w := newTeam(patience), new(worker)
				for call := range 1500 {
					c := &counted{done: make([]atomic.Int32, 1+r.IntN(60))}
					team.job, team.pieces, team.grain = c, int64(len(c.done)), 1+r.Int64N(4)
					team.do(w, 1+r.IntN(5))
					if n := c.inside.Load(); n != 0 {
						t.Errorf("call %d: %d are still at it", call, n)
					}
					for i := range c.done {
						if n := c.done[i].Load(); n != 1 {
							t.Errorf("call %d: piece %d was done %d times", call, i, n)
						}
					}
					team.forget()
					if r.IntN(4) == 0 {
						time.Sleep(time.Duration(r.IntN(200)) * time.Microsecond)
					}
				}
			})
		}
		wait.Wait()
	}
}

// A held job holds helpers at their piece. It holds the caller until a helper is there.
type held struct {
	caller *worker
	gate   chan struct{}
	inside atomic.Int32
	taken  atomic.Int32
}

func (h *held) do(w *worker, _, _ int) {
	if w == h.caller {
		for h.taken.Load() == 0 {
			runtime.Gosched()
		}
		return
	}
	h.inside.Add(1)
	h.taken.Add(1)
	<-h.gate
	h.inside.Add(-1)
}

// A helper may reach the point of waking its caller only during the next call. It must
// then not wake that caller, since another helper still works on its memory.
func TestLateHelperWakesNobody(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	team, w := newTeam(time.Hour), new(worker) // the first call does not sleep
	stall := make(chan struct{})
	var stalled atomic.Bool
	team.leaving = func() {
		if stalled.CompareAndSwap(false, true) {
			<-stall
		}
	}
	first := &held{caller: w, gate: make(chan struct{})}
	close(first.gate)
	team.job, team.pieces, team.grain = first, 2, 1
	team.do(w, 1)
	team.forget()

	team.patience = 0
	second := &held{caller: w, gate: make(chan struct{})}
	team.job, team.pieces, team.grain = second, 2, 1
	done := make(chan int32)
	go func() {
		team.do(w, 2)
		done <- second.inside.Load()
	}()
	for team.await.Load() == 0 { // until the caller sleeps
		runtime.Gosched()
	}
	close(stall)
	for team.helpers.Load() != 1 { // until the late helper has ended
		runtime.Gosched()
	}
	if team.await.Load() == 0 {
		t.Error("the late helper has woken the caller")
	}
	close(second.gate)
	if n := <-done; n != 0 {
		t.Errorf("the call returned while %d helpers were at work", n)
	}
}

// Helpers end when no call comes.
func TestHelpersEnd(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	team := newTeam(patience)
	c := &counted{done: make([]atomic.Int32, 1000)}
	team.job, team.pieces, team.grain = c, 1000, 1
	team.do(new(worker), 3)
	for team.helpers.Load() != 0 { // bounded by the test's own time limit
		time.Sleep(time.Millisecond)
	}
}

// There are no more goroutines than processors, pieces, or the wanted number.
func TestHelpersFor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	defer func(was float64) { worthAwake = was }(worthAwake)
	worthAwake = 40
	for _, tc := range []struct {
		workers, pieces int
		us              float64
		want            int
	}{
		{0, 100, 1e3, 3}, {8, 100, 1e3, 3}, {2, 100, 1e3, 1}, {1, 100, 1e3, 0},
		{0, 2, 1e3, 1}, {0, 1, 1e3, 0}, {0, 0, 1e3, -1}, {0, 100, 10, 0},
	} {
		if got := helpersFor(tc.workers, tc.pieces, tc.us); got != tc.want {
			t.Errorf("%+v: %d helpers", tc, got)
		}
	}
}
