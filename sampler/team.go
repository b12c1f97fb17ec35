package sampler

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"cps/internal/kernel"
)

// How many microseconds one goroutine must have to do for a call to share its work: with
// helpers that must be woken, which takes some 100, and with those that wait for it.
var (
	worthwhile = 200.0
	worthAwake = 40.0
)

// patience is how long a goroutine waits for another before it ends or sleeps.
const patience = 100 * time.Microsecond

// A team is what a call and the goroutines that help it share. Helpers stay for the next
// call of their team, for a while; a call waits for those that came, and not for those
// that have yet to wake up.
type team struct {
	floats job[float32]
	words  job[uint16]
	job    interface{ do(w *worker, lo, hi int) } // one of these
	pieces int64                                  // of all rows
	grain  int64                                  // taken at a time
	sums   []float32

	next    atomic.Int64 // piece
	places  atomic.Int32 // for helpers yet to come; 0 between calls
	left    atomic.Int64 // helpers that came and have left, in all calls
	await   atomic.Int64 // what left is when the caller, asleep, may go on; or 0
	wake    chan struct{}
	helpers atomic.Int32 // that wait, work, or were started
	help    func()       // kept, since making it allocates

	patience time.Duration
	leaving  func() // unless nil, called by a helper that has left and may have to wake the caller
}

var (
	workers = sync.Pool{New: func() any { return new(worker) }}
	teams   = sync.Pool{New: func() any { return newTeam(patience) }}
)

func newTeam(patience time.Duration) *team {
	t := &team{wake: make(chan struct{}, 1), patience: patience}
	t.help = t.helper
	return t
}

// helpersFor returns how many helpers at most are worth having for pieces that take one
// goroutine so many microseconds.
func helpersFor(workers, pieces int, microseconds float64) int {
	if workers == 1 || microseconds < worthAwake {
		return 0
	}
	most := runtime.GOMAXPROCS(0)
	if workers > 0 {
		most = min(most, workers)
	}
	return min(most, pieces) - 1
}

// keep copies a job into t.
func keep[T kernel.Element](t *team, j *job[T]) {
	var kept any = &t.words
	if _, ok := any(j).(*job[float32]); ok {
		kept = &t.floats
	}
	k := kept.(*job[T])
	*k = *j
	t.job = k
}

// forget lets go of the caller's memory.
func (t *team) forget() { t.floats, t.words, t.job = job[float32]{}, job[uint16]{}, nil }

// blockSums returns memory for sums of n blocks.
func (t *team) blockSums(n int) []float32 {
	if cap(t.sums) < n {
		t.sums = make([]float32, n)
	}
	return t.sums[:n]
}

// do does the job with helpers.
func (t *team) do(w *worker, helpers int) {
	most := int32(helpers)
	t.next.Store(0)
	left := t.left.Load() // stands still between calls
	t.places.Store(most)
	for t.helpers.Load() < most {
		t.helpers.Add(1)
		go t.help()
	}
	t.work(w)
	t.wait(left + int64(most-t.places.Swap(0)))
}

// work does pieces until none is left.
func (t *team) work(w *worker) {
	for {
		hi := t.next.Add(t.grain)
		lo := hi - t.grain
		if lo >= t.pieces {
			return
		}
		t.job.do(w, int(lo), int(min(hi, t.pieces)))
	}
}

// wait returns when so many helpers have left in all calls. No two calls that have helpers
// wait for the same number, so a helper that an earlier call has not waited for wakes nobody.
func (t *team) wait(all int64) {
	for start := time.Now(); t.left.Load() != all; runtime.Gosched() {
		if time.Since(start) < t.patience {
			continue
		}
		t.await.Store(all)
		// Either this finds that all have left, or the last one finds await.
		if t.left.Load() != all || !t.await.CompareAndSwap(all, 0) {
			<-t.wake
		}
		return
	}
}

// helper helps calls until none comes for a while.
func (t *team) helper() {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	for t.enter() {
		t.work(w)
		left := t.left.Add(1)
		if t.leaving != nil {
			t.leaving()
		}
		if t.await.CompareAndSwap(left, 0) {
			t.wake <- struct{}{}
		}
	}
}

// enter takes a place in a call, or reports that none came for a while.
func (t *team) enter() bool {
	for start := time.Now(); !t.take(); runtime.Gosched() {
		if time.Since(start) < t.patience {
			continue
		}
		t.helpers.Add(-1)
		if !t.take() {
			return false
		}
		t.helpers.Add(1) // a call has counted on it
		return true
	}
	return true
}

func (t *team) take() bool {
	for n := t.places.Load(); n > 0; n = t.places.Load() {
		if t.places.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}
