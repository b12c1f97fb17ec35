package cuda

import "fmt"

// A driver is what a Device needs of CUDA: one stream of one context. Tests run a
// Device on drivers of their own.
//
// All methods are called between enter and leave, and one at a time, but for enter, wait
// and leave. Those that say "queued" return before they have run and run in order.
type driver interface {
	// enter makes the context current on this thread, and keeps the goroutine on it.
	// Several goroutines may have entered.
	enter() error
	leave()

	// resident returns how many groups of 4·32 threads of a kernel the whole GPU runs
	// at once.
	resident(k kernel) int

	// reachable returns why kernels cannot use an address, or nil.
	reachable(p uintptr) error

	alloc(bytes int) (uintptr, error)
	free(p uintptr) error

	// allocHost returns memory that the device can read and write by itself.
	allocHost(bytes int) ([]byte, error)
	freeHost(m []byte) error

	upload(dst uintptr, src []byte) error   // queued; src is from allocHost
	download(dst []byte, src uintptr) error // queued; dst is from allocHost

	// launch queues a kernel on groups of 4·32 threads. It reads args at once: one
	// parameter each, in its low bits.
	launch(k kernel, groups int, args []uint64) error

	newEvent() (event, error)
	record(e event) error          // queued
	reached(e event) (bool, error) // whether all before record has run
	wait(e event) error            // until all before record has run
	freeEvent(e event) error

	sync() error // waits for all that is queued

	// close returns everything but memory and events, and leaves. It is the last call.
	close() error
}

// An event is a handle of the driver.
type event uintptr

// A driverError is a call of the driver that failed.
type driverError struct {
	call    string // the driver's name of the function
	code    int    // CUresult
	message string // the driver's own
}

func (e *driverError) Error() string {
	return fmt.Sprintf("%s: %s (error %d)", e.call, e.message, e.code)
}

const outOfMemory = 2 // CUDA_ERROR_OUT_OF_MEMORY

func (e *driverError) Is(target error) bool { return target == ErrMemory && e.code == outOfMemory }
