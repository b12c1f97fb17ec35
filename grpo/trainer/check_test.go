package trainer

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cps/grpo"
	"cps/sampler"
	"cps/schedule"
)

// mistaken is plain with a changed output.
type mistaken struct {
	*plain
	spoil func(c sampler.Call[[]float32]) error
}

func (m mistaken) Velocity(ctx context.Context, c sampler.Call[[]float32]) error {
	if err := m.plain.Velocity(ctx, c); err != nil {
		return err
	}
	return m.spoil(c)
}

// Mistakes of a trainer's user, and the errors that name them.
func TestMistakes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, m := range map[string]struct {
		spoil func(c sampler.Call[[]float32]) error
		kind  error
		want  string
	}{
		"dropout": {func(c sampler.Call[[]float32]) error {
			for i := range c.V {
				if rnd.IntN(10) == 0 {
					c.V[i] = 0
				}
			}
			return nil
		}, sampler.ErrOffPolicy, "the model draws random numbers or keeps a state (dropout"},
		"dropout in small batches": {func(c sampler.Call[[]float32]) error {
			if len(c.Rows) < 3*group {
				c.V[0] += rnd.Float32()
			}
			return nil
		}, sampler.ErrOffPolicy, "a second evaluation gives another sum: the model draws random numbers or keeps a state (dropout"},
		"batch normalisation": {func(c sampler.Call[[]float32]) error {
			var mean float32
			for _, v := range c.V {
				mean += v / float32(len(c.V))
			}
			for i := range c.V {
				c.V[i] -= .1 * mean
			}
			return nil
		}, sampler.ErrOffPolicy, "in a minibatch of 6 rows the sum of squares is"},
		"a matrix product by size": {func(c sampler.Call[[]float32]) error {
			for i := range c.V {
				if len(c.Rows) < 8 {
					c.V[i] *= 1 + 0x1p-20
				}
			}
			return nil
		}, sampler.ErrOffPolicy, "depends on its batch (batch normalisation, a matrix product chosen by size)"},
		"conditions by place": {func(c sampler.Call[[]float32]) error {
			for i := range c.V {
				c.V[i] += float32(i/dim/group) / 8
			}
			return nil
		}, sampler.ErrOffPolicy, "or on the order of Call.Rows"},
		"one time for all rows": {func(c sampler.Call[[]float32]) error {
			for i := range c.V {
				c.V[i] += float32(c.Times[0])
			}
			return nil
		}, sampler.ErrOffPolicy, "or the model takes one time for all rows"},
		"one time, checked": {func(c sampler.Call[[]float32]) error {
			return sampler.OneTime(func(v, x []float32, time float64) error { return nil })(context.Background(), c)
		}, sampler.ErrCall, "times"},
		"input changed": {func(c sampler.Call[[]float32]) error { c.X[0] = 3; return nil }, sampler.ErrOffPolicy, "or changes its input"},
		"NaN": {func(c sampler.Call[[]float32]) error { c.V[2*dim] = float32(math.NaN()); return nil }, nil,
			"step 0, row 2 (sample 2): NaN or infinity: the model's output there"},
	} {
		c := small()
		c.Minibatches.Rows = 3
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](mistaken{newPlain(), m.spoil}), c)
		err := tr.CheckOnPolicy(t.Context())
		if err == nil || m.kind != nil && !errors.Is(err, m.kind) || !strings.Contains(err.Error(), m.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, m.want)
		}
		if _, err := tr.Step(t.Context()); err == nil && name != "conditions by place" {
			t.Errorf("%s: an iteration finds nothing", name)
		}
	}
	tr := newTrainer(t, sampler.CPU{}, newPlain(), small())
	if err := tr.CheckOnPolicy(t.Context()); err != nil || tr.Iteration() != 0 {
		t.Errorf("no mistake: %v", err)
	}
}

