package finetune

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"cps/examples/internal/digits"
	"cps/grpo"
	"cps/grpo/trainer"
	"cps/logprob"
	"cps/sampler"
	"cps/schedule"
)

// A Config says how to fine-tune. Reward must be set. A zero value of another field means
// the default in brackets.
type Config struct {
	Seed uint64      // for everything random
	Net  *digits.Net // what is fine-tuned; it is copied [the committed network]

	// Sampling.
	Rule        sampler.Rule  // of the stochastic steps [FlowCPS{Eta: 0.9}]
	Steps       int           // of a run [10]
	Shift       float64       // of the schedule [1]
	Window      grpo.Strategy // which steps are stochastic and trained; the others follow the ODE [nil: all; the last is never trained]
	SharedStart bool          // samples of a group share their initial latent, as in FlowCPS's trainer

	// Rewards.
	Reward  Reward
	Prompts int       // groups of an iteration; digits take turns [10]
	Group   int       // samples of a group [12]
	Norm    grpo.Norm // of the advantages [grpo.FlowGRPO]
	History int       // number of rewards remembered per prompt, over iterations; 0: only those of the iteration
	Limit   float64   // of the advantages [5]

	// Loss.
	Form      logprob.Form   // what log p means; the zero Form is the paper's
	Objective grpo.Objective // clip range of the ratio, in the units of Form; zero: no clip
	KL        Divergence     // penalty from the reference policy, which is the network at the start
	Stop      grpo.EarlyStop // ends the inner epochs; zero: never

	// Updates.
	Rate        float64          // learning rate of Adam [5e-4]
	Epochs      int              // inner epochs of an iteration [1]
	Minibatches grpo.Minibatches // the trainer sets Key [Steps: 3]
	Average     grpo.EMA         // average of the weights, which is then evaluated; zero: none
	Follow      grpo.EMA         // moves the reference policy; zero: it stays at the start

	// Evaluation, by the ODE.
	Every   int // iterations from one evaluation to the next [5]; negative: none
	Samples int // of each digit [20]
}

// A Divergence is the penalty on the divergence from the reference policy, like that of
// package trainer.
type Divergence trainer.Divergence

// withDefaults returns c with its defaults filled in, after checks.
func (c Config) withDefaults() (Config, error) {
	if c.Rule == nil {
		c.Rule = sampler.FlowCPS{Eta: 0.9}
	}
	if c.Norm == (grpo.Norm{}) {
		c.Norm = grpo.FlowGRPO
	}
	if c.Minibatches == (grpo.Minibatches{}) {
		c.Minibatches.Steps = 3
	}
	for _, f := range []struct {
		p     *int
		value int
	}{{&c.Steps, 10}, {&c.Prompts, digits.Classes}, {&c.Group, 12}, {&c.Epochs, 1}, {&c.Every, 5}, {&c.Samples, 20}} {
		if *f.p == 0 {
			*f.p = f.value
		}
	}
	for _, f := range []struct {
		p     *float64
		value float64
	}{{&c.Shift, 1}, {&c.Limit, 5}, {&c.Rate, 5e-4}} {
		if *f.p == 0 {
			*f.p = f.value
		}
	}
	for _, f := range []struct {
		name             string
		value, low, high int
	}{
		{"Steps", c.Steps, 2, 1000}, {"Prompts", c.Prompts, 1, 1000}, {"Group", c.Group, 2, 10000},
		{"Epochs", c.Epochs, 1, 1000}, {"Samples", c.Samples, 2, 1000}, {"History", c.History, 0, math.MaxInt32},
	} {
		if f.value < f.low || f.value > f.high {
			return c, fmt.Errorf("finetune: %s %d is not in [%d, %d]", f.name, f.value, f.low, f.high)
		}
	}
	switch {
	case c.Reward.Score == nil:
		return c, errors.New("finetune: Reward is not set")
	case !(c.Rate > 0 && c.Rate <= math.MaxFloat64):
		return c, fmt.Errorf("finetune: Rate %v is not positive and finite", c.Rate)
	}
	return c, c.try()
}

// try returns an error that names a rule that cannot be trained. Package trainer checks
// the rest.
func (c Config) try() error {
	s, err := c.sampler()
	if err != nil {
		return err
	}
	for i := range c.Steps - 1 {
		if !s.At(i).Stochastic() {
			return fmt.Errorf("finetune: Rule %s%+v draws no noise at step %d, so that step cannot be trained", sampler.FactsOf(c.Rule).Name, c.Rule, i)
		}
	}
	return nil
}

// class returns the digit of prompt p of an iteration.
func (c Config) class(iteration, p int) int { return (iteration*c.Prompts + p) % digits.Classes }

// sampling returns the settings of a sampler whose steps all take the rule.
func (c Config) sampling() sampler.Config {
	return sampler.Config{Scheduler: schedule.Linear(c.Steps).Shift(c.Shift), Rule: c.Rule}
}

// sampler returns the sampler whose steps all take the rule.
func (c Config) sampler() (*sampler.Sampler, error) { return sampler.New(c.sampling()) }

// fingerprint returns a hash that tells networks apart.
func (c Config) fingerprint() string {
	if c.Net == nil {
		return "committed " + committed().policy
	}
	sum := sha256.New()
	binary.Write(sum, binary.LittleEndian, c.Net.Params()) // a hash reports no errors
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// committed returns the checksums of the networks that are built in: the network that is
// fine-tuned, and the classifier and the critic that judge samples.
var committed = sync.OnceValue(func() (sums struct{ policy, judges string }) {
	net, err := digits.Velocity()
	judge, err1 := digits.Judge()
	critic, err2 := digits.Taste()
	if err := errors.Join(err, err1, err2); err != nil {
		return // New, which needs them, reports it
	}
	sum := sha256.New()
	net.Save(sum) // a hash reports no errors
	sums.policy = fmt.Sprintf("%x", sum.Sum(nil))
	sum.Reset()
	judge.Save(sum)
	critic.Save(sum)
	sums.judges = fmt.Sprintf("%x", sum.Sum(nil))
	return sums
})

// version is the version of all code between a configuration and the results of its run,
// here and in examples/paper. It changes if the results change, so earlier results then
// count as those of another run.
const version = 1

// String returns all settings that determine a run, one field a line. A checkpoint holds
// this text, so no run goes on with other settings.
func (c Config) String() string {
	var b strings.Builder
	field := func(name string, value any) { fmt.Fprintf(&b, "%s: %T%+v\n", name, value, value) }
	field("Version", version)
	field("Seed", c.Seed)
	field("Net", c.fingerprint())
	field("Rule", c.Rule)
	field("Steps", c.Steps)
	field("Shift", c.Shift)
	field("Window", c.Window)
	field("SharedStart", c.SharedStart)
	field("Reward", c.Reward.Name)
	field("Judges", committed().judges)
	field("Prompts", c.Prompts)
	field("Group", c.Group)
	field("Norm", c.Norm)
	field("History", c.History)
	field("Limit", c.Limit)
	field("Form", c.Form)
	field("Objective", c.Objective)
	field("KL", c.KL)
	field("Stop", c.Stop)
	field("Rate", c.Rate)
	field("Epochs", c.Epochs)
	field("Minibatches", c.Minibatches)
	field("Average", c.Average)
	field("Follow", c.Follow)
	field("Every", c.Every)
	field("Samples", c.Samples)
	return b.String()
}
