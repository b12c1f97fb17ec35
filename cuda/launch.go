package cuda

import (
	"errors"
	"fmt"
	"math"

	"cps/sampler"
)

const maxArgs = 19 // parameters of a kernel, at most

// errTooMany reports a batch that no GPU has the memory for.
var errTooMany = errors.New("more than 2³² blocks of 1024 elements")

// A shape says how a batch is cut into blocks, and how warps share them; see
// kernels/pass.h.
type shape struct {
	groups         int
	blocks, items  uint64 // blocks of a row, and of all rows
	byRow, byBlock uint64 // how many rows and blocks on a warp's next block is
	dim            uint64
}

func (d *Device) shape(k kernel, b sampler.Batch) (shape, error) {
	s := shape{dim: uint64(b.Dim), blocks: uint64(b.Dim-1)/blockLen + 1}
	s.items = s.blocks * uint64(len(b.Rows))
	if uint64(len(b.Rows)) > math.MaxUint32/s.blocks {
		return s, errTooMany
	}
	s.groups = d.groups(k, s.items)
	n := uint64(s.groups * warps)
	s.byRow, s.byBlock = n/s.blocks, n%s.blocks
	return s, nil
}

// groups returns how many groups of threads share the work of that many warps.
func (d *Device) groups(k kernel, work uint64) int {
	return int(min((work-1)/warps+1, uint64(d.drv.resident(k)*rounds)))
}

func float(x float64) uint64 { return uint64(math.Float32bits(float32(x))) }

func (d *Device) step(dst, x, v Buffer, b sampler.Batch, round sampler.Storage, sq []float64) error {
	s, err := d.shape(stepKernel, b)
	if err != nil {
		return err
	}
	rows, err := d.rows.of(d, b.Rows, nil, true)
	if err != nil {
		return err
	}
	sums, out, err := d.sumsOf(s, sq)
	if err != nil {
		return err
	}
	types := uint64(dst.Type) | uint64(x.Type)<<8 | uint64(v.Type)<<16 | uint64(round)<<24
	err = d.launch(stepKernel, s.groups,
		uint64(dst.Ptr), uint64(x.Ptr), uint64(v.Ptr), types,
		uint64(rows.table), rows.x, rows.v, rows.e, rows.step, rows.sample, rows.block,
		uint64(b.Key), s.dim, s.blocks, s.items, s.byRow, s.byBlock, uint64(sums), uint64(out))
	if err != nil || sq == nil {
		return err
	}
	return d.sumRows(s, sums, out, sq)
}

func (d *Device) squares(sq []float64, next, x, v Buffer, b sampler.Batch) error {
	s, err := d.shape(squaresKernel, b)
	if err != nil {
		return err
	}
	rows, err := d.rows.of(d, b.Rows, nil, false)
	if err != nil {
		return err
	}
	sums, out, err := d.sumsOf(s, sq)
	if err != nil {
		return err
	}
	types := uint64(next.Type) | uint64(x.Type)<<8 | uint64(v.Type)<<16
	err = d.launch(squaresKernel, s.groups,
		uint64(next.Ptr), uint64(x.Ptr), uint64(v.Ptr), types,
		uint64(rows.table), rows.x, rows.v,
		s.dim, s.blocks, s.items, s.byRow, s.byBlock, uint64(sums), uint64(out))
	if err != nil {
		return err
	}
	return d.sumRows(s, sums, out, sq)
}

func (d *Device) grad(dst, next, x, v Buffer, b sampler.Batch, scale []float64) error {
	s, err := d.shape(gradKernel, b)
	if err != nil {
		return err
	}
	rows, err := d.rows.of(d, b.Rows, scale, false)
	if err != nil {
		return err
	}
	types := uint64(dst.Type) | uint64(next.Type)<<8 | uint64(x.Type)<<16 | uint64(v.Type)<<24
	return d.launch(gradKernel, s.groups,
		uint64(dst.Ptr), uint64(next.Ptr), uint64(x.Ptr), uint64(v.Ptr), types,
		uint64(rows.table), rows.x, rows.v, rows.e,
		s.dim, s.blocks, s.items, s.byRow, s.byBlock)
}

// sumRows queues the addition of block sums, if rows have several blocks. It also
// promises the sums in out to sq.
func (d *Device) sumRows(s shape, sums, out uintptr, sq []float64) error {
	if s.blocks > 1 {
		rows := uint64(len(sq))
		if err := d.launch(sumRowsKernel, d.groups(sumRowsKernel, rows), uint64(out), uint64(sums), s.blocks, rows); err != nil {
			return err
		}
	}
	d.results.promise(sq)
	return nil
}

// sumsOf returns device memory for the sums of blocks and of rows.
func (d *Device) sumsOf(s shape, sq []float64) (sums, out uintptr, err error) {
	if sq == nil {
		return 0, 0, nil
	}
	if s.blocks > 1 {
		if sums, err = d.sums.room(d, int(s.items)*4); err != nil {
			return 0, 0, err
		}
	}
	out, err = d.results.room(d, len(sq))
	return sums, out, err
}

func (d *Device) launch(k kernel, groups int, args ...uint64) error {
	n := copy(d.args[:], args)
	if err := d.drv.launch(k, groups, d.args[:n]); err != nil {
		return fmt.Errorf("kernel %v: %w", k, err)
	}
	return nil
}
