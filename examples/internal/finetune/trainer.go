package finetune

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cps/examples/internal/digits"
	"cps/grpo"
	"cps/logprob"
	"cps/noise"
	"cps/sampler"
)

// A Trainer fine-tunes a network. It serves one goroutine at a time; several trainers
// may run at once.
type Trainer struct {
	config Config

	net  *digits.Net // the policy
	mean *digits.Net // what is evaluated
	ref  *digits.Net // what the divergence is from
	adam *digits.Adam
	past *grpo.Tracker[int]

	iteration int
	history   []Iteration
	timing    Timing

	rollout, pass, reference *digits.Pass
	grad                     []float32
	batch                    minibatch
}

// An Iteration is what is known of one iteration. The policy is the one it starts with.
type Iteration struct {
	Number     int
	Start, End int // the steps that were trained

	Reward  float64 // mean, of samples drawn with the rule
	Std     float64 // of these rewards
	ZeroStd float64 // fraction of groups whose rewards are all equal

	OnPolicy     float64 // greatest |ratio - 1| of the first minibatch: 0
	Loss         float64 // mean over minibatches, as the following
	KL           float64 // from the reference policy, in the form of Config.KL; 0 if Beta is
	ApproxKL     float64 // from the policy that drew the samples
	ClipFraction float64
	Deviation    float64 // greatest |ratio - 1| of all minibatches
	Updates      int     // steps of the optimiser
	Stopped      bool    // early, by Config.Stop

	Eval *Evaluation `json:",omitempty"` // before the first update, at every Config.Every-th iteration
}

// New returns a trainer that has done nothing yet. It reports bad settings.
func New(c Config) (*Trainer, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	var net *digits.Net
	if c.Net != nil {
		c.Net = c.Net.Clone() // which nobody changes
		net = c.Net.Clone()
	} else if net, err = digits.Velocity(); err != nil {
		return nil, err
	}
	t := &Trainer{
		config: c,
		net:    net, mean: net.Clone(), ref: net.Clone(),
		adam: digits.NewAdam(len(net.Params())),
		past: c.tracker(),
		grad: make([]float32, len(net.Params())),
	}
	t.rollout = digits.NewPass(t.net, c.rows())
	return t, nil
}

// Config returns the configuration, with defaults.
func (t *Trainer) Config() Config { return t.config }

// Iteration returns the number of iterations done.
func (t *Trainer) Iteration() int { return t.iteration }

// History returns what is known of the iterations done, not a copy.
func (t *Trainer) History() []Iteration { return t.history }

// Net returns the network that is evaluated: the policy, or its average if there is to
// be one. It is the trainer's own.
func (t *Trainer) Net() *digits.Net { return t.mean }

