package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"cps/sampler"
)

// rowBytes is the size of a Row in kernels/pass.h.
const rowBytes = 32

// A rowsArg says what every row does. It names a table in device memory. If table is 0, it
// says what all rows do, where they start in their samples, and the sample of the first row.
// The others have the samples after it.
type rowsArg struct {
	table   uintptr
	x, v, e uint64
	step    uint64
	sample  uint64
	block   uint64
}

// A table carries rows to the device. It has one copy there, which calls of the queue
// overwrite in order. Pinned copies wait until they are sent.
type table struct {
	device scratch
	slots  []slot
	next   int // the slot whose last use is the oldest
}

type slot struct {
	host  []byte
	sent  event
	taken bool
}

// of returns rows for a launch. Unless scale is nil, the scale of each row replaces the
// weight of its noise. draws says whether the kernel draws the rows' noise.
func (t *table) of(d *Device, rows []sampler.Row, scale []float64, draws bool) (rowsArg, error) {
	if uniform(rows, scale, draws) {
		r := rows[0]
		a := rowsArg{x: float(r.X), v: float(r.V), e: float(r.Eps), step: uint64(r.Step), sample: r.Sample, block: uint64(r.Block)}
		if scale != nil {
			a.e = float(scale[0])
		}
		return a, nil
	}
	n := len(rows) * rowBytes
	at, err := t.device.room(d, n)
	if err != nil {
		return rowsArg{}, err
	}
	s, err := t.take(d.drv, n)
	if err != nil {
		return rowsArg{}, err
	}
	for i := range rows {
		r := &rows[i]
		e := r.Eps
		if scale != nil {
			e = scale[i]
		}
		encodeRow(s.host[i*rowBytes:][:rowBytes], r, e)
	}
	if err := d.drv.upload(at, s.host[:n]); err != nil {
		return rowsArg{}, fmt.Errorf("rows: %w", err)
	}
	s.taken = true // the driver reads it, even if record fails
	if err := d.drv.record(s.sent); err != nil {
		return rowsArg{}, fmt.Errorf("rows: %w", err)
	}
	return rowsArg{table: at}, nil
}

func encodeRow(dst []byte, r *sampler.Row, e float64) {
	put := binary.LittleEndian
	put.PutUint32(dst, math.Float32bits(float32(r.X)))
	put.PutUint32(dst[4:], math.Float32bits(float32(r.V)))
	put.PutUint32(dst[8:], math.Float32bits(float32(e)))
	put.PutUint32(dst[12:], r.Step)
	put.PutUint64(dst[16:], r.Sample)
	put.PutUint64(dst[24:], uint64(r.Block)) // the upper four bytes are unused
}

// uniform reports whether all rows do the same. Where noise is drawn, the samples must also
// be consecutive, and the rows must start at the same block. So spans of one sample that
// draw noise are not uniform; they usually take different steps anyway. Spans of equal
// weights are uniform in replays, gradients and steps without noise.
func uniform(rows []sampler.Row, scale []float64, draws bool) bool {
	first := &rows[0]
	draws = draws && first.Eps != 0
	for i := 1; i < len(rows); i++ {
		r := &rows[i]
		if r.Affine != first.Affine {
			return false
		}
		if draws && (r.Step != first.Step || r.Block != first.Block || r.Sample != first.Sample+uint64(i)) {
			return false
		}
		if scale != nil && float(scale[i]) != float(scale[0]) {
			return false
		}
	}
	return true
}

// take returns a slot of at least that many bytes that does not wait to be sent. take itself
// never waits: there are as many slots as calls were ever on their way at once. The driver
// bounds that number, as it bounds the number of queued launches.
func (t *table) take(drv driver, bytes int) (*slot, error) {
	if len(t.slots) > 0 {
		s := &t.slots[t.next]
		if s.taken {
			sent, err := drv.reached(s.sent)
			if err != nil {
				return nil, fmt.Errorf("rows: %w", err)
			}
			s.taken = !sent
		}
		if !s.taken {
			if len(s.host) < bytes {
				if err := s.grow(drv, bytes); err != nil {
					return nil, err
				}
			}
			t.next = (t.next + 1) % len(t.slots)
			return s, nil
		}
	}
	e, err := drv.newEvent()
	if err != nil {
		return nil, fmt.Errorf("rows: %w", err)
	}
	// The new slot goes before the one that waits.
	t.slots = append(t.slots, slot{})
	copy(t.slots[t.next+1:], t.slots[t.next:])
	t.slots[t.next] = slot{sent: e}
	s := &t.slots[t.next]
	if err := s.grow(drv, bytes); err != nil {
		return nil, err
	}
	t.next = (t.next + 1) % len(t.slots)
	return s, nil
}

func (s *slot) grow(drv driver, bytes int) error {
	if s.host != nil {
		old := s.host
		s.host = nil
		if err := drv.freeHost(old); err != nil {
			return fmt.Errorf("rows: %w", err)
		}
	}
	bytes = roomFor(bytes)
	var err error
	if s.host, err = drv.allocHost(bytes); err != nil {
		return fmt.Errorf("%d bytes of pinned memory for rows: %w", bytes, err)
	}
	return nil
}

func (t *table) release(drv driver) error {
	errs := []error{t.device.release(drv)}
	for _, s := range t.slots {
		errs = append(errs, drv.freeEvent(s.sent))
		if s.host != nil {
			errs = append(errs, drv.freeHost(s.host))
		}
	}
	*t = table{}
	return errors.Join(errs...)
}
