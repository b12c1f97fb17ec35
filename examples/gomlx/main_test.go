package main

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cps/grpo"
	"cps/grpo/trainer"
	"cps/logprob"
	"cps/sampler"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
)

var small = options{backend: "dotgeneral_large", width: 32, pretrain: 200, seeds: 1, iterations: 3, group: 4, rate: 1e-3, loss: "injected"}

// networks are trained once, each on a backend of its own.
var networks = map[options]*network{}

type network struct {
	backend backends.Backend
	ctx     *context.Context
}

func pretrained(t *testing.T, o options) *network {
	t.Helper()
	if networks[o] == nil {
		backend, err := simplego.New(o.backend)
		if err != nil {
			t.Fatal(err)
		}
		ctx, err := newContext(o.width, 1)
		if err == nil {
			_, err = pretrain(backend, ctx, o.pretrain)
		}
		if err != nil {
			t.Fatal(err)
		}
		networks[o] = &network{backend, ctx}
	}
	return networks[o]
}

// made returns a network after a little training, its policy and trainer.
func made(t *testing.T, o options) (backends.Backend, *context.Context, *policy, *trainer.Trainer[[]float32]) {
	t.Helper()
	n := pretrained(t, o)
	backend := n.backend
	ctx, err := n.ctx.Clone()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPolicy(backend, ctx, o.rate, func(row int) int32 { return int32(row / o.group) })
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTrainer(o, p, 7)
	if err != nil {
		t.Fatal(err)
	}
	return backend, ctx, p, tr
}

// What a GoMLX user writes is at most 30 lines.
func TestGlue(t *testing.T) {
	text, err := os.ReadFile("glue.go")
	if err != nil {
		t.Fatal(err)
	}
	_, glue, _ := strings.Cut(string(text), "// glue: begin\n")
	glue, _, found := strings.Cut(glue, "// glue: end\n")
	n := 0
	for line := range strings.Lines(glue) {
		if strings.TrimSpace(line) != "" {
			n++
		}
	}
	if !found || n > 30 {
		t.Errorf("%d lines of glue", n)
	}
}

// By default the backend picks its matrix product by size. The check finds it, and the setting
// of this program avoids it.
func TestBatchInvariance(t *testing.T) {
	o := small
	o.backend, o.group, o.width, o.pretrain = "", 12, 96, 2
	_, _, _, tr := made(t, o)
	if err := tr.CheckOnPolicy(t.Context()); !errors.Is(err, sampler.ErrOffPolicy) || !strings.Contains(err.Error(), "a matrix product chosen by size") {
		t.Errorf("default backend: %v", err)
	}
	o.backend = "dotgeneral_large"
	_, _, _, tr = made(t, o)
	if err := tr.CheckOnPolicy(t.Context()); err != nil {
		t.Error(err)
	}
}

