// Package solver has samplers of higher order: DPM-Solver and DPM-Solver++ of several
// steps, their SDEs, and a way to make any deterministic solver of one evaluation a step
// stochastic. It uses package sampler through its public interface alone, as your own
// solver would.
//
// All of them take one evaluation of the model a step and look back at earlier ones. The
// density of a step is that of the latents given those before it: a policy in training
// makes the outputs of the history anew, and its gradient reaches them
// ([sampler.History.Backward]). To treat earlier outputs as data instead gives the
// gradient of no density. The derivative of the expected reward x + sin 3x by an offset of
// the velocity, on a mixture in one dimension, over seven steps and 524288 runs:
//
//	                            differences   exact        history as data
//	Flow-CPS, eta .5            -0.978(4)     -0.980(7)    the same
//	2M SDE, eta 1               -0.796(6)     -0.805(2)    -1.239(11)
//	3M SDE, eta 1               -1.114(7)     -1.132(3)    -3.311(23)
//	DPM of order 2, eta .5      -0.583(5)     -0.578(3)    -0.714(6)
//	Ancestral of 2M, share .5   -0.685(5)     -0.690(3)    -1.039(20)
//
// with the standard error of the last digits. All share their noise. A test repeats the
// table with fewer runs.
//
// In the formulas α, σ are Signal and Noise of the point a step starts from, α', σ' of the
// one it goes to, λ = log(α/σ), and h is its rise in a step. Earlier evaluations have the
// indices 1 and 2.
//
// An evaluation at signal 0 is no history, since its weight in the limit is 0: from pure
// noise the second step is of first order too. Steps to noise 0 have nothing to look back
// at either, since there h is infinite. A first step without history bounds the order of
// a run by 2, whatever the solver's is. With an exact history the published weights of
// order 3, which k-diffusion's 3M SDE has too, give order 2, and those of Taylor order 3.
//
// A window cuts the history: no step looks at one before the edge of a window, of a part, or
// of a run of consecutive steps of a set ([sampler.Config]). The first step after the edge is
// of first order, and so is a trained step that stands alone. Package cps/grpo/trainer trains
// all of these steps.
package solver

import "cps/sampler"

var (
	_ sampler.Solver = DPMPlus{}
	_ sampler.Solver = DPM{}
	_ sampler.Solver = Ancestral{}
)
