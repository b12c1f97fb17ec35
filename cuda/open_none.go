//go:build !(cuda && linux && cgo)

package cuda

// Available reports whether the program was built with the tag cuda. Whether there is
// a GPU, Open tells.
func Available() bool { return false }

// Open returns a device with a stream of its own on a GPU, counted from 0.
//
// The error is ErrUnavailable in a program without the tag cuda. Otherwise it says
// what is missing: the driver, the GPU or memory on it.
func Open(ordinal int) (*Device, error) { return nil, ErrUnavailable }

// OpenStream returns a device that queues its calls on a stream of the caller, a
// CUstream or cudaStream_t, in order with whatever else is queued there. The stream,
// which Close leaves alone, must be of the GPU of that ordinal and outlive the device.
// Buffers must be of the stream's context.
//
// Stream 0, or 1, CU_STREAM_LEGACY, is the default stream of the GPU's primary context,
// which is the one that the CUDA runtime and the frameworks built on it use. Stream 2,
// CU_STREAM_PER_THREAD, is refused: it is another stream on every thread, and goroutines
// move between threads.
func OpenStream(ordinal int, stream uintptr) (*Device, error) { return nil, ErrUnavailable }
