package trainer

import (
	"math"

	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
)

// An Objective computes a loss from the log p of transitions. [Clip], [Guard] and [DPPO]
// are the objectives of package grpo.
type Objective interface {
	// Loss stores ∂loss/∂log p of every transition in grad and returns the statistics. The
	// loss is the mean over the transitions. It must be a pure function of t.
	Loss(grad []float64, t Terms) (grpo.Stats, error)

	// Divergence says what Loss does with Terms.KL.
	Divergence() DivergenceUse
}

// Terms are the inputs of an [Objective]: one entry for each transition of a minibatch.
// The Objective may write only to KL and Scratch.
type Terms struct {
	Batch                 sampler.Batch // rows with the weights of the steps, such as Eps and V
	Form                  logprob.Form  // of log p and KL
	LogP, Old, Advantages []float64     // Old is log p under the policy that drew the samples
	KL                    []float64     // divergence from the policy that drew the samples; nil if unused
	Scratch               []float64     // memory for the Objective, of the same length
}

// A DivergenceUse says how an [Objective] uses the divergence of the policy from the one
// that drew the samples. Unless it is Unused, the trainer keeps the outputs of the latter.
type DivergenceUse uint8

const (
	Unused         DivergenceUse = iota // not read
	Constant                            // read, but no gradient flows through it
	Differentiated                      // read, and ∂loss/∂KL equals ∂loss/∂log p
)

// Clip is [grpo.Objective], the clipped surrogate of PPO and GRPO. The zero Clip does not
// clip. Published ranges of 1e-6 to 1e-3 are for means of log p over about 65536 elements.
// With a small Dim they stop nearly all learning: convert them by [grpo.Objective.In].
type Clip grpo.Objective

// Loss implements [Objective].
func (o Clip) Loss(grad []float64, t Terms) (grpo.Stats, error) {
	return grpo.Objective(o).Loss(grad, t.LogP, t.Old, t.Advantages)
}

// Divergence implements [Objective].
func (Clip) Divergence() DivergenceUse { return Unused }

// Guard is [grpo.Guard], the normalised ratio of GRPO-Guard. PerStep divides advantages by
// the weight |V| of the model's output in the step, so all steps have gradients of one
// size. For Flow-SDE this is the published division by the step's length, up to a factor.
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

// DPPO is [grpo.DPPO], with a trust region in the divergence. MaxKL is in the units of
// Config.Form.
type DPPO grpo.DPPO

// Loss implements [Objective].
func (o DPPO) Loss(grad []float64, t Terms) (grpo.Stats, error) {
	return grpo.DPPO(o).Loss(grad, t.LogP, t.Old, t.Advantages, t.KL)
}

// Divergence implements [Objective].
func (DPPO) Divergence() DivergenceUse { return Constant }

// A Divergence is the penalty Beta·mean(KL) on the divergence from the reference policy.
// The zero Divergence is no penalty.
type Divergence struct {
	Beta     float64      // weight, finite and at least 0
	Form     logprob.Form // of the divergence, with or without denominator, mean or sum
	Velocity bool         // take the distance of velocities instead, which weighs all steps alike
}
