package sampler

import (
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"cps/internal/kernel"
	"cps/noise"
)

// CPU is the Device of the caller's own slices. Its methods return when their work is done,
// and its Sync never fails. It is safe for concurrent use.
//
// Workers is the largest number of goroutines for a call. 0 means GOMAXPROCS, which is also
// the upper limit. The number never changes a bit of a result. Small calls run on the
// caller's goroutine. A goroutine that helped with a call spins for about a tenth of a
// millisecond, ready for the next call, and then ends. Methods do not allocate once pooled
// memory for the largest call exists.
//
// The noise of rows, and the inputs that they read, are checked when their turn comes. A call
// that panics because of them may have written other rows by then. It has written nothing if it
// has at most 256 rows and 16384 elements.
type CPU struct{ Workers int }

var _ Device[[]float32] = CPU{}

// Step implements [Device].
func (c CPU) Step(dst, x, v []float32, b Batch, sq []float64) {
	checkStep(b, dst, sq)
	run(c.Workers, &job[float32]{kind: kernel.StepPass, out: dst, x: x, v: v, b: b, sq: sq})
}

// SumSquares implements [Device].
func (c CPU) SumSquares(sq []float64, next, x, v []float32, b Batch) {
	checkSquares(b, sq, next)
	run(c.Workers, &job[float32]{kind: kernel.SquaresPass, out: next, x: x, v: v, b: b, sq: sq})
}

// Grad implements [Device].
func (c CPU) Grad(dst, next, x, v []float32, b Batch, scale []float64) {
	checkGrad(b, dst, next, scale)
	run(c.Workers, &job[float32]{kind: kernel.GradPass, out: dst, next: next, x: x, v: v, b: b, scale: scale})
}

// Sync implements [Device].
func (CPU) Sync() error { return nil }

// CPU16 is the Device of the caller's own slices of 16-bit words. Latents, outputs and
// gradients are bfloat16 or float16. Results are those of [CPU] on the values of the words,
// bit for bit: arithmetic is float32. A step is rounded before its sum of squares is taken,
// and a gradient after it is added.
//
// Type is BFloat16 or Float16. The Storage of a batch is Type, or Float32, which asks for no
// rounding but the device's own ([Batch.WithAffine] sets it). Other types panic. In all else
// CPU16 is like CPU.
type CPU16 struct {
	Type    Storage
	Workers int
}

var _ Device[[]uint16] = CPU16{}

// Step implements [Device].
func (c CPU16) Step(dst, x, v []uint16, b Batch, sq []float64) {
	c.check(b)
	checkStep(b, dst, sq)
	b.Storage = c.Type
	run(c.Workers, &job[uint16]{kind: kernel.StepPass, out: dst, x: x, v: v, b: b, sq: sq})
}

// SumSquares implements [Device].
func (c CPU16) SumSquares(sq []float64, next, x, v []uint16, b Batch) {
	c.check(b)
	checkSquares(b, sq, next)
	b.Storage = c.Type
	run(c.Workers, &job[uint16]{kind: kernel.SquaresPass, out: next, x: x, v: v, b: b, sq: sq})
}

// Grad implements [Device].
func (c CPU16) Grad(dst, next, x, v []uint16, b Batch, scale []float64) {
	c.check(b)
	checkGrad(b, dst, next, scale)
	b.Storage = c.Type
	run(c.Workers, &job[uint16]{kind: kernel.GradPass, out: dst, next: next, x: x, v: v, b: b, scale: scale})
}

// Sync implements [Device].
func (CPU16) Sync() error { return nil }

// keeps returns the type in which d keeps all latents, or Float32 for a device that fixes
// none.
func keeps(d any) Storage {
	if c, ok := d.(CPU16); ok {
		return c.Type
	}
	return Float32
}

// check panics unless c has a 16-bit type and b has that type or Float32.
func (c CPU16) check(b Batch) {
	switch {
	case c.Type != BFloat16 && c.Type != Float16:
		panic("sampler: Type of CPU16 is not BFloat16 or Float16")
	case b.Storage != Float32 && b.Storage != c.Type:
		panic("sampler: CPU16 and the batch store different 16-bit types")
	}
}

func checkStep[T kernel.Element](b Batch, dst []T, sq []float64) {
	checkOut(b, "dst", dst)
	if sq != nil {
		checkEach("sq", len(sq), len(b.Rows))
	}
}

func checkSquares[T kernel.Element](b Batch, sq []float64, next []T) {
	checkOut(b, "next", next)
	checkEach("sq", len(sq), len(b.Rows))
}

func checkGrad[T kernel.Element](b Batch, dst, next []T, scale []float64) {
	checkOut(b, "next", next)
	if len(dst) != len(next) {
		panicLength("dst", len(dst), b)
	}
	checkEach("scale", len(scale), len(b.Rows))
}

