package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"cps/sampler"
)

// A Device is one stream of one GPU. It implements [sampler.Device] on buffers in that
// GPU's memory. It is a queue: calls read the batch and the scale, then return before
// they have run. They run in the order of the calls. Sync waits for them and fills in
// sums of squares.
//
// Results are to be those of [sampler.CPU] bit for bit, except NaNs, whose bits differ
// between processors. The package comment says what has tested this. All arithmetic is
// float32: the kernels widen 16-bit inputs and round 16-bit results.
//
// A Device is safe for concurrent use. Calls of several goroutines run one after the
// other. A Sync waits for all calls before it, and returns the first failure of any.
// Meanwhile other goroutines may go on calling. Devices do not wait for each other.
//
// Calls do not allocate once memory exists for the largest call and for all calls
// between two Syncs. From then on they wait only if the driver's queue is full. Until
// then the driver may wait when it allocates. The memory is 32 bytes a row, 16 more for
// sums of squares, and 4 for each 1024 elements. It is on the device, and in part also
// in pinned memory. Close returns it.
type Device struct {
	mu      sync.Mutex
	drv     driver
	failure error // the first since the last Sync
	closed  bool

	rows    table
	results *results   // of calls since the last Sync
	fetched []*results // of Syncs that wait, in the order of the queue
	spare   []*results
	waiting int        // number of Syncs
	woken   *sync.Cond // signals that waiting changed

	sums    scratch // of each block
	retired []uintptr
	staging []byte // pinned, for Upload and Download
	owned   map[uintptr]int

	args [maxArgs]uint64
	last lastCall // the call to name when waiting fails
}

// A lastCall is the call that errors of the queue name.
type lastCall struct {
	name      string
	rows, dim int
}

func (c lastCall) String() string { return fmt.Sprintf("%s on %d rows of %d", c.name, c.rows, c.dim) }

// explain adds the call that was queued last to an error of waiting for the queue.
func (c lastCall) explain(err error) error {
	if err == nil || c.name == "" {
		return err
	}
	return fmt.Errorf("queue that ends with %v: %w", c, err)
}

var _ sampler.Device[Buffer] = (*Device)(nil)

func newDevice(drv driver) *Device {
	d := &Device{drv: drv, results: new(results), owned: map[uintptr]int{}}
	d.woken = sync.NewCond(&d.mu)
	return d
}

// Step implements [sampler.Device]. If dst is of a 16-bit type, results are rounded to
// that type, and b.Storage must be that type or Float32. If dst is of type Float32, it
// holds float32 values that are rounded to b.Storage.
func (d *Device) Step(dst, x, v Buffer, b sampler.Batch, sq []float64) {
	readX, readV := checkInputs(b, "dst", dst, x, v)
	checkApart(dst, x, readX)
	checkApart(dst, v, readV)
	if sq != nil {
		checkEach("sq", len(sq), b)
	}
	round := dst.Type
	if round == sampler.Float32 {
		round = b.Storage
	} else if b.Storage != sampler.Float32 && b.Storage != round {
		panic("cuda: dst and the batch store different 16-bit types")
	}
	d.run("Step", b, sq, func() error {
		if err := d.reach(use{"dst", dst, true}, use{"x", x, readX}, use{"v", v, readV}); err != nil {
			return err
		}
		return d.step(dst, x, v, b, round, sq)
	})
}

// SumSquares implements [sampler.Device].
func (d *Device) SumSquares(sq []float64, next, x, v Buffer, b sampler.Batch) {
	readX, readV := checkInputs(b, "next", next, x, v)
	checkEach("sq", len(sq), b)
	d.run("SumSquares", b, sq, func() error {
		if err := d.reach(use{"next", next, true}, use{"x", x, readX}, use{"v", v, readV}); err != nil {
			return err
		}
		return d.squares(sq, next, x, v, b)
	})
}

// Grad implements [sampler.Device]. It rounds the new dst to its type.
func (d *Device) Grad(dst, next, x, v Buffer, b sampler.Batch, scale []float64) {
	readX, readV := checkInputs(b, "next", next, x, v)
	dst.check("dst", b)
	checkApart(dst, next, true)
	checkApart(dst, x, readX)
	checkApart(dst, v, readV)
	checkEach("scale", len(scale), b)
	d.run("Grad", b, nil, func() error {
		if err := d.reach(use{"dst", dst, true}, use{"next", next, true}, use{"x", x, readX}, use{"v", v, readV}); err != nil {
			return err
		}
		return d.grad(dst, next, x, v, b, scale)
	})
}