// A policy that did not draw the samples is an error before the first update, unless
// Tolerance allows its ratios.
func TestOffPolicy(t *testing.T) {
	train := func(tolerance float64) (Iteration, error) {
		c := small()
		c.Tolerance = tolerance
		p := newPlain()
		tr := newTrainer(t, sampler.CPU{}, p, c)
		r := drawn(t, tr)
		p.p[0] += 1e-4
		var it Iteration
		return it, tr.Train(t.Context(), r, &it)
	}
	_, err := train(0)
	if !errors.Is(err, sampler.ErrOffPolicy) || !strings.Contains(err.Error(), "CheckOnPolicy says why") {
		t.Errorf("error %v", err)
	}
	if _, err := train(1e-9); !errors.Is(err, sampler.ErrOffPolicy) || !strings.Contains(err.Error(), "Tolerance is 1e-09") {
		t.Errorf("error %v", err)
	}
	if it, err := train(1e-2); err != nil {
		t.Errorf("%+v, %v", it, err)
	}
}

// A Reward that stores nothing, or that changes the samples, is an error that says so. Equal
// rewards are none, and train nothing.
func TestReward(t *testing.T) {
	for name, tc := range map[string]struct {
		reward func(ctx context.Context, dst []float64, x []float32, prompts []int) error
		kind   error
		want   string
	}{
		"stores nothing": {func(context.Context, []float64, []float32, []int) error { return nil },
			grpo.ErrNotFinite, "reward of sample 0 is NaN: not a finite number: did Reward write it?"},
		"stores too few": {func(_ context.Context, dst []float64, _ []float32, _ []int) error { clear(dst[1:]); return nil },
			grpo.ErrNotFinite, "reward of sample 0 is NaN: not a finite number: did Reward write it?"},
		"infinite": {func(_ context.Context, dst []float64, _ []float32, _ []int) error {
			clear(dst)
			dst[1] = math.Inf(1)
			return nil
		}, grpo.ErrNotFinite, "reward of sample 1 is +Inf: not a finite number"},
		"changes samples": {func(ctx context.Context, dst []float64, x []float32, prompts []int) error {
			clear(x[2*dim:])
			return reward(ctx, dst, x, prompts)
		}, sampler.ErrOffPolicy, "CheckOnPolicy says why, or Reward changed the samples"},
	} {
		c, p := small(), newPlain()
		c.Sampling.Rule, c.LastStep = sampler.FlowSDE{Diffusion: sampler.Constant(.7)}, true
		c.Reward = tc.reward
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
		if err := tr.CheckOnPolicy(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tr.Step(t.Context()); !errors.Is(err, tc.kind) || !strings.HasSuffix(strings.TrimSuffix(err.Error(), ": "+sampler.ErrOffPolicy.Error()), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	c, p := small(), newPlain()
	c.Reward = func(_ context.Context, dst []float64, _ []float32, _ []int) error { clear(dst); return nil }
	it, err := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c).Step(t.Context())
	if err != nil || it.ZeroStd != 1 || p.p != start {
		t.Errorf("equal rewards: %+v, %v, parameters %v", it, err, p.p)
	}
}

// Samples, minibatches and their order are new in every iteration, and the check of one
// changes nothing.
func TestIterationsDiffer(t *testing.T) {
	plain, checked := newFull(), newFull()
	a := newTrainer(t, sampler.CPU{}, Policy[[]float32](plain), everything())
	b := newTrainer(t, sampler.CPU{}, Policy[[]float32](checked), everything())
	var first []float32
	var order []grpo.Item
	for range 3 {
		if err := b.CheckOnPolicy(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := b.Draw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		x := slices.Clone(r.Trajectory.Latents[1])
		items, err := r.Minibatches(0)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(first, x) || slices.Equal(order, slices.Concat(items...)) {
			t.Error("two iterations have the same samples or the same shuffle")
		}
		first, order = x, slices.Concat(items...)
		for _, tr := range []*Trainer[[]float32]{a, b} {
			if _, err := tr.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if plain.p != checked.p {
		t.Errorf("checks change the policy: %v, want %v", checked.p, plain.p)
	}
}

// handle is a buffer of far. Only the device can read it.
type handle struct{ id, lo, hi int }

// far is a device whose memory is out of reach, as a GPU's. It runs calls at Sync.
type far struct {
	cpu     sampler.CPU
	buffers map[int][]float32
	made    int
	queue   *[]func()
}

func newFar() *far { return &far{buffers: map[int][]float32{}, queue: new([]func())} }

func (f *far) of(h handle) []float32 {
	if h.id == 0 {
		return nil
	}
	return f.buffers[h.id][h.lo:h.hi]
}

func (f *far) later(b sampler.Batch, do func(b sampler.Batch)) {
	b.Rows = slices.Clone(b.Rows)
	*f.queue = append(*f.queue, func() { do(b) })
}

func (f *far) Step(dst, x, v handle, b sampler.Batch, sq []float64) {
	f.later(b, func(b sampler.Batch) { f.cpu.Step(f.of(dst), f.of(x), f.of(v), b, sq) })
}

func (f *far) SumSquares(sq []float64, next, x, v handle, b sampler.Batch) {
	f.later(b, func(b sampler.Batch) { f.cpu.SumSquares(sq, f.of(next), f.of(x), f.of(v), b) })
}

func (f *far) Grad(dst, next, x, v handle, b sampler.Batch, scale []float64) {
	scale = slices.Clone(scale)
	f.later(b, func(b sampler.Batch) { f.cpu.Grad(f.of(dst), f.of(next), f.of(x), f.of(v), b, scale) })
}

func (f *far) Sync() error {
	for _, do := range *f.queue {
		do()
	}
	*f.queue = nil
	return nil
}

func (f *far) Make(n int, _ sampler.Storage) (handle, error) {
	f.made++
	f.buffers[f.made] = make([]float32, n)
	for i := range f.buffers[f.made] {
		f.buffers[f.made][i] = float32(math.NaN()) // undefined
	}
	return handle{f.made, 0, n}, nil
}

func (f *far) Like(_ handle, n int) (handle, error) { return f.Make(n, sampler.Float32) }

func (f *far) Free(h handle) error {
	f.Sync()
	if f.buffers[h.id] == nil || h.lo != 0 || h.hi != len(f.buffers[h.id]) {
		return errors.New("freed twice, or a part")
	}
	delete(f.buffers, h.id)
	return nil
}

func (f *far) Slice(h handle, lo, hi int) handle { return handle{h.id, h.lo + lo, h.lo + hi} }

// distant is full on far, whose framework waits for the device and reads its memory.
type distant struct {
	*full
	f *far
}

func (d distant) call(c sampler.Call[handle]) sampler.Call[[]float32] {
	d.f.Sync()
	return sampler.Call[[]float32]{Dim: c.Dim, V: d.f.of(c.V), X: d.f.of(c.X), Rows: c.Rows, Times: c.Times}
}

func (d distant) Velocity(ctx context.Context, c sampler.Call[handle]) error {
	return d.full.Velocity(ctx, d.call(c))
}

func (d distant) Reference(ctx context.Context, c sampler.Call[handle]) error {
	return d.full.Reference(ctx, d.call(c))
}

func (d distant) Backward(ctx context.Context, c sampler.Call[handle], dv handle) error {
	return d.full.Backward(ctx, d.call(c), d.f.of(dv))
}

// On a device that queues calls and keeps its memory to itself training has the bits of the
// CPU, and everything is freed.
func TestFar(t *testing.T) {
	for name, change := range map[string]func() Config[[]float32]{
		"everything": everything,
		"guard, padded": func() Config[[]float32] {
			c := everything()
			c.Objective, c.Shape = Guard{PerStep: true}, Shape{Rows: 5, Fixed: true}
			return c
		},
		"looks back": func() Config[[]float32] {
			c := everything()
			c.Sampling, c.Objective = looking(lookers["both"]).Sampling, DPPO{MaxKL: .5}
			c.Window, c.Minibatches = grpo.Sliding{Size: 3, Stride: 1, Interval: grpo.Every(2)}, grpo.Minibatches{Rows: 8, Steps: 2}
			return c
		},
		"looks back, padded": func() Config[[]float32] {
			c := everything()
			c.Sampling, c.Window = looking(lookers["3M SDE"]).Sampling, nil
			c.Sampling.Storage, c.Objective, c.Shape = sampler.Float16, Guard{}, Shape{Rows: 5, Fixed: true}
			c.Stop = grpo.EarlyStop{} // which keeps all micro-batches, and shuffles change their number
			return c
		},
	} {
		near := newFull()
		if err := newTrainer(t, sampler.CPU{}, Policy[[]float32](near), change()).Run(t.Context(), 4, nil); err != nil {
			t.Fatal(err)
		}
		f, p := newFar(), newFull()
		c := change()
		d := Config[handle]{
			Key: c.Key, Sampling: c.Sampling, Window: c.Window, Dim: c.Dim, SharedStart: c.SharedStart, Prompts: c.Prompts, Group: c.Group,
			Tracker: c.Tracker, Limit: c.Limit, Form: c.Form, Objective: c.Objective, KL: c.KL, Stop: c.Stop, Epochs: c.Epochs,
			Minibatches: c.Minibatches, Guidance: c.Guidance, Shape: c.Shape, Average: c.Average, Follow: c.Follow,
			Reward: func(ctx context.Context, dst []float64, x handle, prompts []int) error {
				f.Sync()
				return c.Reward(ctx, dst, f.of(x), prompts)
			},
		}
		tr, err := New(f, Policy[handle](distant{p, f}), d)
		if err != nil {
			t.Fatal(err)
		}
		made := 0
		for range 4 {
			if err := tr.CheckOnPolicy(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			if made > 0 && len(f.buffers) != made {
				t.Errorf("%s: %d buffers, and %d before", name, len(f.buffers), made)
			}
			made = len(f.buffers)
		}
		if p.p != near.p || p.mean != near.mean || p.ref != near.ref {
			t.Errorf("%s: %v, want %v", name, p.p, near.p)
		}
		if err := tr.Close(); err != nil || len(f.buffers) != 0 {
			t.Errorf("%s: Close: %v, %d buffers are left", name, err, len(f.buffers))
		}
	}
}

// words is plain in bfloat16.
type words struct{ *plain }

func (w words) call(c sampler.Call[[]uint16]) sampler.Call[[]float32] {
	f := sampler.Call[[]float32]{Dim: c.Dim, V: make([]float32, len(c.V)), X: make([]float32, len(c.X)), Rows: c.Rows, Times: c.Times}
	sampler.BFloat16.Unpack(f.X, c.X)
	return f
}

func (w words) Velocity(ctx context.Context, c sampler.Call[[]uint16]) error {
	f := w.call(c)
	defer func() { sampler.BFloat16.Pack(c.V, f.V) }()
	return w.plain.Velocity(ctx, f)
}

func (w words) Backward(ctx context.Context, c sampler.Call[[]uint16], dv []uint16) error {
	d := make([]float32, len(dv))
	sampler.BFloat16.Unpack(d, dv)
	return w.plain.Backward(ctx, w.call(c), d)
}

// Training works with words of 16 bits.
func TestWords(t *testing.T) {
	for _, rule := range []sampler.Rule{sampler.FlowCPS{Eta: .8}, lookers["2M SDE"]} {
		wordsTrain(t, rule)
	}
}

func wordsTrain(t *testing.T, rule sampler.Rule) {
	p := newPlain()
	c := Config[[]uint16]{
		Sampling: sampler.Config{Scheduler: schedule.Linear(5), Rule: rule, Storage: sampler.BFloat16},
		Dim:      dim, Prompts: 3, Group: group, Output: sampler.BFloat16, Gradient: sampler.BFloat16,
		Reward: func(ctx context.Context, dst []float64, x []uint16, prompts []int) error {
			f := make([]float32, len(x))
			sampler.BFloat16.Unpack(f, x)
			return reward(ctx, dst, f, prompts)
		},
	}
	tr := newTrainer(t, sampler.CPU16{Type: sampler.BFloat16}, Policy[[]uint16](words{p}), c)
	if err := tr.CheckOnPolicy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if it, err := tr.Step(t.Context()); err != nil || it.OnPolicy != 0 || p.p == start {
		t.Errorf("%T: %+v, %v", rule, it, err)
	}
}

// What a policy reads is reported, in Calls of any shape, and nothing is changed.
func TestInputs(t *testing.T) {
	for name, tc := range map[string]struct {
		p      [4]float64 // x, time, condition, x³
		change func(*Config[[]float32])
		want   sampler.Inputs
	}{
		"all":           {start, func(*Config[[]float32]) {}, sampler.Inputs{Latents: true, Time: true, Row: true}},
		"all, shaped":   {start, func(c *Config[[]float32]) { c.Shape = Shape{Rows: 5, Fixed: true} }, sampler.Inputs{Latents: true, Time: true, Row: true}},
		"all, guided":   {start, func(c *Config[[]float32]) { c.Guidance.Scale = 2 }, sampler.Inputs{Latents: true, Time: true, Row: true, Condition: true}},
		"no latents":    {[4]float64{0, .1, .2, 0}, func(*Config[[]float32]) {}, sampler.Inputs{Time: true, Row: true}},
		"no time":       {[4]float64{.5, 0, .2, 0}, func(*Config[[]float32]) {}, sampler.Inputs{Latents: true, Row: true}},
		"no condition":  {[4]float64{.5, .1, 0, 0}, func(c *Config[[]float32]) { c.Guidance.Scale = 2 }, sampler.Inputs{Latents: true, Time: true}},
		"one condition": {start, func(c *Config[[]float32]) { c.Prompts = 1 }, sampler.Inputs{Latents: true, Time: true}},
	} {
		p, c := newPlain(), small()
		p.p = tc.p
		tc.change(&c)
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
		got, err := tr.Inputs(t.Context())
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, want %+v, %v", name, got, tc.want, err)
		}
		if p.p != tc.p || tr.Iteration() != 0 || tr.Timing() != (Timing{}) {
			t.Errorf("%s: something changed", name)
		}
	}
	tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](mistaken{newPlain(), func(c sampler.Call[[]float32]) error {
		if slices.Contains(c.Rows, ^0) {
			return errRefused
		}
		return nil
	}}), func() Config[[]float32] { c := small(); c.Guidance.Scale = 2; c.Guidance.High = 1e-9; return c }())
	if _, err := tr.Inputs(t.Context()); !errors.Is(err, errRefused) {
		t.Errorf("a policy that refuses rows without their condition: %v", err)
	}
	// On a device all memory is given back.
	f := newFar()
	c := small()
	far, err := New(f, Policy[handle](distant{newFull(), f}), Config[handle]{Sampling: c.Sampling, Dim: c.Dim, Prompts: 3, Group: group, Shape: Shape{Rows: 5, Fixed: true},
		Reward: func(context.Context, []float64, handle, []int) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if in, err := far.Inputs(t.Context()); err != nil || in != (sampler.Inputs{Latents: true, Time: true, Row: true}) {
		t.Errorf("%+v, %v", in, err)
	}
	if err := far.Close(); err != nil || len(f.buffers) != 0 {
		t.Errorf("Close: %v, %d buffers are left", err, len(f.buffers))
	}
}
