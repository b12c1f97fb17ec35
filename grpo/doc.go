// Package grpo provides the arithmetic of group-relative policy optimisation for
// flow models: from rewards to advantages, from log-probabilities to a loss and its
// gradient, and which steps to train when. All of it is float64, on the caller's
// slices, one number per sample; models, latents and devices are none of its
// business.
//
// # One iteration
//
// Draw a group of samples per prompt and score them. Package logprob gives the
// log-probability of each stochastic step, Old below, when the step is drawn.
//
//	start, end, err := grpo.MixGRPO.Window(iteration, steps-1) // the last step draws no noise
//	window := sampler.Window{Start: start, End: end}           // for its Config; s.Transitions(window) for NewTrajectory
//	… roll out, keep latents and old log p, compute rewards …
//	groups, err := grpo.ByID(prompts)
//	adv, err := grpo.FlowGRPO.Advantages(adv, rewards, groups)
//	adv, err = grpo.Clamp(adv, adv, 5)
//	o := grpo.Objective{ClipLow: 1e-4, ClipHigh: 1e-4}
//	for step := start; step < end; step++ {
//		… evaluate the model, recompute log p of the stored step …
//		stats, err := o.Loss(grad, logp, old, adv)
//		weight, err := stats.Penalize(0.04, kl)   // optional
//		… logprob's GradScale turns grad, and GradScaleKL weight, into ∂loss/∂v …
//	}
//
// On the first pass the policy is the one that drew the samples: ratios are exactly
// 1, Deviation and ClipFraction are 0 and Loss is minus the mean advantage. If they
// are not, the replay differs from the rollout; look for that before anything else.
//
// That holds for an Old of the rollout. Where Old comes from a replay by the same model,
// as trainers do whose rollout keeps no log p, the ratio is 1 whatever the rollout did,
// and proves nothing. sampler.CheckOnPolicy compares with the rollout, in other
// batches too, and sampler.CheckModel compares the model with data.
//
// # More than one update
//
// [Minibatches] cuts the transitions of a batch into what one step of the optimiser
// sees, for one inner epoch or several. From the second step on ratios differ from 1 and
// the clip is at work; an [EarlyStop] ends the epochs when the policy has moved too
// far. A [Tracker] measures rewards against what a prompt got in earlier iterations,
// too, and an [EMA] averages parameters: those to evaluate, or a reference policy that
// follows.
//
//	cut := grpo.Minibatches{Rows: 8, Key: uint64(key.Derive(iteration))} // a noise.Key
//	for epoch := range epochs {
//		batches, err := cut.Epoch(epoch, samples, s.Stochastic()) // s is a sampler.Sampler
//		for _, items := range batches {
//			… gather what they name, evaluate, o.Loss, stop.Reached(stats), update …
//			err = grpo.Average(mean, params, grpo.FlowGRPOEMA, updates)
//		}
//	}
//
// The example of [Minibatches] gathers what items name.
//
// # Which trust region
//
// [Objective] clips the ratio, as PPO and the published trainers do. [Guard]
// normalises it first, so that one clip range fits all steps (GRPO-Guard). [DPPO] drops
// samples by the divergence of the policies instead (Flow-DPPO). Their Loss methods
// differ in what they need to be told beyond log p.
//
// # Units
//
// Rewards have any unit; Eps and Floor of a [Norm] have the same. Advantages have none.
// A clip range bounds a ratio, but which one depends on what log p is: the published
// trainers take its mean over the elements of a latent, so that their 1e-4 at
// 65536 elements allows the density itself to change by a factor of 700. With or
// without the Gaussian's denominator is another factor, 2std², which
// differs from step to step. [Objective.In] converts, with [SumFactor] and
// [UnnormalizedFactor].
//
// # Errors
//
// Bad data and settings are errors that name the sample, the group or the field: a
// NaN reward stops here rather than in the weights. Wrong lengths are mistakes of the
// program and panic. What is given a dst does not allocate, but for a Tracker. All
// values are safe for concurrent use, if the slices are; a Tracker is for one goroutine.
//
// # Deviations from published code
//
// Each is named where it belongs: rewards that are equal get advantage exactly 0, and
// so does a group of one under a sample standard deviation, where torch gives NaN
// ([Norm]); an infinite ratio is an error even where a clip would hide it
// ([Objective.Loss]); windows never shrink at the end of the schedule ([Sliding]);
// shuffles come from a key, not a global generator ([Minibatches]); a Tracker goes on
// without being cleared.
package grpo
