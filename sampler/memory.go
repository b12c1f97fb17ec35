package sampler

// A Memory is a [Device] that makes and slices buffers. To gather rows, call Step with
// the weights {X: 1} between slices. [CPU], [CPU16] and cuda.Device are Memories.
type Memory[B any] interface {
	Device[B]

	// Make returns a buffer for n elements of type t. Its contents are undefined. An
	// error leaves the device usable. Make panics if n is negative or t is no Storage.
	Make(n int, t Storage) (B, error)

	// Like returns a buffer for n elements of the type of b. It is otherwise like Make.
	Like(b B, n int) (B, error)

	// Free gives back a buffer from Make or Like. Queued calls may still use the
	// buffer.
	Free(b B) error

	// Slice returns elements lo to hi-1 of b, in the same memory. It panics unless
	// 0 ≤ lo ≤ hi ≤ the length of b.
	Slice(b B, lo, hi int) B
}

var (
	_ Memory[[]float32] = CPU{}
	_ Memory[[]uint16]  = CPU16{}
)

// Make implements [Memory]. The buffer holds float32 for every t: a CPU rounds latents
// to t and keeps them as float32. [CPU16] keeps words of 16 bits.
func (CPU) Make(n int, t Storage) ([]float32, error) {
	checkMake(n, t)
	return make([]float32, n), nil
}

// Like implements [Memory].
func (c CPU) Like(_ []float32, n int) ([]float32, error) { return c.Make(n, Float32) }

// Free implements [Memory]. The garbage collector does the work.
func (CPU) Free([]float32) error { return nil }

// Slice implements [Memory].
func (CPU) Slice(b []float32, lo, hi int) []float32 { return b[lo:hi:hi] }

// Make implements [Memory]. It panics if t is not the device's type.
func (c CPU16) Make(n int, t Storage) ([]uint16, error) {
	checkMake(n, t)
	if t != c.Type {
		panic("sampler: a buffer of CPU16 has another type than the device")
	}
	return make([]uint16, n), nil
}

// Like implements [Memory].
func (c CPU16) Like(_ []uint16, n int) ([]uint16, error) { return c.Make(n, c.Type) }

// Free implements [Memory]. The garbage collector does the work.
func (CPU16) Free([]uint16) error { return nil }

// Slice implements [Memory].
func (CPU16) Slice(b []uint16, lo, hi int) []uint16 { return b[lo:hi:hi] }

func checkMake(n int, t Storage) {
	if n < 0 {
		panic("sampler: negative length of a buffer")
	}
	if t > Float16 {
		panic("sampler: type of a buffer is unknown")
	}
}
