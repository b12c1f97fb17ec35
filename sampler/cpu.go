package sampler

import (
	"math"
	"sync/atomic"
	"unsafe"

	"cps/internal/kernel"
	"cps/noise"
)

// CPU is the Device of the caller's own slices. Its Sync never fails, its methods
// return when their work is done, and it is safe for concurrent use.
//
// Workers is the largest number of goroutines a call uses; 0 means GOMAXPROCS, and more
// than that are not used. Their number never changes a bit. Small calls run on the
// caller's goroutine. A goroutine that helped with a call waits for the next one for
// about a tenth of a millisecond, which takes time of a processor, and then ends.
// Methods do not allocate, once pooled memory for the largest call exists.
type CPU struct{ Workers int }

var _ Device[[]float32] = CPU{}

// Step implements [Device].
func (c CPU) Step(dst, x, v []float32, b Batch, sq []float64) {
	checkStep(b, dst, x, v, sq)
	run(c.Workers, &job[float32]{kind: kernel.StepPass, out: dst, x: x, v: v, b: b, sq: sq})
}

// SumSquares implements [Device].
func (c CPU) SumSquares(sq []float64, next, x, v []float32, b Batch) {
	checkSquares(b, sq, next, x, v)
	run(c.Workers, &job[float32]{kind: kernel.SquaresPass, out: next, x: x, v: v, b: b, sq: sq})
}

// Grad implements [Device].
func (c CPU) Grad(dst, next, x, v []float32, b Batch, scale []float64) {
	checkGrad(b, dst, next, x, v, scale)
	run(c.Workers, &job[float32]{kind: kernel.GradPass, out: dst, next: next, x: x, v: v, b: b, scale: scale})
}

// Sync implements [Device].
func (CPU) Sync() error { return nil }

// CPU16 is the Device of the caller's own slices of 16-bit words: latents, outputs and
// gradients in bfloat16 or float16. Results are the bits of [CPU] on the values of the
// words: arithmetic is float32, a step is rounded before its sum of squares is taken, and
// a gradient after it is added.
//
// Type is BFloat16 or Float16. The Storage of a batch is the same, or Float32, which asks
// for no other rounding, as [Batch.WithAffine] has it. Another one panics. Else CPU16 is as CPU.
type CPU16 struct {
	Type    Storage
	Workers int
}

var _ Device[[]uint16] = CPU16{}

// Step implements [Device].
func (c CPU16) Step(dst, x, v []uint16, b Batch, sq []float64) {
	c.check(b)
	checkStep(b, dst, x, v, sq)
	b.Storage = c.Type
	run(c.Workers, &job[uint16]{kind: kernel.StepPass, out: dst, x: x, v: v, b: b, sq: sq})
}

// SumSquares implements [Device].
func (c CPU16) SumSquares(sq []float64, next, x, v []uint16, b Batch) {
	c.check(b)
	checkSquares(b, sq, next, x, v)
	b.Storage = c.Type
	run(c.Workers, &job[uint16]{kind: kernel.SquaresPass, out: next, x: x, v: v, b: b, sq: sq})
}

// Grad implements [Device].
func (c CPU16) Grad(dst, next, x, v []uint16, b Batch, scale []float64) {
	c.check(b)
	checkGrad(b, dst, next, x, v, scale)
	b.Storage = c.Type
	run(c.Workers, &job[uint16]{kind: kernel.GradPass, out: dst, next: next, x: x, v: v, b: b, scale: scale})
}

// Sync implements [Device].
func (CPU16) Sync() error { return nil }

// keeps returns the type of all latents of a device that has but one, else Float32.
func keeps(d any) Storage {
	if c, ok := d.(CPU16); ok {
		return c.Type
	}
	return Float32
}

// check panics unless words have a type and b is stored in it.
func (c CPU16) check(b Batch) {
	switch {
	case c.Type != BFloat16 && c.Type != Float16:
		panic("sampler: Type of CPU16 is not BFloat16 or Float16")
	case b.Storage != Float32 && b.Storage != c.Type:
		panic("sampler: CPU16 and the batch store different 16-bit types")
	}
}

func checkStep[T kernel.Element](b Batch, dst, x, v []T, sq []float64) {
	checkOut(b, dst)
	if sq != nil && len(sq) != len(b.Rows) {
		panic("sampler: length of sq is not the number of rows")
	}
}

func checkSquares[T kernel.Element](b Batch, sq []float64, next, x, v []T) {
	checkOut(b, next)
	if len(sq) != len(b.Rows) {
		panic("sampler: length of sq is not the number of rows")
	}
}

