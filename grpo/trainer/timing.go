package trainer

import "time"

// A Timing says where the time of a trainer's iterations went, in this process. On a
// device that queues calls, time counts where the trainer waits.
type Timing struct {
	Iterations int
	Total      time.Duration // of whole iterations of Step, including work that none of the others counts

	Sampling  time.Duration // package sampler in rollouts: noise, steps, sums of squares
	LogProb   time.Duration // packages sampler and logprob in training: log p
	Gradients time.Duration // advantages, loss, ∂loss/∂v
	Policy    time.Duration // the framework: forward, backward and optimiser
	Reward    time.Duration
}

// since adds the time since began to part, and returns the present time.
func since(part *time.Duration, began time.Time) time.Time {
	now := time.Now()
	*part += now.Sub(began)
	return now
}

// Timing returns where the time went since the trainer was made.
func (t *Trainer[B]) Timing() Timing { return t.timing }
