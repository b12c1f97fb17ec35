package sampler

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"cps/internal/kernel"
)

// CPU is the Device of the caller's own slices. Its Sync never fails, its methods
// return when their work is done, and it is safe for concurrent use.
//
// Workers is the largest number of goroutines a call uses; 0 means GOMAXPROCS.
// Their number never changes a bit. Small calls run on the caller's goroutine.
// Methods do not allocate, once pooled memory for the largest call exists.
type CPU struct{ Workers int }

var _ Device[[]float32] = CPU{}

// Step implements [Device].
func (c CPU) Step(dst, x, v []float32, b Batch, sq []float64) {
	b.checkInputs(dst, x, v)
	if sq != nil && len(sq) != len(b.Rows) {
		panic("sampler: length of sq is not the number of rows")
	}
	c.run(pass{kind: doStep, out: dst, x: x, v: v, b: b, sq: sq})
}

// Squares implements [Device].
func (c CPU) Squares(sq []float64, next, x, v []float32, b Batch) {
	b.checkInputs(next, x, v)
	if len(sq) != len(b.Rows) {
		panic("sampler: length of sq is not the number of rows")
	}
	c.run(pass{kind: doSquares, out: next, x: x, v: v, b: b, sq: sq})
}

// Grad implements [Device].
func (c CPU) Grad(dst, next, x, v []float32, b Batch, scale []float64) {
	b.checkInputs(next, x, v)
	if len(dst) != len(next) {
		panic("sampler: length of dst is not len(Rows)·Dim")
	}
	if len(scale) != len(b.Rows) {
		panic("sampler: length of scale is not the number of rows")
	}
	c.run(pass{kind: doGrad, out: dst, next: next, x: x, v: v, b: b, scale: scale})
}

// Sync implements [Device].
func (CPU) Sync() error { return nil }

// checkInputs panics unless all buffers that a row reads fit b.
func (b Batch) checkInputs(out, x, v []float32) {
	b.checkDim()
	if len(out)/b.Dim != len(b.Rows) || len(out)%b.Dim != 0 {
		panic("sampler: length of dst or next is not len(Rows)·Dim")
	}
	for i := range b.Rows {
		switch r := &b.Rows[i]; {
		case r.X != 0 && len(x) != len(out):
			panic("sampler: length of x is not len(Rows)·Dim")
		case r.V != 0 && len(v) != len(out):
			panic("sampler: length of v is not len(Rows)·Dim")
		case r.Step == math.MaxUint32:
			panic("sampler: noise step 1<<32 - 1 is reserved, see noise.ID")
		}
	}
}

const (
	pieceBlocks = 16 // blocks of a row that one worker does at a time
	pieceLen    = pieceBlocks * kernel.BlockLen
)

// worthwhile is how many microseconds one goroutine must have to do for a call to
// start others. Measured on two cores of an AMD EPYC: waking the second costs about
// 100, so that 200 is where two finish sooner than one.
var worthwhile = 200.0

const (
	doStep = iota
	doSquares
	doGrad
)

// A pass is one call of a method, cut into pieces of rows.
type pass struct {
	kind      int
	out, next []float32
	x, v      []float32
	b         Batch
	sq, scale []float64

	pieces int       // of each row
	sums   []float32 // of all blocks of all rows, unless every row is one piece
}

// do does pieces lo to hi-1 of all pieces of all rows.
func (p *pass) do(w *kernel.Work, lo, hi int) {
	ahead := 0
	for j := lo; j < hi; j++ {
		row := j / p.pieces
		if row >= ahead {
			ahead = p.ahead(w, row, (hi-1)/p.pieces+1)
		}
		p.piece(w, row, j%p.pieces)
	}
}

// ahead makes the noise of short rows from i on, not beyond end, and returns the
// first row whose noise it did not make.
func (p *pass) ahead(w *kernel.Work, i, end int) int {
	room := kernel.AheadLen(p.b.Dim)
	if p.kind != doStep || room == 0 {
		return end
	}
	var streams [kernel.MaxAhead]kernel.Stream
	n := 0
	for ; i < end && n < room; i++ {
		if row := &p.b.Rows[i]; float32(row.Eps) != 0 {
			streams[n] = p.stream(row)
			n++
		}
	}
	w.Ahead(streams[:n], p.b.Dim)
	return i
}

