package schedule

// The levels of published models. Each is a chain of functions of this package, and equals
// the levels that the model's pipelines compute. Two models need no function here: FLUX.1
// schnell samples on Linear(n), and Wan on UniPC(n, s) with its flow_shift s.

// SD3 returns the levels of n steps of Stable Diffusion 3 and 3.5 in diffusers:
// DoubleShift(n, 3).
func SD3(n int) Flow { return DoubleShift(n, 3) }

// Flux1 returns the levels of n steps of FLUX.1 dev on a latent of seqLen tokens:
// Linear(n).DynamicShift(FluxMu(seqLen)). An image of w by h pixels has (w/16)·(h/16)
// tokens.
func Flux1(n, seqLen int) Flow { return Linear(n).DynamicShift(FluxMu(seqLen)) }

// Flux2 returns the levels of n steps of FLUX.2 on a latent of seqLen tokens:
// Linear(n).DynamicShift(Flux2Mu(seqLen, n)). An image of w by h pixels has
// (w/16)·(h/16) tokens.
func Flux2(n, seqLen int) Flow { return Linear(n).DynamicShift(Flux2Mu(seqLen, n)) }

// QwenImage returns the levels of n steps of Qwen-Image on a latent of seqLen tokens:
//
//	Linear(n).DynamicShift(mu).StretchTerminal(0.02),    mu = Mu(seqLen, 256, 8192, 0.5, 0.9)
//
// An image of w by h pixels has (w/16)·(h/16) tokens. Its Lightning distillations sample
// on Linear(n).Shift(3).
func QwenImage(n, seqLen int) Flow {
	return Linear(n).DynamicShift(Mu(seqLen, 256, 8192, 0.5, 0.9)).StretchTerminal(0.02)
}

// ZImage returns the levels of n steps of Z-Image in diffusers: Linear(n).Shift(3). Some
// pipelines, such as ollama's, shift by the size of the image and sample on the levels of
// [Flux1]. Z-Image counts time from noise to data and predicts x0 - x1. Tell the sampler
// both, by sampler.Clock and sampler.PredictReversedVelocity.
func ZImage(n int) Flow { return Linear(n).Shift(3) }
