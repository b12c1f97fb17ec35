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
// element 4·Block of its sample. A pass reads rows from their owner's memory, so the layout
// is that of package sampler's rows. _asm depends on the layout, too.
type Row struct {
	Weights
	ID
	Block uint32
}

// Weights are an [Affine] before it is rounded.
type Weights struct{ X, V, Eps float64 }

func (w *Weights) affine() Affine { return Affine{float32(w.X), float32(w.V), float32(w.Eps)} }

// An ID names the noise of a sample at a step.
type ID struct {
	Sample uint64
	Step   uint32
}

// stream returns the noise of the sample at the step.
func (id ID) stream(key uint64) Stream { return Stream{Key: key, Sample: id.Sample, Step: id.Step} }

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
	Rows    []Row  // at most MaxRows
	Block   uint32 // where the pass begins in each row, counted from the row's own Block
	Same    bool   // whether all rows have the same weights, as a [Survey] finds; it only saves time

	// Each has len(Rows)·Dim elements. X and V may be nil if no row reads them. Out may be
	// an input.
	Out  []T
	Next []T // of a gradient
	X, V []T

	Sums   []float32 // Blocks(Dim) sums for each row, unless the pass is a gradient
	Scales []float32 // of a gradient, one for each row
}

// MaxRows is the largest number of rows of a pass.
const MaxRows = 256

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
	case p.Kind == GradPass && len(p.Scales) != len(p.Rows):
		panic("kernel: length of scales is not the number of rows")
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
	r := &p.Rows[i]
	from, to := i*p.Dim+lo, i*p.Dim+lo+n
	unpack := func(k int, x []uint16) []float32 {
		p.Storage.Unpack(w.values[k][:], x[from:to])
		return w.values[k][:n]
	}
	q := Pass[float32]{Kind: p.Kind, Storage: p.Storage, Key: p.Key, Dim: n, Rows: p.Rows[i : i+1], Block: p.Block + uint32(lo/4), Out: w.values[0][:n]}
	a := r.affine()
	if a.X != 0 {
		q.X = unpack(1, p.X)
	}
	if a.V != 0 {
		q.V = unpack(2, p.V)
	}
	if p.Kind != StepPass {
		unpack(0, p.Out)
	}
	if p.Kind == GradPass {
		q.Next, q.Scales = unpack(3, p.Next), p.Scales[i:i+1]
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
		r, lo, hi := &p.Rows[i], i*p.Dim, (i+1)*p.Dim
		a := r.affine()
		out, x, v := p.Out[lo:hi], read(p.X, lo, hi, a.X), read(p.V, lo, hi, a.V)
		switch p.Kind {
		case StepPass:
			stepPortable(p.Sums[i*blocks:], out, x, v, a, r.stream(p.Key), 4*uint64(r.Block+p.Block), p.Storage)
		case SquaresPass:
			squaresPortable(p.Sums[i*blocks:], out, x, v, a)
		default:
			gradPortable(out, p.Next[lo:hi], x, v, a, p.Scales[i])
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
