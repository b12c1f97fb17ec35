//go:build cuda && linux && cgo

// Package control steers the stand-in for CUDA's driver in tests: it makes calls fail,
// and counts what was not returned.
package control

// #cgo LDFLAGS: -ldl
// #include <dlfcn.h>
// #include <stdlib.h>
//
// // The driver is loaded before the program's first call of it, but not started.
// static void *find(const char *name) {
//   void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
//   return library ? dlsym(library, name) : 0;
// }
// static void fail(const char *call, long nth, int code) {
//   ((void (*)(const char *, long, int))find("standin_fail"))(call, nth, code);
// }
// static void restart(void) { ((void (*)(void))find("standin_restart"))(); }
// static int hold(void *stream) { return ((int (*)(void *))find("standin_hold"))(stream); }
// static void go_on(void) { ((void (*)(void))find("standin_go"))(); }
// static int pending(void) { return ((int (*)(void))find("standin_pending"))(); }
// static void limit(size_t bytes) { ((void (*)(size_t))find("standin_limit"))(bytes); }
// static long count(const char *function, const char *of) {
//   return ((long (*)(const char *))find(function))(of);
// }
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// Present reports whether the driver of this program is the stand-in.
func Present() bool {
	name := C.CString("standin_fail")
	defer C.free(unsafe.Pointer(name))
	return C.find(name) != nil
}

// Fail makes the nth of the next calls of a function of the driver fail with a code. The
// call "*" means any function, and "kernel" a launch that runs. The function that Fail
// returns ends this and reports whether the failing call was made.
func Fail(call string, nth, code int) (made func() bool) {
	name := C.CString(call)
	defer C.free(unsafe.Pointer(name))
	C.fail(name, C.long(nth), C.int(code))
	return func() bool {
		pending := C.pending() != 0
		none := C.CString("")
		defer C.free(unsafe.Pointer(none))
		C.fail(none, 0, 0)
		return !pending
	}
}

// Restart clears the fault of a launch. In CUDA that takes a new process.
func Restart() { C.restart() }

// Limit bounds the memory of all devices together. The function that it returns ends
// this.
func Limit(bytes int) (end func()) {
	C.limit(C.size_t(bytes))
	return func() { C.limit(C.size_t(1) << 62) }
}

// Hold stops a stream of the current context after what is queued now. The function that
// it returns lets the stream go on. Holds end in the order in which they were made.
func Hold(stream uintptr) (end func()) {
	if code := C.hold(*(*unsafe.Pointer)(unsafe.Pointer(&stream))); code != 0 {
		panic(fmt.Sprintf("hold: error %d", code))
	}
	return func() { C.go_on() }
}

// Calls returns how often a function of the driver was called.
func Calls(name string) int { return count("standin_calls", name) }

func count(function, of string) int {
	f, o := C.CString(function), C.CString(of)
	defer C.free(unsafe.Pointer(f))
	defer C.free(unsafe.Pointer(o))
	return int(C.count(f, o))
}

// Leaks returns an error that names what was not returned to the driver, or nil. It
// counts contexts pushed on this thread, so lock the goroutine to the thread in
// question.
func Leaks() error {
	var errs []error
	for _, kind := range []string{"memory", "pinned", "streams", "events", "modules", "contexts", "pushed"} {
		if n := count("standin_held", kind); n != 0 {
			errs = append(errs, fmt.Errorf("%s: %d", kind, n))
		}
	}
	return errors.Join(errs...)
}
