package sampler

import (
	"fmt"
	"math"
	"math/bits"

	"cps/noise"
)

// MaxDim is the largest number of elements of a row: the length of a noise stream. On
// 32-bit platforms it is more than an int holds.
const MaxDim = 1 << 34

// A Row says what one row of a batch does, and whose noise it draws.
//
// A row is a whole sample or a span of one. It starts at element 4·Block of its sample
// and draws the noise of the elements that it covers. So spans draw the same noise as
// the whole sample, however it is cut. Sums of squares run in the usual order from the
// start of the row. The sums of spans add up to that of the whole sample, but for
// rounding: in float64 if spans begin at multiples of 1024 elements, else in float32.
type Row struct {
	Affine
	noise.ID
	Block uint32
}

// InitialRow returns the row that makes the initial latent of a sample, which is pure
// noise.
//
// Rows with the same sample number are the same sample: they share the noise of every
// step. A group may share its initial latent and nothing else. For that, make the
// latents with rows InitialRow(prompt), and roll out with a batch of distinct samples.
func InitialRow(sample uint64) Row {
	return Row{Affine: Affine{Eps: 1}, ID: noise.ID{Sample: sample}}
}

// A Batch is rows of Dim elements: a row-major matrix [len(Rows), Dim]. Rows may
// stand at different transitions, as in training. Copies share Rows.
//
// Rows may name one sample twice, and nothing reports it. They draw the same noise, so that
// from the same latents and condition a run makes one sample twice. Each counts as a row in
// sums, means and groups: a group of such rows explores less than its size says. For the
// same with other noise give every row a sample of its own. In a minibatch one sample may
// stand at several transitions.
type Batch struct {
	Dim     int       // elements of each row, in [1, MaxDim]
	Key     noise.Key // of the noise of all rows
	Storage Storage   // the type to which Step rounds
	Rows    []Row
}

// WithAffine returns a batch of the same shape in which every row takes the weights a.
// Its Storage is Float32, so nothing is rounded. With Affine{X: 1 - w, V: w}, Step mixes
// the velocities x (unconditional) and v (conditional), which is classifier-free
// guidance; package guidance does it for you. With Affine{V: 1}, SumSquares gives the
// squared distance of next and v. WithAffine allocates the rows. One result serves all
// steps of a run.
func (b Batch) WithAffine(a Affine) Batch {
	rows := make([]Row, len(b.Rows))
	for i, r := range b.Rows {
		rows[i] = Row{a, r.ID, r.Block}
	}
	b.Rows, b.Storage = rows, Float32
	return b
}

// Spans returns b with every row cut into spans of n elements. The buffers stay as they
// are, read as a matrix [len(Rows)·Dim/n, n]. Spans of one sample may then take
// different steps. A span that waits takes the weights {X: 1}. Spans panics unless n is
// a multiple of 4 that divides Dim. It also panics if a row ends beyond MaxDim elements
// of its sample.
func (b Batch) Spans(n int) Batch {
	b.checkDim()
	if n < 4 || n%4 != 0 || b.Dim%n != 0 {
		panic(fmt.Sprintf("sampler: Spans: %d is not a multiple of 4 that divides Dim %d", n, b.Dim))
	}
	rows := make([]Row, 0, b.Len()/n)
	for i, r := range b.Rows {
		checkEnd(i, r, b.Dim)
		for at := 0; at < b.Dim; at += n {
			span := r
			span.Block += uint32(at / 4)
			rows = append(rows, span)
		}
	}
	b.Rows, b.Dim = rows, n
	return b
}

// Len returns the number of elements of a buffer for b, Dim·len(Rows). It panics if
// that is more than an int holds.
func (b Batch) Len() int {
	b.checkDim()
	if hi, n := bits.Mul64(uint64(b.Dim), uint64(len(b.Rows))); hi != 0 || n > math.MaxInt {
		panic(fmt.Sprintf("sampler: a buffer of len(Rows)·Dim = %d·%d elements is too large", len(b.Rows), b.Dim))
	}
	return b.Dim * len(b.Rows)
}

//go:noinline
func panicDim(dim int) {
	panic(fmt.Sprintf("sampler: Dim %d of a batch is not in [1, 2³⁴]", dim))
}

func (b Batch) checkDim() {
	if b.Dim < 1 || uint64(b.Dim) > MaxDim {
		panicDim(b.Dim)
	}
}
