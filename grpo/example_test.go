package grpo_test

import (
	"fmt"
	"log"

	"cps/grpo"
)

// One update on two prompts with four samples each, at one step of the run.
func Example() {
	prompts := []string{"a cat", "a cat", "a cat", "a cat", "rain", "rain", "rain", "rain"}
	rewards := []float64{0.2, 0.3, 0.5, 0.6, 1, 1, 1, 1}
	logp := []float64{-1.4201, -1.4189, -1.4190, -1.4185, -1.42, -1.42, -1.42, -1.42}
	old := []float64{-1.4200, -1.4190, -1.4190, -1.4190, -1.42, -1.42, -1.42, -1.42}
	kl := []float64{1e-6, 1e-6, 0, 4e-6, 0, 0, 0, 0} // from the reference policy

	groups, err := grpo.ByID(prompts)
	if err != nil {
		log.Fatal(err)
	}
	adv := make([]float64, len(rewards))
	if _, err := grpo.FlowGRPO.Advantages(adv, rewards, groups); err != nil {
		log.Fatal(err)
	}
	if _, err := grpo.Clamp(adv, adv, 5); err != nil {
		log.Fatal(err)
	}

	o := grpo.Objective{ClipLow: 2e-4, ClipHigh: 2e-4}
	grad := make([]float64, len(logp))
	stats, err := o.Loss(grad, logp, old, adv)
	if err != nil {
		log.Fatal(err)
	}
	weight, err := stats.Penalize(0.04, kl)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Printf("advantages %.3f\n", adv)
	fmt.Printf("gradient   %.3f …\n", grad[:4])
	fmt.Printf("KL weight  %.3f\n", weight)
	fmt.Printf("clipped %.3f, stopped %.3f, greatest |r-1| %.1e\n", stats.ClipFraction, stats.Stopped, stats.Deviation)
	// Output:
	// advantages [-1.264 -0.632 0.632 1.264 0.000 0.000 0.000 0.000]
	// gradient   [0.158 0.079 -0.079 0.000] …
	// KL weight  0.005
	// clipped 0.125, stopped 0.125, greatest |r-1| 5.0e-04
}

// Two groups of three. In the second all rewards are alike: there is nothing to learn
// from it.
func ExampleAdvantages() {
	rewards := []float64{0, 1, 2, 0.1, 0.1, 0.1}
	adv, err := grpo.Advantages(make([]float64, 6), rewards, 3, 1e-4)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", adv)
	// Output: [-1.2246 0.0000 1.2246 0.0000 0.0000 0.0000]
}

// A NaN reward is an error that names its sample.
func ExampleNorm_Advantages_badReward() {
	var nan float64
	nan /= nan
	rewards := []float64{0.5, nan}
	_, err := grpo.DanceGRPO.Advantages(make([]float64, 2), rewards, grpo.Groups{})
	fmt.Println(err)
	// Output: grpo: reward of sample 1 is NaN: not a finite number
}

