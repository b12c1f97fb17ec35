// Package solver has samplers of higher order: multistep DPM-Solver and DPM-Solver++,
// their SDEs, and [Ancestral]. Ancestral adds noise to a deterministic solver that evaluates the
// model once in each step. The package uses only the public interface of package sampler, as your
// own solver would.
//
// All of these solvers take one evaluation of the model a step. Those of Order 2 and 3 look
// back at earlier ones. 2M and 3M SDE are DPMPlus of Order 2 and 3 with Eta 1. The density of
// a step is that of the latents given the latents before it. A policy in training computes
// the outputs of the history anew, and its gradient reaches them
// ([sampler.History.Backward]).
//
// If the gradient stops at earlier outputs, it is biased. The table shows this. The policy's
// parameter is a constant c, added to the velocity. The table has the derivative by c of the
// mean of x + sin 3x over the samples x. "Differences" are finite differences, "exact" is the
// gradient of Backward, and "history as data" stops at earlier outputs. The data are a mixture
// in one dimension. There are seven steps and 524288 runs:
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
// at nothing either, since its h is infinite. The first step of a run has no history, so a
// run converges with order 2 at most, even with Order 3. If a run could begin with exact
// earlier evaluations, the published weights of Order 3 would still give order 2. With the
// field Taylor they would give order 3. k-diffusion's 3M SDE has the published weights.
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
