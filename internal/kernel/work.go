package kernel

import "unsafe"

// A Work holds what the steps of many rows share: memory for the noise of a block, and
// what vector kernels make of a key. The zero Work is ready; keep one per goroutine,
// since it costs more to clear than a short row to step.
type Work struct {
	memory   [BlockLen + 15]float32 // of the noise of a block, see aligned
	schedule schedule
	made     madeNoise
}

// aligned returns where in memory a block starts at a multiple of 64 bytes, as vector
// stores want it.
func (w *Work) aligned() int { return int(-uintptr(unsafe.Pointer(&w.memory)) % 64 / 4) }

// Ahead makes the first n elements of the noise of streams at once, as far as there is
// room, which is faster for short rows. A Step whose stream is the next of these takes
// it; another makes its own noise, and what was made ahead is dropped. Next is what these
// steps will use.
func (w *Work) Ahead(streams []Stream, n int, next Prefetch) { w.makeAhead(streams, n, next) }

// MaxAhead is the largest number of streams for which Ahead has room.
const MaxAhead = BlockLen / 32

// AheadLen is the number of streams for which Ahead has room, for n elements of each:
// 0 if it is not worth calling.
func AheadLen(n int) int {
	if use == portable || n < 1 || n > BlockLen/4 {
		return 0
	}
	groupLen := use.groupLen()
	return BlockLen / ((n + groupLen - 1) / groupLen * groupLen)
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

// StepRate returns about how many elements a step does in a microsecond on one core.
func StepRate() float64 { return use.stepRate() }

// PassRate is StepRate for the passes that make no noise.
func PassRate() float64 { return use.passRate() }
