package finetune

import (
	"context"
	"fmt"
	"math"
	"slices"

	"cps/examples/internal/digits"
	"cps/grpo"
	"cps/noise"
	"cps/sampler"
)

// An Evaluation describes samples of a network.
type Evaluation struct {
	Reward    float64 // mean
	Error     float64 // standard error of the mean
	Diversity float64 // mean distance to the nearest other sample of the digit
	Accuracy  float64 // part in which the frozen classifier sees the digit
	Residual  float64 // root mean square deviation on the pixels that hardly vary in the data
}

// Evaluate evaluates the network by the ODE, as the paper does. It draws Config.Samples of
// each digit, from the same initial latents at every call.
func (t *Trainer) Evaluate(ctx context.Context) (Evaluation, error) {
	return t.EvaluateRule(ctx, sampler.FlowODE{})
}

// EvaluateRule is Evaluate with a rule in all steps instead of the ODE. A reward that is not
// finite is an error (grpo.ErrNotFinite).
func (t *Trainer) EvaluateRule(ctx context.Context, rule sampler.Rule) (Evaluation, error) {
	x, classes, err := t.Samples(ctx, rule, t.config.Samples)
	if err != nil {
		return Evaluation{}, err
	}
	rewards := make([]float64, len(classes))
	t.config.Reward.Score(rewards, x, classes)
	if i := slices.IndexFunc(rewards, notFinite); i >= 0 {
		return Evaluation{}, fmt.Errorf("finetune: evaluation: reward %v of sample %d: %w", rewards[i], i, grpo.ErrNotFinite)
	}
	e, err := Measure(x, classes)
	mean, std := meanStd(rewards)
	e.Reward, e.Error = mean, std/math.Sqrt(float64(len(rewards)))
	return e, err
}

// Samples draws samples with the network and a rule in all steps, as many of every digit as
// each says. x is row-major [len(classes), digits.Dim], digit by digit. Sample k of a digit
// always starts from the same latent, whatever each, the rule and the seed of the run are.
// Trained networks can therefore be compared image by image.
func (t *Trainer) Samples(ctx context.Context, rule sampler.Rule, each int) (x []float32, classes []int, err error) {
	c := t.config
	c.Rule = rule
	s, err := c.sampler()
	if err != nil {
		return nil, nil, err
	}
	var samples []uint64
	for class := range digits.Classes {
		for k := range each {
			classes = append(classes, class)
			samples = append(samples, uint64(class)<<32|uint64(k))
		}
	}
	b := s.Batch(digits.Dim, evaluationKey, samples...)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{Start: s.Steps(), End: s.Steps()})
	cpu := sampler.CPU{}
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	err = sampler.Rollout(ctx, cpu, s, b, run, sampler.OneTime(func(v, x []float32, time float64) error {
		t.policy.mean.ForwardParallel(v, x, classes, time)
		return nil
	}))
	if err != nil {
		return nil, nil, fmt.Errorf("finetune: evaluation: %w", err)
	}
	return run.Latents[s.Steps()], classes, nil
}

// evaluationKey is the key of the noise of all evaluations. No run derives it from its seed,
// except by coincidence.
var evaluationKey = noise.Key(0x5eed).Derive(0)

// Measure returns the Evaluation of samples without a reward. The samples stand digit by
// digit, in equal numbers.
func Measure(x []float32, classes []int) (Evaluation, error) {
	data, err := digits.Load()
	if err != nil {
		return Evaluation{}, err
	}
	judge, err := digits.Judge()
	if err != nil {
		return Evaluation{}, err
	}
	e := Evaluation{
		Accuracy: judge.Accuracy(x, classes),
		Residual: digits.NearConstant(data, 0.0025).Residual(x),
	}
	each := len(x) / digits.Classes
	for class := range digits.Classes {
		e.Diversity += digits.Diversity(x[class*each:][:each]) / digits.Classes
	}
	return e, nil
}

func notFinite(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// meanStd returns the mean and the sample standard deviation.
func meanStd(x []float64) (mean, std float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		d := v - mean
		std += float64(d*d) / (n - 1)
	}
	return mean, math.Sqrt(std)
}
