// Package cuda is a [sampler.Device] for NVIDIA GPUs.
//
//	d, err := cuda.Open(0)
//	x, err := d.Make(b.Len(), sampler.BFloat16)
//	d.Step(x, cuda.Buffer{}, cuda.Buffer{}, b, nil) // initial noise
//	err = sampler.Rollout(ctx, d, s, b, &sampler.Trajectory[cuda.Buffer]{…}, model)
//
// Results have the bits of [sampler.CPU], in float32 as in 16-bit types.
//
// # Building
//
// The package compiles everywhere. Without the build tag cuda, Available is false and
// Open returns [ErrUnavailable]. With it, on Linux and with cgo, it drives the GPU
// through gorgonia.org/cu, which needs cuda.h and libcuda.so to build, and no other part
// of CUDA. CUDA 11, 12 and 13 will do; README.md of this folder says how to build with
// each.
//
// On amd64 and arm64 the program looks for the driver, libcuda.so.1, at the first Open,
// or at the program's own first call through gorgonia.org/cu. So it starts without a
// driver: then Open returns an error, as on a machine without a GPU. And what main sets in
// the environment counts, CUDA_VISIBLE_DEVICES say.
//
// The kernels are in the program, as PTX for sm_70 and later, which the driver compiles.
//
// # In a trainer
//
// A trainer that has latents on the GPU hands over its own pointers and its own stream.
// No latents are copied: calls queue up on the stream between the trainer's own, and
// do not wait for it. Two things may make one wait all the same: a full queue of the
// driver, and the driver's own allocations for the first calls of a size.
//
//	d, err := cuda.OpenStream(ordinal, uintptr(stream)) // CUstream or cudaStream_t
//	x := cuda.Buffer{Ptr: latents, Len: b.Len(), Type: sampler.BFloat16}
//	v := cuda.Buffer{Ptr: velocities, Len: b.Len(), Type: sampler.BFloat16}
//
//	d.Step(next, x, v, b, sq) // in order after the network, which wrote v
//	…                         // the network's next launches
//	err = d.Sync()            // once a rollout: now sq is there
//	scale, err = f.GradScale(scale, b, g) // f is a logprob.Form, g is ∂loss/∂log p
//	d.Grad(dv, next, x, v, b, scale)  // needs the x of the step, so not one in place
//
// With gorgonia.org/cu those are uintptr(unsafe.Pointer(stream.C())) of a cu.Stream and
// ptr.Uintptr() of a cu.DevicePtr, as the example of [OpenStream] shows. The stream's
// context may be any; buffers must be of the same, or reachable from it. A trainer with a
// context of its own and no stream, cu.NoStream, has a device by [OpenCurrent]. Every call
// asks the driver about addresses that are not from Make, and one that the context does
// not reach is an error of the call, [ErrPointer], where a kernel would end the process.
// Grad writes ∂loss/∂v where the
// trainer's backward pass wants it, in the type of that buffer.
//
// # Memory traffic
//
// Every call is one pass over its buffers, and reads what a row's weights need. In
// float32, Step moves 12 bytes an element, SumSquares as many, Grad 20; with every buffer
// bfloat16 or float16, half. Threads read and write 16 bytes at a time; rows that do not
// start at multiples of 16 bytes take single elements and are slower, and so are rows
// much shorter than 1024 elements.
//
// What bounds a pass on an H200 is counted, not measured: ptxas.sh counts the machine
// instructions of sm_90 that a warp issues, and ptxas.md has the counts. In float32, steps,
// replays and gradients are bound by memory, which a copy uses at about 4.3 TB/s. Steps in
// bfloat16 and float16 with sums are bound by the arithmetic of the noise, which is
// float32, at no more than 50 and 53 % of a copy's speed; initial noise, which reads
// nothing, at 47 % in float32 and 21 and 23 % in the 16-bit types. So 16-bit types save
// memory, but less than half of the time of a step.
//
// Rows that all do the same for consecutive samples, the usual rollout, are parameters
// of the launch, as are all rows of the same weights where no noise is drawn; other rows
// are 32 bytes each, copied to the device before it.
package cuda
