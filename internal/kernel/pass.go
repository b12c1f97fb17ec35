package kernel

import "unsafe"

// A Kind is one of the three passes.
type Kind uint8

const (
	StepPass    Kind = iota // Out = X·x + V·v + Eps·ε, rounded to Storage; Sums of squares of Out - X·x - V·v
	SquaresPass             // Sums of squares of Out - X·x - V·v
	GradPass                // Out += Scale·(Next - X·x - V·v)
)

// A Row says what a pass does with a row, and whose noise the row draws. It begins at
// element 4·Block of its sample.
type Row struct {
	Affine
	Scale  float32 // of a gradient
	Sample uint64
	Step   uint32
	Block  uint32
}

// weights returns the weights of row i.
func (p *Pass[T]) weights(i int) *Affine {
	if p.Same {
		i = 0
	}
	return &p.Rows[i].Affine
}

// stream returns the noise of r's sample.
func (r *Row) stream(key uint64) Stream {
	return Stream{Key: key, Sample: r.Sample, Step: r.Step}
}

// An Element is a float32, or a word of a 16-bit type.
type Element interface{ float32 | uint16 }

// A Pass is one pass over rows of Dim elements, one after the other. The rest of a longer
// row, from a block on, is a row too. It has the noise of its place, and the sums of its
// blocks.
type Pass[T Element] struct {
	Kind    Kind
	Storage Storage // the type of words; for float32s, the type to which a step rounds
	Key     uint64
	Dim     int
	Rows    []Row // at most MaxRows
	Same    bool  // whether all rows take the weights of the first row, whatever theirs are

	// Each has len(Rows)·Dim elements. X and V may be nil if no row reads them. Out may be
	// an input.
	Out  []T
	Next []T // of a gradient
	X, V []T

	Sums []float32 // Blocks(Dim) sums for each row, unless the pass is a gradient
}

// MaxRows is the largest number of rows of a pass.
const MaxRows = 128

// check reports whether there is anything to do. It panics if lengths are wrong.
func (p *Pass[T]) check() bool {
	n := len(p.Rows) * p.Dim
	switch {
	case n == 0:
		return false
	case p.Kind > GradPass || p.Storage > Float16:
		panic("kernel: unknown pass or storage")
	case len(p.Rows) > MaxRows:
		panic("kernel: too many rows")
	case len(p.Out) != n || p.Kind == GradPass && len(p.Next) != n:
		panic("kernel: length of dst or next is not len(Rows)·Dim")
	case p.Kind != GradPass && len(p.Sums) != len(p.Rows)*Blocks(p.Dim):
		panic("kernel: length of sums is not the number of blocks")
	case unsafe.Sizeof(T(0)) == 2 && p.Storage == Float32:
		panic("kernel: storage of words is not a 16-bit type")
	}
	return true
}

// doPortable does a pass with the portable code, which is the specification.
func doPortable[T Element](w *Work, p *Pass[T]) {
	switch p := any(p).(type) {
	case *Pass[float32]:
		floatsPortable(p)
	case *Pass[uint16]:
		w.wordsPortable(p)
	}
}

// wordsPortable does a pass over words through float32s, one block of a row at a time.
func (w *Work) wordsPortable(p *Pass[uint16]) {
	for i := range p.Rows {
		for lo := 0; lo < p.Dim; lo += BlockLen {
			w.unpacked(p, i, lo, min(BlockLen, p.Dim-lo))
		}
	}
}

// unpacked does n elements of row i from element lo on, through float32s.
func (w *Work) unpacked(p *Pass[uint16], i, lo, n int) {
	r := p.Rows[i]
	r.Affine = *p.weights(i)
	r.Block += uint32(lo / 4)
	from, to := i*p.Dim+lo, i*p.Dim+lo+n
	unpack := func(k int, x []uint16) []float32 {
		p.Storage.Unpack(w.values[k][:], x[from:to])
		return w.values[k][:n]
	}
	q := Pass[float32]{Kind: p.Kind, Storage: p.Storage, Key: p.Key, Dim: n, Rows: []Row{r}, Out: w.values[0][:n]}
	if r.X != 0 {
		q.X = unpack(1, p.X)
	}
	if r.V != 0 {
		q.V = unpack(2, p.V)
	}
	if p.Kind != StepPass {
		unpack(0, p.Out)
	}
	if p.Kind == GradPass {
		q.Next = unpack(3, p.Next)
	} else {
		q.Sums = p.Sums[i*Blocks(p.Dim)+lo/BlockLen:][:1]
	}
	floatsPortable(&q)
	if p.Kind != SquaresPass {
		p.Storage.Pack(p.Out[from:to], q.Out)
	}
}

// floatsPortable does a pass over float32s.
func floatsPortable(p *Pass[float32]) {
	blocks := Blocks(p.Dim)
	for i := range p.Rows {
		r, a, lo, hi := &p.Rows[i], p.weights(i), i*p.Dim, (i+1)*p.Dim
		out, x, v := p.Out[lo:hi], read(p.X, lo, hi, a.X), read(p.V, lo, hi, a.V)
		switch p.Kind {
		case StepPass:
			stepPortable(p.Sums[i*blocks:], out, x, v, *a, r.stream(p.Key), 4*uint64(r.Block), p.Storage)
		case SquaresPass:
			squaresPortable(p.Sums[i*blocks:], out, x, v, *a)
		default:
			gradPortable(out, p.Next[lo:hi], x, v, *a, r.Scale)
		}
	}
}

// read returns elements lo to hi-1 of an input, or nil if its weight is 0, so that it is
// not read.
func read[T Element](x []T, lo, hi int, weight float32) []T {
	if weight == 0 {
		return nil
	}
	return x[lo:hi]
}
