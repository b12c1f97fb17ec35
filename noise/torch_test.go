package noise_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"cps/noise"
)

// torchTol is the distance of these normals from torch's. Both evaluate the same
// words. torch's angle, a float32 of up to 2π, is off by 2.4e-7, and its hardware
// sine adds as much. At a radius of 2 that is 1e-6.
const torchTol = 1e-6

// Rows that users published, with as many digits as torch prints.
func TestTorchPublished(t *testing.T) {
	// Seed 14, 1000×100, normal_(5, √5) on an RTX A4000: row 997, whose elements
	// take the second word of their threads' blocks.
	a4000 := noise.TorchGPU{Multiprocessors: 48, ThreadsPerMultiprocessor: 1536}
	x := make([]float32, 1000*100)
	next := noise.TorchCUDANormal(x, 14, 0, a4000)
	if next != 4 {
		t.Errorf("offset %d after one block a thread", next)
	}
	row := x[997*100:][:100]
	for i, want := range map[int]float64{0: 8.6297, 1: 2.3137, 2: 6.2596, 97: 7.9358, 98: 4.4697, 99: 2.7475} {
		got := float64(row[i])*math.Sqrt(5) + 5
		if math.Abs(got-want) > 0.5e-4+3*torchTol { // four decimals, and the error times √5
			t.Errorf("row 997, element %d: %.6f, published %.4f", i, got, want)
		}
	}

	for seed, want := range map[uint64][3]float64{
		42: {0.1940, 2.1614, -0.1721},
		10: {-0.1029, 1.6810, -0.2708},
	} {
		var x [3]float32
		noise.TorchCUDANormal(x[:], seed, 0, noise.TorchGPU{})
		for i, want := range want {
			if math.Abs(float64(x[i])-want) > 0.5e-4+torchTol {
				t.Errorf("seed %d, element %d: %.6f, published %.4f", seed, i, x[i], want)
			}
		}
	}
}

// The layout, written once more as the grid of a launch: block by block, thread by
// thread, four elements an iteration.
func TestTorchLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gpu := noise.TorchGPU{
			Multiprocessors:          rapid.IntRange(1, 3).Draw(t, "multiprocessors"),
			ThreadsPerMultiprocessor: rapid.SampledFrom([]int{256, 700, 1024}).Draw(t, "threads"),
		}
		n := rapid.IntRange(1, 20000).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		offset := 4 * rapid.Uint64Range(1<<32-3, 1<<32+3).Draw(t, "blocks") // carries into word 1
		got := make([]float32, n)
		next := noise.TorchCUDANormal(got, seed, offset, gpu)

		const blockDim = 256
		gridDim := min((n+blockDim-1)/blockDim, gpu.Multiprocessors*(gpu.ThreadsPerMultiprocessor/blockDim))
		stride := gridDim * blockDim
		iterations := (n-1)/(4*stride) + 1
		if want := offset + 4*uint64(iterations); next != want {
			t.Fatalf("offset %d afterwards, want %d", next, want)
		}
		seen := 0
		for idx := range stride {
			for k := range iterations {
				block := offset/4 + uint64(k)
				var z [4]float32
				noise.Normal(z[:], noise.Key(seed), noise.ID{Sample: uint64(idx), Step: uint32(block >> 32)}, block&math.MaxUint32*4)
				for j := range z {
					if e := idx + stride*(4*k+j); e < n {
						seen++
						if got[e] != z[j] {
							t.Fatalf("element %d is %v, want %v", e, got[e], z[j])
						}
					}
				}
			}
		}
		if seen != n {
			t.Fatalf("%d elements of %d", seen, n)
		}
	})
}

func TestTorchSmall(t *testing.T) {
	big := noise.TorchGPU{Multiprocessors: 108, ThreadsPerMultiprocessor: 2048}
	a, b := make([]float32, 5000), make([]float32, 5000)
	noise.TorchCUDANormal(a, 1, 8, big)
	noise.TorchCUDANormal(b, 1, 8, noise.TorchGPU{})
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("element %d depends on the GPU", i)
		}
	}
	if got := noise.TorchCUDANormal(nil, 1, 8, big); got != 8 {
		t.Errorf("an empty tensor moves the offset to %d", got)
	}
}
