//go:build !(cuda && linux && cgo)

package cuda

// Available reports whether the program was built with the tag cuda. Whether there is
// a GPU, Open tells.
func Available() bool { return false }

// Open returns a device with a stream of its own in the primary context of a GPU, counted
// from 0. The driver starts with the first Open of a process, or with the first other
// call of it through gorgonia.org/cu, and reads CUDA_VISIBLE_DEVICES then.
//
// The error is ErrUnavailable in a program without the tag cuda. Otherwise it says
// what is missing: the driver, the GPU or memory on it. If the driver does not compile
// the kernels, it holds what the compiler said. Kernels are loaded once for all devices
// of a context.
func Open(ordinal int) (*Device, error) { return nil, ErrUnavailable }

// OpenStream returns a device that queues its calls on a stream of the caller, a
// CUstream or cudaStream_t, in order with whatever else is queued there. The stream,
// which Close leaves alone, must be of the GPU of that ordinal, and outlive the device
// with its context. Buffers must be of the stream's context, or be reachable from it:
// calls with others fail with ErrPointer.
//
// Stream 0, or 1, CU_STREAM_LEGACY, is the default stream of the GPU's primary context,
// which is the one that the CUDA runtime and the frameworks built on it use. A trainer
// with a context of its own, of cuCtxCreate or cu.NewContext, has its default stream by
// OpenCurrent. Stream 2, CU_STREAM_PER_THREAD, is refused: it is another stream on every
// thread, and goroutines move between threads.
func OpenStream(ordinal int, stream uintptr) (*Device, error) { return nil, ErrUnavailable }

// OpenCurrent returns a device in the context that is current on the calling thread, on a
// stream of that context: 0 is its default stream, cu.NoStream. Call it where the trainer
// calls CUDA, after runtime.LockOSThread or in Do of a cu.Ctx. The device's own calls may
// come from any goroutine. Stream and context, which Close leaves alone, must outlive the
// device.
func OpenCurrent(stream uintptr) (*Device, error) { return nil, ErrUnavailable }
