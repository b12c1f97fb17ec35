// Package grpo provides the arithmetic of group-relative policy optimisation (GRPO) for
// flow models. It turns rewards into advantages, and log-probabilities into a loss and
// its gradient. It says which steps to train at each iteration. All of it works in
// float64 on the caller's slices, with one number per sample. It knows no models,
// latents or devices.
//
// # One iteration
//
// Draw a group of samples per prompt and score them. When a stochastic step is drawn,
// package logprob gives its log-probability, old below.
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
// On the first pass the policy is the one that drew the samples. Ratios are then
// exactly 1, Deviation and ClipFraction are 0, and Loss is minus the mean advantage. If
// they are not, the replay differs from the rollout. Look for the reason before
// anything else.
//
// This check needs old from the rollout. Some trainers keep no log p in the rollout and
// compute old by a replay with the same model. The ratio is then 1 whatever the rollout
// did, and proves nothing. sampler.CheckOnPolicy compares with the rollout, in other
// batches too. sampler.CheckModel compares the model with data.
//
// # More than one update
//
// [Minibatches] cuts the transitions of a batch into minibatches, one for each step of
// the optimiser, for one inner epoch or several. From the second step on ratios differ
// from 1, and the clip takes effect. An [EarlyStop] ends the epochs when the policy has
// moved too far. A [Tracker] compares rewards with those of the same prompt in earlier
// iterations. An [EMA] averages parameters, either to evaluate them or as a reference
// policy that follows.
//
//	cut := grpo.Minibatches{Rows: 8, Key: uint64(key.Derive(iteration))} // a noise.Key
//	for epoch := range epochs {
//		batches, err := cut.Epoch(epoch, samples, s.Stochastic()) // s is a sampler.Sampler
//		for _, items := range batches {
//			… gather the transitions of items, evaluate, o.Loss, stop.Reached(stats), update …
//			err = grpo.Average(mean, params, grpo.FlowGRPOEMA, updates)
//		}
//	}
//
// The example of [Minibatches] shows how to gather the transitions.
//
// # Which trust region
//
// [Objective] clips the ratio, as PPO and the published trainers do. [Guard] normalises
// the ratio first, so that one clip range fits all steps (GRPO-Guard). [DPPO] drops
// samples by the divergence of the policies instead (Flow-DPPO). Beyond log p, the Loss
// of Guard needs divergences and scales, and that of DPPO divergences.
//
// # Units
//
// Rewards have any unit. Eps and Floor of a [Norm] have the same unit. Advantages have
// none. A clip range bounds a ratio, and what it allows depends on what log p means.
// The published trainers take the mean of log p over the elements of a latent. Their
// clip range of 1e-4, at 65536 elements, lets the density itself change by a factor of
// 700. Leaving out the Gaussian's denominator is another factor, 2std², which differs
// from step to step. [Objective.In] converts, with [SumFactor] and
// [UnnormalizedFactor].
//
// # Errors
//
// Bad data and settings are errors that name the sample, the group or the field. A NaN
// reward therefore stops here and not in the weights. Wrong lengths are programming
// errors and panic. Functions with a dst do not allocate, except a Tracker's. All
// values are safe for concurrent use on different slices; a Tracker serves one
// goroutine at a time.
//
// # Deviations from published code
//
//   - Equal rewards get advantage exactly 0. So does a group of one under a sample
//     standard deviation, where torch gives NaN. See [Norm].
//   - Sums that differ by rounding alone count as equal. See [Norm.GDPO].
//   - An infinite ratio is an error even where a clip would hide it. See
//     [Objective.Loss].
//   - Windows never shrink at the end of the schedule. See [Sliding].
//   - Shuffles come from a key, not from a global generator. See [Minibatches].
//   - A [Tracker] may go on without being cleared.
//   - The caller passes the optimiser's step to an [EMA], which has no counter of its
//     own.
package grpo