// Images show what the network predicts and how it counts time. Every other configuration is an
// error that names the right one.
func TestConvention(t *testing.T) {
	o := small
	backend, ctx, _, _ := made(t, o)
	// After so little training the scale of the data may be undecided, but not the convention.
	if err := checkConvention(t.Context(), o, backend, ctx, sampling()); err != nil && !errors.Is(err, sampler.ErrScale) && !errors.Is(err, sampler.ErrUndecided) {
		t.Error(err)
	}
	for name, change := range map[string]func(*sampler.Config){
		"GoMLX's convention taken for ours": func(c *sampler.Config) { c.Prediction, c.Clock = 0, sampler.Clock{} },
		"the sign alone":                    func(c *sampler.Config) { c.Clock = sampler.Clock{} },
		"the time alone":                    func(c *sampler.Config) { c.Prediction = 0 },
		"time in thousands":                 func(c *sampler.Config) { c.Clock.Scale = 1000 },
	} {
		c := sampling()
		change(&c)
		err := checkConvention(t.Context(), o, backend, ctx, c)
		if !errors.Is(err, sampler.ErrConvention) || !strings.Contains(err.Error(), "PredictReversedVelocity with Clock{Scale: 1, Reversed: true}") {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

// The injected gradient equals that of GoMLX's autodiff of the same loss, on policy and off, in
// every form.
func TestGradient(t *testing.T) {
	backend, ctx, p, tr := made(t, small)
	ctx = ctx.Checked(false)
	for _, form := range []logprob.Form{{}, {Gaussian: true}, {Gaussian: true, Sum: true}} {
		moved, clip := 3e-3, grpo.Objective{ClipLow: 2e-3, ClipHigh: 2e-3}
		if form.Sum {
			moved, clip = .3, grpo.Objective{ClipLow: .2, ClipHigh: .2}
		}
		c := tr.Config()
		c.Form, c.Objective = form, trainer.Clip(clip)
		tr, err := trainer.New(sampler.CPU{}, trainer.Policy[[]float32](p), c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := tr.Draw(t.Context())
		if err == nil {
			err = tr.Judge(t.Context(), r, new(trainer.Iteration))
		}
		if err == nil {
			err = tr.Prepare(t.Context(), r)
		}
		if err != nil {
			t.Fatal(err)
		}
		batches, err := r.Minibatches(0)
		if err != nil {
			t.Fatal(err)
		}
		injected := context.MustNewExec(backend, ctx, func(ctx *context.Context, in []*Node) []*Node {
			loss := ReduceAllSum(Mul(StopGradient(in[3]), velocity(ctx, in[0], in[1], in[2])))
			return ctx.BuildTrainableVariablesGradientsGraph(loss)
		})
		written := context.MustNewExec(backend, ctx, func(ctx *context.Context, in []*Node) []*Node {
			return ctx.BuildTrainableVariablesGradientsGraph(lossGraph(ctx, in, form, clip))
		})
		for _, off := range []float64{0, moved} {
			b := tr.NewMinibatch()
			if err := r.Fill(t.Context(), b, batches[0]); err != nil {
				t.Fatal(err)
			}
			for i := range b.Old {
				b.Old[i] += off * math.Sin(float64(i)) // as if the policy had moved
			}
			if err := p.Velocity(t.Context(), b.Call); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Loss(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			exec := func(e *context.Exec, in []*tensors.Tensor) []*tensors.Tensor {
				args := make([]any, len(in))
				for i := range in {
					args[i] = in[i]
				}
				out, err := e.Exec(args...)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			got := exec(injected, append(p.inputs(b.Call), matrix(b.DV, b.Call.Dim)))
			want := exec(written, lossInputs(p, b))
			var diff, norm float64
			for i := range want {
				x, y := tensors.MustCopyFlatData[float32](got[i]), tensors.MustCopyFlatData[float32](want[i])
				for k := range x {
					d := float64(x[k]) - float64(y[k])
					diff, norm = diff+d*d, norm+float64(y[k])*float64(y[k])
				}
			}
			d := math.Sqrt(diff / norm)
			t.Logf("%+v, old log p moved by %v: |injected - autodiff|/|autodiff| = %.2g", form, off, d)
			// The graph's log p is float32; that of a sum of 64 densities has a few digits less.
			if !(d < 1e-4) {
				t.Errorf("%+v, old log p moved by %v: gradients differ by %v of their length", form, off, d)
			}
		}
	}
}

// Both recipes run, and the first minibatch of every iteration is on policy.
func TestRun(t *testing.T) {
	for _, loss := range []string{"injected", "graph"} {
		o := small
		o.loss, o.out, o.pretrain = loss, t.TempDir(), 20
		var out strings.Builder
		if err := run(t.Context(), o, &out); err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
		if _, err := os.Stat(filepath.Join(o.out, "rewards.png")); err != nil {
			t.Error(err)
		}
	}
	o := small
	o.loss = "neither"
	if err := run(t.Context(), o, new(strings.Builder)); err == nil {
		t.Error("a loss that there is not is no error")
	}
}

// Two recipes and accumulated Calls learn the same, but for rounding.
func TestRecipesAgree(t *testing.T) {
	o := small
	backend, trained, _, first := made(t, o)
	final := func(loss string, rows int) float64 {
		ctx, err := trained.Clone()
		if err != nil {
			t.Fatal(err)
		}
		p, err := newPolicy(backend, ctx, o.rate, func(row int) int32 { return int32(row / o.group) })
		if err != nil {
			t.Fatal(err)
		}
		c := first.Config()
		c.Shape.Rows = rows
		tr, err := trainer.New(sampler.CPU{}, trainer.Policy[[]float32](p), c)
		if err != nil {
			t.Fatal(err)
		}
		step := tr.Step
		if loss == "graph" {
			step = newGraphTrainer(backend, ctx, o.rate, p, tr).step
		}
		var reward float64
		for range 3 {
			it, err := step(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if it.OnPolicy != 0 {
				t.Errorf("off policy by %v", it.OnPolicy)
			}
			reward = it.Reward
		}
		return reward
	}
	whole := final("injected", 0)
	for name, r := range map[string]float64{"in the graph": final("graph", 0), "50 rows at a time": final("injected", 50)} {
		t.Logf("%s %v, whole %v", name, r, whole)
		if math.Abs(r-whole) > 1e-6 {
			t.Errorf("%s the reward after three iterations is %v, and %v injected", name, r, whole)
		}
	}
}
