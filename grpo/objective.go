package grpo

import (
	"fmt"
	"math"
)

// An Objective is the clipped surrogate of PPO and GRPO,
//
//	loss = mean of max(-A·r, -A·clip(r, 1-ClipLow, 1+ClipHigh))   r = exp(log p - log p_old)
//
// with separate bounds below and above (DAPO, arXiv 2503.14476). A bound of 0 does
// not clip, so the zero Objective is plain importance sampling. Bounds have no unit,
// but what they allow depends on what log p means. Published trainers use 1e-6 to 1e-3.
// Such bounds are for means of log p over about 65536 elements. A mean over fewer
// elements varies more, and such bounds then stop nearly all learning: in 8 dimensions
// 1e-4 may clip more than half of the ratios. [Objective.In] converts bounds.
type Objective struct{ ClipLow, ClipHigh float64 }

// Stats describes one evaluation of a loss. Means are over samples.
type Stats struct {
	Loss   float64 // the loss to minimise: Policy plus the penalty of Penalize
	Policy float64 // the surrogate alone
	KL     float64 // mean of the divergences that Penalize was given

	ApproxKL  float64 // mean of ½(log p - log p_old)², as published trainers log it
	MeanRatio float64 // mean of r
	Deviation float64 // greatest |r - 1|: 0 on policy

	ClipFraction float64 // fraction with r outside the bounds, whatever the advantage
	ClipAbove    float64 // fraction with r - 1 > ClipHigh
	ClipBelow    float64 // fraction with 1 - r > ClipLow
	Stopped      float64 // fraction whose gradient the clip, or the mask of a DPPO, made 0
}

// Loss stores ∂loss/∂log p in grad and returns the statistics. logp and old are the
// log-probabilities of the same transitions in the same form, one a sample. logp is
// under the trained policy, and old under the policy that drew them. adv are the
// advantages. The gradient is
//
//	-A·r/n, or exactly 0 where A > 0 and r > 1+ClipHigh or A < 0 and r < 1-ClipLow
//
// At the bound itself the loss has a kink, and the gradient is -A·r/n, as in torch.
// On policy r is exactly 1, so loss = -mean A and the gradient is -A/n.
//
// grad may be any of the inputs, or nil if only the statistics are wanted. These are
// errors: no samples; a log p, old log p or advantage that is not finite; a ratio or
// loss that overflows float64; a bound that is negative or NaN. The contents of grad
// are then unspecified. Loss panics if lengths differ. It does not allocate.
//
// The gradient is that of the mean over this call's samples. To accumulate several
// calls before a step of the optimiser, divide by their number.
func (o Objective) Loss(grad, logp, old, adv []float64) (Stats, error) {
	if err := o.validate(); err != nil {
		return Stats{}, wrap(err)
	}
	checkLengths(grad, logp, old, adv)
	var m means
	for i := range logp {
		d, err := difference(i, logp[i], old[i], adv[i])
		if err != nil {
			return Stats{}, wrap(err)
		}
		g, err := o.sample(&m, i, d, d, adv[i])
		if err != nil {
			return Stats{}, wrap(err)
		}
		if grad != nil {
			grad[i] = g / float64(len(logp))
		}
	}
	return m.stats(len(logp))
}

// sample adds sample i to m, with ratio exp(x) and log p - log p_old = d. It returns
// the derivative of its loss by x.
func (o Objective) sample(m *means, i int, x, d, adv float64) (float64, error) {
	r, err := m.add(i, x, d)
	if err != nil {
		return 0, err
	}
	above := o.ClipHigh > 0 && r-1 > o.ClipHigh
	below := o.ClipLow > 0 && 1-r > o.ClipLow
	loss, g := -adv*r, -adv*r
	if above {
		m.ClipAbove++
		if adv > 0 {
			m.Stopped++
			loss, g = -adv*(1+o.ClipHigh), 0
		}
	}
	if below {
		m.ClipBelow++
		if adv < 0 {
			m.Stopped++
			loss, g = -adv*(1-o.ClipLow), 0
		}
	}
	return g, m.lose(i, loss)
}

func (o Objective) validate() error {
	switch {
	case !(o.ClipLow >= 0):
		return fmt.Errorf("Objective.ClipLow %v is not at least 0: %w", o.ClipLow, ErrSetting)
	case !(o.ClipHigh >= 0):
		return fmt.Errorf("Objective.ClipHigh %v is not at least 0: %w", o.ClipHigh, ErrSetting)
	}
	return nil
}

