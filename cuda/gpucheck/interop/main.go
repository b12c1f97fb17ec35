//go:build cuda && linux && cgo

// Interop makes package cuda a C library, for a trainer in another language in the same
// process. gpucheck.py gives it pointers and streams of other makers.
//
//	go build -tags cuda -buildmode=c-shared -o interop.so ./cuda/gpucheck/interop
package main

// #include <stdint.h>
import "C"

import (
	"fmt"
	"os"
	"unsafe"

	"cps/cuda"
	"cps/noise"
	"cps/sampler"
)

// The one device of the process.
var device *cuda.Device

// failed prints the error, if there is one, and returns the result of the C function.
func failed(err error) C.int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// InteropOpen opens the device on a stream of GPU 0.
//
//export InteropOpen
func InteropOpen(stream C.uintptr_t) C.int {
	var err error
	device, err = cuda.OpenStream(0, uintptr(stream))
	return failed(err)
}

// batch is a step of rows with consecutive samples.
func batch(rows, dim, storage C.int) sampler.Batch {
	b := sampler.Batch{Dim: int(dim), Key: 11, Storage: sampler.Storage(storage)}
	for i := range uint64(rows) {
		b.Rows = append(b.Rows, sampler.Row{Affine: sampler.Affine{X: 0.9, V: -0.2, Eps: 0.3}, ID: noise.ID{Sample: i, Step: 3}})
	}
	return b
}

func sums(sq *C.double, b sampler.Batch) []float64 {
	if sq == nil {
		return nil
	}
	return unsafe.Slice((*float64)(sq), len(b.Rows))
}

// InteropStep queues a step between device pointers. sq may be null. InteropSync fills
// it, so the caller keeps it until then.
//
//export InteropStep
func InteropStep(dst, x, v C.uintptr_t, rows, dim, storage C.int, sq *C.double) {
	b := batch(rows, dim, storage)
	buffer := func(p C.uintptr_t) cuda.Buffer { return cuda.Buffer{Ptr: uintptr(p), Len: b.Len(), Type: b.Storage} }
	device.Step(buffer(dst), buffer(x), buffer(v), b, sums(sq, b))
}

// InteropSync waits for all steps.
//
//export InteropSync
func InteropSync() C.int { return failed(device.Sync()) }

// InteropClose closes the device.
//
//export InteropClose
func InteropClose() C.int { return failed(device.Close()) }

// InteropCPU takes the same step on the processor, between words of the type in host
// memory.
//
//export InteropCPU
func InteropCPU(dst, x, v unsafe.Pointer, rows, dim, storage C.int, sq *C.double) C.int {
	b := batch(rows, dim, storage)
	if b.Storage == sampler.Float32 {
		at := func(p unsafe.Pointer) []float32 { return unsafe.Slice((*float32)(p), b.Len()) }
		sampler.CPU{}.Step(at(dst), at(x), at(v), b, sums(sq, b))
		return failed(sampler.CPU{}.Sync())
	}
	at := func(p unsafe.Pointer) []uint16 { return unsafe.Slice((*uint16)(p), b.Len()) }
	wide := func(p unsafe.Pointer) []float32 {
		f := make([]float32, b.Len())
		b.Storage.Unpack(f, at(p))
		return f
	}
	next := make([]float32, b.Len())
	sampler.CPU{}.Step(next, wide(x), wide(v), b, sums(sq, b))
	b.Storage.Pack(at(dst), next)
	return failed(sampler.CPU{}.Sync())
}

func main() {}
