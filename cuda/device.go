package cuda

import (
	"fmt"
	"math"
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
// other, and a Sync waits for all of them and returns the first failure of any. Devices
// do not wait for each other.
//
// Calls do not allocate, and wait only while the driver's queue is full, once the memory
// for the largest of them and for all calls between two Syncs exists; until then the
// driver may wait when it allocates. What that needs is 24 bytes a row, another 16
// for sums of squares, and 4 for each 1024 elements, on the device and in part in
// pinned memory. Close returns it.
type Device struct {
	mu      sync.Mutex
	drv     driver
	failure error // the first since the last Sync
	closed  bool

	rows    table
	results results
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

var _ sampler.Device[Buffer] = (*Device)(nil)

func newDevice(drv driver) *Device {
	return &Device{drv: drv, owned: map[uintptr]int{}}
}

// Step implements [sampler.Device]. If dst is of a 16-bit type, results are rounded to
// that type, and b.Storage must be the same or Float32. If dst is of type Float32 it
// holds float32 values that are rounded to b.Storage.
func (d *Device) Step(dst, x, v Buffer, b sampler.Batch, sq []float64) {
	readX, readV := checkInputs(b, dst, x, v)
	checkApart(dst, x, readX)
	checkApart(dst, v, readV)
	if sq != nil && len(sq) != len(b.Rows) {
		panic(sqLength)
	}
	round := dst.Type
	if round == sampler.Float32 {
		round = b.Storage
	} else if b.Storage != sampler.Float32 && b.Storage != round {
		panic("cuda: dst and the batch store different 16-bit types")
	}
	d.run("Step", b, sq, func() error { return d.step(dst, x, v, b, round, sq) })
}

// SumSquares implements [sampler.Device].
func (d *Device) SumSquares(sq []float64, next, x, v Buffer, b sampler.Batch) {
	checkInputs(b, next, x, v)
	if len(sq) != len(b.Rows) {
		panic(sqLength)
	}
	d.run("SumSquares", b, sq, func() error { return d.squares(sq, next, x, v, b) })
}

// Grad implements [sampler.Device]. The new dst is rounded to its type.
func (d *Device) Grad(dst, next, x, v Buffer, b sampler.Batch, scale []float64) {
	readX, readV := checkInputs(b, next, x, v)
	dst.check(b.Len(), dstLength)
	checkApart(dst, next, true)
	checkApart(dst, x, readX)
	checkApart(dst, v, readV)
	if len(scale) != len(b.Rows) {
		panic(scaleLength)
	}
	d.run("Grad", b, nil, func() error { return d.grad(dst, next, x, v, b, scale) })
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
func (d *Device) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.failure = nil
		return ErrClosed
	}
	if err := d.within(d.wait); err != nil && d.failure == nil {
		d.failure = fmt.Errorf("cuda: %w", err)
	}
	d.results.deliver(d.failure == nil)
	err := d.failure
	d.failure = nil
	return err
}
