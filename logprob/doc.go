// Package logprob turns the sums of squares that package sampler leaves into
// log-probabilities, divergences between policies, and the scales of their
// gradients.
//
// A stochastic step from x is a Gaussian policy with mean X·x + V·v and standard
// deviation Eps. With n = Dim, d = next - mean and Σ = ‖d‖², what a trainer needs is
// a function of one number a row:
//
//	density        log p = -Σ/(2Eps²) - n·log Eps - n·log√(2π)        (Eq. 14)
//	without denominator    -Σ                                       (Eq. 15)
//	KL of v and v_ref      V²‖v - v_ref‖²/(2Eps²), or without       (Eq. 6 and 16)
//	its gradient by v      scale·d, by sampler.Device.Grad
//
// Equation numbers are those of arXiv 2509.05952. Every function reads the
// dimension and the weights from the batch that made the sums, so that no caller
// handles a standard deviation: published codes disagree on whether theirs contains
// the root of the step's length. Here Eps is the whole of it, in the float32 value
// that the kernels used.
//
// A step with Eps = 0 has no density, and so no log-probability, ratio or divergence:
// functions return ErrNoDensity rather than a NaN, and rather than the -Σ of the form
// without denominator, which published code trains on if it is not told otherwise.
// [cps/sampler.Transition.Stochastic] says which steps to train on. VelocityKL exists
// everywhere. A row that is at no transition, as those of a new batch are, is
// ErrNoPolicy.
package logprob