// checkEach panics unless a slice has an entry a row.
func checkEach(name string, n, rows int) {
	if n != rows {
		panicEach(name, n, rows)
	}
}

// checkOut panics unless out, named name, has the length of b. Rows and the buffers that they
// read are checked piece by piece: a walk over many short rows costs much beside their pass.
func checkOut[T kernel.Element](b Batch, name string, out []T) {
	b.checkDim()
	if b.Storage > Float16 {
		panic("sampler: storage of a batch is unknown")
	}
	if len(out)/b.Dim != len(b.Rows) || len(out)%b.Dim != 0 {
		panicLength(name, len(out), b)
	}
}

// What panics is apart, so that the calls that do not take no time for the words.

// panicRows panics with the first fault of a row's noise, or else of a buffer that a row reads.
//
//go:noinline
func (j *job[T]) panicRows() {
	panicNoise(j.b)
	for i := range j.b.Rows {
		switch r := &j.b.Rows[i]; {
		case r.X != 0 && len(j.x) != len(j.out):
			panicLength("x", len(j.x), j.b)
		case r.V != 0 && len(j.v) != len(j.out):
			panicLength("v", len(j.v), j.b)
		}
	}
}

//go:noinline
func panicLength(name string, n int, b Batch) {
	panic(fmt.Sprintf("sampler: length of %s is %d, not len(Rows)·Dim = %d·%d = %d", name, n, len(b.Rows), b.Dim, b.Len()))
}

//go:noinline
func panicEach(name string, n, rows int) {
	panic(fmt.Sprintf("sampler: length of %s is %d, not the number of rows, %d", name, n, rows))
}

// panicNoise panics if a row is of the reserved noise step, or ends beyond its sample.
//
//go:noinline
func panicNoise(b Batch) {
	for i, r := range b.Rows {
		if r.Step == math.MaxUint32 {
			panic(fmt.Sprintf("sampler: row %d (sample %d): noise step 1<<32 - 1 is reserved, see noise.ID", i, r.Sample))
		}
		checkEnd(i, r, b.Dim)
	}
}

// checkEnd panics if a row of dim elements ends beyond its sample.
func checkEnd(i int, r Row, dim int) {
	if uint64(r.Block) > (MaxDim-uint64(dim))/4 {
		panic(fmt.Sprintf("sampler: row %d (sample %d), of %d elements from block %d on, ends beyond the 2³⁴ elements of its sample", i, r.Sample, dim, r.Block))
	}
}

const (
	pieceBlocks = 16 // blocks of a row in one piece of work
	pieceLen    = pieceBlocks * kernel.BlockLen
)

// A job is one call of a method, cut into pieces of work.
type job[T kernel.Element] struct {
	kind      kernel.Kind
	out, next []T
	x, v      []T
	b         Batch
	sq, scale []float64

	rowPieces int       // pieces of each row
	sums      []float32 // of all blocks of all rows, unless each row is one piece

	fault uint32 // not 0 if a piece has a row that cannot be done
}

// A worker is the scratch memory of one goroutine. It is kept, since clearing one costs more
// than a short row.
type worker struct {
	kernel.Work
	floats [max(kernel.MaxRows, pieceBlocks)]float32 // sums of blocks, or scales
}

// run does j on at most that many goroutines. It shares the work only if that pays.
func run[T kernel.Element](most int, j *job[T]) {
	j.rowPieces = (j.b.Dim-1)/pieceLen + 1
	pieces := j.rowPieces * len(j.b.Rows)
	us := j.microseconds()
	helpers := helpersFor(most, pieces, us)
	w := workers.Get().(*worker)
	if helpers < 1 || !j.share(w, pieces, helpers, us >= worthwhile) {
		j.do(w, 0, pieces)
	}
	workers.Put(w)
	if j.fault != 0 {
		j.panicRows()
	}
}

// share does j with helpers. It returns false if none is awake and start is false.
func (j *job[T]) share(w *worker, pieces, helpers int, start bool) bool {
	t := teams.Get().(*team)
	if !start && t.helpers.Load() == 0 {
		teams.Put(t)
		return false
	}
	if j.rowPieces > 1 && j.sq != nil {
		j.sums = t.blockSums(kernel.Blocks(j.b.Dim) * len(j.b.Rows))
	}
	kept := keep(t, j)
	// Many short rows make one piece, so that taking pieces costs nothing.
	t.pieces, t.grain = int64(pieces), max(1, int64(pieceLen/j.b.Dim))
	t.do(w, helpers)
	j.fault = kept.fault
	if j.sums != nil && j.fault == 0 {
		fold(j.sq, j.sums)
	}
	t.forget()
	teams.Put(t)
	return true
}

