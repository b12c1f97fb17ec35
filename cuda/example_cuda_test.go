//go:build cuda && linux && cgo

package cuda_test

import (
	"log"
	"unsafe"

	"cps/cuda"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"

	"gorgonia.org/cu"
)

// A trainer with a stream and memory of its own, here through gorgonia.org/cu. There is
// no output to compare, since not every machine that runs tests has a GPU.
func ExampleOpenStream() {
	backward := func(logp []float64) []float64 { // ∂loss/∂log p of every row
		return make([]float64, len(logp))
	}
	train := func(stream cu.Stream, latents, velocities, next, gradient cu.DevicePtr, b sampler.Batch) error {
		d, err := cuda.OpenStream(0, uintptr(unsafe.Pointer(stream.C())))
		if err != nil {
			return err
		}
		defer d.Close()
		x := cuda.Buffer{Ptr: latents.Uintptr(), Len: b.Len(), Type: sampler.BFloat16}
		v := cuda.Buffer{Ptr: velocities.Uintptr(), Len: b.Len(), Type: sampler.BFloat16}
		dv := cuda.Buffer{Ptr: gradient.Uintptr(), Len: b.Len()}
		y := cuda.Buffer{Ptr: next.Uintptr(), Len: b.Len(), Type: sampler.BFloat16} // Grad needs x again
		sq := make([]float64, len(b.Rows))

		// The network has queued on the stream what writes v.
		d.Step(y, x, v, b, sq)
		if err := d.Sync(); err != nil {
			return err
		}
		var f logprob.Form
		logp, err := f.LogProb(make([]float64, len(sq)), b, sq)
		if err != nil {
			return err
		}
		scale, err := f.GradScale(make([]float64, len(sq)), b, backward(logp))
		if err != nil {
			return err
		}
		// In order before the network's backward pass, which reads dv, and after what
		// set it to 0.
		d.Grad(dv, y, x, v, b, scale)
		return d.Sync()
	}
	log.Println(train(cu.NoStream, 0, 0, 0, 0, sampler.Batch{Dim: 1, Key: noise.Key(1)}))
}
