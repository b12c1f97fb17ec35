package trainer

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"testing"

	"cps/grpo"
	"cps/sampler"
	"cps/sampler/guidance"
	"cps/schedule"
)

// plain is v = a·x + b·t + c·condition + d·x³, whose parameters are learned, and nothing
// but a Policy.
type plain struct {
	p, g   [4]float64
	rate   float64
	group  int   // rows of a prompt
	prompt []int // by group; nil: its number
	calls  []int // rows of every Call
	backs  int   // calls of Backward
}

func (n *plain) condition(row int) float64 {
	if row < 0 {
		return .4 // without a condition
	}
	g := row / n.group
	if n.prompt != nil {
		g = n.prompt[g]
	}
	return float64(g%3) - 1
}

func (n *plain) velocity(p *[4]float64, c sampler.Call[[]float32]) error {
	n.calls = append(n.calls, len(c.Rows))
	if len(c.X) != len(c.Rows)*c.Dim || len(c.V) != len(c.X) || len(c.Times) != len(c.Rows) {
		return fmt.Errorf("a Call of %d rows has %d latents, %d outputs, %d times", len(c.Rows), len(c.X), len(c.V), len(c.Times))
	}
	for i, r := range c.Rows {
		for k := i * c.Dim; k < (i+1)*c.Dim; k++ {
			x := float64(c.X[k])
			c.V[k] = float32(p[0]*x + p[1]*c.Times[i] + p[2]*n.condition(r) + p[3]*x*x*x)
		}
	}
	return nil
}

func (n *plain) Velocity(_ context.Context, c sampler.Call[[]float32]) error {
	return n.velocity(&n.p, c)
}

func (n *plain) Backward(_ context.Context, c sampler.Call[[]float32], dv []float32) error {
	n.backs++
	for i, r := range c.Rows {
		for k := i * c.Dim; k < (i+1)*c.Dim; k++ {
			d, x := float64(dv[k]), float64(c.X[k])
			n.g[0] += d * x
			n.g[1] += d * c.Times[i]
			n.g[2] += d * n.condition(r)
			n.g[3] += d * x * x * x
		}
	}
	return nil
}

func (n *plain) Update(context.Context) error {
	for i, g := range n.g {
		n.p[i] -= n.rate * g
	}
	n.g = [4]float64{}
	return nil
}

// full is plain with all optional interfaces.
type full struct {
	plain
	mean, ref [4]float64
	steps     []int // of Average
}

func (n *full) Average(_ context.Context, e grpo.EMA, step int) error {
	n.steps = append(n.steps, step)
	return grpo.Average(n.mean[:], n.p[:], e, step)
}

func (n *full) Follow(_ context.Context, e grpo.EMA, step int) error {
	return grpo.Average(n.ref[:], n.p[:], e, step)
}

func (n *full) Reference(_ context.Context, c sampler.Call[[]float32]) error {
	return n.velocity(&n.ref, c)
}

func (n *full) lists() []*[4]float64 { return []*[4]float64{&n.p, &n.mean, &n.ref} }

func (n *full) Save(w io.Writer) error {
	for _, l := range n.lists() {
		if err := binary.Write(w, binary.LittleEndian, l); err != nil {
			return err
		}
	}
	return nil
}

func (n *full) Load(r io.Reader) error {
	for _, l := range n.lists() {
		if err := binary.Read(r, binary.LittleEndian, l); err != nil {
			return err
		}
	}
	return nil
}

var start = [4]float64{.8, .1, -.3, .02}

const (
	dim   = 8
	group = 4
)

func newPlain() *plain { return &plain{p: start, rate: 0.05, group: group} }
func newFull() *full   { return &full{plain: *newPlain(), mean: start, ref: start} }

// reward likes samples near the condition.
func reward(_ context.Context, dst []float64, x []float32, prompts []int) error {
	for i, p := range prompts {
		dst[i] = 0
		for _, v := range x[i*dim:][:dim] {
			d := float64(v) - (float64(p%3)-1)/2
			dst[i] -= d * d
		}
	}
	return nil
}

// small is the configuration of a very short run.
func small() Config[[]float32] {
	return Config[[]float32]{
		Key:      3,
		Sampling: sampler.Config{Scheduler: schedule.Linear(5), Rule: sampler.FlowCPS{Eta: 0.8}},
		Dim:      dim, Prompts: 3, Group: group,
		Reward:      reward,
		Minibatches: grpo.Minibatches{Rows: 6, Steps: 2},
	}
}

// everything uses all settings.
func everything() Config[[]float32] {
	c := small()
	c.Sampling.Rule = sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}
	c.Form.Gaussian = true
	c.Window = grpo.Sliding{Size: 2, Stride: 1, Interval: grpo.Every(2)}
	c.SharedStart = true
	c.Tracker = &grpo.Tracker[int]{Norm: grpo.FlowGRPO, Limit: 6}
	c.Limit = 3
	c.Objective = Clip{ClipLow: 1e-2, ClipHigh: 2e-2}
	c.KL = Divergence{Beta: 0.1, Form: c.Form}
	c.Stop = grpo.EarlyStop{Target: 0.5}
	c.Epochs = 2
	c.Minibatches = grpo.Minibatches{Rows: 8, Steps: 1, Group: group}
	c.Shape = Shape{Rows: 3}
	c.Guidance = guidance.Guidance{Scale: 1.5, Low: .3, High: .9, Rescale: .5}
	c.Average = grpo.EMA{Decay: 0.9, Every: 2}
	c.Follow = grpo.EMA{Decay: 0.95}
	return c
}

func newTrainer[B any](t testing.TB, m sampler.Memory[B], p Policy[B], c Config[B]) *Trainer[B] {
	t.Helper()
	tr, err := New(m, p, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// drawn returns a judged and prepared run.
func drawn[B any](t testing.TB, tr *Trainer[B]) *Run[B] {
	t.Helper()
	r, err := tr.Draw(t.Context())
	if err == nil {
		err = tr.Judge(t.Context(), r, new(Iteration))
	}
	if err == nil {
		err = tr.Prepare(t.Context(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(a, b, tol float64) bool { return math.Abs(a-b) <= tol*max(1, math.Abs(a), math.Abs(b)) }
