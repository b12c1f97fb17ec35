package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"cps/sampler"
)

// A Device is one stream of one GPU, a [sampler.Device] of buffers in its memory. It
// is a queue: calls return before they have run, having read the batch and the scale,
// and run in the order in which they were made. Sync waits for them and fills in sums
// of squares.
//
// Results are the bits of [sampler.CPU], NaNs excepted, whose bits differ between
// processors. Inputs and results of 16-bit types are widened and rounded in the
// kernels, and all arithmetic is float32.
//
// A Device is safe for concurrent use: calls of several goroutines run one after the
// other, and a Sync waits for all that were made before it and returns the first failure
// of any. It keeps nobody else waiting. Devices do not wait for each other.
//
// Calls do not allocate, and wait only while the driver's queue is full, once the memory
// for the largest of them and for all calls between two Syncs exists; until then the
// driver may wait when it allocates. What that needs is 32 bytes a row, another 16
// for sums of squares, and 4 for each 1024 elements, on the device and in part in
// pinned memory. Close returns it.
type Device struct {
	mu      sync.Mutex
	drv     driver
	failure error // the first since the last Sync
	closed  bool

	rows    table
	results *results   // of calls since the last Sync
	fetched []*results // of Syncs that wait, in the order of the queue
	spare   []*results
	waiting int        // Syncs
	woken   *sync.Cond // waiting changed

	sums    scratch // of blocks
	retired []uintptr
	staging []byte // pinned, for Upload and Download
	owned   map[uintptr]int

	args [maxArgs]uint64
	last lastCall // what may have failed when waiting does
}

// A lastCall is what errors of the queue name.
type lastCall struct {
	name      string
	rows, dim int
}

func (c lastCall) String() string { return fmt.Sprintf("%s on %d rows of %d", c.name, c.rows, c.dim) }

// explain adds to the error of waiting for the queue what was queued last.
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
// that type, and b.Storage must be the same or Float32. If dst is of type Float32 it
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

// Grad implements [sampler.Device]. The new dst is rounded to its type.
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

// run queues one call, unless the device has failed. Sums of a call that does not run
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

// A use is a buffer of a call, by its name there.
type use struct {
	name   string
	buffer Buffer
	used   bool
}

// reach returns an error that names the first buffer that is used and that the device's
// context does not reach: a kernel would end the process.
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

// usable reports whether calls may go to the driver, and sets the failure if the
// device is closed.
func (d *Device) usable() bool {
	if d.closed && d.failure == nil {
		d.failure = ErrClosed
	}
	return d.failure == nil
}

// within calls f in the device's context.
func (d *Device) within(f func() error) error {
	if err := d.drv.enter(); err != nil {
		return err
	}
	defer d.drv.leave()
	return f()
}

// Sync implements [sampler.Device]. Its error names the call, the number of rows, the
// function of the driver that failed and the driver's message. A fault in a kernel is
// found by a later call, often by Sync, whose error then names what was queued last.
// After such a fault CUDA refuses everything in this process, a new device and the
// return of memory too: end the process. Sums of squares that were asked for
// before a failed Sync are NaN.
//
// Sync waits for what is on the stream when it is called, and not for what others, the
// trainer or other goroutines, queue meanwhile. Calls of other goroutines go on.
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
