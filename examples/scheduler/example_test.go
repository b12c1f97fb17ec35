package main

import (
	"fmt"
	"os"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// printed prints levels and times of a pipeline.
func printed(name string, steps, tokens int) {
	p, err := find(name)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := sampler.New(p.config(steps, tokens))
	if err != nil {
		fmt.Println(err)
		return
	}
	var levels, told []string
	for i := range s.Steps() {
		levels = append(levels, fmt.Sprintf("%.5f", s.At(i).From.Noise))
		told = append(told, fmt.Sprintf("%.4g", s.Time(i)))
	}
	fmt.Println("levels", levels)
	fmt.Println("told  ", told)
}

// FLUX.1 dev at 1024 by 1024: the levels of stable-diffusion.cpp.
func Example_flux1() {
	printed("flux1", 8, 4096)
	// Output:
	// levels [1.00000 0.95672 0.90453 0.84035 0.75951 0.65457 0.51284 0.31090]
	// told   [1 0.9567 0.9045 0.8403 0.7595 0.6546 0.5128 0.3109]
}

// FLUX.1 schnell: the levels of diffusers.
func Example_flux1Schnell() {
	printed("flux1-schnell", 4, 4096)
	// Output:
	// levels [1.00000 0.75000 0.50000 0.25000]
	// told   [1 0.75 0.5 0.25]
}

// FLUX.2 at 1024 by 1024: the levels of diffusers, of ollama and of stable-diffusion.cpp.
func Example_flux2() {
	printed("flux2", 4, 4096)
	// Output:
	// levels [1.00000 0.96738 0.90814 0.76720]
	// told   [1 0.9674 0.9081 0.7672]
}

// Stable Diffusion 3: the levels and the timesteps of diffusers.
func Example_sd3() {
	printed("sd3", 4, 4096)
	// Output:
	// levels [1.00000 0.85769 0.60215 0.00893]
	// told   [1000 857.7 602.2 8.929]
}

// Z-Image: the levels of diffusers. Time runs from 0, noise, to 1, data.
func Example_zImage() {
	printed("z-image", 9, 4096)
	// Output:
	// levels [1.00000 0.96000 0.91304 0.85714 0.78947 0.70588 0.60000 0.46154 0.27273]
	// told   [0 0.04 0.08696 0.1429 0.2105 0.2941 0.4 0.5385 0.7273]
}

// Wan with flow_shift 5: the levels and the integer timesteps of diffusers.
func Example_wan() {
	printed("wan", 8, 0)
	// Output:
	// levels [1.00000 0.97225 0.93758 0.89301 0.83361 0.75050 0.62594 0.41861]
	// told   [999 972 937 893 833 750 625 418]
}

// Qwen-Image at 1024 by 1024: the levels of diffusers and of ollama.
func Example_qwenImage() {
	printed("qwen-image", 9, 4096)
	// Output:
	// levels [1.00000 0.92796 0.84692 0.75506 0.65007 0.52892 0.38757 0.22051 0.02000]
	// told   [1 0.928 0.8469 0.7551 0.6501 0.5289 0.3876 0.2205 0.02]
}

// Image-to-image of strength 0.6 takes the last five of eight steps. The latents begin as
// Signal·image + Noise·noise of the first of them.
func Example_imageToImage() {
	c := sampler.Config{Scheduler: schedule.Linear(8), Rule: sampler.FlowCPS{Eta: 0.5}}
	s, err := newScheduler(c, 0.6, 4, noise.Key(1), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	printSteps(os.Stdout, s.Sampler)
	// Output:
	// step  level     time told  X         V         Eps
	//    3  0.625000     0.6250  0.853553  -0.179917  0.353553
	//    4  0.500000     0.5000  0.890165  -0.179917  0.265165
	//    5  0.375000     0.3750  0.926777  -0.170765  0.176777
	//    6  0.250000     0.2500  0.963388  -0.152459  0.088388
	//    7  0.125000     0.1250  1.000000  -0.125000  0.000000
	//       0.000000
}