// Penalize adds to s.Loss the divergence from a reference policy,
//
//	loss = policy + beta·mean(kl)
//
// and returns ∂loss/∂kl, which is beta/n for every sample. Give it to logprob's
// GradScaleKL as the weight. kl are the exact divergences of logprob's KL, one a
// sample. The policies are Gaussians of one variance, so an estimate from log p is
// not needed. GRPO for language models needs one, such as k3. Flow-GRPO's published
// kl_loss lacks the step length Δ in the variance.
//
// No samples, and a divergence or beta that is negative or not finite, are errors. s
// is then unchanged.
func (s *Stats) Penalize(beta float64, kl []float64) (weight float64, err error) {
	switch {
	case len(kl) == 0:
		return 0, fmt.Errorf("grpo: divergences: %w", ErrEmpty)
	case !finite(beta) || beta < 0:
		return 0, fmt.Errorf("grpo: KL weight %v is not at least 0 and finite: %w", beta, ErrSetting)
	}
	var mean float64
	for i, d := range kl {
		if err := checkKL(i, d); err != nil {
			return 0, wrap(err)
		}
		mean += d / float64(len(kl))
	}
	loss := s.Policy + float64(beta*mean)
	if !finite(loss) {
		return 0, fmt.Errorf("grpo: KL penalty: %w", ErrOverflow)
	}
	s.KL, s.Loss = mean, loss
	return beta / float64(len(kl)), nil
}

// means holds the sums of what Stats averages.
type means struct{ Stats }

// add returns the ratio exp(x) of sample i and adds it to the sums, with d = log p -
// log p_old.
func (m *means) add(i int, x, d float64) (float64, error) {
	r, square := math.Exp(x), float64(d*d)
	switch {
	case !finite(r):
		return 0, fmt.Errorf("ratio of sample %d, exp(%v): %w", i, x, ErrOverflow)
	case !finite(square):
		return 0, fmt.Errorf("squared log-ratio %v of sample %d: %w", d, i, ErrOverflow)
	}
	m.MeanRatio += r
	m.Deviation = max(m.Deviation, math.Abs(r-1))
	m.ApproxKL += square
	return r, nil
}

func (m *means) lose(i int, loss float64) error {
	if !finite(loss) {
		return fmt.Errorf("loss of sample %d: %w", i, ErrOverflow)
	}
	m.Policy += loss
	return nil
}

func (m *means) stats(samples int) (Stats, error) {
	if samples == 0 {
		return Stats{}, fmt.Errorf("grpo: batch: %w", ErrEmpty)
	}
	n := float64(samples)
	s := m.Stats
	s.Policy /= n
	s.Loss = s.Policy
	s.ApproxKL /= 2 * n
	s.MeanRatio /= n
	s.ClipAbove /= n
	s.ClipBelow /= n
	s.ClipFraction = (m.ClipAbove + m.ClipBelow) / n
	s.Stopped /= n
	if !finite(s.Policy) || !finite(s.ApproxKL) || !finite(s.MeanRatio) {
		return Stats{}, fmt.Errorf("grpo: mean over samples: %w", ErrOverflow)
	}
	return s, nil
}

// difference returns log p - log p_old of sample i.
func difference(i int, logp, old, adv float64) (float64, error) {
	switch {
	case !finite(logp):
		return 0, fmt.Errorf("log p of sample %d is %v: %w", i, logp, ErrNotFinite)
	case !finite(old):
		return 0, fmt.Errorf("old log p of sample %d is %v: %w", i, old, ErrNotFinite)
	case !finite(adv):
		return 0, fmt.Errorf("advantage of sample %d is %v: %w", i, adv, ErrNotFinite)
	}
	return logp - old, nil
}

func checkKL(i int, kl float64) error {
	if !finite(kl) {
		return fmt.Errorf("divergence of sample %d is %v: %w", i, kl, ErrNotFinite)
	}
	if kl < 0 {
		return fmt.Errorf("divergence of sample %d is %v, below 0: %w", i, kl, ErrSetting)
	}
	return nil
}

// checkLengths panics unless all slices are as long as logp. grad may be nil.
func checkLengths(grad, logp, old, adv []float64) {
	if grad != nil {
		checkLength("grad", len(grad), "logp", len(logp))
	}
	checkLength("old", len(old), "logp", len(logp))
	checkLength("adv", len(adv), "logp", len(logp))
}
