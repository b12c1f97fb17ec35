package cuda

import "fmt"

// A driver is the part of CUDA that a Device needs: one stream of one context. Tests run
// a Device on drivers of their own.
//
// Calls come between enter and leave, one at a time. Only enter, wait and leave may be
// concurrent. Methods marked "queued" return before they have run, and run in order.
type driver interface {
	// enter makes the context current on this thread, and keeps the goroutine on the
	// thread. Several goroutines may have entered at once.
	enter() error
	leave()

	// resident returns how many groups of 4·32 threads of kernel k run at once on the
	// whole GPU.
	resident(k kernel) int

	// reachable returns nil if kernels can use the address, and else an error that says
	// why not.
	reachable(p uintptr) error

	alloc(bytes int) (uintptr, error)
	free(p uintptr) error

	// allocHost returns pinned memory, which the device can read and write by itself.
	allocHost(bytes int) ([]byte, error)
	freeHost(m []byte) error

	upload(dst uintptr, src []byte) error   // queued; src is from allocHost
	download(dst []byte, src uintptr) error // queued; dst is from allocHost

	// launch queues a kernel on that many groups of 4·32 threads. It reads args at once.
	// Each holds one parameter in its low bits.
	launch(k kernel, groups int, args []uint64) error

	newEvent() (event, error)
	record(e event) error          // queued
	reached(e event) (bool, error) // whether all work before record has run
	wait(e event) error            // until all work before record has run
	freeEvent(e event) error

	sync() error // waits for all queued work

	// close returns everything but memory and events, and leaves. No call may follow.
	close() error
}

// An event is a handle of the driver.
type event uintptr

// A driverError is a failed call of the driver.
type driverError struct {
	call    string // the driver's name of the function
	code    int    // CUresult
	message string // the driver's own words
}

func (e *driverError) Error() string {
	return fmt.Sprintf("%s: %s (error %d)", e.call, e.message, e.code)
}

const outOfMemory = 2 // CUDA_ERROR_OUT_OF_MEMORY

func (e *driverError) Is(target error) bool { return target == ErrMemory && e.code == outOfMemory }
