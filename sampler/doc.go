// Package sampler implements stochastic samplers for flow matching and diffusion
// models, as used to explore in reinforcement learning: Flow-ODE, Flow-SDE
// (Flow-GRPO, Dance-GRPO) and its relatives, Flow-CPS, Flow-CPWS, DDIM and DDPM,
// VP-SDE, SDE-DPM-Solvers, ER-SDE, SAGE, Euler-ancestral and LCM sampling, and the
// exact sampler of any diffusion coefficient. "The paper"
// is Wang and Yu, Coefficients-Preserving Sampling for Reinforcement Learning with
// Flow Matching, arXiv 2509.05952; equation numbers are its.
//
// # A step is three numbers
//
// A latent is a mixture of a clean sample x0 and noise x1. A model's output gives
// a prediction of both, and every sampler of this package goes from a noisy point
// to a cleaner one by
//
//	next = X0·x̂0 + X1·x̂1 + Eps·ε        ε ~ N(0, I)
//
// A [Rule] computes these [Coeffs] from the two points alone. It preserves
// coefficients (Definition 1) when X0 is the signal and hypot(X1, Eps) the noise
// that the schedule allocates to the next point, so that the model never sees more
// noise than the time it is told says. [Coeffs.Preserves] checks it for any rule,
// [Sampler.Audit] for every step of a run. [FactsOf] returns what a rule states of itself:
// whether it preserves coefficients, the path it serves, its order, its source.
//
// # Rules that look back
//
// A [Solver] is a rule of higher order. It plans a run of steps, and a transition, which is
// one evaluation of the model, adds predictions of earlier ones:
//
//	next = X0·x̂0 + X1·x̂1 + Eps·ε + Σ (X0ⱼ·x̂0ⱼ + X1ⱼ·x̂1ⱼ)
//
// It preserves coefficients when all X0 add up to the signal, and the noise, with the x̂1 as
// correlated as the run makes them, is the schedule's; [Sampler.Audit] does the sum. Devices
// know nothing of it: they step from a base in place of the latents, which a [History] makes of
// earlier evaluations by Step. Latents are data, outputs are not: the density of a transition
// is that given the latents before it, a policy in training makes the earlier outputs
// anew, and its gradient reaches them ([History.Backward]). Package cps/sampler/solver has
// DPM-Solvers and a way to make other solvers stochastic.
//
// # A run
//
// [New] computes and checks all steps of a [Config] once. After it nothing in a
// run can fail but the model, the device, and numbers that outgrow their type. A [Batch] says what rows of latents
// do: which step each takes and whose noise it draws; a [Device] executes batches,
// and [CPU] is the one for slices. [Rollout] runs a whole trajectory, [Replay]
// evaluates a policy on a stored one, and package logprob turns the sums of squares
// that both leave into log-probabilities, divergences and gradients.
//
// In the basis of the latent x and the model's output v, the step is [Affine],
// next = X·x + V·v + Eps·ε. That is all a device knows of samplers.
package sampler
