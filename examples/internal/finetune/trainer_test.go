package finetune

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"cps/examples/internal/digits"
	"cps/grpo"
	"cps/grpo/trainer"
	"cps/logprob"
	"cps/sampler"

	"gonum.org/v1/gonum/diff/fd"
)

// glyph draws the target once.
var glyph = sync.OnceValues(func() (Reward, error) { return NewReward("glyph") })

// small is a run that takes no time.
func small(t tb) Config {
	r, err := glyph()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Reward: r, Steps: 4, Prompts: 3, Group: 4, Samples: 2, Every: 3}
}

// full uses everything there is.
func full(t tb) Config {
	c := small(t)
	c.Rule = sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}
	c.Form = logprob.Form{Gaussian: true}
	c.Window = grpo.Sliding{Size: 2, Stride: 1, Interval: grpo.Every(2)}
	c.SharedStart = true
	c.History = 10
	c.Objective = grpo.Objective{ClipLow: 1e-3, ClipHigh: 2e-3}
	c.KL = Divergence{Beta: 0.1, Form: c.Form}
	c.Stop = grpo.EarlyStop{Target: 1e-3}
	c.Epochs = 2
	c.Minibatches = grpo.Minibatches{Rows: 5, Steps: 1}
	c.Average = grpo.EMA{Decay: 0.9, Every: 2}
	c.Follow = grpo.EMA{Decay: 0.95}
	return c
}

