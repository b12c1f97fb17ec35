//go:build cuda && linux && cgo

package cuda_test

import (
	"fmt"
	"log"
	"unsafe"

	"cps/cuda"
	"cps/noise"
	"cps/sampler"

	"gorgonia.org/cu"
)

// A trainer with a stream and memory of its own, here through gorgonia.org/cu. There is
// no output to compare, since not every machine that runs tests has a GPU.
func ExampleOpenStream() {
	train := func(stream cu.Stream, latents, velocities, gradient cu.DevicePtr, b sampler.Batch) error {
		d, err := cuda.OpenStream(0, uintptr(unsafe.Pointer(stream.C())))
		if err != nil {
			return err
		}
		defer d.Close()
		x := cuda.Buffer{Ptr: latents.Uintptr(), Len: b.Len(), Type: sampler.BFloat16}
		v := cuda.Buffer{Ptr: velocities.Uintptr(), Len: b.Len(), Type: sampler.BFloat16}
		dv := cuda.Buffer{Ptr: gradient.Uintptr(), Len: b.Len()}
		sq, scale := make([]float64, len(b.Rows)), make([]float64, len(b.Rows))

		// The network has queued on the stream what writes v.
		d.Step(x, x, v, b, sq)
		d.Grad(dv, x, x, v, b, scale)
		// It queues more on the same stream, and waits once.
		if err := d.Sync(); err != nil {
			return err
		}
		fmt.Println(sq)
		return nil
	}
	log.Println(train(cu.NoStream, 0, 0, 0, sampler.Batch{Dim: 1, Key: noise.Key(1)}))
}
