package kernel

import "unsafe"

// A Work is the memory that one goroutine needs for its passes. The zero Work is ready;
// keep one, since it costs more to clear than a short row to step.
type Work struct {
	vectors
	memory [BlockLen + 15]float32 // of the noise of a block, see aligned
	values [4][BlockLen]float32   // of words, in portable code
}

// aligned returns memory for the noise of a block from a multiple of 64 bytes on, as
// vector stores want it.
func (w *Work) aligned() *[BlockLen]float32 {
	return (*[BlockLen]float32)(w.memory[-uintptr(unsafe.Pointer(&w.memory))%64/4:])
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
