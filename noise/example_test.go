package noise_test

import (
	"fmt"
	"math/rand/v2"

	"cps/noise"
)

// The noise of one sample at one step, and a part of it computed again elsewhere
// from the names alone.
func Example() {
	key := noise.Key(42).Derive(3)     // seed 42, iteration 3
	id := noise.ID{Sample: 7, Step: 1} // the first step of sample 7

	row := make([]float32, 8)
	noise.Normal(row, key, id, 0)

	tail := make([]float32, 3)
	noise.Normal(tail, key, id, 5)

	fmt.Println(row[5:])
	fmt.Println(tail)
	// Output:
	// [0.37392387 0.0333687 0.53923994]
	// [0.37392387 0.0333687 0.53923994]
}

func ExampleNormal() {
	x, y := make([]float32, 4), make([]float64, 4)
	noise.Normal(x, 0, noise.ID{}, 0)
	noise.Normal(y, 0, noise.ID{}, 0)
	fmt.Println(x)
	fmt.Println(y)
	// Output:
	// [-0.92466253 0.9911377 -0.48206863 -0.6176091]
	// [-0.9246625759110498 0.991137665877408 -0.4820686060485409 -0.6176089841707266]
}

func ExampleUint32s() {
	// Random123's known answer for Philox4x32-10 with counter and key 0.
	var w [4]uint32
	noise.Uint32s(w[:], 0, noise.ID{}, 0)
	fmt.Printf("%08x\n", w)
	// Output: [6627e8d5 e169c58d bc57ac4c 9b00dbd8]
}

// Keys form a tree: one branch for each iteration, and one for each worker in it.
func ExampleKey_Derive() {
	seed := noise.Key(1)
	for iteration := range uint64(2) {
		key := seed.Derive(iteration)
		for worker := range uint64(2) {
			fmt.Printf("iteration %d, worker %d: %016x\n", iteration, worker, uint64(key.Derive(worker)))
		}
	}
	// Output:
	// iteration 0, worker 0: 354a96efef90fbd9
	// iteration 0, worker 1: 874517cb4d4e153b
	// iteration 1, worker 0: c253aa7b068e3368
	// iteration 1, worker 1: 0a8ed9f70c3790ed
}

func ExampleSource() {
	// Which prompts of a hundred does iteration 5 train on? Step 1<<31 is no
	// rollout's, so its words make no noise.
	key := noise.Key(1).Derive(5)
	r := rand.New(&noise.Source{Key: key, ID: noise.ID{Step: 1 << 31}})
	fmt.Println(r.Perm(100)[:5])
	// Output:
	// [18 65 91 36 6]
}

func ExampleTorchCUDANormal() {
	// torch.manual_seed(0); torch.randn(4, device="cuda"), twice
	x := make([]float32, 4)
	offset := noise.TorchCUDANormal(x, 0, 0, noise.TorchGPU{})
	fmt.Printf("%.4f\n", x)
	noise.TorchCUDANormal(x, 0, offset, noise.TorchGPU{})
	fmt.Printf("%.4f\n", x)
	// Output:
	// [-0.9247 -0.4253 -2.6438 0.1452]
	// [0.1808 -0.5523 0.9238 -0.7350]
}

func ExamplePromptSeed() {
	fmt.Println(noise.PromptSeed(0, "a photo of a cat"))
	// Output: 981019455
}
