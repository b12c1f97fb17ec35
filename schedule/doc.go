// Package schedule says how much signal and how much noise the latents hold at
// every point of a run.
package schedule
