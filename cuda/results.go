package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Results are the sums of squares of calls between two Syncs: on the device, where
// kernels store them, and promised to slices of the caller. Those of a Sync that waits
// and those of calls meanwhile are apart.
type results struct {
	chunks   []chunk
	current  int
	promises []promise
	fetched  event // reached when all sums are in pinned memory; 0 before the first fetch
	failed   bool  // a call of these failed
}

// A chunk is memory for sums, with a pinned copy.
type chunk struct {
	device uintptr
	host   []byte
	size   int // sums it has room for
	used   int
}

// A promise is sums that Sync stores in a slice.
type promise struct {
	sq    []float64
	chunk int
	first int
}

// room returns device memory for n sums, which promise gives to a slice.
func (r *results) room(d *Device, n int) (uintptr, error) {
	for r.current < len(r.chunks) && r.chunks[r.current].size-r.chunks[r.current].used < n {
		r.current++
	}
	if r.current == len(r.chunks) {
		if err := r.grow(d.drv, n); err != nil {
			r.current = 0 // there may still be room for fewer
			return 0, err
		}
	}
	c := &r.chunks[r.current]
	return c.device + uintptr(8*c.used), nil
}

// grow adds a chunk twice the size of the last.
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

// promise says that the memory of the last call of room holds sq when the queue has
// run.
func (r *results) promise(sq []float64) {
	c := &r.chunks[r.current]
	r.promises = append(r.promises, promise{sq, r.current, c.used})
	c.used += len(sq)
}

// fetch queues the copies of all sums to pinned memory, and the event after them.
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

// deliver keeps all promises, with NaNs if the sums are not valid.
func (r *results) deliver(valid bool) {
	for i, p := range r.promises {
		host := r.chunks[p.chunk].host[8*p.first:]
		for j := range p.sq {
			p.sq[j] = math.NaN()
			if valid {
				p.sq[j] = math.Float64frombits(binary.LittleEndian.Uint64(host[8*j:]))
			}
		}
		r.promises[i] = promise{} // keep no reference to the caller's memory
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
