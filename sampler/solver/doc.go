// Package solver has samplers of higher order: multistep DPM-Solver and DPM-Solver++,
// their SDEs, and [Ancestral]. Ancestral makes a deterministic solver of one evaluation a
// step stochastic. The package uses only the public interface of package sampler, as your
// own solver would.
//
// All of these solvers take one evaluation of the model a step and look back at earlier
// ones. The density of a step is that of the latents given the latents before it. A policy
// in training computes the outputs of the history anew, and its gradient reaches them
// ([sampler.History.Backward]). A gradient that treats earlier outputs as data belongs to
// no density. The table has the derivative of the expected reward x + sin 3x by an offset
// of the velocity. The data are a mixture in one dimension, and there are seven steps and
// 524288 runs:
//
//	                            differences   exact        history as data
//	Flow-CPS, eta .5            -0.978(4)     -0.980(7)    the same
//	2M SDE, eta 1               -0.796(6)     -0.805(2)    -1.239(11)
//	3M SDE, eta 1               -1.114(7)     -1.132(3)    -3.311(23)
//	DPM of order 2, eta .5      -0.583(5)     -0.578(3)    -0.714(6)
//	Ancestral of 2M, share .5   -0.685(5)     -0.690(3)    -1.039(20)
//
// Standard errors of the last digits are in parentheses. All rows share their noise. A
// test repeats the table with fewer runs.
//
// In the formulas, a step goes from a point with Signal α and Noise σ to a point with
// Signal α' and Noise σ'. λ is log(α/σ), and h is its rise in the step. Earlier
// evaluations have the indices 1 and 2.
//
// An evaluation at signal 0 is no history, since its weight in the limit is 0. So a run
// from pure noise takes its second step at first order, too. A step to noise 0 looks back
// at nothing either, since its h is infinite. A first step without history bounds the
// order of a run by 2, whatever the solver's order. With an exact history, the published
// weights of order 3 give order 2; k-diffusion's 3M SDE has them, too. Taylor's weights give
// order 3.
//
// A window cuts the history: no step looks back beyond the edge of a window, of a part, or
// of a run of consecutive steps of a set ([sampler.Config]). The first step after the edge
// is of first order, and so is a trained step that stands alone. Package cps/grpo/trainer
// trains all of these steps.
package solver

import "cps/sampler"

var (
	_ sampler.Solver = DPMPlus{}
	_ sampler.Solver = DPM{}
	_ sampler.Solver = Ancestral{}
)
