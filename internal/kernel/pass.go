package kernel

// A Kind is one of the three passes.
type Kind uint8

const (
	StepPass    Kind = iota // Out = X·x + V·v + Eps·ε, rounded to Storage; Sums of squares of Out - X·x - V·v
	SquaresPass             // Sums of squares of Out - X·x - V·v
	GradPass                // Out += Scale·(Next - X·x - V·v)
)

// A Row is what a pass does with a row, and whose noise it draws. The row begins at element
// 4·Block of its sample.
type Row struct {
	Affine
	Scale  float32 // of a gradient
	Sample uint64
	Step   uint32
	Block  uint32
}

// weights returns those of row i.
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

// A Pass is one pass over rows of Dim elements, one after the other. What a longer row has
// from a block on is a row too: it has the noise of its place and the sums of its blocks.
type Pass[T Element] struct {
	Kind    Kind
	Storage Storage // of words; of the results of a step
	Key     uint64
	Dim     int
	Rows    []Row // at most MaxRows; one if Dim is more than BlockLen
	Same    bool  // whether all rows have the weights of the first, whatever is in theirs

	// All have len(Rows)·Dim elements. X and V may be nil if no row reads them. Out may be
	// an input.
	Out  []T
	Next []T // of a gradient
	X, V []T

	Sums []float32 // of Blocks(Dim) blocks a row, unless the pass is a gradient
}

// MaxRows is the largest number of rows of a pass.
const MaxRows = 256

// Do does a pass. Over words it does to their values what it does to float32s; a gradient
// is rounded to their type too. It does not allocate. Wrong lengths panic.
func Do[T Element](w *Work, p *Pass[T]) {
	if !p.check() {
		return
	}
	switch p := any(p).(type) {
	case *Pass[float32]:
		w.floats(p)
	case *Pass[uint16]:
		if p.Storage == Float32 {
			panic("kernel: words are of no 16-bit type")
		}
		w.words(p)
	}
}

// check reports whether there is anything to do, and panics if lengths are wrong.
func (p *Pass[T]) check() bool {
	n := len(p.Rows) * p.Dim
	switch {
	case n == 0:
		return false
	case p.Kind > GradPass || p.Storage > Float16:
		panic("kernel: unknown pass or storage")
	case len(p.Rows) > 1 && (p.Dim > BlockLen || len(p.Rows) > MaxRows):
		panic("kernel: too many rows")
	case len(p.Out) != n || p.Kind == GradPass && len(p.Next) != n:
		panic("kernel: length of dst or next is not len(Rows)·Dim")
	case p.Kind != GradPass && len(p.Sums) != len(p.Rows)*Blocks(p.Dim):
		panic("kernel: not a sum a block")
	}
	return true
}

// unpacked does a pass over words by that over float32s, a block or less at a time.
func (w *Work) unpacked(p *Pass[uint16]) {
	rows := max(1, BlockLen/p.Dim) // at a time
	for i := 0; i < len(p.Rows); i += rows {
		rows = min(rows, len(p.Rows)-i)
		for lo := 0; lo < p.Dim; lo += BlockLen {
			w.unpackedPart(p, i, rows, lo, min(BlockLen, p.Dim-lo))
		}
	}
}

// unpackedPart does n elements, from element lo on, of each of some rows from i on.
func (w *Work) unpackedPart(p *Pass[uint16], i, rows, lo, n int) {
	q := Pass[float32]{Kind: p.Kind, Storage: p.Storage, Key: p.Key, Dim: n, Rows: w.part[:copy(w.part[:], p.Rows[i:][:rows])]}
	for k := range q.Rows {
		q.Rows[k].Affine = *p.weights(i + k)
		q.Rows[k].Block += uint32(lo / 4)
	}
	from, to := i*p.Dim+lo, i*p.Dim+lo+rows*n
	unpack := func(k int, x []uint16) []float32 {
		p.Storage.Unpack(w.values[k][:], x[from:to])
		return w.values[k][:to-from]
	}
	q.Out = w.values[0][:to-from]
	var readX, readV bool
	for k := range q.Rows {
		readX, readV = readX || q.Rows[k].X != 0, readV || q.Rows[k].V != 0
	}
	if readX {
		q.X = unpack(1, p.X)
	}
	if readV {
		q.V = unpack(2, p.V)
	}
	if p.Kind != StepPass {
		q.Out = unpack(0, p.Out)
	}
	if p.Kind == GradPass {
		q.Next = unpack(3, p.Next)
	} else {
		q.Sums = p.Sums[i*Blocks(p.Dim)+lo/BlockLen:][:rows]
	}
	w.floats(&q)
	if p.Kind != SquaresPass {
		p.Storage.Pack(p.Out[from:to], q.Out)
	}
}

// portable does a pass by the code that is the specification.
func doPortable(p *Pass[float32]) {
	blocks := Blocks(p.Dim)
	for i := range p.Rows {
		r, a, lo, hi := &p.Rows[i], p.weights(i), i*p.Dim, (i+1)*p.Dim
		out, x, v := p.Out[lo:hi], cut(p.X, lo, hi, a.X), cut(p.V, lo, hi, a.V)
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

// cut returns elements lo to hi-1 of an input, or nil if its weight says that it is not
// read.
func cut[T Element](x []T, lo, hi int, weight float32) []T {
	if weight == 0 {
		return nil
	}
	return x[lo:hi]
}
