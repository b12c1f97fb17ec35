package kernel

// A Work holds what the steps of many rows share: memory for the noise of a block, and
// what vector kernels make of a key. The zero Work is ready; keep one per goroutine,
// since it costs more to clear than a short row to step.
type Work struct {
	noise    [BlockLen]float32
	schedule schedule
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
