package cuda

import "errors"

var (
	// Open returns ErrUnavailable in a program built without the tag cuda.
	ErrUnavailable = errors.New("cuda: built without the build tag cuda: build with -tags cuda (cuda/README.md)")

	// ErrMemory is in the chain of an error when memory of the device is exhausted. The
	// device remains usable.
	ErrMemory = errors.New("cuda: out of memory")

	// ErrPointer is in the chain of an error of a call with a buffer that kernels in the
	// device's context cannot reach. The call did nothing. The device remains usable.
	ErrPointer = errors.New("cuda: memory out of reach of the device's context: open the device with OpenStream or OpenCurrent in the context of the buffer")

	// A closed device returns ErrClosed.
	ErrClosed = errors.New("cuda: device is closed")
)
