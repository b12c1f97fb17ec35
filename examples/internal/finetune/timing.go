package finetune

import "time"

// A Timing says where the time of a trainer's iterations went, in this process.
type Timing struct {
	Iterations int
	Total      time.Duration // of whole iterations, including work that none of the others counts

	Sampling  time.Duration // package sampler in rollouts: noise, steps, sums of squares
	LogProb   time.Duration // packages sampler and logprob in replays
	Gradients time.Duration // packages grpo, logprob and sampler: advantages, loss, ∂loss/∂v

	Network    time.Duration // forward, backward and optimiser, of rollouts and replays
	Reward     time.Duration
	Evaluation time.Duration

	Trained int `json:",omitempty"` // evaluations of the network that training took gradients of
}

// Share returns the part of the iterations' time that went into the library: sampling
// arithmetic, log-probabilities and gradients. Evaluations do not count.
func (t Timing) Share() float64 {
	return float64(t.Sampling+t.LogProb+t.Gradients) / float64(t.Total-t.Evaluation)
}

// Add returns the sum of t and u, such as those of several runs.
func (t Timing) Add(u Timing) Timing {
	return Timing{
		Iterations: t.Iterations + u.Iterations,
		Total:      t.Total + u.Total,
		Sampling:   t.Sampling + u.Sampling,
		LogProb:    t.LogProb + u.LogProb,
		Gradients:  t.Gradients + u.Gradients,
		Network:    t.Network + u.Network,
		Reward:     t.Reward + u.Reward,
		Evaluation: t.Evaluation + u.Evaluation,
		Trained:    t.Trained + u.Trained,
	}
}

// Timing returns where the time went since the trainer was made or loaded.
func (t *Trainer) Timing() Timing {
	l := t.loop.Timing()
	return Timing{
		Iterations: l.Iterations, Total: t.total, Evaluation: t.evaluation,
		Sampling: l.Sampling, LogProb: l.LogProb, Gradients: l.Gradients, Network: l.Policy, Reward: l.Reward,
		Trained: t.policy.trained,
	}
}