// Run does iterations until there are as many as until, and calls observe, unless nil,
// after each. It stops between iterations when ctx is done, with its error, and at the
// first error of observe.
func (t *Trainer) Run(ctx context.Context, until int, observe func(Iteration) error) error {
	for t.iteration < until {
		it, err := t.Step(ctx)
		if err != nil {
			return err
		}
		if observe != nil {
			if err := observe(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// Step does one iteration. When ctx is done before the first update, it stops with its
// error and t is as it was; updates are not interrupted. After another error t must not
// be used any more.
func (t *Trainer) Step(ctx context.Context) (Iteration, error) {
	began := time.Now()
	it, err := t.step(ctx)
	if err != nil {
		return it, fmt.Errorf("finetune: iteration %d: %w", t.iteration, err)
	}
	t.iteration++
	t.history = append(t.history, it)
	t.timing.Iterations++
	t.timing.Total += time.Since(began)
	return it, nil
}

func (t *Trainer) step(ctx context.Context) (it Iteration, err error) {
	it.Number = t.iteration
	if every := t.config.Every; every > 0 && t.iteration%every == 0 {
		began := time.Now()
		e, err := t.Evaluate(ctx)
		if err != nil {
			return it, err
		}
		it.Eval = &e
		t.timing.Evaluation += time.Since(began)
	}
	r, err := t.draw(ctx)
	if err != nil {
		return it, err
	}
	it.Start, it.End = r.start, r.end
	if err := t.judge(r, &it); err != nil {
		return it, err
	}
	return it, t.improve(ctx, r, &it)
}

// A rollout is the samples of an iteration.
type rollout struct {
	sampler    *sampler.Sampler
	start, end int // trained steps
	key        noise.Key
	batch      sampler.Batch
	run        *sampler.Trajectory[[]float32]
	classes    []int
	model      sampler.Model[[]float32]
	old        [][]float64 // log p of trained step and row
	adv        []float64
	reference  [][]float32 // velocities of the reference policy by trained step, once needed
}

// draw draws the samples of an iteration.
func (t *Trainer) draw(ctx context.Context) (*rollout, error) {
	c := t.config
	r := &rollout{key: noise.Key(c.Seed).Derive(uint64(t.iteration) + 1)}
	var err error
	if r.start, r.end, err = c.window(t.iteration); err != nil {
		return nil, err
	}
	if r.sampler, err = c.sampler(c.stochastic(r.start, r.end)); err != nil {
		return nil, err
	}
	samples := make([]uint64, c.rows())
	for i := range samples {
		samples[i] = uint64(i)
		r.classes = append(r.classes, c.class(t.iteration, i/c.Group))
	}
	r.batch = r.sampler.Batch(digits.Dim, r.key, samples...)
	r.run = sampler.NewTrajectory(r.batch, c.Steps, sampler.Window{Start: r.start, End: r.end})
	r.model = t.model(t.rollout, r.classes, &t.timing.Network)

	began, network := time.Now(), t.timing.Network
	cpu := sampler.CPU{}
	cpu.Step(r.run.Latents[0], nil, nil, t.starts(r), nil)
	if err := sampler.Rollout(ctx, cpu, r.sampler, r.batch, r.run, r.model); err != nil {
		return nil, err
	}
	t.timing.Sampling += time.Since(began) - (t.timing.Network - network)
	return r, nil
}

// starts is the batch of the initial latents.
func (t *Trainer) starts(r *rollout) sampler.Batch {
	b := r.batch
	b.Rows = slices.Clone(b.Rows)
	for i := range b.Rows {
		if t.config.SharedStart {
			b.Rows[i] = sampler.InitialRow(uint64(i / t.config.Group))
		}
	}
	return b
}

// model is the velocity of pass's network, which adds the time it takes to spent.
func (t *Trainer) model(pass *digits.Pass, classes []int, spent *time.Duration) sampler.Model[[]float32] {
	var of []int
	return func(_ context.Context, c sampler.Call[[]float32]) error {
		began := time.Now()
		of = of[:0]
		for _, row := range c.Rows {
			of = append(of, classes[row])
		}
		pass.Forward(c.V, c.X, of, c.Times)
		*spent += time.Since(began)
		return nil
	}
}

// judge turns the samples of r into advantages.
func (t *Trainer) judge(r *rollout, it *Iteration) error {
	c := t.config
	began := time.Now()
	rewards := make([]float64, c.rows())
	c.Reward.Score(rewards, r.run.Latents[c.Steps], r.classes)
	t.timing.Reward += time.Since(began)

	defer t.timing.since(&t.timing.Gradients, time.Now())
	groups, err := grpo.BySize(len(rewards), c.Group)
	if err != nil {
		return err
	}
	spread, err := grpo.MeasureSpread(rewards, groups)
	if err != nil {
		return err
	}
	it.ZeroStd = spread.ZeroStd
	it.Reward, it.Std = meanStd(rewards)
	if c.History > 0 {
		r.adv, err = t.past.Advantages(rewards, rewards, r.classes)
	} else {
		r.adv, err = c.Norm.Advantages(rewards, rewards, groups)
	}
	if err != nil {
		return err
	}
	_, err = grpo.Clamp(r.adv, r.adv, c.Limit)
	return err
}

// improve updates the policy.
func (t *Trainer) improve(ctx context.Context, r *rollout, it *Iteration) error {
	c := t.config
	began := time.Now()
	for i := r.start; i < r.end; i++ {
		r.sampler.SetStep(r.batch, i)
		old, err := c.Form.LogProb(make([]float64, c.rows()), r.batch, r.run.SumSquares[i])
		if err != nil {
			return err
		}
		r.old = append(r.old, old)
	}
	t.timing.since(&t.timing.LogProb, began)
	if c.KL.Beta > 0 {
		if err := t.refer(ctx, r); err != nil {
			return err
		}
	}
	n := 0
	for epoch := range c.Epochs {
		minibatches, err := r.minibatches(c, epoch)
		if err != nil {
			return err
		}
		for _, m := range minibatches {
			s, err := t.loss(r, m)
			if err != nil {
				return err
			}
			if n == 0 {
				if it.OnPolicy = s.Deviation; s.Deviation != 0 {
					return fmt.Errorf("a ratio on policy is off by %v: %w", s.Deviation, sampler.ErrOffPolicy)
				}
			}
			n++
			it.Loss += s.Loss
			it.KL += s.KL
			it.ApproxKL += s.ApproxKL
			it.ClipFraction += s.ClipFraction
			it.Deviation = max(it.Deviation, s.Deviation)
			if it.Stopped, err = c.Stop.Reached(s); err != nil {
				return err
			}
			if it.Stopped {
				break
			}
			if err := t.update(); err != nil {
				return err
			}
			it.Updates++
		}
		if it.Stopped {
			break
		}
	}
	for _, p := range []*float64{&it.Loss, &it.KL, &it.ApproxKL, &it.ClipFraction} {
		*p /= float64(n)
	}
	return nil
}

// minibatches returns those of an inner epoch.
func (r *rollout) minibatches(c Config, epoch int) ([][]grpo.Item, error) {
	cut := c.Minibatches
	cut.Key = uint64(r.key.Derive(0)) // new for every iteration
	return cut.Epoch(epoch, c.rows(), steps(r.start, r.end))
}

// steps lists those of a window.
func steps(start, end int) (list []int) {
	for i := start; i < end; i++ {
		list = append(list, i)
	}
	return list
}

// refer computes the velocities of the reference policy, which does not change within
// an iteration.
func (t *Trainer) refer(ctx context.Context, r *rollout) error {
	if t.reference == nil {
		t.reference = digits.NewPass(t.ref, t.config.rows())
	}
	model := t.model(t.reference, r.classes, &t.timing.Network)
	for i := r.start; i < r.end; i++ {
		c := sampler.Call[[]float32]{Dim: digits.Dim, V: make([]float32, r.batch.Len()), X: r.run.Latents[i]}
		for row := range r.batch.Rows {
			c.Rows, c.Times = append(c.Rows, row), append(c.Times, r.sampler.Time(i))
		}
		if err := model(ctx, c); err != nil {
			return err
		}
		r.reference = append(r.reference, c.V)
	}
	return nil
}

// A minibatch is the memory of one.
type minibatch struct {
	sampler.Batch
	classes             []int
	times               []float64
	x, next, v, dv, ref []float32
	sq, old, adv, logp  []float64
	grad, scale, kl     []float64
}

// loss computes the loss of a minibatch and leaves its derivative in the network's
// pass.
func (t *Trainer) loss(r *rollout, transitions []grpo.Item) (grpo.Stats, error) {
	b := &t.batch
	b.fill(r, transitions)
	if t.pass == nil || len(transitions) > t.pass.Rows() {
		t.pass = digits.NewPass(t.net, len(transitions))
	}
	began := time.Now()
	t.pass.Forward(b.v, b.x, b.classes, b.times)
	began = t.timing.since(&t.timing.Network, began)

	cpu := sampler.CPU{}
	cpu.SumSquares(b.sq, b.next, b.x, b.v, b.Batch)
	if _, err := t.config.Form.LogProb(b.logp, b.Batch, b.sq); err != nil {
		return grpo.Stats{}, err
	}
	began = t.timing.since(&t.timing.LogProb, began)

	s, err := t.config.Objective.Loss(b.grad, b.logp, b.old, b.adv)
	if err != nil {
		return s, err
	}
	if _, err := t.config.Form.GradScale(b.scale, b.Batch, b.grad); err != nil {
		return s, err
	}
	clear(b.dv)
	cpu.Grad(b.dv, b.next, b.x, b.v, b.Batch, b.scale)
	if t.config.KL.Beta > 0 {
		if err := t.config.KL.add(b, &s); err != nil {
			return s, err
		}
	}
	t.timing.since(&t.timing.Gradients, began)
	return s, nil
}

// add adds the penalty to s, and its gradient to b.dv.
func (d Divergence) add(b *minibatch, s *grpo.Stats) error {
	measure, scale := logprob.Form.KL, logprob.Form.GradScaleKL
	if d.Velocity {
		measure, scale = logprob.Form.VelocityKL, logprob.Form.GradScaleVelocityKL
	}
	distance := b.WithAffine(sampler.Affine{V: 1})
	cpu := sampler.CPU{}
	cpu.SumSquares(b.kl, b.ref, nil, b.v, distance)
	if _, err := measure(d.Form, b.kl, b.Batch, b.kl); err != nil {
		return err
	}
	weight, err := s.Penalize(d.Beta, b.kl)
	if err != nil {
		return err
	}
	if _, err := scale(d.Form, b.scale, b.Batch, weight); err != nil {
		return err
	}
	cpu.Grad(b.dv, b.ref, nil, b.v, distance, b.scale)
	return nil
}

// update takes a step of the optimiser against the gradient of the last loss.
func (t *Trainer) update() error {
	defer t.timing.since(&t.timing.Network, time.Now())
	_, _, step := t.adam.State()
	t.pass.Backward(t.grad, t.batch.dv)
	t.adam.Step(t.net.Params(), t.grad, t.config.Rate)
	if err := grpo.Average(t.mean.Params(), t.net.Params(), t.config.Average, step); err != nil {
		return err
	}
	if t.config.Follow == (grpo.EMA{}) {
		return nil
	}
	return grpo.Average(t.ref.Params(), t.net.Params(), t.config.Follow, step)
}

// fill gathers transitions of r. Rows of the result may stand at different steps.
func (b *minibatch) fill(r *rollout, transitions []grpo.Item) {
	n := len(transitions)
	b.Batch = sampler.Batch{Dim: digits.Dim, Key: r.batch.Key, Storage: r.batch.Storage, Rows: grow(b.Rows, n)}
	b.classes, b.times = grow(b.classes, n), grow(b.times, n)
	for _, p := range []*[]float32{&b.x, &b.next, &b.v, &b.dv, &b.ref} {
		*p = grow(*p, n*digits.Dim)
	}
	for _, p := range []*[]float64{&b.sq, &b.old, &b.adv, &b.logp, &b.grad, &b.scale, &b.kl} {
		*p = grow(*p, n)
	}
	for k, tr := range transitions {
		from, to := tr.Row*digits.Dim, k*digits.Dim
		b.Rows[k] = r.sampler.Row(r.batch.Rows[tr.Row].Sample, tr.Step)
		b.classes[k] = r.classes[tr.Row]
		b.times[k] = r.sampler.Time(tr.Step)
		b.old[k] = r.old[tr.Step-r.start][tr.Row]
		b.adv[k] = r.adv[tr.Row]
		copy(b.x[to:][:digits.Dim], r.run.Latents[tr.Step][from:])
		copy(b.next[to:][:digits.Dim], r.run.Latents[tr.Step+1][from:])
		if r.reference != nil {
			copy(b.ref[to:][:digits.Dim], r.reference[tr.Step-r.start][from:])
		}
	}
}

// grow returns s with n elements of any value.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// CheckOnPolicy draws the samples of the next iteration and replays them: with every
// stored sum of squares to the bit (sampler.CheckOnPolicy), every ratio is exactly 1.
// It changes nothing. Every iteration checks its first minibatch besides.
func (t *Trainer) CheckOnPolicy(ctx context.Context) error {
	timing := t.timing
	defer func() { t.timing = timing }()
	r, err := t.draw(ctx)
	if err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if err := sampler.CheckOnPolicy(ctx, sampler.CPU{}, r.sampler, r.batch, r.run, r.model); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}
