package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Results are the sums of squares of calls between two Syncs. Kernels store them on
// the device, and Sync delivers them to the caller's slices. While a Sync waits, later
// calls have results of their own.
type results struct {
	chunks   []chunk
	current  int
	promises []promise
	fetched  event // reached when all sums are in pinned memory; 0 before the first fetch
	failed   bool  // one of these calls failed
}

// A chunk is device memory for sums, with a pinned copy.
type chunk struct {
	device uintptr
	host   []byte
	size   int // number of sums that fit
	used   int
}

// A promise names the slice in which Sync stores some of the sums.
type promise struct {
	sq    []float64
	chunk int
	first int
}

// room returns device memory for n sums. The next promise names their slice.
func (r *results) room(d *Device, n int) (uintptr, error) {
	for r.current < len(r.chunks) && r.chunks[r.current].size-r.chunks[r.current].used < n {
		r.current++
	}
	if r.current == len(r.chunks) {
		if err := r.grow(d.drv, n); err != nil {
			r.current = 0 // an earlier chunk may fit fewer sums
			return 0, err
		}
	}
	c := &r.chunks[r.current]
	return c.device + uintptr(8*c.used), nil
}

// grow adds a chunk of twice the size of the last, for at least n sums.
func (r *results) grow(drv driver, n int) error {
	bytes := roomFor(8 * n)
	if k := len(r.chunks); k > 0 {
		bytes = max(bytes, 16*r.chunks[k-1].size)
	}
	c := chunk{size: bytes / 8}
	var err error
	if c.device, err = drv.alloc(bytes); err != nil {
		return fmt.Errorf("%d bytes for sums: %w", bytes, err)
	}
	if c.host, err = drv.allocHost(bytes); err != nil {
		return errors.Join(fmt.Errorf("%d bytes of pinned memory for sums: %w", bytes, err), drv.free(c.device))
	}
	r.chunks = append(r.chunks, c)
	return nil
}

// promise records that the memory of the last call of room will hold the sums of sq.
func (r *results) promise(sq []float64) {
	c := &r.chunks[r.current]
	r.promises = append(r.promises, promise{sq, r.current, c.used})
	c.used += len(sq)
}

// fetch queues copies of all sums to pinned memory, and then the event.
func (r *results) fetch(drv driver) (err error) {
	if r.fetched == 0 {
		if r.fetched, err = drv.newEvent(); err != nil {
			return fmt.Errorf("sums: %w", err)
		}
	}
	for _, c := range r.chunks {
		if c.used == 0 {
			continue
		}
		if err := drv.download(c.host[:8*c.used], c.device); err != nil {
			return fmt.Errorf("sums: %w", err)
		}
	}
	if err := drv.record(r.fetched); err != nil {
		return fmt.Errorf("sums: %w", err)
	}
	return nil
}

// deliver stores the promised sums, or NaNs if the sums are not valid.
func (r *results) deliver(valid bool) {
	for i, p := range r.promises {
		host := r.chunks[p.chunk].host[8*p.first:]
		for j := range p.sq {
			p.sq[j] = math.NaN()
			if valid {
				p.sq[j] = math.Float64frombits(binary.LittleEndian.Uint64(host[8*j:]))
			}
		}
		r.promises[i] = promise{} // drop the reference to the caller's memory
	}
	r.promises = r.promises[:0]
	for i := range r.chunks {
		r.chunks[i].used = 0
	}
	r.current, r.failed = 0, false
}

func (r *results) release(drv driver) error {
	var errs []error
	for _, c := range r.chunks {
		errs = append(errs, drv.free(c.device), drv.freeHost(c.host))
	}
	if r.fetched != 0 {
		errs = append(errs, drv.freeEvent(r.fetched))
	}
	*r = results{}
	return errors.Join(errs...)
}