// microseconds returns about how long one goroutine takes.
func (p *pass) microseconds() float64 {
	rate := kernel.PassRate()
	if p.kind == doStep {
		rate = kernel.StepRate()
	}
	return float64(p.b.Len()) / rate
}

// stream returns the noise of a row.
func (p *pass) stream(row *Row) kernel.Stream {
	return kernel.Stream{Key: uint64(p.b.Key), Sample: row.Sample, Step: row.Step}
}

// piece does piece k of row i.
func (p *pass) piece(w *kernel.Work, i, k int) {
	row := &p.b.Rows[i]
	n := p.b.Dim
	lo, hi := i*n+k*pieceLen, i*n+min(n, (k+1)*pieceLen)
	a := kernel.Affine{X: float32(row.X), V: float32(row.V), Eps: float32(row.Eps)}
	x, v := p.x, p.v
	if a.X != 0 {
		x = x[lo:hi]
	}
	if a.V != 0 {
		v = v[lo:hi]
	}
	out := p.out[lo:hi]

	var local [pieceBlocks]float32
	sums := local[:kernel.Blocks(len(out))]
	if p.sums != nil {
		first := i*kernel.Blocks(n) + k*pieceBlocks
		sums = p.sums[first:][:len(sums)]
	}
	switch p.kind {
	case doStep:
		if p.sq == nil {
			sums = nil
		}
		w.Step(sums, out, x, v, a, p.stream(row), uint64(k)*pieceLen, kernel.Storage(p.b.Storage))
	case doSquares:
		kernel.Squares(sums, out, x, v, a)
	case doGrad:
		kernel.Grad(out, p.next[lo:hi], x, v, a, float32(p.scale[i]))
		return
	}
	if p.sums == nil && p.sq != nil {
		p.add(i, k == 0, sums)
	}
}

// add adds sums, in order, to the sum of squares of row i.
func (p *pass) add(i int, first bool, sums []float32) {
	var t float64
	if !first {
		t = p.sq[i]
	}
	for _, s := range sums {
		t += float64(s)
	}
	p.sq[i] = t
}

// run does all pieces of p, on several goroutines if that pays.
func (c CPU) run(p pass) {
	p.pieces = (p.b.Dim-1)/pieceLen + 1
	workers := c.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	total := p.pieces * len(p.b.Rows)
	if workers = min(workers, total); workers < 2 || p.microseconds() < worthwhile {
		w := works.Get().(*kernel.Work)
		p.do(w, 0, total)
		works.Put(w)
		return
	}

	t := teams.Get().(*team)
	if p.pieces > 1 && p.sq != nil {
		blocks := kernel.Blocks(p.b.Dim)
		if n := blocks * len(p.b.Rows); cap(t.sums) < n {
			t.sums = make([]float32, n)
		} else {
			t.sums = t.sums[:n]
		}
		p.sums = t.sums
	}
	t.pass, t.total = p, int64(total)
	// Short rows go many at a time, so that taking them costs nothing.
	t.grain = max(1, int64(pieceLen/p.b.Dim))
	t.next.Store(0)
	t.wait.Add(workers - 1)
	for range workers - 1 {
		go t.help()
	}
	t.work()
	t.wait.Wait()
	if p.sums != nil {
		blocks := kernel.Blocks(p.b.Dim)
		for i := range p.b.Rows {
			p.add(i, true, p.sums[i*blocks:][:blocks])
		}
	}
	t.pass = pass{} // keep no reference to the caller's memory
	teams.Put(t)
}

// A team is goroutines that share the pieces of a pass.
type team struct {
	pass  pass
	total int64 // pieces of all rows
	grain int64 // pieces taken at a time
	next  atomic.Int64
	wait  sync.WaitGroup
	sums  []float32
	help  func() // kept, since making it allocates
}

// works are kept, since clearing one costs more than a short row.
var works = sync.Pool{New: func() any { return new(kernel.Work) }}

var teams = sync.Pool{New: func() any {
	t := new(team)
	t.help = func() {
		defer t.wait.Done()
		t.work()
	}
	return t
}}

// work does pieces until none is left.
func (t *team) work() {
	w := works.Get().(*kernel.Work)
	defer works.Put(w)
	for {
		hi := t.next.Add(t.grain)
		lo := hi - t.grain
		if lo >= t.total {
			return
		}
		t.pass.do(w, int(lo), int(min(hi, t.total)))
	}
}
