//go:build cuda && linux && cgo

package cuda_test

import (
	"fmt"
	"log"
	"runtime"
	"unsafe"

	"cps/cuda"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"

	"gorgonia.org/cu"
)

// A trainer has a stream and memory of its own, here through gorgonia.org/cu. The stream
// is from cu.MakeStream or from a framework. cu.NoStream would be the default stream of
// the primary context. There is no output to compare, since some machines that run tests
// have no GPU.
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

		// The network has queued the work that writes v on the stream.
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
		// Grad runs after the work that set dv to 0, and before the network's backward
		// pass, which reads dv.
		d.Grad(dv, y, x, v, b, scale)
		return d.Sync()
	}
	var stream cu.Stream // the stream of the network's launches
	log.Println(train(stream, 0, 0, 0, 0, sampler.Batch{Dim: 1, Key: noise.Key(1)}))
}

// A trainer has a context from cu.NewContext and uses no streams. The default stream of
// that context is not that of the primary context. OpenCurrent finds it.
func ExampleOpenCurrent() {
	b := sampler.Batch{Dim: 2, Key: 7, Rows: []sampler.Row{sampler.InitialRow(1)}}
	host := make([]float32, b.Len())
	onGPU := func() error {
		gpu, err := cu.GetDevice(0)
		if err != nil {
			return err // no driver, no GPU
		}
		// NewContext makes its context current on this thread, too, and then on a thread
		// of its own.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ctx := cu.NewContext(gpu, cu.SchedAuto)
		defer ctx.Close()
		if _, err := cu.PopCurrentCtx(); err != nil {
			return err
		}

		var d *cuda.Device
		if err := ctx.Do(func() (err error) { d, err = cuda.OpenCurrent(0); return err }); err != nil {
			return err
		}
		defer d.Close() // must come before the end of the context
		latents, err := ctx.MemAlloc(int64(4 * b.Len()))
		if err != nil {
			return err
		}
		defer ctx.MemFree(latents)
		// From here on any goroutine may call the device.
		x := cuda.Buffer{Ptr: latents.Uintptr(), Len: b.Len()}
		d.Step(x, cuda.Buffer{}, cuda.Buffer{}, b, nil)
		return d.Download(host, x)
	}
	if err := onGPU(); err != nil {
		sampler.CPU{}.Step(host, nil, nil, b, nil)
	}
	fmt.Println(host)
	// Output: [1.0453334 0.55992186]
}
