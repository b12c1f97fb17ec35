// Package logprob computes log-probabilities, divergences between policies, and the
// scales of their gradients. It starts from the sums of squares of package sampler.
//
// A stochastic step from x is a Gaussian policy with mean X·x + V·v and standard
// deviation Eps. Let n = Dim, d = next - mean and Σ = ‖d‖². A trainer then needs only
// functions of one number a row:
//
//	density        log p = -Σ/(2Eps²) - n·log Eps - n·log√(2π)        (Eq. 14)
//	without denominator    -Σ                                       (Eq. 15)
//	KL of v and v_ref      V²‖v - v_ref‖²/(2Eps²), or without       (Eq. 6 and 16)
//	its gradient by v      scale·d, by sampler.Device.Grad
//
// Equation numbers are those of arXiv 2509.05952. Every function reads the dimension
// and the weights from the batch that made the sums, so no caller handles a standard
// deviation. Published codes disagree on whether their standard deviation contains
// the root of the step's length. Here Eps contains it. The functions use Eps in the
// float32 value of the kernels.
//
// A step with Eps = 0 has no density, and so no log-probability, ratio or divergence.
// Functions return ErrNoDensity for it. Published code has a NaN there. In the form
// without denominator it has -Σ, and by default it trains on it.
// [cps/sampler.Transition.Stochastic] says which steps to train on. VelocityKL exists
// for every step. A row that is at no transition, such as a row of a new batch, is
// ErrNoPolicy.
package logprob
