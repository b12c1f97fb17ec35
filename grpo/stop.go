package grpo

import "fmt"

// An EarlyStop ends the inner epochs of an iteration when the policy has moved too far
// from the one that drew the samples:
//
//	ApproxKL > Factor·Target
//
// ApproxKL is from the [Stats] of the last minibatch. A Factor of 0 means 1.5, as in
// the PPO of Spinning Up (target_kl) and Stable-Baselines3. Flow-GRPO's trainers log
// ApproxKL and do not stop. The zero EarlyStop never stops.
//
// Call Reached before the optimiser's step, so that no minibatch moves a policy that
// has moved too far. Spinning Up does so too, with the mean over the whole batch.
//
// Target is in the units of ½(log-ratio)². If log p is a mean over dim elements,
// ApproxKL of the densities is dim² times as large.
type EarlyStop struct{ Target, Factor float64 }

// Reached reports whether ApproxKL of s is above Factor·Target. A Target or Factor
// that is negative or NaN and an ApproxKL that is NaN are errors.
func (e EarlyStop) Reached(s Stats) (bool, error) {
	switch {
	case !(e.Target >= 0):
		return false, fmt.Errorf("grpo: EarlyStop.Target %v is not at least 0: %w", e.Target, ErrSetting)
	case !(e.Factor >= 0):
		return false, fmt.Errorf("grpo: EarlyStop.Factor %v is not at least 0: %w", e.Factor, ErrSetting)
	case s.ApproxKL != s.ApproxKL:
		return false, fmt.Errorf("grpo: EarlyStop: ApproxKL is NaN: %w", ErrNotFinite)
	}
	factor := e.Factor
	if factor == 0 {
		factor = 1.5
	}
	return e.Target > 0 && s.ApproxKL > factor*e.Target, nil
}
