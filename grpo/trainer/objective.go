package trainer

import (
	"math"

	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
)

// An Objective is a loss of transitions by their log p. [Clip], [Guard] and [DPPO] are
// those of package grpo.
type Objective interface {
	// Loss stores ∂loss/∂log p of every transition in grad, for the mean over them, and
	// returns the statistics. It must be a pure function of t.
	Loss(grad []float64, t Terms) (grpo.Stats, error)

	// Divergence says what Loss does with Terms.KL.
	Divergence() DivergenceUse
}

// Terms are what an [Objective] is told of the transitions of a minibatch. It may write to
// KL and Scratch alone.
type Terms struct {
	Batch                 sampler.Batch // at the transitions: Eps and V of the steps
	Form                  logprob.Form  // of log p and KL
	LogP, Old, Advantages []float64
	KL                    []float64 // from the policy that drew the samples; nil if unused
	Scratch               []float64 // of the same length
}

// A DivergenceUse says what an [Objective] does with the divergence of the policy from the
// one that drew the samples. To have it, the outputs of the latter are kept.
type DivergenceUse uint8

const (
	Unused         DivergenceUse = iota
	Constant                     // it is read, and no gradient flows through it
	Differentiated               // ∂loss/∂KL is ∂loss/∂log p
)

// Clip is [grpo.Objective], the clipped surrogate of PPO and GRPO. The zero Clip does not clip.
type Clip grpo.Objective

// Loss implements [Objective].
func (o Clip) Loss(grad []float64, t Terms) (grpo.Stats, error) {
	return grpo.Objective(o).Loss(grad, t.LogP, t.Old, t.Advantages)
}

// Divergence implements [Objective].
func (Clip) Divergence() DivergenceUse { return Unused }

// Guard is [grpo.Guard], the normalised ratio of GRPO-Guard. PerStep divides advantages by
// the weight |V| of the model's output in the step, so that all steps have one gradient:
// for Flow-SDE this is the published division by the step's length, but for a factor.
type Guard struct {
	grpo.Guard
	PerStep bool
}

// Loss implements [Objective].
func (o Guard) Loss(grad []float64, t Terms) (grpo.Stats, error) {
	adv, scale := t.Advantages, t.Scratch
	for i, r := range t.Batch.Rows {
		if scale[i] = float64(float32(r.Eps)); !t.Form.Gaussian {
			scale[i] = 1 / (2 * scale[i])
		}
		if o.PerStep {
			grad[i] = adv[i] / math.Abs(r.V)
		}
	}
	if o.PerStep {
		adv = grad
	}
	return o.Guard.Loss(grad, t.LogP, t.Old, adv, t.KL, scale)
}

// Divergence implements [Objective].
func (Guard) Divergence() DivergenceUse { return Differentiated }

// DPPO is [grpo.DPPO], whose trust region is the divergence. Its MaxKL is in the units of
// Config.Form.
type DPPO grpo.DPPO

// Loss implements [Objective].
func (o DPPO) Loss(grad []float64, t Terms) (grpo.Stats, error) {
	return grpo.DPPO(o).Loss(grad, t.LogP, t.Old, t.Advantages, t.KL)
}

// Divergence implements [Objective].
func (DPPO) Divergence() DivergenceUse { return Constant }

// A Divergence is the penalty Beta·mean(KL) on the distance from the reference policy. The
// zero Divergence is none.
type Divergence struct {
	Beta     float64
	Form     logprob.Form // of the divergence of two steps
	Velocity bool         // take the distance of velocities instead, which weighs all steps alike
}
