package cuda

import (
	"fmt"
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

// check panics unless a buffer, named name, can hold the elements of a batch that a
// kernel reads or writes.
func (b Buffer) check(name string, of sampler.Batch) {
	if n := of.Len(); b.Len != n {
		panic(fmt.Sprintf("cuda: length of %s is %d, not len(Rows)·Dim = %d·%d = %d", name, b.Len, len(of.Rows), of.Dim, n))
	}
	b.checkUse(name)
}

// checkSlice panics unless a buffer can be copied from or to a slice of n elements.
func (b Buffer) checkSlice(call string, n int) {
	if b.Len != n {
		panic(fmt.Sprintf("cuda: %s: lengths of a buffer and of a slice differ: %d and %d", call, b.Len, n))
	}
	b.checkUse("the buffer")
}

// checkUse panics unless a kernel can read or write a buffer.
func (b Buffer) checkUse(name string) {
	switch {
	case b.Type > sampler.Float16:
		panic(fmt.Sprintf("cuda: type of %s is unknown: %d", name, b.Type))
	case b.Len > 0 && b.Ptr == 0:
		panic(fmt.Sprintf("cuda: %s is used and has no address", name))
	case b.Ptr%uintptr(size(b.Type)) != 0:
		panic(fmt.Sprintf("cuda: address %#x of %s is not a multiple of the %d bytes of an element", b.Ptr, name, size(b.Type)))
	}
}

// checkEach panics unless a slice has an entry a row.
func checkEach(name string, n int, b sampler.Batch) {
	if n != len(b.Rows) {
		panic(fmt.Sprintf("cuda: length of %s is %d, not the number of rows, %d", name, n, len(b.Rows)))
	}
}

// overlaps reports whether b and c share memory without being the same buffer.
func (b Buffer) overlaps(c Buffer) bool {
	return b != c && b.Ptr < c.end() && c.Ptr < b.end()
}

func (b Buffer) end() uintptr { return b.Ptr + uintptr(b.Len)*uintptr(size(b.Type)) }

const partOverlap = "cuda: dst and an input overlap and are not the same buffer"

// checkInputs panics unless out, named name, and all buffers that rows read fit b. It
// returns which inputs rows read.
func checkInputs(b sampler.Batch, name string, out, x, v Buffer) (readX, readV bool) {
	out.check(name, b)
	if b.Storage > sampler.Float16 {
		panic("cuda: storage of a batch is unknown")
	}
	for i := range b.Rows {
		r := &b.Rows[i]
		readX, readV = readX || r.X != 0, readV || r.V != 0
		if r.Step == math.MaxUint32 {
			panic(fmt.Sprintf("cuda: row %d (sample %d): noise step 1<<32 - 1 is reserved, see noise.ID", i, r.Sample))
		}
		if uint64(r.Block) > (sampler.MaxDim-uint64(b.Dim))/4 {
			panic(fmt.Sprintf("cuda: row %d (sample %d), of %d elements from block %d on, ends beyond the 2³⁴ elements of its sample", i, r.Sample, b.Dim, r.Block))
		}
	}
	if readX {
		x.check("x", b)
	}
	if readV {
		v.check("v", b)
	}
	return readX, readV
}

// checkApart panics if dst overlaps an input that is read and is not the same buffer.
func checkApart(dst, input Buffer, read bool) {
	if read && dst.overlaps(input) {
		panic(partOverlap)
	}
}
