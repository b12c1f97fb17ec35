// Package sampler implements stochastic samplers for flow matching and diffusion models, as
// used to explore in reinforcement learning. It has Flow-ODE, Flow-SDE (Flow-GRPO,
// DanceGRPO), Flow-CPS, Flow-CPWS, DDIM, DDPM and VP-SDE. It also has SDE-DPM-Solvers, ER-SDE,
// SAGE, Euler-ancestral and LCM sampling. [Exact] is the exact sampler of any diffusion
// coefficient. "The paper" is Wang and Yu, Coefficients-Preserving Sampling for Reinforcement
// Learning with Flow Matching, arXiv 2509.05952. Equation numbers are the paper's.
//
// # A step is three numbers
//
// A latent is a mixture of a clean sample x0 and noise x1. A model's output gives a
// prediction of both. Every sampler of this package goes from a noisy point to a cleaner one
// by
//
//	next = X0·x̂0 + X1·x̂1 + Eps·ε        ε ~ N(0, I)
//
// A [Rule] computes these [Coeffs] from the two points alone. It preserves coefficients
// (Definition 1) when X0 is the signal and hypot(X1, Eps) is the noise that the schedule
// allocates to the next point. If the model is exact, it then never sees more noise than its
// time says. [Coeffs.Preserves] checks one step of any rule, and [Sampler.Audit] every step of a run.
// [FactsOf] returns what a rule states of itself: whether it preserves coefficients, which
// path it serves, its order, and its source.
//
// In the formulas of rules, a step goes from a point with Signal α and Noise σ to a point with
// Signal α' and Noise σ'. On the rectified-flow path these are 1-t, t, 1-s and s, and Δ = t-s.
// g is the value of the rule's [Diffusion], and h is the rise of log(Signal/Noise) in the step.
//
// # Rules that look back
//
// A [Solver] is a rule of higher order. It plans a run of steps. A transition is one
// evaluation of the model and the step after it. It adds the predictions of earlier
// evaluations:
//
//	next = X0·x̂0 + X1·x̂1 + Eps·ε + Σ (X0ⱼ·x̂0ⱼ + X1ⱼ·x̂1ⱼ)
//
// A solver preserves coefficients when all X0 add up to the signal and the noise is the
// schedule's. The x̂1 of different evaluations are correlated. [Sampler.Audit] takes this into
// account when it computes the noise that a step leaves. Devices know nothing of solvers. A
// [History] combines the latents and earlier evaluations into a base, and the device steps
// from that base.
//
// The density of a transition is that given the latents before it. Latents are data, and
// outputs are not: a policy in training computes the earlier outputs anew, and its gradient
// reaches them ([History.Backward]). Package cps/sampler/solver has DPM-Solvers and a way to
// make other solvers stochastic.
//
// # A run
//
// [New] computes and checks all steps of a [Config] once. After that, no step can be an error
// by its settings. A run can still fail by the model, the device, a trajectory that does not
// fit, a context that is done, or a number that overflows its type. A [Batch] says what rows of latents
// do: which step each row takes, and whose noise it draws. A [Device] executes batches; [CPU]
// is the one for slices. [Rollout] runs a whole trajectory, and [Replay] evaluates a policy
// on a stored one. Both leave sums of squares. Package logprob turns these into
// log-probabilities, divergences and gradients.
//
// In terms of the latent x and the model's output v, the step is [Affine], next = X·x + V·v +
// Eps·ε. That is all a device knows of samplers.
package sampler
