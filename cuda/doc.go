// Package cuda is a [sampler.Device] for NVIDIA GPUs.
//
//	d, err := cuda.Open(0)
//	x, err := d.Alloc(b.Len(), sampler.BFloat16)
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
// of CUDA: CGO_CFLAGS=-I… and CGO_LDFLAGS=-L… say where they are if that is not
// /usr/local/cuda; on Debian headers.sh fetches them. On amd64 and arm64 the program
// looks for the driver, libcuda.so.1, when it starts, and starts without it: then Open
// returns an error, as on a machine without a GPU.
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
// context may be any; buffers must be of the same. Grad writes ∂loss/∂v where the
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
// What bounds a pass is estimated for an H100, from the instructions of sm_90 that
// ptxas makes; none of it is measured:
//
//	pass                        instructions an element   bound by
//	step, float32               72                        memory: 47 % of issue slots at 90 % of a copy's speed
//	step, bfloat16              87                        issue, at 55 to 78 % of a copy
//	step, float16               82                        issue, the same
//	initial noise, float32                                issue, at 68 % of a copy or less
//	initial noise, bfloat16                               issue, at 30 % or less
//	squares                                               memory
//
// So 16-bit types save memory, but less than half of the time of a step: what they save
// in traffic, the arithmetic of the noise, which is float32, does not.
//
// Rows that all do the same for consecutive samples, the usual rollout, are parameters
// of the launch; other rows are 24 bytes each, copied to the device before it.
package cuda
