package grpo

import "fmt"

// A DPPO is the objective of Flow-DPPO (arXiv 2606.11025): importance sampling whose
// trust region is the divergence of the policies, not their ratio in one sample,
//
//	loss = mean of -A·r where the sample is kept, 0 where it is not
//
// A sample is dropped if its policy is too far from the old one and the update would
// take it further:
//
//	KL ≥ MaxKL  and  (A > 0 and r > 1  or  A < 0 and r < 1)
//
// Updates that lead back always count, and so does every update within MaxKL.
//
// Both formulas were recovered in full from published code and its notes:
// FlowDPPO/README.md of Tencent-Hunyuan/UniRL (1d068064), which cites the paper's
// Eq. 14 (divergence) and 18 (mask), and the DPPO trainer of Flow-Factory. Of the paper
// only the abstract was read.
//
// MaxKL is in the units of kl and must be above 0. Published thresholds, 1e-5 (UniRL)
// and 1e-6 (Flow-Factory), are for the Gaussian divergence averaged over the
// elements; multiply by [SumFactor] for the sum.
type DPPO struct{ MaxKL float64 }

// Drops reports whether a sample of log-ratio x = log p - log p_old, advantage adv and
// divergence kl is left out of the loss. It asks for the sign of x where published
// code compares the rounded r with 1. A kl of NaN drops nothing; Loss reports one.
func (o DPPO) Drops(x, adv, kl float64) bool {
	return kl >= o.MaxKL && (adv > 0 && x > 0 || adv < 0 && x < 0)
}

// Loss stores ∂loss/∂log p in grad, exactly 0 for dropped samples, and returns the
// statistics, with the fraction of dropped samples in Stopped. kl are the divergences
// of the trained from the old policy, from logprob's KL of the two velocities; the
// mask is a constant, no gradient flows through them.
//
// Aliasing, errors and panics are those of [Objective.Loss]; besides, it reports a
// divergence that is negative or not finite and a MaxKL that is not above 0. A
// dropped sample's ratio may not overflow either. It does not allocate.
func (o DPPO) Loss(grad, logp, old, adv, kl []float64) (Stats, error) {
	if !(o.MaxKL > 0) {
		return Stats{}, fmt.Errorf("grpo: DPPO.MaxKL %v is not above 0: %w", o.MaxKL, ErrSetting)
	}
	checkLengths(grad, logp, old, adv, kl)
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