// do does pieces lo to hi-1, counted over all rows. Short rows go many at a time.
func (j *job[T]) do(w *worker, lo, hi int) {
	most := 1
	switch {
	case j.b.Dim <= kernel.BlockLen:
		most = kernel.MaxRows
	case j.rowPieces == 1:
		most = pieceLen / j.b.Dim
	}
	for n := 1; lo < hi; lo += n {
		n = min(most, hi-lo)
		i, from := lo/j.rowPieces, lo%j.rowPieces*pieceLen // n rows from row i on, or one piece of row i
		dim := min(pieceLen, j.b.Dim-from)
		begin := i*j.b.Dim + from
		end := begin + n*dim
		var p kernel.Pass[T] // not a literal: copying one would wait for its stores
		p.Kind, p.Storage, p.Key = j.kind, kernel.Storage(j.b.Storage), uint64(j.b.Key)
		p.Dim, p.Block, p.Out = dim, uint32(from/4), j.out[begin:end]
		p.Rows = kernelRows(j.b.Rows[i:][:n])
		found := kernel.SurveyOf(p.Rows)
		if !j.fits(found) {
			atomic.StoreUint32(&j.fault, 1)
			return
		}
		p.Same = found.Same
		// An input that no row reads may have any length.
		if len(j.x) == len(j.out) {
			p.X = j.x[begin:end]
		}
		if len(j.v) == len(j.out) {
			p.V = j.v[begin:end]
		}
		switch {
		case j.kind == kernel.GradPass:
			p.Next, p.Scales = j.next[begin:end], w.floats[:n]
			for k, s := range j.scale[i:][:n] {
				p.Scales[k] = float32(s)
			}
		case j.sums != nil:
			p.Sums = j.sums[i*kernel.Blocks(j.b.Dim)+from/kernel.BlockLen:][:n*kernel.Blocks(dim)]
		default:
			p.Sums = w.floats[:n*kernel.Blocks(dim)]
		}
		kernel.Do(&w.Work, &p)
		switch {
		case j.sq == nil || j.sums != nil:
		case from == 0:
			fold(j.sq[i:][:n], p.Sums)
		default: // one goroutine takes pieces in order
			for _, s := range p.Sums {
				j.sq[i] += float64(s)
			}
		}
	}
}

// fits reports whether rows of which s is the survey can be done.
func (j *job[T]) fits(s kernel.Survey) bool {
	return s.Step != math.MaxUint32 &&
		uint64(s.Block) <= (MaxDim-uint64(j.b.Dim))/4 &&
		(!s.ReadsX || len(j.x) == len(j.out)) &&
		(!s.ReadsV || len(j.v) == len(j.out))
}

// kernelRows returns the same memory as rows of a kernel. To copy short rows would cost up to a
// tenth of their pass.
func kernelRows(rows []Row) []kernel.Row {
	return unsafe.Slice((*kernel.Row)(unsafe.Pointer(unsafe.SliceData(rows))), len(rows))
}

// Constants overflow unless both kinds of rows have the same layout.
const (
	_ = -(unsafe.Sizeof(Row{}) ^ unsafe.Sizeof(kernel.Row{}))
	_ = -(unsafe.Offsetof(Row{}.X) ^ unsafe.Offsetof(kernel.Row{}.X))
	_ = -(unsafe.Offsetof(Row{}.V) ^ unsafe.Offsetof(kernel.Row{}.V))
	_ = -(unsafe.Offsetof(Row{}.Eps) ^ unsafe.Offsetof(kernel.Row{}.Eps))
	_ = -(unsafe.Offsetof(Row{}.ID) ^ unsafe.Offsetof(kernel.Row{}.ID))
	_ = -(unsafe.Offsetof(noise.ID{}.Sample) ^ unsafe.Offsetof(kernel.ID{}.Sample))
	_ = -(unsafe.Offsetof(noise.ID{}.Step) ^ unsafe.Offsetof(kernel.ID{}.Step))
	_ = -(unsafe.Offsetof(Row{}.Block) ^ unsafe.Offsetof(kernel.Row{}.Block))
)

// fold adds up the block sums of each row, in order, into sq. All rows have equally many
// blocks.
func fold(sq []float64, sums []float32) {
	blocks := len(sums) / len(sq)
	if blocks == 1 {
		for i, s := range sums {
			sq[i] = float64(s)
		}
		return
	}
	for i := range sq {
		var t float64
		for _, s := range sums[i*blocks:][:blocks] {
			t += float64(s)
		}
		sq[i] = t
	}
}

// microseconds estimates how long one goroutine takes for j.
func (j *job[T]) microseconds() float64 {
	rate := kernel.PassRate()
	if j.kind == kernel.StepPass {
		rate = kernel.StepRate()
	}
	return float64(len(j.out)) / rate
}
