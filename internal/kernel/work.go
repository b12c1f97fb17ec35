package kernel

// A Work holds what the steps of many rows share: memory for the noise of a block, and
// what vector kernels make of a key. The zero Work is ready; keep one per goroutine,
// since it costs more to clear than a short row to step.
type Work struct {
	noise    [BlockLen]float32
	schedule schedule
}
