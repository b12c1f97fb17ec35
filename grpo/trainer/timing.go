package trainer

import "time"

// A Timing says where the time of a trainer's iterations went, this process's alone. On a
// device that queues calls, work counts where it is waited for.
type Timing struct {
	Iterations int
	Total      time.Duration // the sum of the others, and of what belongs to none of them

	Sampling  time.Duration // package sampler in rollouts: noise, steps, sums of squares
	LogProb   time.Duration // packages sampler and logprob in training: log p
	Gradients time.Duration // advantages, loss, ∂loss/∂v
	Policy    time.Duration // the framework: forward, backward and optimiser
	Reward    time.Duration
}

// since adds to part the time since a moment, and returns the present one.
func since(part *time.Duration, began time.Time) time.Time {
	now := time.Now()
	*part += now.Sub(began)
	return now
}

// Timing returns where the time went since the trainer was made.
func (t *Trainer[B]) Timing() Timing { return t.timing }
