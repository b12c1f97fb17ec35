package sampler

// A Device executes batches on buffers of type B: []float32 on the CPU, device
// memory on a GPU. A buffer holds the rows of a batch one after the other,
// row-major [len(b.Rows), b.Dim].
//
// A Device is a queue for one goroutine at a time, unless it says otherwise: calls
// run in order and may return before they have run, having read b and scale. After
// Sync, and on the CPU at once, results and sq are valid. The first failure since
// the last Sync makes later calls do nothing and is what Sync returns.
//
// Buffers may be the same or apart, but not overlap in part. The zero B stands for an
// input that no row reads. A wrong length, a Dim
// outside [1, MaxDim], a reserved noise step and a row that ends beyond its sample panic
// before anything is written.
//
// All devices return the same bits; package cps/internal/kernel has the
// specification.
type Device[B any] interface {
	// Step stores X·x + V·v + Eps·ε, rounded to b.Storage, in dst, which may be x
	// or v, and in sq, unless nil, what SumSquares would.
	Step(dst, x, v B, b Batch, sq []float64)

	// SumSquares stores ‖next - X·x - V·v‖² of every row in sq, in the bits of Step.
	// A NaN or an infinity in an input that is read makes its row's sum one.
	SumSquares(sq []float64, next, x, v B, b Batch)

	// Grad adds scale·(next - X·x - V·v) to every row of dst, which may be an input,
	// with one scale a row rounded to float32.
	Grad(dst, next, x, v B, b Batch, scale []float64)

	// Sync waits for all calls and returns the first failure since the last Sync.
	Sync() error
}
