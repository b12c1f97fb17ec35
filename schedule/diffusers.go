package schedule

// trainSteps is num_train_timesteps of the flow schedulers of diffusers.
const trainSteps = 1000

// DoubleShift returns the n levels, and the final 0, that diffusers'
// FlowMatchEulerDiscreteScheduler makes when it is told only how many steps to
// take (num_inference_steps, with a fixed shift s):
//
//	DoubleShift(n, s) = Even(n, 1, t).Shift(s),    t = 1/1000 shifted by s
//
// The lowest level is shifted twice, for the scheduler keeps it shifted already:
// SD3's shift 3 ends at 0.0089 where one shift of 1/1000 is 0.0030. Models do
// not ask for it. Take it to reproduce images or trainers that sample this way,
// SD3's among them, and Linear(n).Shift(s) otherwise.
//
// Called with sigmas or timesteps, diffusers shifts once:
// FlowOf(sigmas).Shift(s).ToZero().
//
// Its options use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas are
// Karras, Exponential and Beta between the first and the last level of this, and
// the levels of its FlowMatchHeunDiscreteScheduler are these, all but the ends
// written twice.
func DoubleShift(n int, s float64) Flow {
	return Even(n, 1, shift(1.0/trainSteps, s)).Shift(s)
}

// DPMSolver returns the levels of n steps that diffusers'
// DPMSolverMultistepScheduler makes with use_flow_sigmas and flow_shift s:
//
//	DPMSolver(n, s) = (0.999·Linear(n)).Shift(s)
//
// It begins below pure noise, at 0.999 shifted. The scheduler tells its model
// 1000·Time cut to an integer; Time here is the level itself.
func DPMSolver(n int, s float64) Flow {
	f := Linear(n)
	for i := range f {
		f[i] *= 1 - 1.0/trainSteps
	}
	return f.Shift(s)
}

// UniPC returns the levels of n steps that diffusers' UniPCMultistepScheduler
// makes with use_flow_sigmas and flow_shift s: the first n of n+1 that run
// evenly from 1 to 1/1000, shifted, and a final 0. The first, 1, becomes
// 1 - 10⁻⁶, which keeps the logarithm of Signal finite there; no rule of this
// module needs that. As with DPMSolver, Time is not cut to an integer.
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
