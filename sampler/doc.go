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
