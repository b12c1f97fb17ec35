//go:build cuda && linux && cgo

package cuda

// gorgonia.org/cu has all of CUDA's driver that is needed here, but pinned memory, the
// context of a stream, and the driver's words for an error.

// #cgo CFLAGS: -I/usr/local/cuda/include
// #cgo LDFLAGS: -Wl,--as-needed -L/usr/local/cuda/lib64 -lcuda -ldl
// #include <cuda.h>
//
// int cps_cuda_init(const char **why);
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"
)

// nvidia is NVIDIA's driver.
//
// A context is current on a thread, so every call locks its goroutine to one, pushes
// the context there and pops it in the end. That costs less than handing calls to a
// thread that keeps the context, and leaves the contexts of the caller's threads as
// they were.
type nvidia struct {
	device    cu.Device
	count     int // multiprocessors
	groups    [kernelCount]int
	context   C.CUcontext
	popped    C.CUcontext
	primary   bool // the context is the primary one, and retained
	modules   []cu.Module
	functions [kernelCount]cu.Function
	stream    cu.Stream
	owned     bool // the stream is ours

	// Arguments of a launch, as cu takes them: it reads 8 bytes of each.
	cells    [maxArgs]uint64
	pointers [maxArgs]unsafe.Pointer
}

// initialised returns why there is no driver.
func initialised() error {
	var why *C.char
	result := C.CUresult(C.cps_cuda_init(&why))
	if why != nil {
		return fmt.Errorf("no driver: %s", C.GoString(why))
	}
	return check("cuInit", result)
}

// openNVIDIA returns the driver of a GPU with a stream of its own, unless it is given.
func openNVIDIA(ordinal int, stream uintptr, given bool) (*nvidia, error) {
	n := new(nvidia)
	for i := range n.cells {
		n.pointers[i] = unsafe.Pointer(&n.cells[i])
	}
	if err := initialised(); err != nil {
		return nil, err
	}
	var err error
	if n.device, err = cu.GetDevice(ordinal); err != nil {
		return nil, explain("cuDeviceGet", err)
	}
	if n.count, err = n.device.Attribute(cu.MultiprocessorCount); err != nil {
		return nil, explain("cuDeviceGetAttribute", err)
	}
	if err := n.findContext(stream); err != nil {
		return nil, err
	}
	if err := n.enter(); err != nil {
		return nil, errors.Join(err, n.release())
	}
	if err := n.fill(stream, given); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.leave()
	return n, nil
}

// Handles of streams that have no context of their own, beside 0, which is the same as
// the first.
const (
	legacyStream    = 1 // CU_STREAM_LEGACY
	perThreadStream = 2 // CU_STREAM_PER_THREAD
)

// errPerThread: goroutines move between threads, and calls would lose their order.
var errPerThread = errors.New("CU_STREAM_PER_THREAD is another stream on every thread, and goroutines move between threads")

// findContext finds the context of a stream, or retains the primary one.
func (n *nvidia) findContext(stream uintptr) error {
	if stream == perThreadStream {
		return errPerThread
	}
	if stream > legacyStream {
		handle := *(*C.CUstream)(unsafe.Pointer(&stream))
		return check("cuStreamGetCtx", C.cuStreamGetCtx(handle, &n.context))
	}
	err := check("cuDevicePrimaryCtxRetain", C.cuDevicePrimaryCtxRetain(&n.context, C.CUdevice(n.device)))
	n.primary = err == nil
	return err
}

// fill loads the kernels and makes the stream.
func (n *nvidia) fill(stream uintptr, given bool) error {
	device, err := cu.CurrentDevice()
	if err != nil {
		return explain("cuCtxGetDevice", err)
	}
	if device != n.device {
		return fmt.Errorf("the stream is on GPU %d", int(device))
	}
	for k := range kernelCount {
		m, err := cu.LoadData(k.source())
		if err != nil {
			return fmt.Errorf("kernel %v: %w", k, explain("cuModuleLoadData", err))
		}
		n.modules = append(n.modules, m)
		if n.functions[k], err = m.Function(k.String()); err != nil {
			return fmt.Errorf("kernel %v: %w", k, explain("cuModuleGetFunction", err))
		}
		here, err := n.functions[k].MaxActiveBlocksPerMultiProcessor(warps*warpLen, 0)
		if err != nil {
			return fmt.Errorf("kernel %v: %w", k, explain("cuOccupancyMaxActiveBlocksPerMultiprocessor", err))
		}
		n.groups[k] = max(here, 1) * n.count
	}
	if given {
		n.stream = *(*cu.Stream)(unsafe.Pointer(&stream)) // a struct of one handle
		return nil
	}
	n.stream, err = cu.MakeStream(cu.NonBlocking)
	n.owned = err == nil
	return explain("cuStreamCreate", err)
}