// The second reward has a hundred times the spread of the first. Their weighted sum
// follows it alone; GDPO listens to both.
func ExampleNorm_GDPO() {
	weights := []float64{1, 1}
	rewards := [][]float64{
		{0.9, 0.5, 0.8, 0.1},
		{10, 20, 50, 60},
	}
	adv := make([]float64, 4)
	if _, err := grpo.WeightedSum(adv, weights, rewards); err != nil {
		log.Fatal(err)
	}
	if _, err := grpo.FlowFactory.Advantages(adv, adv, grpo.Groups{}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("weighted sum %5.2f\n", adv)
	if _, err := grpo.FlowFactory.GDPO(adv, weights, rewards, grpo.Groups{}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("GDPO         %5.2f\n", adv)
	// Output:
	// weighted sum [-1.21 -0.74  0.75  1.20]
	// GDPO         [-0.19 -1.09  1.63 -0.35]
}

// The published clip range 1e-4 is for log p averaged over the elements of a latent,
// here 16·64·64 of them. The logarithm of the density itself is the sum. There,
// bounds of another size clip the same samples.
func ExampleObjective_In() {
	const dim = 16 * 64 * 64
	mean := grpo.Objective{ClipLow: 1e-4, ClipHigh: 1e-4}

	sum, err := mean.In(grpo.SumFactor(dim))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("sum:          a ratio from %.4f to %.0f\n", 1-sum.ClipLow, 1+sum.ClipHigh)

	// A step with standard deviation 0.3, log p without denominator.
	un, err := mean.In(grpo.UnnormalizedFactor(0.3))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("unnormalized: ±%.2e\n", un.ClipHigh)
	// Output:
	// sum:          a ratio from 0.0014 to 702
	// unnormalized: ±1.80e-05
}

// GRPO-Guard needs the divergence from the old policy in the form of log p, and the
// standard deviation of each row's step. It weights the steps by their length.
func ExampleGuard() {
	logp, old := []float64{0.998, 1.001}, []float64{1, 1}
	kl := []float64{0.003, 0.001}
	std := []float64{0.4, 0.2}
	adv, length := []float64{1, -1}, []float64{0.25, 0.05}
	for i := range adv {
		adv[i] /= length[i]
	}
	grad := make([]float64, 2)
	stats, err := grpo.Guard{ClipLow: 1e-3, ClipHigh: 1e-3}.Loss(grad, logp, old, adv, kl, std)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("mean ratio %.4f, gradient %.4f\n", stats.MeanRatio, grad)
	// Output: mean ratio 1.0004, gradient [-0.8003 2.0008]
}

// DPPO stops a policy that is too far away and moves further, but not one that
// returns.
func ExampleDPPO() {
	logp, old := []float64{0.1, -0.1, 0.1}, []float64{0, 0, 0}
	adv := []float64{1, 1, 1}
	kl := []float64{3e-5, 3e-5, 1e-6}
	grad := make([]float64, 3)
	stats, err := grpo.DPPO{MaxKL: 1e-5}.Loss(grad, logp, old, adv, kl)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("gradient %.3f, stopped %.2f\n", grad, stats.Stopped)
	// Output: gradient [0.000 -0.302 -0.368], stopped 0.33
}

// Which steps of a run of ten are stochastic and trained, at four iterations. The
// last step draws no noise, so nine may be trained.
func ExampleStrategy() {
	for _, s := range []grpo.Strategy{
		grpo.Fixed{},
		grpo.MixGRPO,
		grpo.Sliding{Size: 2, Stride: 2, Interval: grpo.ExpDecay{First: 40, Threshold: 2, Rate: 0.5}},
		grpo.Random{Size: 2, Key: 7},
	} {
		fmt.Printf("%-15T", s)
		for _, iteration := range []int{0, 30, 60, 90} {
			start, end, err := s.Window(iteration, 9)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf(" [%d, %d)", start, end)
		}
		fmt.Println()
	}
	// Output:
	// grpo.Fixed      [0, 9) [0, 9) [0, 9) [0, 9)
	// grpo.Sliding    [0, 4) [1, 5) [2, 6) [3, 7)
	// grpo.Sliding    [0, 2) [0, 2) [2, 4) [4, 6)
	// grpo.Random     [5, 7) [5, 7) [1, 3) [0, 2)
}

// leaveOneOut is the advantage of RLOO: the reward above the mean of the others.
type leaveOneOut struct{}

func (leaveOneOut) Advantages(dst, rewards []float64, g grpo.Groups) ([]float64, error) {
	for k, samples := range g.All(len(rewards)) {
		sum, n := 0.0, 0.0
		for i := range samples {
			sum, n = sum+rewards[i], n+1
		}
		if n < 2 {
			return nil, fmt.Errorf("group %d has one sample", k)
		}
		for i := range samples {
			dst[i] = rewards[i] - (sum-rewards[i])/(n-1)
		}
	}
	return dst, nil
}

// An advantage of one's own walks the groups, and fits wherever a Norm does.
func ExampleEstimator() {
	rewards := []float64{1, 2, 6, 5, 5, 8}
	groups, err := grpo.BySize(len(rewards), 3)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range []grpo.Estimator{leaveOneOut{}, grpo.Norm{}} {
		adv, err := e.Advantages(make([]float64, len(rewards)), rewards, groups)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.2f\n", adv)
	}
	// Output:
	// [-3.00 -1.50 4.50 -1.50 -1.50 3.00]
	// [-0.93 -0.46 1.39 -0.71 -0.71 1.41]
}