// run queues one call, unless the device has failed. If the call does not run, its sums
// are NaN.
func (d *Device) run(name string, b sampler.Batch, sq []float64, call func() error) {
	if len(b.Rows) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.usable() {
		d.last = lastCall{name, len(b.Rows), b.Dim}
		if err := d.within(call); err != nil {
			d.failure = fmt.Errorf("cuda: %v: %w", d.last, err)
		}
	}
	if d.failure != nil {
		for i := range sq {
			sq[i] = math.NaN()
		}
	}
}

// A use is a buffer of a call, with its name in the call.
type use struct {
	name   string
	buffer Buffer
	used   bool
}

// reach returns an error that names the first buffer that the device's context cannot
// reach. A kernel that used it would end the process.
func (d *Device) reach(all ...use) error {
	for _, u := range all {
		if !u.used || u.buffer.Len == 0 {
			continue
		}
		if _, ok := d.owned[u.buffer.Ptr]; ok {
			continue
		}
		if err := d.drv.reachable(u.buffer.Ptr); err != nil {
			return fmt.Errorf("%s at %#x: %w", u.name, u.buffer.Ptr, err)
		}
	}
	return nil
}

// usable reports whether calls may go to the driver. If the device is closed, usable
// sets the failure.
func (d *Device) usable() bool {
	if d.closed && d.failure == nil {
		d.failure = ErrClosed
	}
	return d.failure == nil
}

// within calls f with the device's context current.
func (d *Device) within(f func() error) error {
	if err := d.drv.enter(); err != nil {
		return err
	}
	defer d.drv.leave()
	return f()
}

// Sync implements [sampler.Device]. Its error names the call, the number of rows, the
// function of the driver that failed, and the driver's message. A later call, often
// Sync, finds the fault of a kernel; the error then names the call that was queued
// last. After such a fault CUDA refuses everything in this process, even a new device
// and the return of memory: end the process. Sums of squares of calls before a failed
// Sync are NaN.
//
// Sync waits for the work on the stream at the time of the call. It does not wait for
// work that the trainer or other goroutines queue later. Calls of other goroutines go
// on.
func (d *Device) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.failure = nil
		return ErrClosed
	}
	r, last, failure := d.results, d.last, d.failure
	d.failure = nil
	if err := d.within(func() error { return r.fetch(d.drv) }); err != nil {
		if failure == nil {
			failure = fmt.Errorf("cuda: %w", errors.Join(err, d.within(d.settle)))
		}
		r.deliver(false)
		return failure
	}
	r.failed = failure != nil
	d.results = d.another()
	d.fetched = append(d.fetched, r)
	d.waiting++
	d.mu.Unlock()
	err := d.await(r.fetched, last)
	d.mu.Lock()
	d.waiting--
	d.woken.Broadcast()
	if err != nil && failure == nil {
		failure = fmt.Errorf("cuda: %w", err)
	}
	d.deliver(r, err == nil)
	if len(d.results.promises) == 0 { // go on with what has grown
		d.results, r = r, d.results
	}
	d.spare = append(d.spare, r)
	return failure
}

// await waits for an event, without the lock.
func (d *Device) await(e event, last lastCall) error {
	if err := d.drv.enter(); err != nil {
		return err
	}
	defer d.drv.leave()
	return last.explain(d.drv.wait(e))
}

// deliver keeps the promises of r and of all before it, which has all run if r has.
// Another Sync may have done so already.
func (d *Device) deliver(r *results, valid bool) {
	n := slices.Index(d.fetched, r) + 1
	for _, r := range d.fetched[:n] {
		r.deliver(valid && !r.failed)
	}
	d.fetched = slices.Delete(d.fetched, 0, n)
}

// another returns results that nobody waits for.
func (d *Device) another() *results {
	n := len(d.spare)
	if n == 0 {
		return new(results)
	}
	r := d.spare[n-1]
	d.spare = d.spare[:n-1]
	return r
}