func newTrainer(t tb, c Config) *Trainer {
	t.Helper()
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// samples returns the samples of the next iteration, ready to be trained on.
func samples(t *testing.T, tr *Trainer) *trainer.Run[[]float32] {
	t.Helper()
	r, err := tr.loop.Draw(t.Context())
	if err == nil {
		err = tr.loop.Judge(t.Context(), r, new(trainer.Iteration))
	}
	if err == nil {
		err = tr.loop.Prepare(t.Context(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func run(t *testing.T, c Config, iterations int) *Trainer {
	t.Helper()
	tr := newTrainer(t, c)
	if err := tr.Run(t.Context(), iterations, nil); err != nil {
		t.Fatal(err)
	}
	return tr
}

// equal reports how two trainers differ, to the bit.
func equal(t *testing.T, what string, a, b *Trainer) {
	t.Helper()
	for i, list := range a.policy.lists() {
		if !slices.Equal(list, b.policy.lists()[i]) {
			t.Errorf("%s: list %d of weights differs", what, i)
		}
	}
	if !reflect.DeepEqual(a.history, b.history) {
		t.Errorf("%s: histories differ", what)
	}
	if !reflect.DeepEqual(a.past.Records(), b.past.Records()) {
		t.Errorf("%s: prompt histories differ", what)
	}
}

// Training raises the reward that the ODE's samples get.
func TestLearns(t *testing.T) {
	c := Config{Reward: reward(t, "glyph"), Group: 8, Rate: 1e-3, Every: -1}
	tr := newTrainer(t, c)
	before, err := tr.Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context(), 12, nil); err != nil {
		t.Fatal(err)
	}
	after, err := tr.Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("reward %.3f±%.3f to %.3f±%.3f", before.Reward, before.Error, after.Reward, after.Error)
	if after.Reward < before.Reward+0.05 { // seen: 0.10
		t.Errorf("reward %.4f, before %.4f", after.Reward, before.Reward)
	}
}

func TestDeterministic(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for name, c := range map[string]Config{"small": small(t), "full": full(t)} {
		runtime.GOMAXPROCS(1)
		one := run(t, c, 4)
		runtime.GOMAXPROCS(3)
		equal(t, name, one, run(t, c, 4))
		c.Seed = 1
		if other := run(t, c, 1); other.history[0].Reward == one.history[0].Reward {
			t.Errorf("%s: the seed does not count", name)
		}
	}
}

// The derivative of the loss by the weights, against finite differences of the whole
// chain: network, sums of squares, log-probabilities, ratios, clip and divergence.
func TestGradient(t *testing.T) {
	for name, c := range map[string]Config{"paper's form": small(t), "full": full(t)} {
		c.Objective = grpo.Objective{}
		if name == "full" {
			// Velocities, whose divergence is large enough to be seen, and steps whose
			// ratio is far from 1.
			c.KL = Divergence{Beta: 30, Velocity: true}
			c.Stop = grpo.EarlyStop{}
		}
		tr := newTrainer(t, c)
		r := samples(t, tr)
		if err := tr.loop.Train(t.Context(), r, new(trainer.Iteration)); err != nil { // which leaves the policy off policy
			t.Fatal(err)
		}
		m, err := r.Minibatches(0)
		if err != nil {
			t.Fatal(err)
		}
		b := tr.loop.NewMinibatch()
		loss := func() float64 {
			err := r.Fill(t.Context(), b, m[0])
			if err == nil {
				err = tr.policy.Velocity(t.Context(), b.Call)
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := r.Loss(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			return s.Loss
		}
		loss()
		if err := tr.policy.Backward(t.Context(), b.Call, b.DV); err != nil {
			t.Fatal(err)
		}
		grad := slices.Clone(tr.policy.grad)
		// Along the gradient itself and random directions of its length.
		rnd := rand.New(rand.NewPCG(5, 0))
		start := slices.Clone(tr.policy.net.Params())
		var norm float64
		for _, g := range grad {
			norm += float64(g) * float64(g)
		}
		norm = math.Sqrt(norm)
		for k := range 4 {
			d := make([]float64, len(grad))
			var length, want float64
			for i := range d {
				if d[i] = float64(grad[i]) / norm; k > 0 {
					d[i] += rnd.NormFloat64() / math.Sqrt(float64(len(d)))
				}
				length += d[i] * d[i]
			}
			for i := range d {
				d[i] /= math.Sqrt(length)
				want += d[i] * float64(grad[i])
			}
			got := fd.Derivative(func(h float64) float64 {
				for i := range start {
					tr.policy.net.Params()[i] = start[i] + float32(h*d[i])
				}
				return loss()
			}, 0, &fd.Settings{Formula: fd.Central, Step: 0.02})
			copy(tr.policy.net.Params(), start)
			// Losses of float32 velocities, about 1e-6 of them exact, over a step of 0.04; and
			// the central formula's own error. Seen: 1 %.
			if math.Abs(got-want) > 0.03*norm {
				t.Errorf("%s, direction %d: derivative %v, want %v of at most %v", name, k, want, got, norm)
			}
		}
	}
}

// A policy that is not the one that drew the samples does not pass.
func TestOffPolicyIsFound(t *testing.T) {
	tr := newTrainer(t, small(t))
	if err := tr.CheckOnPolicy(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := samples(t, tr)
	tr.policy.net.Params()[0] += 1e-3
	if err := tr.loop.Train(t.Context(), r, new(trainer.Iteration)); !errors.Is(err, sampler.ErrOffPolicy) {
		t.Errorf("Train: error %v", err)
	}
	model := func(ctx context.Context, c sampler.Call[[]float32]) error {
		err := tr.policy.Velocity(ctx, c)
		c.V[7] += 1e-6
		return err
	}
	if err := sampler.CheckOnPolicy(t.Context(), sampler.CPU{}, r.Sampler, r.Batch, r.Trajectory, model); err == nil {
		t.Error("CheckOnPolicy finds nothing")
	}
}

// The check changes nothing, and every first minibatch is exactly on policy.
func TestOnPolicy(t *testing.T) {
	for name, c := range map[string]Config{"small": small(t), "full": full(t)} {
		plain := run(t, c, 3)
		checked := newTrainer(t, c)
		for checked.Iteration() < 3 {
			if err := checked.CheckOnPolicy(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := checked.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		equal(t, name, plain, checked)
		for _, it := range plain.History() {
			if it.OnPolicy != 0 {
				t.Errorf("%s: ratio off by %v", name, it.OnPolicy)
			}
			if it.Updates > 1 && it.Deviation == 0 {
				t.Errorf("%s: ratios stay 1 after updates", name)
			}
		}
	}
}

// Several inner epochs move ratios beyond a narrow clip range; early stop ends them.
func TestEpochsClipStop(t *testing.T) {
	c := small(t)
	c.Epochs, c.Minibatches = 4, grpo.Minibatches{Steps: 1}
	c.Rate = 1e-3
	c.Objective = grpo.Objective{ClipLow: 1e-4, ClipHigh: 1e-4}
	it := run(t, c, 1).History()[0]
	if it.ClipFraction == 0 || it.Updates != 4*3 || it.Stopped {
		t.Errorf("clip fraction %v, updates %d of 12, stopped %v", it.ClipFraction, it.Updates, it.Stopped)
	}
	c.Stop = grpo.EarlyStop{Target: it.ApproxKL / 10}
	it = run(t, c, 1).History()[0]
	if !it.Stopped || it.Updates == 0 || it.Updates >= 12 {
		t.Errorf("updates %d of 12, stopped %v", it.Updates, it.Stopped)
	}
}

// A heavy penalty keeps the policy near the reference, in every form.
func TestPenalty(t *testing.T) {
	distance := func(c Config) float64 {
		c.Rate, c.Every, c.Minibatches = 1e-3, -1, grpo.Minibatches{Steps: 1}
		tr := run(t, c, 10)
		sum := 0.0
		x, classes, err := tr.Samples(t.Context(), sampler.FlowODE{}, 4)
		if err != nil {
			t.Fatal(err)
		}
		v, ref := make([]float32, len(x)), make([]float32, len(x))
		tr.policy.net.Forward(v, x, classes, 0.5)
		tr.policy.ref.Forward(ref, x, classes, 0.5)
		for i := range v {
			d := float64(v[i] - ref[i])
			sum += d * d / float64(len(v))
		}
		return sum
	}
	free := distance(small(t))
	for name, d := range map[string]Divergence{
		"paper's":  {Beta: 100},
		"Gaussian": {Beta: 1, Form: logprob.Form{Gaussian: true}},
		"velocity": {Beta: 1, Velocity: true},
	} {
		c := small(t)
		c.KL = d
		if kept := distance(c); !(kept < free/2) {
			t.Errorf("%s: distance from the reference %.3g, without a penalty %.3g", name, kept, free)
		}
	}
}

// Only the window is trained, and outside of it the ODE draws.
func TestWindow(t *testing.T) {
	c := small(t)
	c.Window = grpo.Sliding{Size: 1, Stride: 1, Interval: grpo.Every(1)}
	tr := run(t, c, 4)
	for i, it := range tr.History() {
		if it.Start != i%3 || it.End != i%3+1 {
			t.Errorf("iteration %d trains [%d, %d)", i, it.Start, it.End)
		}
	}
	r := samples(t, tr)
	for i := range r.Sampler.Steps() {
		if got := r.Sampler.At(i).Stochastic(); got != (i == r.Steps[0]) {
			t.Errorf("step %d: stochastic %v", i, got)
		}
	}
}

// Samples of a group share their start, and no more, if asked to.
func TestSharedStart(t *testing.T) {
	for _, shared := range []bool{false, true} {
		c := small(t)
		c.SharedStart = shared
		tr := newTrainer(t, c)
		r := samples(t, tr)
		row := func(step, i int) []float32 { return r.Trajectory.Latents[step][i*digits.Dim:][:digits.Dim] }
		if got := slices.Equal(row(0, 0), row(0, 3)); got != shared {
			t.Errorf("shared %v: one group starts alike: %v", shared, got)
		}
		if slices.Equal(row(0, 3), row(0, 4)) {
			t.Errorf("shared %v: two groups start alike", shared)
		}
		if slices.Equal(row(1, 0), row(1, 1)) {
			t.Errorf("shared %v: two samples draw the same noise", shared)
		}
	}
}

// Averaged weights are evaluated, and a reference policy follows if asked to.
func TestAverages(t *testing.T) {
	c := small(t)
	plain := run(t, c, 2)
	if !slices.Equal(plain.policy.mean.Params(), plain.policy.net.Params()) {
		t.Error("without an average, the policy is not what is evaluated")
	}
	c.Average, c.Follow = grpo.EMA{Decay: 0.5}, grpo.EMA{Decay: 0.5}
	tr := run(t, c, 2)
	start, err := digits.Velocity()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*digits.Net{tr.policy.mean, tr.policy.ref} {
		if slices.Equal(n.Params(), tr.policy.net.Params()) || slices.Equal(n.Params(), start.Params()) {
			t.Error("an average is the policy or its start")
		}
	}
	// To the bit those of grpo, at the optimiser steps 0 and 1.
	c.Minibatches = grpo.Minibatches{Rows: 12}
	one := run(t, c, 1)
	two := run(t, c, 2)
	want := start.Clone()
	for step, n := range []*Trainer{one, two} {
		if err := grpo.Average(want.Params(), n.policy.net.Params(), c.Average, step); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(two.policy.mean.Params(), want.Params()) || !slices.Equal(two.policy.ref.Params(), want.Params()) {
		t.Error("averages are not those of grpo.Average")
	}
	before, err := two.Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clear(two.policy.net.Params())
	if after, _ := two.Evaluate(t.Context()); after != before {
		t.Error("the policy is evaluated, not its average")
	}
	if !slices.Equal(plain.policy.ref.Params(), start.Params()) {
		t.Error("a reference that does not follow has moved")
	}
	if !slices.Equal(plain.policy.net.Params(), tr.policy.net.Params()) {
		t.Error("averages change the policy")
	}
}

// A run may start from any network, which stays as it is.
func TestStartNet(t *testing.T) {
	first := run(t, small(t), 2)
	c := small(t)
	c.Net = first.Net()
	before := slices.Clone(c.Net.Params())
	tr := run(t, c, 1)
	if !slices.Equal(c.Net.Params(), before) {
		t.Error("the run changed the network it was given")
	}
	if tr.history[0].Eval.Reward == first.history[0].Eval.Reward {
		t.Error("the network it was given does not count")
	}
}

func TestEvaluate(t *testing.T) {
	tr := newTrainer(t, small(t))
	a, err := tr.Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := tr.Evaluate(t.Context()); a != b {
		t.Errorf("evaluated twice: %+v and %+v", a, b)
	}
	x, classes, err := tr.Samples(t.Context(), sampler.FlowODE{}, 3)
	if err != nil {
		t.Fatal(err)
	}
	y, _, err := tr.Samples(t.Context(), sampler.FlowODE{}, 5)
	if err != nil {
		t.Fatal(err)
	}
	if classes[3] != 1 || !slices.Equal(x[:3*digits.Dim], y[:3*digits.Dim]) || !slices.Equal(x[3*digits.Dim:][:digits.Dim], y[5*digits.Dim:][:digits.Dim]) {
		t.Error("samples depend on how many there are")
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.Evaluate(done); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	sde, err := tr.EvaluateRule(t.Context(), sampler.FlowSDE{Diffusion: sampler.Ratio(0.9)})
	if err != nil {
		t.Fatal(err)
	}
	if !(sde.Residual > 1.4*a.Residual) { // seen: a factor of ten
		t.Errorf("residual noise %.4f with Flow-SDE, %.4f with the ODE", sde.Residual, a.Residual)
	}
	e, err := Measure(images(t).Pixels[:10*digits.Dim], []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	if err != nil || e.Accuracy < 0.9 || !math.IsNaN(e.Diversity) {
		t.Errorf("one image of each digit: %+v, %v", e, err)
	}
}

// The error is the standard error of the mean, over all samples.
func TestEvaluationError(t *testing.T) {
	c := small(t)
	c.Reward.Score = func(dst []float64, _ []float32, _ []int) {
		for i := range dst {
			dst[i] = float64(i)
		}
	}
	e, err := newTrainer(t, c).Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// 0 to 19: variance 20·21/12, with n-1.
	if want := math.Sqrt(35.0 / 20); math.Abs(e.Reward-9.5) > 1e-12 || math.Abs(e.Error-want) > 1e-12 {
		t.Errorf("reward %v ± %v, want 9.5 ± %v", e.Reward, e.Error, want)
	}
}

// Advantages are limited, and compared with what prompts got before if asked to.
func TestAdvantages(t *testing.T) {
	judged := func(c Config, iterations int) (*trainer.Run[[]float32], *Trainer) {
		tr := run(t, c, iterations)
		return samples(t, tr), tr
	}
	c := small(t)
	free, _ := judged(c, 0)
	c.Limit = 0.5
	limited, _ := judged(c, 0)
	for i, a := range free.Advantages {
		if want := max(-0.5, min(0.5, a)); limited.Advantages[i] != want {
			t.Errorf("advantage %v becomes %v, want %v", a, limited.Advantages[i], want)
		}
	}
	if slices.Max(free.Advantages) <= 0.5 {
		t.Error("no advantage to limit")
	}
	c = small(t)
	c.Prompts, c.History = 10, 6
	_, tr := judged(c, 1)
	for _, r := range tr.past.Records() {
		if len(r.Rewards) != 6 {
			t.Errorf("%d rewards of prompt %v are remembered, want 6 of 8", len(r.Rewards), r.Prompt)
		}
	}
	if len(tr.past.Records()) != 10 {
		t.Errorf("%d prompts are remembered", len(tr.past.Records()))
	}
	with := run(t, c, 2)
	c.History = 0
	if without := run(t, c, 2); slices.Equal(with.policy.net.Params(), without.policy.net.Params()) {
		t.Error("history does not count")
	}
}

// Digits take turns, and minibatches are shuffled anew.
func TestIterationsDiffer(t *testing.T) {
	c := Config{Prompts: 3}
	var got []int
	for it := range 4 {
		for p := range 3 {
			got = append(got, c.class(it, p))
		}
	}
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("digits %v, want %v", got, want)
	}
	tr := newTrainer(t, small(t))
	var orders [2][]grpo.Item
	for i := range orders {
		m, err := samples(t, tr).Minibatches(0)
		if err != nil {
			t.Fatal(err)
		}
		orders[i] = slices.Concat(m...)
		tr.loop.Done()
	}
	if slices.Equal(orders[0], orders[1]) {
		t.Error("two iterations have the same shuffle")
	}
}

// Every setting is part of the description by which checkpoints are told apart.
func TestConfigString(t *testing.T) {
	changes := map[string]func(c *Config){
		"Seed":        func(c *Config) { c.Seed++ },
		"Net":         func(c *Config) { c.Net, _ = digits.Velocity() },
		"Rule":        func(c *Config) { c.Rule = sampler.FlowCPS{Eta: 0.25} },
		"Steps":       func(c *Config) { c.Steps++ },
		"Shift":       func(c *Config) { c.Shift = 2 },
		"Window":      func(c *Config) { c.Window = grpo.Fixed{Start: 1, End: 2} },
		"SharedStart": func(c *Config) { c.SharedStart = true },
		"Reward":      func(c *Config) { c.Reward.Name = "another" },
		"Prompts":     func(c *Config) { c.Prompts++ },
		"Group":       func(c *Config) { c.Group++ },
		"Norm":        func(c *Config) { c.Norm = grpo.DanceGRPO },
		"History":     func(c *Config) { c.History++ },
		"Limit":       func(c *Config) { c.Limit = 1 },
		"Form":        func(c *Config) { c.Form.Gaussian = true },
		"Objective":   func(c *Config) { c.Objective.ClipLow = 1 },
		"KL":          func(c *Config) { c.KL.Velocity = true },
		"Stop":        func(c *Config) { c.Stop.Factor = 3 },
		"Rate":        func(c *Config) { c.Rate = 1 },
		"Epochs":      func(c *Config) { c.Epochs++ },
		"Minibatches": func(c *Config) { c.Minibatches.Rows = 3 },
		"Average":     func(c *Config) { c.Average.Decay = 0.5 },
		"Follow":      func(c *Config) { c.Follow.Every = 2 },
		"Every":       func(c *Config) { c.Every++ },
		"Samples":     func(c *Config) { c.Samples++ },
	}
	fields := reflect.VisibleFields(reflect.TypeFor[Config]())
	for _, f := range fields {
		c := newTrainer(t, small(t)).Config()
		before := c.String()
		if changes[f.Name] == nil {
			t.Errorf("no change for %s", f.Name)
			continue
		}
		changes[f.Name](&c)
		if c.String() == before {
			t.Errorf("%s is not part of the description", f.Name)
		}
	}
}

func TestCancel(t *testing.T) {
	tr := newTrainer(t, small(t))
	ctx, cancel := context.WithCancel(t.Context())
	err := tr.Run(ctx, 5, func(it Iteration) error {
		if it.Number == 1 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || tr.Iteration() != 2 {
		t.Errorf("error %v after %d iterations", err, tr.Iteration())
	}
	// It goes on as if nothing had happened.
	if err := tr.Run(t.Context(), 4, nil); err != nil {
		t.Fatal(err)
	}
	equal(t, "cancelled", run(t, small(t), 4), tr)
	stop := errors.New("enough")
	if err := tr.Run(t.Context(), 9, func(Iteration) error { return stop }); err != stop || tr.Iteration() != 5 {
		t.Errorf("error %v after %d iterations", err, tr.Iteration())
	}
}

func TestTiming(t *testing.T) {
	tr := run(t, full(t), 3)
	tm := tr.Timing()
	parts := tm.Sampling + tm.LogProb + tm.Gradients + tm.Network + tm.Reward + tm.Evaluation
	if tm.Iterations != 3 || parts > tm.Total || tm.Network == 0 || tm.Sampling <= 0 || tm.LogProb == 0 || tm.Gradients == 0 {
		t.Errorf("%+v", tm)
	}
	if s := tm.Share(); !(s > 0 && s < 1) {
		t.Errorf("share %v", s)
	}
	if err := tr.CheckOnPolicy(t.Context()); err != nil || tr.Timing() != tm {
		t.Errorf("a check counts as training: %+v, %v", tr.Timing(), err)
	}
	sum, one := reflect.ValueOf(tm.Add(tm)), reflect.ValueOf(tm)
	for i := range sum.NumField() {
		if sum.Field(i).Int() != 2*one.Field(i).Int() {
			t.Errorf("Add: field %d is %v, of %v", i, sum.Field(i), one.Field(i))
		}
	}
}

func TestConfigErrors(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Reward = Reward{} }, "Reward is not set"},
		{func(c *Config) { c.Rule = sampler.FlowCPS{Eta: 2} }, "FlowCPS: eta 2 is not in [0, 1]"},
		{func(c *Config) { c.Rule = sampler.FlowODE{} }, "Rule FlowODE{} draws no noise at step 0"},
		{func(c *Config) { c.Steps = 1 }, "Steps 1 is not in [2, 1000]"},
		{func(c *Config) { c.Prompts = -1 }, "Prompts -1"},
		{func(c *Config) { c.Group = 1 }, "Group 1 is not in [2, 10000]"},
		{func(c *Config) { c.Epochs = -1 }, "Epochs -1"},
		{func(c *Config) { c.Samples = 1 }, "Samples 1"},
		{func(c *Config) { c.History = -1 }, "History -1"},
		{func(c *Config) { c.Rate = nan }, "Rate NaN"},
		{func(c *Config) { c.Rate = -1 }, "Rate -1"},
		{func(c *Config) { c.Shift = nan }, "NaN"},
		{func(c *Config) { c.KL.Beta = -1 }, "KL.Beta -1"},
		{func(c *Config) { c.KL.Beta = nan }, "KL.Beta NaN"},
		{func(c *Config) { c.Limit = -1 }, "Limit -1"},
		{func(c *Config) { c.Objective.ClipLow = -1 }, "Objective.ClipLow -1"},
		{func(c *Config) { c.Norm.Eps = -1 }, "Norm.Eps -1"},
		{func(c *Config) { c.Norm, c.History = grpo.FlowGRPOBatch, 5 }, "PerBatch, which has no history"},
		{func(c *Config) { c.Window = grpo.Fixed{Start: 2, End: 9} }, "window [2, 9) of 3 steps"},
		{func(c *Config) { c.Minibatches.Rows = -1 }, "Minibatches.Rows -1"},
		{func(c *Config) { c.Stop.Target = nan }, "EarlyStop.Target NaN"},
		{func(c *Config) { c.Average.Decay = 1 }, "EMA.Decay 1"},
		{func(c *Config) { c.Follow.Every = -1 }, "EMA.Every -1"},
	} {
		config := small(t)
		c.change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

// The built-in networks determine a run, so its description has the checksums of the
// committed files.
func TestCommitted(t *testing.T) {
	sum := func(files ...string) string {
		h := sha256.New()
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join("..", "digits", f))
			if err != nil {
				t.Fatal(err)
			}
			h.Write(b)
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	text := Config{}.String()
	for _, want := range []string{"Net: stringcommitted " + sum("velocity.bin"), "Judges: string" + sum("classifier.bin", "critic.bin")} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// A reward that is not finite is an error that names the sample, in an evaluation too.
func TestRewardNotFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		c := small(t)
		score := c.Reward.Score
		c.Reward.Score = func(dst []float64, x []float32, classes []int) {
			score(dst, x, classes)
			dst[3] = bad
		}
		tr, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Evaluate(t.Context()); !errors.Is(err, grpo.ErrNotFinite) || !strings.Contains(err.Error(), "sample 3") {
			t.Errorf("reward %v: %v", bad, err)
		}
	}
}

// reversed is a policy whose Backward has a factor.
type reversed struct {
	*policy
	factor float32
}

func (r reversed) Backward(ctx context.Context, c sampler.Call[[]float32], dv []float32) error {
	dv = slices.Clone(dv)
	for i := range dv {
		dv[i] *= r.factor
	}
	return r.policy.Backward(ctx, c, dv)
}

// The gradient of the network is that by differences, and one with another sign or factor
// is found. The network is then as before.
func TestCheckBackward(t *testing.T) {
	for name, c := range map[string]Config{"small": small(t), "full": full(t)} {
		tr := newTrainer(t, c)
		before := slices.Clone(tr.policy.net.Params())
		if err := tr.CheckBackward(t.Context()); err != nil || tr.Timing() != (Timing{}) {
			t.Errorf("%s: %v, %+v", name, err, tr.Timing())
		}
		if !slices.Equal(tr.policy.net.Params(), before) || slices.ContainsFunc(tr.policy.grad, func(g float32) bool { return g != 0 }) {
			t.Errorf("%s: the check changes the network or leaves a gradient", name)
		}
		for factor, want := range map[float32]string{-1: "the sign is wrong", 0.5: "about 1/2", 0: "adds nothing"} {
			loop, err := trainer.New(sampler.CPU{}, trainer.Policy[[]float32](reversed{tr.policy, factor}), tr.loop.Config())
			if err != nil {
				t.Fatal(err)
			}
			if err := loop.CheckBackward(t.Context()); !errors.Is(err, trainer.ErrBackward) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, factor %v: %v", name, factor, err)
			}
		}
	}
}