func checkGrad[T kernel.Element](b Batch, dst, next, x, v []T, scale []float64) {
	checkOut(b, next)
	if len(dst) != len(next) {
		panic("sampler: length of dst is not len(Rows)·Dim")
	}
	if len(scale) != len(b.Rows) {
		panic("sampler: length of scale is not the number of rows")
	}
}

// checkOut panics unless what all rows read or write fits b. Other inputs are checked when the
// turn of a row comes that reads them, since a walk over many short rows costs much beside
// their pass.
func checkOut[T kernel.Element](b Batch, out []T) {
	b.checkDim()
	if b.Storage > Float16 {
		panic("sampler: storage of a batch is unknown")
	}
	if len(out)/b.Dim != len(b.Rows) || len(out)%b.Dim != 0 {
		panic("sampler: length of dst or next is not len(Rows)·Dim")
	}
}

const (
	pieceBlocks = 16 // blocks of a row that one worker does at a time
	pieceLen    = pieceBlocks * kernel.BlockLen
)

// A job is one call of a method, cut into pieces of rows.
type job[T kernel.Element] struct {
	kind      kernel.Kind
	out, next []T
	x, v      []T
	b         Batch
	sq, scale []float64

	rowPieces int       // of each row
	sums      []float32 // of all blocks of all rows, unless every row is one piece

	fault uint32 // of a row, found when its turn came
}

// Faults of rows.
const (
	reservedStep = 1 + iota
	beyondSample
	shortX
	shortV
)

// A worker is what one goroutine needs. It is kept, since clearing one costs more than a
// short row.
type worker struct {
	kernel.Work
	floats [max(kernel.MaxRows, pieceBlocks)]float32 // sums of blocks, or scales
}

// run does j on so many goroutines at most, if sharing pays.
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
	switch j.fault {
	case reservedStep:
		panic("sampler: noise step 1<<32 - 1 is reserved, see noise.ID")
	case beyondSample:
		panic("sampler: a row ends beyond the 2³⁴ elements of its sample")
	case shortX:
		panic("sampler: length of x is not len(Rows)·Dim")
	case shortV:
		panic("sampler: length of v is not len(Rows)·Dim")
	}
}

// share does j with helpers, or reports that none is awake and that they must be.
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
	// Short rows go many at a time, so that taking them costs nothing.
	t.pieces, t.grain = int64(pieces), max(1, int64(pieceLen/j.b.Dim))
	t.do(w, helpers)
	if j.sums != nil {
		fold(j.sq, j.sums)
	}
	j.fault = kept.fault
	t.forget()
	teams.Put(t)
	return true
}

// do does pieces lo to hi-1 of all pieces of all rows, many rows at a time if they are
// short.
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
		i, from := lo/j.rowPieces, lo%j.rowPieces*pieceLen // n rows from i on, or a piece of one
		dim := min(pieceLen, j.b.Dim-from)
		begin := i*j.b.Dim + from
		end := begin + n*dim
		var p kernel.Pass[T] // no literal, which is copied and waits for its stores
		p.Kind, p.Storage, p.Key = j.kind, kernel.Storage(j.b.Storage), uint64(j.b.Key)
		p.Dim, p.Block, p.Out = dim, uint32(from/4), j.out[begin:end]
		p.Rows = kernelRows(j.b.Rows[i:][:n])
		found := kernel.SurveyOf(p.Rows)
		if fault := j.faultOf(found); fault != 0 {
			atomic.StoreUint32(&j.fault, fault)
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
		default: // on one goroutine pieces come in order
			for _, s := range p.Sums {
				j.sq[i] += float64(s)
			}
		}
	}
}

// faultOf returns what is wrong with rows, or 0.
func (j *job[T]) faultOf(s kernel.Survey) uint32 {
	switch {
	case s.Step == math.MaxUint32:
		return reservedStep
	case uint64(s.Block) > (MaxDim-uint64(j.b.Dim))/4:
		return beyondSample
	case s.ReadsX && len(j.x) != len(j.out):
		return shortX
	case s.ReadsV && len(j.v) != len(j.out):
		return shortV
	}
	return 0
}

// kernelRows returns the same rows as a kernel reads them. A copy of them would cost as much
// as a tenth of the work on short rows.
func kernelRows(rows []Row) []kernel.Row {
	return unsafe.Slice((*kernel.Row)(unsafe.Pointer(unsafe.SliceData(rows))), len(rows))
}

// Constants overflow unless both kinds of rows are laid out alike.
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

// fold stores in sq the sums of rows, of whose blocks there are equally many, in order.
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

// microseconds returns about how long one goroutine takes.
func (j *job[T]) microseconds() float64 {
	rate := kernel.PassRate()
	if j.kind == kernel.StepPass {
		rate = kernel.StepRate()
	}
	return float64(len(j.out)) / rate
}
