//go:build !(cuda && linux && cgo)

package cuda

// Available reports whether the program was built with the tag cuda. Whether there is
// a GPU, Open tells.
func Available() bool { return false }

// Open returns a device on a new stream in the primary context of a GPU. The ordinal
// counts GPUs from 0. The driver starts at the first Open of the process, or at the
// program's own first call through gorgonia.org/cu. It reads CUDA_VISIBLE_DEVICES at that
// moment.
//
// Without the tag cuda, the error is ErrUnavailable. Otherwise it says what is missing:
// the driver, the GPU, or memory on it. If the driver cannot compile the kernels, the
// error holds the compiler's message. All devices of a context share the kernels.
func Open(ordinal int) (*Device, error) { return nil, ErrUnavailable }

// OpenStream returns a device that queues its calls on a stream of the caller, a CUstream
// or cudaStream_t. They run in order with all other work on that stream. The stream must
// belong to the GPU of that ordinal. The stream and its context must outlive the device;
// Close leaves them alone. Buffers must be of the stream's context or reachable from it:
// calls with others fail with ErrPointer.
//
// Stream 0 is the default stream of the GPU's primary context, and so is 1,
// CU_STREAM_LEGACY. The CUDA runtime uses that context, and frameworks built on it do. A
// trainer with a context of its own, from cuCtxCreate or cu.NewContext, opens its default
// stream with [OpenCurrent]. Stream 2, CU_STREAM_PER_THREAD, is an error: it is another
// stream on every thread, and goroutines move between threads.
func OpenStream(ordinal int, stream uintptr) (*Device, error) { return nil, ErrUnavailable }

// OpenCurrent returns a device in the context that is current on the calling thread.
// stream is a stream of that context; 0 is its default stream, cu.NoStream. Call
// OpenCurrent where the trainer calls CUDA, after runtime.LockOSThread or in Do of a
// cu.Ctx. Any goroutine may call the device afterwards. The stream and the context must
// outlive the device; Close leaves them alone.
func OpenCurrent(stream uintptr) (*Device, error) { return nil, ErrUnavailable }
