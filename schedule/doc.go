// Package schedule says how much signal and how much noise the latents hold at
// every point of a run.
//
// A sampler walks a latent from noise to data through N+1 points. At each one
// the latent is supposed to be
//
//	x = Signal·x0 + Noise·x1,    x0 a sample of the data, x1 ~ N(0, I)
//
// and a schedule is the list of the pairs (Signal, Noise), with the Time that the
// model is told. A sampler preserves coefficients (Definition 1 of
// arXiv 2509.05952, whose equations are cited here by number alone) if its
// latents do hold those amounts, and the schedule is what it is held to.
//
// # Rectified flow
//
// The path of today's image and video models is x = (1-t)·x0 + t·x1. One number,
// the level t, says everything, and a schedule is a falling list of levels, a
// Flow:
//
//	f := schedule.Linear(28).Shift(3)              // as published trainers sample
//	f := schedule.Flux1(28, 4096)                  // FLUX.1 dev at 1024 by 1024
//	f := schedule.Linear(4)                        // FLUX.1 schnell
//	f := schedule.FlowOf(sigmas).Shift(3).ToZero() // a list from elsewhere
//
// Linear, Even, Karras, Exponential, Beta, KLOptimal and LinearQuadratic lay levels
// out; Shift, DynamicShift and StretchTerminal move them; a Flow literal is as good.
// Published pipelines have lists of their own: DoubleShift, DPMSolver and UniPC make
// those of diffusers.
//
// # Variance-preserving diffusion
//
// DDPM, DDIM and Stable Diffusion 1 and 2 mix x = √ᾱ·x0 + √(1-ᾱ)·x1, where ᾱ is
// a table over some thousand training timesteps, made from betas. A VP holds the
// table, and a run visits some of its timesteps:
//
//	v, err := schedule.NewVP(schedule.ScaledLinearBetas(1000, 0.00085, 0.012))
//	p, err := v.Points(v.Leading(50, 1), v.Point(0))
//
// # Any other path
//
// A Scheduler has two methods, so any path takes a few lines, and Points is there
// for lists of points computed elsewhere.
//
// # Errors
//
// Constructors of flow levels take any numbers and never panic; if the numbers
// make no sense, neither do the levels, and Validate says which. Whoever takes a
// Scheduler calls Validate, so the chains above need no error handling of their
// own. The constructors of VP models return their errors, and so does FirstStep. All of
// these, ErrShort, ErrLong, ErrRange, ErrOrder, ErrNil, ErrTimestep and ErrStrength, come
// wrapped with the place and the values:
//
//	schedule: level 3 (0.7) is not below level 2 (0.7): noise does not decrease strictly
//
// NaN is never accepted. Asking a schedule for a point that it does not have
// panics, as indexing a slice does.
//
// All arithmetic is float64. No function changes what it is given or keeps it, so
// all may be called by several goroutines at once.
package schedule
