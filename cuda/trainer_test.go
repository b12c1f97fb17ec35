package cuda

import (
	"context"
	"fmt"
	"testing"

	"cps/grpo"
	"cps/grpo/trainer"
	"cps/logprob"
	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// line is the model v = a·x + b·t, on any memory that load and store can reach.
type line[B any] struct {
	p, g  [2]float64
	ref   [2]float64
	load  func(b B, n int) []float32
	store func(b B, x []float32)
}

func (l *line[B]) Velocity(_ context.Context, c sampler.Call[B]) error { return l.velocity(l.p, c) }

func (l *line[B]) Reference(_ context.Context, c sampler.Call[B]) error { return l.velocity(l.ref, c) }

func (l *line[B]) velocity(p [2]float64, c sampler.Call[B]) error {
	x := l.load(c.X, len(c.Rows)*c.Dim)
	v := make([]float32, len(x))
	for i := range v {
		v[i] = float32(p[0]*float64(x[i]) + p[1]*c.Times[i/c.Dim])
	}
	l.store(c.V, v)
	return nil
}

func (l *line[B]) Backward(_ context.Context, c sampler.Call[B], dv B) error {
	x, d := l.load(c.X, len(c.Rows)*c.Dim), l.load(dv, len(c.Rows)*c.Dim)
	for i := range d {
		l.g[0] += float64(d[i]) * float64(x[i])
		l.g[1] += float64(d[i]) * c.Times[i/c.Dim]
	}
	return nil
}

func (l *line[B]) Update(context.Context) error {
	for i := range l.p {
		l.p[i] -= .05 * l.g[i]
	}
	l.g = [2]float64{}
	return nil
}

func (l *line[B]) config(rule sampler.Rule, storage sampler.Storage) trainer.Config[B] {
	return trainer.Config[B]{
		Sampling: sampler.Config{Scheduler: schedule.Flow{.95, .7, .4, 0}, Rule: rule, Storage: storage},
		Dim:      12, Prompts: 1, Group: 4,
		Form: logprob.Form{Gaussian: true}, Objective: trainer.Guard{}, KL: trainer.Divergence{Beta: .1},
		Minibatches: grpo.Minibatches{Steps: 1}, Shape: trainer.Shape{Rows: 3, Fixed: true},
		Reward: func(_ context.Context, dst []float64, samples B, _ []int) error {
			x := l.load(samples, 48)
			for i := range dst {
				dst[i] = float64(x[12*i])
			}
			return nil
		},
	}
}

func trained[B any](t *testing.T, m sampler.Memory[B], l *line[B], rule sampler.Rule, storage sampler.Storage) {
	t.Helper()
	l.p, l.ref = [2]float64{.7, .1}, [2]float64{.6, .2}
	c := l.config(rule, storage)
	tr, err := trainer.New(m, trainer.Policy[B](l), c)
	if s, e := sampler.New(c.Sampling); e != nil || rule != (sampler.FlowCPS{Eta: .8}) && len(s.Evaluations(1)) != 2 {
		t.Fatalf("no trained step looks back: %v", e)
	}
	if err == nil {
		err = tr.CheckOnPolicy(t.Context())
	}
	if err == nil {
		_, err = tr.Step(t.Context())
	}
	if err == nil {
		err = tr.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// trainsLikeCPU trains on devices, by a rule of first order and by rules that look back,
// and compares the learned numbers with the CPU's.
func trainsLikeCPU(t *testing.T, open func(t *testing.T) *Device) {
	for name, rule := range map[string]sampler.Rule{
		"Flow-CPS":        sampler.FlowCPS{Eta: .8},
		"2M SDE":          solver.DPMPlus{Order: 2, Eta: 1},
		"ancestral of 2M": solver.Ancestral{Inner: solver.DPMPlus{Order: 2}, Share: solver.CPS(.5)},
		"predicted noise": solver.DPM{Order: 2, Eta: .3},
	} {
		for _, storage := range []sampler.Storage{sampler.Float32, sampler.BFloat16} {
			t.Run(fmt.Sprint(name, " ", storage), func(t *testing.T) {
				host := &line[[]float32]{load: func(b []float32, _ int) []float32 { return b }, store: func(b, x []float32) { copy(b, x) }}
				trained(t, sampler.CPU{}, host, rule, storage)
				d := open(t)
				far := &line[Buffer]{
					load: func(b Buffer, n int) []float32 {
						x := make([]float32, n)
						if err := d.Download(x, b); err != nil {
							t.Fatal(err)
						}
						return x
					},
					store: func(b Buffer, x []float32) {
						if err := d.Upload(b, x); err != nil {
							t.Fatal(err)
						}
					},
				}
				trained(t, d, far, rule, storage)
				if far.p != host.p || host.p == [2]float64{.7, .1} {
					t.Errorf("learned %v, on the CPU %v", far.p, host.p)
				}
				if len(d.owned) != 0 {
					t.Errorf("%d buffers are left", len(d.owned))
				}
			})
		}
	}
}

// A trainer keeps its latents in device memory, where rows are gathered and padded. It
// learns the bits of the CPU, and gives all memory back.
func TestTrainer(t *testing.T) {
	trainsLikeCPU(t, func(t *testing.T) *Device {
		d, _ := open(t, 5)
		return d
	})
}
