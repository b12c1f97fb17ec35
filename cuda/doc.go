// Package cuda implements [sampler.Device] for NVIDIA GPUs.
//
//	d, err := cuda.Open(0)
//	x, err := d.Make(b.Len(), sampler.BFloat16)
//	d.Step(x, cuda.Buffer{}, cuda.Buffer{}, b, nil) // initial noise
//	err = sampler.Rollout(ctx, d, s, b, &sampler.Trajectory[cuda.Buffer]{…}, model)
//
// This package has not run on a GPU yet. In CI an interpreter of the PTX and a stand-in for
// the driver give the bits of [sampler.CPU], in float32 and in 16-bit types. The program
// cuda/gpucheck tests this on a GPU.
//
// # Building
//
// The package compiles everywhere. Without the build tag cuda, Available is false and Open
// returns [ErrUnavailable]. With the tag, on Linux and with cgo, it drives the GPU through
// gorgonia.org/cu. Building then needs cuda.h and libcuda.so of CUDA 11, 12 or 13, and no
// other part of CUDA. README.md of this folder says how to build with each.
//
// On amd64 and arm64 the program looks for the driver, libcuda.so.1, at the first Open, or
// at the program's own first call through gorgonia.org/cu. So it starts without a driver,
// and Open then returns an error, as on a machine without a GPU. Environment variables
// that main sets, such as CUDA_VISIBLE_DEVICES, take effect.
//
// The program contains the kernels as PTX for sm_70 and later. The driver compiles them.
//
// # In a trainer
//
// A trainer that has latents on the GPU hands over its own pointers and its own stream.
// Latents are not copied. Calls join the trainer's work on the stream and do not wait for
// it. A call waits in two cases only: the driver's queue is full, or the driver allocates
// for the first calls of a size.
//
//	d, err := cuda.OpenStream(ordinal, uintptr(stream)) // CUstream or cudaStream_t
//	x := cuda.Buffer{Ptr: latents, Len: b.Len(), Type: sampler.BFloat16}
//	v := cuda.Buffer{Ptr: velocities, Len: b.Len(), Type: sampler.BFloat16}
//
//	d.Step(next, x, v, b, sq) // in order after the network, which wrote v
//	…                         // the network's next launches
//	err = d.Sync()            // once a rollout: now sq is there
//	scale, err = f.GradScale(scale, b, g) // f is a logprob.Form, g is ∂loss/∂log p
//	d.Grad(dv, next, x, v, b, scale)
//
// SumSquares and Grad take x, the latent before the step, so the step must not have
// overwritten it (dst ≠ x).
//
// With gorgonia.org/cu, the stream is uintptr(unsafe.Pointer(stream.C())) of a cu.Stream,
// and an address is ptr.Uintptr() of a cu.DevicePtr, as the example of [OpenStream] shows.
// The stream may be of any context; buffers must be of the same context, or reachable from
// it. A trainer with its own context and no stream, cu.NoStream, uses [OpenCurrent].
//
// Every call asks the driver about addresses that are not from Make. If the context does
// not reach one, the call fails with [ErrPointer]; a kernel would end the process. Grad
// adds ∂loss/∂v to the buffer of the trainer's backward pass, in the type of that
// buffer.
//
// # Memory traffic
//
// Every call is one pass over its buffers, and reads only what the rows' weights need. In
// float32, Step and SumSquares move 12 bytes an element, and Grad 20. If every buffer is
// bfloat16 or float16, they move half. Threads read and write 16 bytes at a time. Rows
// that do not start at multiples of 16 bytes take single elements and are slower. Rows
// much shorter than 1024 elements are slower, too.
//
// The bounds of a pass on an H200 are counted, not measured. ptxas.sh counts the machine
// instructions of sm_90 that a warp issues, and ptxas.md has the counts. A copy uses about
// 4.3 TB/s of the memory. Memory bounds steps, replays and gradients in float32, and
// replays and gradients in 16-bit types. The arithmetic of the noise, which is float32,
// bounds the rest. These are upper limits: arithmetic keeps initial noise, which reads
// nothing, at or below 47 % of a copy's speed in float32, 21 % in bfloat16 and 23 % in
// float16. It keeps steps with sums at or below 50 % in bfloat16 and 53 % in float16.
// Another unit may limit them further. So 16-bit types halve the memory, but save less
// than half of a step's time.
//
// In the usual rollout all rows do the same for consecutive samples, and are parameters of
// the launch. So are rows of equal weights where no noise is drawn. Other rows take 32
// bytes each, which are copied to the device before the launch.
package cuda
