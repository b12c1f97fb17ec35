package sampler

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"cps/internal/kernel"
)

// A call shares its work if one goroutine would need more microseconds than these. worthwhile
// is for helpers that must be started, which takes about 100 microseconds. worthAwake is for
// helpers that wait.
var (
	worthwhile = 200.0
	worthAwake = 40.0
)

// patience is how long a goroutine spins before it ends or sleeps.
const patience = 100 * time.Microsecond

// A team is what a call shares with the goroutines that help it. Helpers stay for a while,
// for the team's next call. A call waits for the helpers that have joined it, and not for
// those that have yet to wake up.
type team struct {
	floats job[float32]
	words  job[uint16]
	job    interface{ do(w *worker, lo, hi int) } // floats or words
	pieces int64                                  // number of pieces, over all rows
	grain  int64                                  // pieces that a goroutine takes at a time
	sums   []float32

	next    atomic.Int64 // the next piece to take
	places  atomic.Int32 // for helpers yet to join; 0 between calls
	left    atomic.Int64 // helpers that have joined and left, over all calls
	await   atomic.Int64 // the value of left that wakes the sleeping caller, or 0
	wake    chan struct{}
	helpers atomic.Int32 // number that wait, work, or are being started
	help    func()       // the method value; making it anew would allocate

	patience time.Duration
	leaving  func() // for tests: called by a helper between leaving and waking the caller
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

// helpersFor returns how many helpers are worth having, at most. One goroutine would take
// that many microseconds for all pieces.
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

// keep copies a job into t and returns the copy.
func keep[T kernel.Element](t *team, j *job[T]) *job[T] {
	var kept any = &t.words
	if _, ok := any(j).(*job[float32]); ok {
		kept = &t.floats
	}
	k := kept.(*job[T])
	*k = *j
	t.job = k
	return k
}

// forget drops references to the caller's memory.
func (t *team) forget() { t.floats, t.words, t.job = job[float32]{}, job[uint16]{}, nil }

// blockSums returns memory for the sums of n blocks.
func (t *team) blockSums(n int) []float32 {
	if cap(t.sums) < n {
		t.sums = make([]float32, n)
	}
	return t.sums[:n]
}

// do does the job with that many helpers at most.
func (t *team) do(w *worker, helpers int) {
	most := int32(helpers)
	t.next.Store(0)
	left := t.left.Load() // constant between calls
	t.places.Store(most)
	for t.helpers.Load() < most {
		t.helpers.Add(1)
		go t.help()
	}
	t.work(w)
	t.wait(left + int64(most-t.places.Swap(0)))
}

// work does pieces until there are none.
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

// wait returns when left reaches all. No two calls with helpers wait for the same number. So
// a helper of an earlier call wakes nobody.
func (t *team) wait(all int64) {
	for start := time.Now(); t.left.Load() != all; runtime.Gosched() {
		if time.Since(start) < t.patience {
			continue
		}
		t.await.Store(all)
		// Either the caller sees that all have left, or the last helper sees await.
		if t.left.Load() != all || !t.await.CompareAndSwap(all, 0) {
			<-t.wake
		}
		return
	}
}

// helper helps calls until no call comes for a while.
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

// enter takes a place in a call. It returns false if no call comes for a while.
func (t *team) enter() bool {
	for start := time.Now(); !t.take(); runtime.Gosched() {
		if time.Since(start) < t.patience {
			continue
		}
		t.helpers.Add(-1)
		if !t.take() {
			return false
		}
		t.helpers.Add(1) // a call has counted this helper
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
