package grpo

import "fmt"

// A Guard is the objective of GRPO-Guard (arXiv 2510.22319): the clipped surrogate of
// an [Objective] on a normalised ratio,
//
//	r = exp(scale·(log p - log p_old + KL))
//
// The reason: let the noise of a transition be std·ε, and let the new policy move
// its mean by δ. Averaged over the elements, the Gaussian log-ratio of a sample
// that the old policy drew is
//
//	log p - log p_old = mean(ε·δ)/std - mean(δ²)/(2std²)
//
// The last term is minus the divergence of the two policies. It shifts ratios below
// 1, so positive advantages hardly ever meet the upper clip. The factor 1/std spreads
// ratios differently at every step. The normalised log-ratio is mean(ε·δ), which is
// centred and has one scale at all steps.
//
// The expression is ratio_mean_bias in the authors' scripts/train_sd3_GRPO_Guard.py of
// flow_grpo, read in the fork zhtmike/flow_grpo at 2e2f712e. The script takes the mean
// over elements, and scale = std·√Δ. Flow-Factory's GRPOGuardTrainer (b30dc004) has it
// too. Their std is Flow-SDE's without √Δ; the Eps of an Affine includes √Δ. Only the
// abstract of the paper was read. This package adds two things. Rows may stand at
// different steps, where the script takes one mean std. log p may be without
// denominator for every rule, where the script serves Flow-SDE alone.
//
// GRPO-Guard also divides the loss by the step length Δ, to give all steps one
// gradient. Since Δ is positive, divide the advantages by it, after [Clamp] and
// before Loss. This equalises the steps exactly only if the weight V of the model
// output in the step's mean is proportional to Δ. Division by |V| does so for every
// rule.
type Guard Objective

// Loss stores ∂loss/∂log p in grad and returns the statistics. ∂loss/∂kl is the
// same. kl are the divergences of the trained policy from the old one, in the form
// of logp, by logprob's KL of the two velocities. The scale of a sample is
//
//	std for a Gaussian log p, 1/(2std) for one without denominator
//
// with std the Eps of the step. Both log p and kl depend on the model output v. As
// in the published code, the gradient flows through both:
//
//	∂loss/∂v = grad·(∂log p/∂v + ∂kl/∂v)
//
// MeanRatio, Deviation and the clip fractions describe the normalised ratio, and
// ApproxKL the plain log-ratio.
//
// Aliasing, errors and panics are those of [Objective.Loss]. A divergence that is
// negative or not finite and a scale that is not above 0 and finite are errors too.
// Loss does not allocate.
func (o Guard) Loss(grad, logp, old, adv, kl, scale []float64) (Stats, error) {
	if err := Objective(o).validate(); err != nil {
		return Stats{}, wrap(err)
	}
	checkLengths(grad, logp, old, adv)
	checkLength("kl", len(kl), "logp", len(logp))
	checkLength("scale", len(scale), "logp", len(logp))
	var m means
	for i := range logp {
		d, err := difference(i, logp[i], old[i], adv[i])
		if err == nil {
			err = checkKL(i, kl[i])
		}
		if err == nil && !(finite(scale[i]) && scale[i] > 0) {
			err = fmt.Errorf("scale of sample %d is %v, not above 0 and finite: %w", i, scale[i], ErrSetting)
		}
		if err != nil {
			return Stats{}, wrap(err)
		}
		w := scale[i]
		g, err := Objective(o).sample(&m, i, w*(d+kl[i]), d, adv[i])
		if err != nil {
			return Stats{}, wrap(err)
		}
		if grad != nil {
			grad[i] = w * (g / float64(len(logp)))
		}
	}
	return m.stats(len(logp))
}
