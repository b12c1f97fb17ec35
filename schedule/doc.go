// Package schedule says how much signal and how much noise the latents hold at
// every point of a run.
//
// A sampler takes a latent from noise to data through N+1 points. At each point the
// latent should be
//
//	x = Signal·x0 + Noise·x1,    x0 a sample of the data, x1 ~ N(0, I)
//
// A schedule lists these pairs (Signal, Noise), with the Time that the model is
// told. A sampler preserves coefficients if its latents hold the amounts that the
// schedule states (Definition 1 of arXiv 2509.05952). This package cites equations
// of that paper by number alone.
//
// # Rectified flow
//
// The path of today's image and video models is x = (1-t)·x0 + t·x1. The level t
// gives both coefficients, so a schedule is a falling list of levels, a Flow:
//
//	f := schedule.Linear(28).Shift(3)              // as published trainers sample
//	f := schedule.Flux1(28, 4096)                  // FLUX.1 dev at 1024 by 1024
//	f := schedule.Linear(4)                        // FLUX.1 schnell
//	f := schedule.FlowOf(sigmas).Shift(3).ToZero() // a list from elsewhere
//
// Linear, Even, Karras, Exponential, Beta, KLOptimal and LinearQuadratic make
// levels. Shift, DynamicShift and StretchTerminal move them. A Flow literal works as
// well. DoubleShift, DPMSolver and UniPC make the lists of diffusers' pipelines.
//
// # Variance-preserving diffusion
//
// The path of DDPM, DDIM and Stable Diffusion 1 and 2 is x = √ᾱ·x0 + √(1-ᾱ)·x1. Here
// ᾱ is a table over about a thousand training timesteps, computed from betas. A VP
// holds the table. A run visits some of its timesteps:
//
//	v, err := schedule.NewVP(schedule.ScaledLinearBetas(1000, 0.00085, 0.012))
//	p, err := v.Points(v.Leading(50, 1), v.Point(0))
//
// # Any other path
//
// A Scheduler has two methods, so any path takes a few lines. Points holds a list of
// points that was computed elsewhere.
//
// # Errors
//
// Constructors of flow levels take any numbers and never panic. Numbers that make no
// sense give levels that make no sense, and Validate names the first of those.
// Functions that take a Scheduler call Validate, so the chains above need no error
// handling. NewVP, ZeroSNR, VP.Points and FirstStep return errors. ErrShort,
// ErrLong, ErrRange, ErrOrder, ErrNil, ErrTimestep and ErrStrength come wrapped with
// the place and the values:
//
//	schedule: level 3 (0.7) is not below level 2 (0.7): noise does not decrease strictly
//
// NaN is never accepted. At panics for a point that the schedule does not have, as
// indexing a slice does.
//
// All arithmetic is float64. No function changes its arguments. All functions and
// methods are safe for concurrent use.
package schedule
