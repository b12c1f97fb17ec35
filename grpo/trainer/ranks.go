package trainer

import (
	"context"

	"cps/grpo"
)

// Ranks connects trainers that train one policy, one trainer a process. All have the same
// configuration and parameters. Each draws Prompts·Group samples of its own, numbered
// over all ranks. Advantages compare rewards of all ranks. The loss is the mean over all
// samples, and the sum of the ranks' gradients is its gradient.
//
// All ranks call the same methods in the same order. If a rank fails, the others wait
// inside a method of Ranks. Cancel their context to end the wait.
type Ranks interface {
	// Rank returns the number of this rank, from 0, and the number of ranks.
	Rank() (rank, ranks int)

	// Gather stores the numbers mine of all ranks in all. Those of rank r begin at
	// r·len(mine).
	Gather(ctx context.Context, all, mine []float64) error

	// SumGradients replaces the gradient of every rank by the sum over all ranks. The
	// trainer calls it once before every Update.
	SumGradients(ctx context.Context) error
}

// alone is a single rank.
type alone struct{}

func (alone) Rank() (rank, ranks int) { return 0, 1 }

func (alone) Gather(_ context.Context, all, mine []float64) error {
	copy(all, mine)
	return nil
}

func (alone) SumGradients(context.Context) error { return nil }

// fields returns pointers to all numbers of s, Deviation first.
func fields(s *grpo.Stats) [10]*float64 {
	return [...]*float64{&s.Deviation, &s.Loss, &s.Policy, &s.KL, &s.ApproxKL, &s.MeanRatio,
		&s.ClipFraction, &s.ClipAbove, &s.ClipBelow, &s.Stopped}
}

// mix adds the statistics s, of a share of the samples, to sum.
func mix(sum *grpo.Stats, s grpo.Stats, share float64) {
	if share == 1 {
		*sum = s
		return
	}
	to, from := fields(sum), fields(&s)
	*to[0] = max(*to[0], *from[0])
	for i := 1; i < len(to); i++ {
		*to[i] += float64(share * *from[i])
	}
}

// common returns the statistics of a minibatch over all ranks. s are those of this rank.
func common(ctx context.Context, r Ranks, s grpo.Stats) (grpo.Stats, error) {
	_, n := r.Rank()
	if n == 1 {
		return s, nil
	}
	f := fields(&s)
	mine, all := make([]float64, len(f)), make([]float64, n*len(f))
	for i, p := range f {
		mine[i] = *p
	}
	if err := r.Gather(ctx, all, mine); err != nil {
		return s, err
	}
	var sum grpo.Stats
	for k := range n {
		for i, p := range f {
			*p = all[k*len(f)+i]
		}
		mix(&sum, s, 1/float64(n))
	}
	return sum, nil
}
