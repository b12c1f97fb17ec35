package grpo

import "fmt"

// A DPPO is the objective of Flow-DPPO (arXiv 2606.11025): importance sampling with a
// trust region in the divergence of the policies, not in their ratio at one sample,
//
//	loss = mean of -A·r for kept samples and 0 for dropped ones
//
// A sample is dropped if the policy is too far from the old one and the update would
// move it further away:
//
//	KL ≥ MaxKL  and  (A > 0 and r > 1  or  A < 0 and r < 1)
//
// Updates that lead back always count. So does every update within MaxKL.
//
// Both formulas are from published code and its notes: FlowDPPO/README.md of
// Tencent-Hunyuan/UniRL (1d068064) and the DPPO trainer of Flow-Factory. The README
// cites the paper's Eq. 14 (divergence) and 18 (mask). Only the abstract of the paper
// was read.
//
// MaxKL is in the units of kl and must be above 0. The published thresholds, 1e-5
// (UniRL) and 1e-6 (Flow-Factory), are for the Gaussian divergence averaged over the
// elements. Multiply them by [SumFactor] for the sum.
type DPPO struct{ MaxKL float64 }

// Drops reports whether the loss leaves out a sample with log-ratio x = log p - log
// p_old, advantage adv and divergence kl. It takes the sign of x, where published
// code compares the rounded r with 1. A kl of NaN drops nothing, but is an error of
// Loss.
func (o DPPO) Drops(x, adv, kl float64) bool {
	return kl >= o.MaxKL && (adv > 0 && x > 0 || adv < 0 && x < 0)
}

// Loss stores ∂loss/∂log p in grad and returns the statistics. The gradient of a
// dropped sample is exactly 0, and Stopped is the fraction of dropped samples. kl are
// the divergences of the trained policy from the old one, by logprob's KL of the two
// velocities. The mask counts as constant, so no gradient flows through kl.
//
// Aliasing, errors and panics are those of [Objective.Loss]. A divergence that is
// negative or not finite and a MaxKL that is not above 0 are errors too. So is a
// ratio that overflows, even that of a dropped sample. Loss does not allocate.
func (o DPPO) Loss(grad, logp, old, adv, kl []float64) (Stats, error) {
	if !(o.MaxKL > 0) {
		return Stats{}, fmt.Errorf("grpo: DPPO.MaxKL %v is not above 0: %w", o.MaxKL, ErrSetting)
	}
	checkLengths(grad, logp, old, adv)
	checkLength("kl", len(kl), "logp", len(logp))
	var m means
	for i := range logp {
		d, err := difference(i, logp[i], old[i], adv[i])
		if err == nil {
			err = checkKL(i, kl[i])
		}
		var r float64
		if err == nil {
			r, err = m.add(i, d, d)
		}
		a := adv[i]
		var g float64
		if err == nil {
			if o.Drops(d, a, kl[i]) {
				m.Stopped++
			} else {
				g = -a * r
				err = m.lose(i, g)
			}
		}
		if err != nil {
			return Stats{}, wrap(err)
		}
		if grad != nil {
			grad[i] = g / float64(len(logp))
		}
	}
	return m.stats(len(logp))
}
