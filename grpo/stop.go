package grpo

import "fmt"

// An EarlyStop ends the inner epochs of an iteration when the policy has moved too far
// from the one that drew the samples:
//
//	ApproxKL > Factor·Target
//
// with ApproxKL of the [Stats] of the last minibatch, and Factor 1.5 if it is 0, as in
// the PPO of Spinning Up (target_kl) and Stable-Baselines3. Flow-GRPO's trainers log
// ApproxKL and do not stop. The zero EarlyStop never stops.
//
// Ask before the optimiser's step: then no minibatch moves a policy that has moved too
// far. Spinning Up asks there too, of a mean over the whole batch.
//
// Target is in the units of ½(log-ratio)². Where log p is a mean over dim elements,
// the one of the densities is dim² times as large.
type EarlyStop struct{ Target, Factor float64 }

// Reached reports whether s says that it is time to stop. It reports a Target or
// Factor that is negative or NaN and an ApproxKL that is NaN.
func (e EarlyStop) Reached(s Stats) (bool, error) {
	switch {
	case !(e.Target >= 0):
		return false, fmt.Errorf("grpo: EarlyStop.Target %v: %w", e.Target, ErrSetting)
	case !(e.Factor >= 0):
		return false, fmt.Errorf("grpo: EarlyStop.Factor %v: %w", e.Factor, ErrSetting)
	case s.ApproxKL != s.ApproxKL:
		return false, fmt.Errorf("grpo: EarlyStop: ApproxKL: %w", ErrNotFinite)
	}
	factor := e.Factor
	if factor == 0 {
		factor = 1.5
	}
	return e.Target > 0 && s.ApproxKL > factor*e.Target, nil
}