func (n *nvidia) enter() error {
	runtime.LockOSThread()
	if err := check("cuCtxPushCurrent", C.cuCtxPushCurrent(n.context)); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	return nil
}

// leave cannot fail, unless another failure was reported before: the context that it
// pops is there.
func (n *nvidia) leave() {
	C.cuCtxPopCurrent(&n.popped)
	runtime.UnlockOSThread()
}

func (n *nvidia) resident(k kernel) int { return n.groups[k] }

func (n *nvidia) alloc(bytes int) (uintptr, error) {
	p, err := cu.MemAlloc(int64(bytes))
	return uintptr(p), explain("cuMemAlloc", err)
}

func (n *nvidia) free(p uintptr) error { return explain("cuMemFree", cu.MemFree(cu.DevicePtr(p))) }

func (n *nvidia) allocHost(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	if err := check("cuMemHostAlloc", C.cuMemHostAlloc(&p, C.size_t(bytes), 0)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

func (n *nvidia) freeHost(m []byte) error {
	return explain("cuMemFreeHost", cu.MemFreeHost(unsafe.Pointer(unsafe.SliceData(m))))
}

func (n *nvidia) upload(dst uintptr, src []byte) error {
	p := unsafe.Pointer(unsafe.SliceData(src))
	return explain("cuMemcpyHtoDAsync", cu.MemcpyHtoDAsync(cu.DevicePtr(dst), p, int64(len(src)), n.stream))
}

func (n *nvidia) download(dst []byte, src uintptr) error {
	p := unsafe.Pointer(unsafe.SliceData(dst))
	return explain("cuMemcpyDtoHAsync", cu.MemcpyDtoHAsync(p, cu.DevicePtr(src), int64(len(dst)), n.stream))
}

func (n *nvidia) launch(k kernel, groups int, args []uint64) error {
	copy(n.cells[:], args)
	err := n.functions[k].Launch(groups, 1, 1, warps*warpLen, 1, 1, 0, n.stream, n.pointers[:len(args)])
	return explain("cuLaunchKernel", err)
}

func (n *nvidia) newEvent() (event, error) {
	e, err := cu.MakeEvent(cu.DisableTiming)
	return *(*event)(unsafe.Pointer(&e)), explain("cuEventCreate", err)
}

// cuEvent returns the event of a handle: cu.Event is a struct of one.
func cuEvent(e event) cu.Event { return *(*cu.Event)(unsafe.Pointer(&e)) }

func (n *nvidia) record(e event) error {
	return explain("cuEventRecord", cuEvent(e).Record(n.stream))
}

func (n *nvidia) reached(e event) (bool, error) {
	err := cuEvent(e).Query()
	if err == error(cu.NotReady) {
		return false, nil
	}
	return err == nil, explain("cuEventQuery", err)
}

func (n *nvidia) freeEvent(e event) error {
	c := cuEvent(e)
	return explain("cuEventDestroy", cu.DestroyEvent(&c))
}

func (n *nvidia) sync() error { return explain("cuStreamSynchronize", n.stream.Synchronize()) }

func (n *nvidia) close() error {
	var errs []error
	for _, m := range n.modules {
		errs = append(errs, explain("cuModuleUnload", m.Unload()))
	}
	if n.owned {
		errs = append(errs, explain("cuStreamDestroy", n.stream.Destroy()))
	}
	n.leave()
	return errors.Join(append(errs, n.release())...)
}

func (n *nvidia) release() error {
	if !n.primary {
		return nil
	}
	n.primary = false
	return explain("cuDevicePrimaryCtxRelease", n.device.ReleasePrimaryCtx())
}

// explain returns the error of one of cu's functions in the driver's words.
func explain(call string, err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.CanInt() { // cu's type of results is not exported
		return check(call, C.CUresult(v.Int()))
	}
	return fmt.Errorf("%s: %w", call, err)
}

// check returns the error of a result.
func check(call string, result C.CUresult) error {
	if result == C.CUDA_SUCCESS {
		return nil
	}
	e := &driverError{call: call, code: int(result), message: "unknown error"}
	var text *C.char
	if C.cuGetErrorString(result, &text) == C.CUDA_SUCCESS && text != nil {
		e.message = C.GoString(text)
	}
	return e
}
