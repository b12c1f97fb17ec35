package sampler

// A Device executes batches on buffers of type B: []float32 on the CPU, device
// memory on a GPU. A buffer holds the rows of a batch one after the other, row-major
// [len(b.Rows), b.Dim].
//
// A Device is a queue. It serves one goroutine at a time, unless it says otherwise.
// Calls run in order and may return before they have run; b and scale are read
// before they return. Results and sq are valid after Sync, and on the CPU at once.
// The first failure since the last Sync makes later calls do nothing, and Sync
// returns it.
//
// Two buffers of a call may be one buffer or disjoint, but must not overlap in part.
// The zero B stands for an input that no row reads. A call panics on a wrong length, a
// Dim outside [1, MaxDim], the reserved noise step, and a row that ends beyond its
// sample. It panics before it writes anything, unless the device says otherwise.
//
// All devices return the same bits. Package cps/internal/kernel has the
// specification.
type Device[B any] interface {
	// Step stores X·x + V·v + Eps·ε, rounded to b.Storage, in dst. dst may be x or
	// v. Unless sq is nil, Step stores in it what SumSquares would.
	Step(dst, x, v B, b Batch, sq []float64)

	// SumSquares stores ‖next - X·x - V·v‖² of every row in sq, bit for bit as Step
	// does. A NaN or an infinity in an input that a row reads makes its sum NaN or
	// infinite.
	SumSquares(sq []float64, next, x, v B, b Batch)

	// Grad adds scale·(next - X·x - V·v) to every row of dst, which may be an input.
	// scale has one entry for each row, which is rounded to float32.
	Grad(dst, next, x, v B, b Batch, scale []float64)

	// Sync waits for all calls and returns the first failure since the last Sync.
	Sync() error
}
