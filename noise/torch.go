package noise

import "cps/internal/kernel"

// A TorchGPU holds the two properties of a GPU on which the layout of torch.randn
// depends. torch.cuda.get_device_properties has them. An A100 or H100 has 2048
// threads a multiprocessor, most other GPUs 1536 or 1024.
//
// The zero TorchGPU has a thread for every element. It is right for tensors that
// have no more elements than the GPU has threads: 73728 on a GPU of 48
// multiprocessors with 1536 threads each.
type TorchGPU struct {
	Multiprocessors          int // multi_processor_count
	ThreadsPerMultiprocessor int // max_threads_per_multi_processor
}

const (
	torchBlock = 256     // threads of a block
	torchMax   = 1 << 29 // float32 that 32-bit byte offsets reach; torch splits larger tensors

	panicTorchSize   = "noise: torch splits tensors of more than 1<<29 elements"
	panicTorchOffset = "noise: offset of a torch generator is not a multiple of 4"
	panicTorchGPU    = "noise: TorchGPU must have 256 threads or more, or be zero"
)

// TorchCUDANormal stores in dst what
//
//	torch.randn(len(dst), device="cuda")
//
// returns on gpu for a generator with the given seed and offset, as
// Generator.get_state holds them. It returns the generator's next offset. A new or
// newly seeded generator is at offset 0. Of the tensor's shape only the number of
// elements matters.
//
// Element e is computed by thread e mod G of
//
//	G = 256·min(Multiprocessors·⌊ThreadsPerMultiprocessor/256⌋, ⌈len(dst)/256⌉)
//
// from word ⌊e/G⌋ mod 4 of the block with
//
//	counter = { offset/4 + ⌊e/4G⌋ (64 bits), thread (64 bits) },  key = seed
//
// (calc_execution_policy and distribution_elementwise_grid_stride_kernel in
// PyTorch's aten/src/ATen/native/cuda/DistributionTemplates.h). These draws depend
// on the GPU and on the size of the tensor. Use them to compare with runs of
// torch, and [Normal] for everything else.
//
// The words are torch's exactly. The normals are about 1e-6 away from torch's,
// whose sine is a hardware approximation. Half-precision tensors hold the same
// draws, rounded. torch.float64 has another layout, which this function does not
// support.
//
// TorchCUDANormal does not allocate. It panics if dst has more than 2²⁹ elements,
// which torch splits into several launches. It panics if offset is not a multiple
// of 4, as all of torch's are. It also panics if gpu is not zero and has fewer
// than 256 threads.
func TorchCUDANormal(dst []float32, seed, offset uint64, gpu TorchGPU) (next uint64) {
	n := uint64(len(dst))
	switch {
	case n > torchMax:
		panic(panicTorchSize)
	case offset%4 != 0:
		panic(panicTorchOffset)
	case n == 0:
		return offset
	}
	g := (n + torchBlock - 1) / torchBlock
	if gpu != (TorchGPU{}) {
		blocks := gpu.Multiprocessors * (gpu.ThreadsPerMultiprocessor / torchBlock)
		if gpu.Multiprocessors <= 0 || blocks <= 0 {
			panic(panicTorchGPU)
		}
		g = min(g, uint64(blocks))
	}
	g *= torchBlock

	block := offset / 4
	for first := uint64(0); first < n; first += 4 * g {
		for thread := range min(g, n-first) {
			s := kernel.Stream{Key: seed, Sample: thread, Step: uint32(block >> 32)}
			var z [4]float32
			s.Normal(z[:], 4*uint64(uint32(block)))
			for i, e := 0, first+thread; i < 4 && e < n; i, e = i+1, e+g {
				dst[e] = z[i]
			}
		}
		block++
	}
	return 4 * block
}
