package kernel

import "unsafe"

// A Work is the memory that one goroutine needs for its passes. The zero Work is ready.
// Keep one: to clear it costs more than to step a short row.
type Work struct {
	vectors
	memory [BlockLen + 15]float32 // of the noise of a block; see aligned
	values [4][BlockLen]float32   // of words, for portable code
}

// aligned returns memory for the noise of a block. It starts at a multiple of 64 bytes,
// for vector stores.
func (w *Work) aligned() *[BlockLen]float32 {
	return (*[BlockLen]float32)(w.memory[-uintptr(unsafe.Pointer(&w.memory))%64/4:])
}

// Implementations returns the names of the implementations of the passes that this
// machine can run, the fastest last.
func Implementations() (names []string) {
	for _, i := range available() {
		names = append(names, i.String())
	}
	return names
}

// Use makes all passes use the implementation of that name, for benchmarks. It panics
// if there is none. It must not be called while passes run.
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

// PassRate returns the same for passes that make no noise.
func PassRate() float64 { return use.passRate() }
