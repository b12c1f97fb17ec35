//go:build cuda && linux && cgo

package cuda

// gorgonia.org/cu has most of CUDA's driver that is needed here. It lacks pinned memory,
// the context of a stream, all attributes of a pointer at once, and the driver's text of
// an error.

// #cgo CFLAGS: -I/usr/local/cuda/include
// #cgo LDFLAGS: -Wl,--as-needed -L/usr/local/cuda/lib64 -lcuda -ldl
// #include <cuda.h>
//
// int cps_cuda_init(const char **why);
//
// static void leave(void) {
//   CUcontext popped;
//   cuCtxPopCurrent(&popped);
// }
//
// // What CUDA knows of an address. All fields are 0 for an unknown one.
// typedef struct {
//   CUcontext context;   // of its allocation; 0 for memory of no context
//   CUdeviceptr address; // for kernels in the current context, or 0
//   unsigned type, managed;
//   int device;
// } place;
//
// static CUresult place_of(CUdeviceptr p, place *at) {
//   CUpointer_attribute which[] = {CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_DEVICE_POINTER,
//                                  CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_IS_MANAGED,
//                                  CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
//   void *values[] = {&at->context, &at->address, &at->type, &at->managed, &at->device};
//   *at = (place){0};
//   return cuPointerGetAttributes(5, which, values, p);
// }
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
// A context is current on a thread. So every call locks its goroutine to its thread,
// pushes the context there, and pops it at the end. That costs less than handing calls to
// a thread that keeps the context. It leaves the contexts of the caller's threads alone.
type nvidia struct {
	device  cu.Device
	context C.CUcontext
	primary bool // the context is the primary one, which is retained
	program *program
	stream  cu.Stream
	owned   bool // the stream is the device's own
	at      C.place

	// Arguments of a launch, as cu takes them. It reads 8 bytes of each.
	cells    [maxArgs]uint64
	pointers [maxArgs]unsafe.Pointer
}

// initialised returns nil, or an error that says why there is no driver.
func initialised() error {
	var why *C.char
	result := C.CUresult(C.cps_cuda_init(&why))
	if why != nil {
		return fmt.Errorf("no driver: %s", C.GoString(why))
	}
	return check("cuInit", result)
}

// An opening says what to open.
type opening struct {
	ordinal int
	current bool    // take the context that is current on this thread, of any GPU
	stream  uintptr // the caller's stream
	given   bool    // whether the caller gave one
}

// openNVIDIA returns the driver of a GPU, with a stream of its own unless one is given.
func openNVIDIA(o opening) (*nvidia, error) {
	n := new(nvidia)
	for i := range n.cells {
		n.pointers[i] = unsafe.Pointer(&n.cells[i])
	}
	if err := initialised(); err != nil {
		return nil, err
	}
	if err := n.findContext(o); err != nil {
		return nil, err
	}
	if err := n.enter(); err != nil {
		return nil, errors.Join(err, n.release())
	}
	if err := n.fill(o); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.leave()
	return n, nil
}

// Handles of streams that have no context of their own. 0 is another, and means
// legacyStream.
const (
	legacyStream    = 1 // CU_STREAM_LEGACY
	perThreadStream = 2 // CU_STREAM_PER_THREAD
)

// A pointerError says why a device cannot use the address of a buffer.
type pointerError string

func (e pointerError) Error() string { return string(e) }

func (e pointerError) Is(target error) bool { return target == ErrPointer }

var (
	// errPerThread: goroutines move between threads, so calls would lose their order.
	errPerThread = errors.New("CU_STREAM_PER_THREAD is another stream on every thread, and goroutines move between threads: take a stream that cuStreamCreate made")

	errNoContext     = errors.New("no context is current on this thread: call OpenCurrent where the trainer calls CUDA, after runtime.LockOSThread or in Ctx.Do of gorgonia.org/cu")
	errOtherContext  = errors.New("the stream belongs to another context than the current one")
	errOtherThanOpen = pointerError("memory of another context of the same GPU: open a device there, with OpenCurrent or with OpenStream and a stream of that context")
	errUnknown       = pointerError("unknown to CUDA, or freed")
	errUnreachable   = pointerError("kernels on this GPU cannot reach that memory: open the device with OpenStream or OpenCurrent in the context of the buffer")
)

