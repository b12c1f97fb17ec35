package kernel

// A Work holds what the steps of many rows share: memory for the noise of a block, and
// what vector kernels make of a key. The zero Work is ready; keep one per goroutine,
// since it costs more to clear than a short row to step.
type Work struct {
	noise    [BlockLen]float32
	schedule schedule
	ahead    ahead
}

// Ahead makes the first n elements of the noise of streams at once, which is faster
// for short rows. Steps of these streams take it, if they come in the same order; they
// need not.
func (w *Work) Ahead(streams []Stream, n int) { w.makeAhead(streams, n) }

// MaxAhead is the largest number of streams for which Ahead has room.
const MaxAhead = BlockLen / 32

// AheadLen is the number of streams for which Ahead has room, for n elements of each:
// 0 if it is not worth calling.
func AheadLen(n int) int {
	if use == portable || n > BlockLen/4 {
		return 0
	}
	return BlockLen / ((n + 31) / 32 * 32)
}

// Implementations names what this machine can compute the passes with, the fastest
// last.
func Implementations() (names []string) {
	for _, i := range available() {
		names = append(names, i.String())
	}
	return names
}

// Use makes all passes use an implementation by name, for benchmarks. It panics if
// there is none, and must not be called while passes run.
func Use(name string) {
	for _, i := range available() {
		if i.String() == name {
			use = i
			return
		}
	}
	panic("kernel: no such implementation")
}
