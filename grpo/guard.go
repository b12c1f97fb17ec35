package grpo

import "fmt"

// A Guard is the objective of GRPO-Guard (arXiv 2510.22319): the clipped surrogate of
// an [Objective] on a normalised ratio,
//
//	r = exp(scale·(log p - log p_old + KL))
//
// Why: let a transition's mean be moved by δ and its noise be ε. Averaged over the
// elements, the Gaussian log-ratio of a sample that the old policy drew is
//
//	log p - log p_old = mean(ε·δ)/std - mean(δ²)/(2std²)
//
// The last term, minus the divergence of the two policies, shifts ratios below 1, so
// that positive advantages hardly ever meet the upper clip; and 1/std spreads them
// differently at every step. The normalised log-ratio is mean(ε·δ): centred, and of
// one scale at all steps.
//
// What comes from where: the expression, with the mean over elements and
// scale = std·√Δ, is that of the authors' script (ratio_mean_bias in
// scripts/train_sd3_GRPO_Guard.py of flow_grpo, read in the fork zhtmike/flow_grpo at
// 2e2f712e) and of Flow-Factory's GRPOGuardTrainer (b30dc004). Their std is Flow-SDE's
// without √Δ; the Eps of an Affine holds it. Of the paper only the abstract was read.
// Ours are that rows may stand at different steps, where the script takes one mean
// std, and the scale for log p without denominator, where it serves Flow-SDE alone.
//
// GRPO-Guard also divides the loss by the step length Δ, to give all steps one
// gradient. As Δ is positive, that is dividing the advantages by it, after [Clamp]
// and before Loss. It is exact only where the weight V of the model output in the
// step's mean is proportional to Δ; dividing by |V| serves every rule.
type Guard Objective

// Loss stores ∂loss/∂log p, which is also ∂loss/∂kl, in grad and returns the
// statistics. kl are the divergences of the trained from the old policy, in the form
// of logp (logprob's KL of the two velocities), and scale is, by sample,
//
//	std for a Gaussian log p, 1/(2std) for one without denominator
//
// with std the Eps of the step. Both log p and kl depend on the model, and the
// gradient flows through both, as in the published code: with v the model output,
//
//	∂loss/∂v = grad·(∂log p/∂v + ∂kl/∂v)
//
// Clip fractions are of the normalised ratio, ApproxKL of the plain log-ratio.
//
// Aliasing, errors and panics are those of [Objective.Loss]; besides, it reports a
// divergence that is negative or not finite and a scale that is not above 0 and
// finite. It does not allocate.
func (o Guard) Loss(grad, logp, old, adv, kl, scale []float64) (Stats, error) {
	if err := Objective(o).validate(); err != nil {
		return Stats{}, wrap(err)
	}
	checkLengths(grad, logp, old, adv, kl, scale)
	var m means
	for i := range logp {
		d, err := difference(i, logp[i], old[i], adv[i])
		if err == nil {
			err = checkKL(i, kl[i])
		}
		if err == nil && !(finite(scale[i]) && scale[i] > 0) {
			err = fmt.Errorf("scale of sample %d is %v: %w", i, scale[i], ErrSetting)
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
