package cuda

import (
	"math"

	"cps/sampler"
)

// A Buffer is device memory. A literal describes the caller's own memory;
// [Device.Make] returns new memory. The zero Buffer stands for an input that no row
// reads.
type Buffer struct {
	Ptr  uintptr         // device address, a multiple of the size of an element
	Len  int             // elements
	Type sampler.Storage // their type
}

// size returns the bytes of one element.
func size(t sampler.Storage) int {
	if t == sampler.Float32 {
		return 4
	}
	return 2
}

// check panics unless b can hold n elements that a kernel reads or writes.
func (b Buffer) check(n int, length string) {
	switch {
	case b.Len != n:
		panic(length)
	case b.Type > sampler.Float16:
		panic("cuda: type of a buffer is unknown")
	case n > 0 && b.Ptr == 0:
		panic("cuda: a buffer that is used has no address")
	case b.Ptr%uintptr(size(b.Type)) != 0:
		panic("cuda: address of a buffer is not a multiple of the size of its elements")
	}
}

// overlaps reports whether b and c share memory without being the same buffer.
func (b Buffer) overlaps(c Buffer) bool {
	return b != c && b.Ptr < c.end() && c.Ptr < b.end()
}

func (b Buffer) end() uintptr { return b.Ptr + uintptr(b.Len)*uintptr(size(b.Type)) }

const (
	outLength   = "cuda: length of dst or next is not len(Rows)·Dim"
	xLength     = "cuda: length of x is not len(Rows)·Dim"
	vLength     = "cuda: length of v is not len(Rows)·Dim"
	dstLength   = "cuda: length of dst is not len(Rows)·Dim"
	sqLength    = "cuda: length of sq is not the number of rows"
	scaleLength = "cuda: length of scale is not the number of rows"
	rowBeyond   = "cuda: a row ends beyond the 2³⁴ elements of its sample"
	partOverlap = "cuda: dst and an input overlap and are not the same buffer"
)

// checkInputs panics unless all buffers that rows read fit b. It returns which inputs
// rows read.
func checkInputs(b sampler.Batch, out, x, v Buffer) (readX, readV bool) {
	n := b.Len()
	out.check(n, outLength)
	if b.Storage > sampler.Float16 {
		panic("cuda: storage of a batch is unknown")
	}
	for i := range b.Rows {
		r := &b.Rows[i]
		readX, readV = readX || r.X != 0, readV || r.V != 0
		if r.Step == math.MaxUint32 {
			panic("cuda: noise step 1<<32 - 1 is reserved, see noise.ID")
		}
		if uint64(r.Block) > (sampler.MaxDim-uint64(b.Dim))/4 {
			panic(rowBeyond)
		}
	}
	if readX {
		x.check(n, xLength)
	}
	if readV {
		v.check(n, vLength)
	}
	return readX, readV
}

// checkApart panics if dst overlaps an input that is read and is not the same buffer.
func checkApart(dst, input Buffer, read bool) {
	if read && dst.overlaps(input) {
		panic(partOverlap)
	}
}