// findContext takes the current context, or that of the stream, or retains the primary
// one.
func (n *nvidia) findContext(o opening) (err error) {
	if o.stream == perThreadStream {
		return errPerThread
	}
	if o.current {
		if err := check("cuCtxGetCurrent", C.cuCtxGetCurrent(&n.context)); err != nil {
			return err
		}
		if n.context == nil {
			return errNoContext
		}
	} else if n.device, err = cu.GetDevice(o.ordinal); err != nil {
		return explain("cuDeviceGet", err)
	}
	if o.stream > legacyStream {
		var of C.CUcontext
		handle := *(*C.CUstream)(unsafe.Pointer(&o.stream))
		if err := check("cuStreamGetCtx", C.cuStreamGetCtx(handle, &of)); err != nil {
			return err
		}
		if o.current && of != n.context {
			return errOtherContext
		}
		n.context = of
		return nil
	}
	if o.current {
		return nil
	}
	err = check("cuDevicePrimaryCtxRetain", C.cuDevicePrimaryCtxRetain(&n.context, C.CUdevice(n.device)))
	n.primary = err == nil
	return err
}

// fill loads the kernels, and makes a stream unless one is given.
func (n *nvidia) fill(o opening) error {
	device, err := cu.CurrentDevice()
	if err != nil {
		return explain("cuCtxGetDevice", err)
	}
	if o.current {
		n.device = device
	}
	if device != n.device {
		return fmt.Errorf("the stream belongs to GPU %d", int(device))
	}
	if n.program, err = acquire(n.context, device); err != nil {
		return err
	}
	if o.given {
		n.stream = *(*cu.Stream)(unsafe.Pointer(&o.stream)) // cu.Stream is a struct of one handle
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

// leave cannot fail unless another failure was reported: the context that it pops is
// there.
func (n *nvidia) leave() {
	C.leave()
	runtime.UnlockOSThread()
}

func (n *nvidia) resident(k kernel) int { return n.program.groups[k] }

// reachable asks the driver. Memory of another GPU is reachable if the trainer gives this
// GPU access. Managed memory is, and so is memory of no context, such as that of a pool.
func (n *nvidia) reachable(p uintptr) error {
	if err := check("cuPointerGetAttributes", C.place_of(C.CUdeviceptr(p), &n.at)); err != nil {
		return err
	}
	switch at := &n.at; {
	case at._type == 0:
		return errUnknown
	case at.context != nil && at.context != n.context && at.device == C.int(n.device) && at.managed == 0 && at._type == C.CU_MEMORYTYPE_DEVICE:
		return errOtherThanOpen
	case at.address == 0:
		return errUnreachable
	}
	return nil
}

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
	err := n.program.functions[k].Launch(groups, 1, 1, warps*warpLen, 1, 1, 0, n.stream, n.pointers[:len(args)])
	return explain("cuLaunchKernel", err)
}

func (n *nvidia) newEvent() (event, error) {
	e, err := cu.MakeEvent(cu.DisableTiming)
	return *(*event)(unsafe.Pointer(&e)), explain("cuEventCreate", err)
}

// cuEvent returns the event of a handle. cu.Event is a struct of one handle.
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

func (n *nvidia) wait(e event) error { return explain("cuEventSynchronize", cuEvent(e).Synchronize()) }

func (n *nvidia) freeEvent(e event) error {
	c := cuEvent(e)
	return explain("cuEventDestroy", cu.DestroyEvent(&c))
}

func (n *nvidia) sync() error { return explain("cuStreamSynchronize", n.stream.Synchronize()) }

func (n *nvidia) close() error {
	errs := []error{n.program.leave()}
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

// explain returns the error of one of cu's functions with the driver's own text.
func explain(call string, err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.CanInt() { // cu does not export its type of results
		return check(call, C.CUresult(v.Int()))
	}
	return fmt.Errorf("%s: %w", call, err)
}

// check returns nil for success, and else the error of the result.
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
