package main

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cps/examples/internal/codelines"
	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
	"cps/grpo"
	"cps/grpo/trainer"
	"cps/logprob"
	"cps/sampler"

	G "gorgonia.org/gorgonia"
)

var small = options{width: 32, pretrain: 300, seeds: 1, iterations: 3, group: 4, rows: 40, rate: 1e-3}

// pretrained returns a network after a little training.
func pretrained(t *testing.T) weights {
	t.Helper()
	w, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return w.clone()
}

var once = sync.OnceValues(func() (weights, error) {
	w := newWeights(small.width, rand.New(rand.NewPCG(1, 0)))
	_, err := pretrain(context.Background(), w, small.pretrain, rand.New(rand.NewPCG(2, 0)))
	return w, err
})

// made returns a policy of the network, and its trainer.
func made(t *testing.T, w weights, o options, change func(*trainer.Config[[]float32])) (*policy, *trainer.Trainer[[]float32]) {
	t.Helper()
	p, err := newPolicy(w, o.rows, o.rate, func(row int) int { return row / o.group })
	if err != nil {
		t.Fatal(err)
	}
	reward, err := finetune.NewReward("glyph")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTrainer(o, p, reward, 7)
	if err == nil && change != nil {
		c := tr.Config()
		change(&c)
		tr, err = trainer.New(sampler.CPU{}, trainer.Policy[[]float32](p), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p, tr
}

// drawn returns the samples of an iteration, ready for training.
func drawn(t *testing.T, tr *trainer.Trainer[[]float32]) *trainer.Run[[]float32] {
	t.Helper()
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
	return r
}

// filled returns a minibatch of as many items as the graphs have rows, with its ∂loss/∂v. Old
// log p is as if the policy had moved: for a third of the rows up, for a third down, and for a
// third not at all.
func filled(t *testing.T, tr *trainer.Trainer[[]float32], r *trainer.Run[[]float32], p *policy, moved float64) *trainer.Minibatch[[]float32] {
	t.Helper()
	batches, err := r.Minibatches(0)
	if err != nil {
		t.Fatal(err)
	}
	b := tr.NewMinibatch()
	if err := r.Fill(t.Context(), b, batches[0][:p.forward.rows]); err != nil {
		t.Fatal(err)
	}
	for i := range b.Old {
		b.Old[i] += moved * float64(i%3-1)
	}
	loss(t, r, p, b)
	return b
}

// loss computes the loss of a minibatch for the present weights.
func loss(t *testing.T, r *trainer.Run[[]float32], p *policy, b *trainer.Minibatch[[]float32]) grpo.Stats {
	t.Helper()
	if err := p.Velocity(t.Context(), b.Call); err != nil {
		t.Fatal(err)
	}
	stats, err := r.Loss(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// gradient returns what a graph's runs have added up.
func gradient(t *testing.T, g *graph) (all []float32) {
	t.Helper()
	for _, n := range g.params {
		d, err := n.Grad()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d.Data().([]float32)...)
	}
	return all
}

// apart is |x - y|/|y|.
func apart(x, y []float32) float64 {
	var diff, norm float64
	for i := range y {
		d := float64(x[i]) - float64(y[i])
		diff, norm = diff+d*d, norm+float64(y[i])*float64(y[i])
	}
	return math.Sqrt(diff / norm)
}

// The page says that the glue is 45 lines of code at most.
func TestLines(t *testing.T) {
	n, err := codelines.Count("glue.go")
	t.Log(n, "lines of glue")
	if n > 45 || err != nil {
		t.Errorf("glue.go: %d lines and %v, want at most 45", n, err)
	}
}

// The gradient that is injected is the one of Gorgonia's autodiff of the same loss, which is
// written in the graph here, on policy and off, in every form.
func TestGradientAutodiff(t *testing.T) {
	for _, form := range []logprob.Form{{}, {Gaussian: true}, {Gaussian: true, Sum: true}} {
		w := pretrained(t)
		_, tr := made(t, w, small, func(c *trainer.Config[[]float32]) { c.Form, c.Objective = form, trainer.Clip{} })
		r := drawn(t, tr)
		for _, moved := range []float64{0, .3} {
			p, _ := made(t, w, small, nil)
			b := filled(t, tr, r, p, moved)
			if err := p.Backward(t.Context(), b.Call, b.DV); err != nil {
				t.Fatal(err)
			}
			written, input := lossGraph(t, w, form, b)
			if err := written.run(b.Call.X, p.features, input); err != nil {
				t.Fatal(err)
			}
			d := apart(gradient(t, p.backward), gradient(t, written))
			t.Logf("%+v, old log p moved by %v: |injected - autodiff|/|autodiff| = %.2g", form, moved, d)
			// The graph's log p is float32; that of a sum of 64 densities has a few digits less.
			if !(d < 1e-4) {
				t.Errorf("%+v, old log p moved by %v: gradients differ by %v of their length", form, moved, d)
			}
		}
	}
}

// lossGraph returns a graph of the loss -mean(A·exp(log p - old)) of a minibatch, and its
// input, next - X·x.
func lossGraph(t *testing.T, w weights, form logprob.Form, b *trainer.Minibatch[[]float32]) (*graph, []float32) {
	t.Helper()
	rows, dim := len(b.Items), b.Call.Dim
	rest, weight, scale, shift, adv := make([]float32, rows*dim), make([]float32, rows*dim), make([]float32, rows), make([]float32, rows), make([]float32, rows)
	for i, row := range b.Batch.Rows {
		for k := range dim {
			rest[i*dim+k] = float32(float64(b.Next[i*dim+k]) - row.X*float64(b.Call.X[i*dim+k]))
			weight[i*dim+k] = float32(row.V)
		}
		by, add := 1.0, 0.0 // log p = -by·Σ - add
		if form.Gaussian {
			std := float64(float32(row.Eps))
			by, add = 1/(2*std*std), float64(dim)*(math.Log(std)+math.Log(2*math.Pi)/2)
		}
		if !form.Sum {
			by, add = by/float64(dim), add/float64(dim)
		}
		scale[i], shift[i], adv[i] = float32(by), float32(add+b.Old[i]), float32(-b.Advantages[i])
	}
	g, err := newGraph(w, rows, func(v, rest *G.Node) *G.Node {
		constant := func(name string, x []float32) *G.Node {
			return G.NewVector(v.Graph(), G.Float32, G.WithShape(rows), G.WithName(name), G.WithValue(dense(x, rows)))
		}
		v = G.Must(G.HadamardProd(v, G.NewMatrix(v.Graph(), G.Float32, G.WithShape(rows, dim), G.WithName("V"), G.WithValue(dense(weight, rows, dim)))))
		sum := G.Must(G.Sum(G.Must(G.Square(G.Must(G.Sub(rest, v)))), 1))
		minus := G.Must(G.Add(G.Must(G.HadamardProd(sum, constant("scale", scale))), constant("shift", shift)))
		return G.Must(G.Mean(G.Must(G.HadamardProd(G.Must(G.Exp(G.Must(G.Neg(minus)))), constant("advantages", adv)))))
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, rest
}

// The gradient is the derivative of the clipped loss, by differences in a direction of each
// matrix and bias, that of the gradient with a random one.
func TestGradientDifferences(t *testing.T) {
	w := pretrained(t)
	p, tr := made(t, w, small, func(c *trainer.Config[[]float32]) { c.Objective = trainer.Clip{ClipLow: 2e-3, ClipHigh: 2e-3} })
	r := drawn(t, tr)
	b := filled(t, tr, r, p, 3e-3) // of which clipped rows have none, and others are far from the edge
	if err := p.Backward(t.Context(), b.Call, b.DV); err != nil {
		t.Fatal(err)
	}
	if c := loss(t, r, p, b).ClipFraction; c == 0 || c > .9 {
		t.Fatalf("%v of the rows are clipped", c)
	}
	random := rand.New(rand.NewPCG(3, 0))
	for i, n := range p.backward.params {
		d, err := n.Grad()
		if err != nil {
			t.Fatal(err)
		}
		grad, x := d.Data().([]float32), w[i].Data().([]float32)
		saved, direction := slices.Clone(x), make([]float64, len(x))
		for k := range direction {
			direction[k] = random.NormFloat64() / math.Sqrt(float64(len(x)))
		}
		norm, want := 0.0, 0.0
		for _, g := range grad {
			norm = math.Hypot(norm, float64(g))
		}
		for k := range direction {
			direction[k] += float64(grad[k]) / norm
			want += direction[k] * float64(grad[k])
		}
		at := func(h float64) float64 {
			for k := range x {
				x[k] = float32(float64(saved[k]) + h*direction[k])
			}
			return loss(t, r, p, b).Loss
		}
		const h = 1e-3
		got := (at(h) - at(-h)) / (2 * h)
		copy(x, saved)
		t.Logf("weights %d: %.6g, by differences %.6g", i, want, got)
		if !(math.Abs(got-want) < 1e-3*math.Abs(want)) {
			t.Errorf("weights %d: the derivative is %v, by differences %v", i, want, got)
		}
	}
}

// Images say what the network predicts and how it counts time; every other belief is an
// error that names the right one.
func TestConvention(t *testing.T) {
	w := pretrained(t)
	// So little training may leave the scale of the data in doubt, but not the convention.
	if err := checkConvention(t.Context(), small, w, sampling()); err != nil && !errors.Is(err, sampler.ErrScale) && !errors.Is(err, sampler.ErrUndecided) {
		t.Error(err)
	}
	for name, change := range map[string]func(*sampler.Config){
		"the sign":          func(c *sampler.Config) { c.Prediction = sampler.PredictReversedVelocity },
		"the time":          func(c *sampler.Config) { c.Clock.Reversed = true },
		"time in thousands": func(c *sampler.Config) { c.Clock.Scale = 1000 },
	} {
		c := sampling()
		change(&c)
		if err := checkConvention(t.Context(), small, w, c); !errors.Is(err, sampler.ErrConvention) || !strings.Contains(err.Error(), "PredictVelocity with Clock{Scale: 1}") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Backward adds up, whatever Velocity ran between, and Update starts anew.
func TestAccumulate(t *testing.T) {
	w := pretrained(t)
	p, tr := made(t, w, small, nil)
	r := drawn(t, tr)
	b := filled(t, tr, r, p, 0)
	backward := func(p *policy, lo, hi int) {
		dv := make([]float32, len(b.DV))
		copy(dv[lo*digits.Dim:hi*digits.Dim], b.DV[lo*digits.Dim:])
		if err := p.Backward(t.Context(), b.Call, dv); err != nil {
			t.Fatal(err)
		}
	}
	backward(p, 0, 40)
	whole := gradient(t, p.backward)
	parts, _ := made(t, w, small, nil)
	backward(parts, 0, 15)
	if err := parts.Velocity(t.Context(), b.Call); err != nil {
		t.Fatal(err)
	}
	backward(parts, 15, 40)
	if d := apart(gradient(t, parts.backward), whole); !(d < 1e-6) {
		t.Errorf("the sum of two parts is off by %v of the gradient", d)
	}
	before, x := slices.Clone(w[0].Data().([]float32)), slices.Clone(b.Call.X)
	if err := p.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(gradient(t, p.backward), func(g float32) bool { return g != 0 }) {
		t.Error("the solver leaves a gradient")
	}
	// The first step of Adam goes against the sign of the gradient, by the learning rate.
	for i, now := range w[0].Data().([]float32) {
		if g := float64(whole[i]); math.Abs(g) > 1e-6 && math.Abs(float64(now-before[i])+small.rate*math.Copysign(1, g)) > .02*small.rate {
			t.Fatalf("weight %d of gradient %v goes from %v to %v", i, g, before[i], now)
		}
	}
	if !slices.Equal(x, b.Call.X) {
		t.Error("a run changes the latents")
	}
}

// Two graphs over the same weights have the same output, whatever number of rows they have.
func TestBatchInvariance(t *testing.T) {
	w := pretrained(t)
	var want []float32
	for _, rows := range []int{120, 1, 7, 64, 360} {
		p, err := newPolicy(w, rows, 1e-3, func(row int) int { return row % 10 })
		if err != nil {
			t.Fatal(err)
		}
		c := sampler.Call[[]float32]{Dim: digits.Dim, X: make([]float32, rows*digits.Dim), V: make([]float32, rows*digits.Dim)}
		random := rand.New(rand.NewPCG(4, 0))
		for i := range c.X {
			c.X[i] = float32(random.NormFloat64())
		}
		for row := range rows {
			c.Rows, c.Times = append(c.Rows, row), append(c.Times, float64(row+1)/400)
		}
		if err := errors.Join(p.Velocity(t.Context(), c), p.Backward(t.Context(), c, make([]float32, len(c.V)))); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.backward.output.Data().([]float32), c.V) {
			t.Errorf("%d rows: the graph with a loss evaluates otherwise", rows)
		}
		if want == nil {
			want = c.V
		}
		if n := min(len(want), len(c.V)); !slices.Equal(c.V[:n], want[:n]) {
			t.Errorf("%d rows: the output is not that of 120", rows)
		}
	}
}

// Graphs of any number of rows learn the same, but for rounding; padding is not learned from.
func TestRows(t *testing.T) {
	final := func(rows int) float64 {
		o := small
		o.rows = rows
		_, tr := made(t, pretrained(t), o, nil)
		var last trainer.Iteration
		if err := tr.CheckOnPolicy(t.Context()); err != nil {
			t.Errorf("%d rows: %v", rows, err)
		}
		if err := tr.Run(t.Context(), 3, func(it trainer.Iteration) error {
			if it.OnPolicy != 0 || it.Deviation == 0 {
				t.Errorf("%d rows: |ratio - 1| is %v before the first update, and %v at most", rows, it.OnPolicy, it.Deviation)
			}
			last = it
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return last.Reward
	}
	whole := final(120)
	for _, rows := range []int{120, 40, 50, 77} {
		reward := final(rows)
		t.Logf("%d rows: %v, 120: %v", rows, reward, whole)
		if math.Abs(reward-whole) > 1e-6 || rows == 120 && reward != whole {
			t.Errorf("%d rows: the reward after three iterations is %v, and %v with 120", rows, reward, whole)
		}
	}
}

// The example runs, and pictures what it did.
func TestRun(t *testing.T) {
	o := small
	o.out = filepath.Join(t.TempDir(), "new")
	var out strings.Builder
	if err := run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	if _, err := os.Stat(filepath.Join(o.out, "samples.png")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, o, new(strings.Builder)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// GRPO raises the reward: means of 360 samples, whose standard errors are below .01.
func TestLearns(t *testing.T) {
	o := small
	o.group, o.rows = 12, 120
	_, tr := made(t, pretrained(t), o, nil)
	var rewards []float64
	if err := tr.Run(t.Context(), 30, func(it trainer.Iteration) error {
		rewards = append(rewards, it.Reward)
		if it.Std > .18 {
			t.Errorf("standard deviation %v", it.Std)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	first, last := mean(rewards[:3]), mean(rewards[27:])
	t.Logf("reward %.3f, then %.3f", first, last)
	if last < first+.05 {
		t.Errorf("the reward was %v, and is %v after 30 iterations", first, last)
	}
}

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"-rows 0":      "-rows is 0",
		"-group 1":     "-group is 1",
		"-pretrain -1": "-pretrain is -1",
		"x":            "flags alone",
		"-rate x":      "invalid value",
		"-rate NaN":    "-rate is NaN",
	} {
		if _, err := parse(strings.Fields(args), new(strings.Builder)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if o, err := parse([]string{"-quick"}, nil); err != nil || o.iterations != 3 {
		t.Errorf("-quick: %+v and %v", o, err)
	}
}
