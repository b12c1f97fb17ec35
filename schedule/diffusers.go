package schedule

// trainSteps is num_train_timesteps of the flow schedulers of diffusers.
const trainSteps = 1000

// DoubleShift returns the n levels and the final 0 of diffusers'
// FlowMatchEulerDiscreteScheduler with a fixed shift s, called with
// num_inference_steps alone:
//
//	DoubleShift(n, s) = Even(n, 1, t).Shift(s),    t = 1/1000 shifted by s
//
// The scheduler stores its lowest level shifted, and then shifts it once more.
// With SD3's shift 3 it ends at 0.0089, where one shift of 1/1000 gives 0.0030.
// No model needs this. Use DoubleShift to reproduce images or trainers that
// sample this way, such as SD3's. Use Linear(n).Shift(s) otherwise.
//
// If it is called with sigmas or timesteps, diffusers shifts once:
// FlowOf(sigmas).Shift(s).ToZero().
//
// Its options use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas are
// Karras, Exponential and Beta. Their hi and lo are the first level of
// DoubleShift and the last one above 0. FlowMatchHeunDiscreteScheduler has the
// levels of DoubleShift, each written twice except the two ends.
func DoubleShift(n int, s float64) Flow {
	return Even(n, 1, shift(1.0/trainSteps, s)).Shift(s)
}

// DPMSolver returns the levels of n steps that diffusers'
// DPMSolverMultistepScheduler makes with use_flow_sigmas and flow_shift s:
//
//	DPMSolver(n, s) = (0.999·Linear(n)).Shift(s)
//
// It begins below pure noise, at 0.999 shifted. Time is the level itself; the
// scheduler tells its model 1000·Time, truncated to an integer.
func DPMSolver(n int, s float64) Flow {
	f := Linear(n)
	for i := range f {
		f[i] *= 1 - 1.0/trainSteps
	}
	return f.Shift(s)
}

// UniPC returns the levels of n steps that diffusers' UniPCMultistepScheduler
// makes with use_flow_sigmas and flow_shift s. They are n+1 levels evenly
// spaced from 1 to 1/1000, shifted, with the last one replaced by 0. The first
// level, 1, becomes 1 - 10⁻⁶, which keeps the logarithm of Signal finite in
// diffusers. No rule of this module needs that. As in DPMSolver, Time is not
// truncated.
func UniPC(n int, s float64) Flow {
	if !count(n) {
		return nil
	}
	f := make(Flow, n+1)
	for i := range n {
		f[i] = shift(lerp(1, 1.0/trainSteps, ramp(i, n+1)), s)
	}
	f[0] -= 1e-6
	return f
}
