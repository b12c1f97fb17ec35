package sampler

import (
	"math"
	"math/bits"

	"cps/noise"
)

// MaxDim is the largest number of elements of a row: the length of a noise stream. It
// is more than an int holds on 32-bit platforms.
const MaxDim = 1 << 34

// A Row is what one row of a batch does, and whose noise it draws.
type Row struct {
	Affine
	noise.ID
}

// Start is the row that makes the initial latent of a sample, pure noise.
//
// Rows that name one sample are the same sample: they share the noise of every step.
// For a group that shares its initial latent and nothing else, make the latents with
// rows Start(prompt), and roll out with a batch of distinct samples.
func Start(sample uint64) Row {
	return Row{Affine{Eps: 1}, noise.ID{Sample: sample}}
}

// A Batch is rows of Dim elements: a row-major matrix [len(Rows), Dim]. Rows may
// stand at different steps, as in training. Copies share Rows.
type Batch struct {
	Dim     int
	Key     noise.Key
	Storage Storage
	Rows    []Row
}

// With returns a batch of the same shape in which every row takes a and nothing is
// rounded to a storage type. Affine{X: 1 - w, V: w} in Step is classifier-free
// guidance of the velocities x (unconditional) and v (conditional), and
// Affine{V: 1} in Squares is the squared distance of next and v. It allocates the
// rows; one result serves all steps of a run.
func (b Batch) With(a Affine) Batch {
	rows := make([]Row, len(b.Rows))
	for i, r := range b.Rows {
		rows[i] = Row{a, r.ID}
	}
	b.Rows, b.Storage = rows, Float32
	return b
}

// Len returns the number of elements of a buffer for b, Dim·len(Rows). It panics if
// that is more than an int holds.
func (b Batch) Len() int {
	b.checkDim()
	if hi, n := bits.Mul64(uint64(b.Dim), uint64(len(b.Rows))); hi != 0 || n > math.MaxInt {
		panic("sampler: a buffer of len(Rows)·Dim elements is too large")
	}
	return b.Dim * len(b.Rows)
}

func (b Batch) checkDim() {
	if b.Dim < 1 || uint64(b.Dim) > MaxDim {
		panic("sampler: Dim of a batch is not in [1, 2³⁴]")
	}
}
