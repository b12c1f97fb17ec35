// Package solver has samplers of higher order: DPM-Solver and DPM-Solver++ of several
// steps, their SDEs, and a way to make any deterministic solver of one evaluation a step
// stochastic. It uses package sampler through its public interface alone, as your own
// solver would.
//
// All of them take one evaluation of the model a step and look back at earlier ones. The
// density of a step is that of the latents given those before it: a policy in training
// makes the outputs of the history anew, and its gradient reaches them
// ([sampler.History.Backward]). To treat earlier outputs as data instead gives the
// gradient of no density. Measured on a mixture in one dimension, the derivative of the
// expected reward with respect to an offset of the velocity, over seven steps:
//
//	                 finite differences   exact    history as data
//	2M SDE, eta 1          -1.564         -1.564       -2.474
//	3M SDE, eta 1          -1.866         -1.864       -4.272
//
// In the formulas α, σ are Signal and Noise of the point a step starts from, α', σ' of the
// one it goes to, λ = log(α/σ), and h is its rise in a step. Earlier evaluations have the
// indices 1 and 2.
//
// An evaluation at signal 0 is no history, since its weight in the limit is 0: from pure
// noise the second step is of first order too. Steps to noise 0 have nothing to look back
// at either, since there h is infinite.
package solver
