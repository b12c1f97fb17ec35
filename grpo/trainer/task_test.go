package trainer_test

import (
	"context"
	"strings"
	"testing"

	"cps/grpo"
	"cps/grpo/trainer"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// matching is a task of the forward process: the flow-matching loss of clean images, at
// times and with noise that a key draws.
type matching struct {
	clean []float32 // row-major [10, 64]
	key   noise.Key
	one   sampler.Batch
	x0    []float32 // of the items
}

func (m *matching) Minibatches(epoch int) ([][]grpo.Item, error) {
	return grpo.Minibatches{Rows: 4, Key: uint64(m.key)}.Epoch(epoch, 10, []int{0, 1, 2})
}

// Fill makes x = (1-t)·x0 + t·ε.
func (m *matching) Fill(_ context.Context, b *trainer.Minibatch[[]float32], items []grpo.Item) error {
	if err := b.Resize(len(items)); err != nil {
		return err
	}
	m.one = sampler.Batch{Dim: 64, Key: m.key, Rows: make([]sampler.Row, len(items))}
	m.x0 = make([]float32, len(items)*64)
	for k, it := range items {
		t := float64(it.Step+1) / 4
		b.Call.Rows[k], b.Call.Times[k] = it.Row*group, t
		m.one.Rows[k] = sampler.Row{Affine: sampler.Affine{X: 1 - t, Eps: t}, ID: noise.ID{Sample: uint64(it.Row), Step: uint32(it.Step)}}
		copy(m.x0[k*64:][:64], m.clean[it.Row*64:])
	}
	sampler.CPU{}.Step(b.Call.X, m.x0, nil, m.one, nil)
	return nil
}

// weight is the weight of the loss. It suits the policy's learning rate.
const weight = 1e-4

// Loss is the weighted mean of ‖x - x0 - t·v‖², which is t²·‖ε - x0 - v‖².
func (m *matching) Loss(_ context.Context, b *trainer.Minibatch[[]float32]) (s grpo.Stats, err error) {
	cpu, n := sampler.CPU{}, len(b.Call.Rows)
	sq, scale := make([]float64, n), make([]float64, n)
	for k, t := range b.Call.Times {
		m.one.Rows[k].Affine = sampler.Affine{X: 1, V: t}
		scale[k] = -2 * t * b.Share * weight / float64(n)
	}
	cpu.SumSquares(sq, b.Call.X, m.x0, b.Call.V, m.one)
	for _, x := range sq {
		s.Loss += x * weight / float64(n)
	}
	clear(b.DV)
	cpu.Grad(b.DV, b.Call.X, m.x0, b.Call.V, m.one, scale)
	return s, nil
}

// The same loop trains another task than a run of samples: pretraining of the Example's
// policy, in micro-batches.
func TestTask(t *testing.T) {
	p := new(policy)
	tr, err := trainer.New(sampler.CPU{}, trainer.Policy[[]float32](p), trainer.Config[[]float32]{
		Sampling: sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: .5}},
		Dim:      64, Prompts: 10, Group: group, Shape: trainer.Shape{Rows: 5},
		Reward: func(context.Context, []float64, []float32, []int) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	m := &matching{clean: make([]float32, 640)}
	for d, g := range glyphs {
		for k := range 64 {
			m.clean[d*64+k] = 2*float32(g>>k&1) - 1
		}
	}
	var first, last trainer.Iteration
	for i := range 60 {
		m.key = noise.Key(5).Derive(uint64(i))
		if err := tr.Train(t.Context(), m, &last); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = last
		}
	}
	t.Logf("loss %.4f to %.4f", first.Loss, last.Loss)
	if !(last.Loss < first.Loss/4) || last.Updates != 3 {
		t.Errorf("loss %v, at first %v, in %d updates", last.Loss, first.Loss, last.Updates)
	}
	var distance float64
	for i, x := range p.image {
		distance += float64((x - m.clean[i]) * (x - m.clean[i]) / 640)
	}
	if distance > .1 { // from 1
		t.Errorf("images are %v off", distance)
	}
}

// cut is a task whose minibatches are given.
type cut struct {
	*matching
	batches [][]grpo.Item
}

func (c cut) Minibatches(int) ([][]grpo.Item, error) { return c.batches, nil }

// A task without minibatches, or with an empty one, is an error, not a loss of 0/0.
func TestEmptyTask(t *testing.T) {
	tr, err := trainer.New(sampler.CPU{}, trainer.Policy[[]float32](new(policy)), trainer.Config[[]float32]{
		Sampling: sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: .5}},
		Dim:      64, Prompts: 10, Group: group,
		Reward: func(context.Context, []float64, []float32, []int) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for want, batches := range map[string][][]grpo.Item{
		"epoch 0: trainer_test.cut.Minibatches returns no minibatches": {},
		"epoch 0, minibatch 0: trainer_test.cut.Minibatches returns a": {{}},
	} {
		var it trainer.Iteration
		err := tr.Train(t.Context(), cut{&matching{clean: make([]float32, 640)}, batches}, &it)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
