package cuda

import "errors"

var (
	// ErrUnavailable is what Open returns in a program built without the tag cuda.
	ErrUnavailable = errors.New("cuda: built without the cuda tag")

	// ErrMemory is in the chain of an error of a device whose memory is exhausted.
	// The device can still be used.
	ErrMemory = errors.New("cuda: out of memory")

	// ErrClosed is what a closed device returns.
	ErrClosed = errors.New("cuda: device is closed")
)
