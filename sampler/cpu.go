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
	if p.b.Dim <= kernel.BlockLen {
		p.shortRows(w, lo, hi)
		return
	}
	for j := lo; j < hi; j++ {
		p.piece(w, j/p.pieces, j%p.pieces)
	}
}

// shortRows does rows lo to hi-1 with as few calls as their weights allow.
func (p *pass) shortRows(w *kernel.Work, lo, hi int) {
	made := lo // first row whose noise was not made ahead
	for i, n := lo, 0; i < hi; i += n {
		if i == made {
			made = p.ahead(w, i, hi)
		}
		a := p.b.Rows[i].weights()
		for n = 1; i+n < made && p.b.Rows[i+n].weights() == a; n++ {
		}
		p.sameRows(w, i, n, a)
	}
}

// ahead makes the noise of rows from lo on, not beyond hi, and returns the first row whose
// noise it did not make, or the first of too many for one call.
func (p *pass) ahead(w *kernel.Work, lo, hi int) int {
	var streams [kernel.MaxRows]kernel.Stream
	room, n := kernel.AheadLen(p.b.Dim), 0
	i := lo
	for ; i < min(hi, lo+kernel.MaxRows); i++ {
		row := &p.b.Rows[i]
		if p.kind != doStep || float32(row.Eps) == 0 {
			continue
		}
		if n == max(room, 1) {
			break
		}
		streams[n] = p.stream(row)
		n++
	}
	if n > 1 {
		a := p.b.Rows[lo].weights()
		from, to := lo*p.b.Dim, i*p.b.Dim
		next := kernel.PrefetchOf(p.out[from:to], cut(p.x, from, to, a.X), cut(p.v, from, to, a.V))
		w.Ahead(streams[:n], p.b.Dim, next)
	}
	return i
}

// sameRows does n short rows from i on, whose weights are the same.
func (p *pass) sameRows(w *kernel.Work, i, n int, a kernel.Affine) {
	lo, hi := i*p.b.Dim, (i+n)*p.b.Dim
	out, x, v := p.out[lo:hi], cut(p.x, lo, hi, a.X), cut(p.v, lo, hi, a.V)
	var memory [kernel.MaxRows]float32
	each := memory[:n] // sum or scale
	switch p.kind {
	case doStep:
		var streams [kernel.MaxRows]kernel.Stream
		for k := range n {
			streams[k] = p.stream(&p.b.Rows[i+k])
		}
		if p.sq == nil {
			each = nil
		}
		w.StepRows(each, out, x, v, a, streams[:n], kernel.Storage(p.b.Storage))
	case doSquares:
		kernel.SquaresRows(each, out, x, v, a)
	case doGrad:
		for k := range n {
			each[k] = float32(p.scale[i+k])
		}
		kernel.GradRows(out, p.next[lo:hi], x, v, a, each)
		return
	}
	for k, s := range each {
		p.sq[i+k] = float64(s)
	}
}

// cut returns elements lo to hi-1 of an input, or nil if its weight says that it is not
// read.
func cut(x []float32, lo, hi int, weight float32) []float32 {
	if weight == 0 {
		return nil
	}
	return x[lo:hi]
}

// weights returns the weights of a row as kernels take them.
func (r *Row) weights() kernel.Affine {
	return kernel.Affine{X: float32(r.X), V: float32(r.V), Eps: float32(r.Eps)}
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
	a := row.weights()
	out, x, v := p.out[lo:hi], cut(p.x, lo, hi, a.X), cut(p.v, lo, hi, a.V)

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
