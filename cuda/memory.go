package cuda

import (
	"errors"
	"fmt"

	"cps/sampler"
)

// A scratch is device memory that queued calls use one after another.
type scratch struct {
	at   uintptr
	size int
}

// room returns at least that many bytes. Memory that became too small stays until the
// device waits for the whole queue. All of it together is smaller than its replacement.
func (s *scratch) room(d *Device, bytes int) (uintptr, error) {
	if bytes <= s.size {
		return s.at, nil
	}
	bytes = roomFor(bytes)
	at, err := d.drv.alloc(bytes)
	if err != nil {
		return 0, fmt.Errorf("%d bytes of scratch memory: %w", bytes, err)
	}
	if s.size > 0 {
		d.retired = append(d.retired, s.at)
	}
	s.at, s.size = at, bytes
	return at, nil
}

func (s *scratch) release(drv driver) error {
	if s.size == 0 {
		return nil
	}
	at := s.at
	*s = scratch{}
	return drv.free(at)
}

// roomFor rounds a number of bytes up to a power of two, at least a page. So memory
// seldom grows.
func roomFor(bytes int) int {
	n := 4096
	for n < bytes {
		n *= 2
	}
	return n
}

// settle waits for the queue, and frees the memory that was replaced.
func (d *Device) settle() error {
	if err := d.drv.sync(); err != nil {
		return d.last.explain(err)
	}
	var errs []error
	for _, at := range d.retired {
		errs = append(errs, d.drv.free(at))
	}
	d.retired = d.retired[:0]
	return errors.Join(errs...)
}

// Make implements [sampler.Memory]. It returns new memory for n elements; the contents
// are undefined. An error leaves the device as it was. errors.Is(err, ErrMemory) reports
// that memory is exhausted.
func (d *Device) Make(n int, t sampler.Storage) (Buffer, error) {
	if n < 0 {
		panic("cuda: negative length of a buffer")
	}
	if t > sampler.Float16 {
		panic("cuda: type of a buffer is unknown")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := Buffer{Len: n, Type: t}
	if d.closed {
		return Buffer{}, ErrClosed
	}
	if n == 0 {
		return b, nil
	}
	err := d.within(func() (err error) {
		b.Ptr, err = d.drv.alloc(n * size(t))
		return err
	})
	if err != nil {
		return Buffer{}, fmt.Errorf("cuda: Make of %d elements of %v: %w", n, t, err)
	}
	d.owned[b.Ptr] = n
	return b, nil
}

// Free returns the memory of a buffer from Make. It first waits for the device's queue.
// No call that is queued on another stream may use the buffer.
func (d *Device) Free(b Buffer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if b.Len == 0 && b.Ptr == 0 {
		return nil
	}
	if n, ok := d.owned[b.Ptr]; !ok || n != b.Len {
		return fmt.Errorf("cuda: Free of %d elements at %#x, which is no buffer from Make", b.Len, b.Ptr)
	}
	err := d.within(func() error {
		delete(d.owned, b.Ptr)
		return errors.Join(d.settle(), d.drv.free(b.Ptr)) // queued calls may use it
	})
	if err != nil {
		return fmt.Errorf("cuda: Free of %d elements of %v: %w", b.Len, b.Type, err)
	}
	return nil
}

const stagingLen = 1 << 20 // bytes

// Upload stores src, rounded to the type of dst, in dst. It waits for the queue. If the
// device has failed since the last Sync, Upload does nothing and returns that failure.
// It panics if lengths differ.
func (d *Device) Upload(dst Buffer, src []float32) error {
	dst.checkSlice("Upload", len(src))
	return d.transfer("Upload", dst, func(at uintptr, lo, hi int, staging []byte) error {
		encode(staging, src[lo:hi], dst.Type)
		if err := d.drv.upload(at, staging); err != nil {
			return err
		}
		return d.settle()
	})
}

// Download stores the values of src in dst. It waits for the queue. If the device has
// failed since the last Sync, Download does nothing and returns that failure. It panics
// if lengths differ.
func (d *Device) Download(dst []float32, src Buffer) error {
	src.checkSlice("Download", len(dst))
	return d.transfer("Download", src, func(at uintptr, lo, hi int, staging []byte) error {
		if err := d.drv.download(staging, at); err != nil {
			return err
		}
		if err := d.settle(); err != nil {
			return err
		}
		decode(dst[lo:hi], staging, src.Type)
		return nil
	})
}

// transfer calls do for each piece of b that fits the staging memory.
func (d *Device) transfer(name string, b Buffer, do func(at uintptr, lo, hi int, staging []byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if d.failure != nil || b.Len == 0 {
		return d.failure
	}
	err := d.within(func() (err error) {
		if err := d.reach(use{"the buffer", b, true}); err != nil {
			return err
		}
		if d.staging == nil {
			if d.staging, err = d.drv.allocHost(stagingLen); err != nil {
				return fmt.Errorf("%d bytes of pinned memory: %w", stagingLen, err)
			}
		}
		n := size(b.Type)
		for lo := 0; lo < b.Len; lo += stagingLen / n {
			hi := min(b.Len, lo+stagingLen/n)
			if err := do(b.Ptr+uintptr(lo*n), lo, hi, d.staging[:(hi-lo)*n]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cuda: %s of %d elements of %v: %w", name, b.Len, b.Type, err)
	}
	return nil
}

// Close waits for the queue, frees all memory including buffers from Make, and leaves
// the GPU. It returns the first failure since the last Sync. Sums that no Sync fetched
// become NaN. The device and its buffers are unusable afterwards: calls do nothing, and
// the next Sync returns ErrClosed. A second Close returns nil.
//
// Close does not touch the caller's own stream and memory. If the driver refuses to make
// the GPU's context current, Close has done nothing, and can be called again. After a
// fault in a kernel the driver frees nothing: see [Device.Sync].
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	if err := d.drv.enter(); err != nil {
		return fmt.Errorf("cuda: Close: %w", err)
	}
	d.closed = true
	d.results.deliver(false)
	err := d.failure
	d.failure = nil
	// If a part fails, Close still returns the rest.
	errs := []error{d.settle()}
	for d.waiting > 0 { // their events have been reached
		d.woken.Wait()
	}
	for at := range d.owned {
		errs = append(errs, d.drv.free(at))
	}
	clear(d.owned)
	for _, at := range d.retired {
		errs = append(errs, d.drv.free(at))
	}
	errs = append(errs, d.sums.release(d.drv), d.rows.release(d.drv), d.results.release(d.drv))
	for _, r := range d.spare {
		errs = append(errs, r.release(d.drv))
	}
	if d.staging != nil {
		errs = append(errs, d.drv.freeHost(d.staging))
	}
	if e := once(err, append(errs, d.drv.close())); e != nil {
		return errors.Join(err, fmt.Errorf("cuda: Close: %w", e))
	}
	return err
}

// once joins errs, but keeps only the first driver error of each code. It drops codes
// that said has already. After a fault in a kernel every call fails with the same code.
func once(said error, errs []error) error {
	var kept []error
	seen := map[int]bool{}
	if of := (*driverError)(nil); errors.As(said, &of) {
		seen[of.code] = true
	}
	var keep func(errs []error)
	keep = func(errs []error) {
		for _, err := range errs {
			var of *driverError
			switch joined, ok := err.(interface{ Unwrap() []error }); {
			case err == nil:
			case ok:
				keep(joined.Unwrap())
			case errors.As(err, &of) && seen[of.code]:
			default:
				kept = append(kept, err)
				if of != nil {
					seen[of.code] = true
				}
			}
		}
	}
	keep(errs)
	return errors.Join(kept...)
}
