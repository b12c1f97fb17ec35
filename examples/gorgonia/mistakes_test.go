package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"cps/examples/internal/digits"
	"cps/grpo/trainer"
	"cps/sampler"

	G "gorgonia.org/gorgonia"
)

// These are mistakes that Gorgonia lets pass, and what each leads to. README.md lists them.

// noReset is a machine that is never reset.
type noReset struct{ G.VM }

func (noReset) Reset() {}

// A machine that is not reset does nothing any more, and keeps its last output.
func TestNoReset(t *testing.T) {
	p, tr := made(t, pretrained(t), small, nil)
	p.forward.vm = noReset{p.forward.vm}
	if err := tr.CheckOnPolicy(t.Context()); !errors.Is(err, sampler.ErrOffPolicy) {
		t.Errorf("error %v", err)
	}
}

// Without BindDualValues a run overwrites the gradient: of micro-batches the last alone counts.
func TestNoDualValues(t *testing.T) {
	w := pretrained(t)
	p, tr := made(t, w, small, nil)
	b := filled(t, tr, drawn(t, tr), p, 0)
	if err := p.Backward(t.Context(), b.Call, b.DV); err != nil {
		t.Fatal(err)
	}
	right := gradient(t, p.backward)
	wrong, _ := made(t, w, small, nil)
	wrong.backward.vm = G.NewTapeMachine(wrong.backward.params[0].Graph())
	for _, dv := range [][]float32{b.DV, make([]float32, len(b.DV))} {
		if err := wrong.Backward(t.Context(), b.Call, dv); err != nil {
			t.Fatal(err)
		}
	}
	if g := gradient(t, wrong.backward); apart(g, right) != 1 {
		t.Errorf("a run with dv 0 leaves a gradient that is off by %v", apart(g, right))
	}
	if err := wrong.Update(t.Context()); err != nil {
		t.Errorf("the solver steps all the same: %v", err)
	}
}

// spoiled is a policy with a mistake in its gradient.
type spoiled struct {
	*policy
	factor float32
	keeps  bool // Update leaves the gradient
}

func (s spoiled) Backward(ctx context.Context, c sampler.Call[[]float32], dv []float32) error {
	dv = slices.Clone(dv)
	for i := range dv {
		dv[i] *= s.factor
	}
	return s.policy.Backward(ctx, c, dv)
}

func (s spoiled) Update(ctx context.Context) error {
	var kept [][]float32
	err := s.each(func(_ int, _, grad []float32) { kept = append(kept, slices.Clone(grad)) })
	if err = errors.Join(err, s.policy.Update(ctx)); err == nil && s.keeps {
		err = s.each(func(i int, _, grad []float32) { copy(grad, kept[i]) })
	}
	return err
}

// CheckBackward finds a gradient of the wrong sign or scale, and one that is overwritten. An
// Update that keeps it is found in training. What is right passes, and stays as it is.
func TestGradientChecked(t *testing.T) {
	w := pretrained(t)
	before := w.clone()
	p, right := made(t, w, small, nil)
	if err := right.CheckBackward(t.Context()); err != nil {
		t.Error(err)
	}
	for i := range w {
		if !slices.Equal(w[i].Data().([]float32), before[i].Data().([]float32)) {
			t.Errorf("weights %d: the check changes them", i)
		}
	}
	if slices.ContainsFunc(gradient(t, p.backward), func(g float32) bool { return g != 0 }) {
		t.Error("the check leaves a gradient")
	}
	for _, m := range []struct {
		p    spoiled
		want string
	}{
		{spoiled{p, -1, false}, "the sign is wrong, and nothing else"},
		{spoiled{p, 1. / digits.Dim, false}, "a mean over the elements of a row"},
		{spoiled{p, 1, true}, ""},
	} {
		tr, err := trainer.New(sampler.CPU{}, trainer.Policy[[]float32](m.p), right.Config())
		if err != nil {
			t.Fatal(err)
		}
		err = tr.CheckBackward(t.Context())
		if m.want == "" && err == nil {
			_, err = tr.Step(t.Context())
			m.want = "Update does not clear the gradient"
		}
		if !errors.Is(err, trainer.ErrBackward) || !strings.Contains(err.Error(), m.want) {
			t.Errorf("error %v, want %q", err, m.want)
		}
	}
	p, tr := made(t, pretrained(t), small, nil)
	p.backward.vm = G.NewTapeMachine(p.backward.params[0].Graph()) // without BindDualValues
	if err := tr.CheckBackward(t.Context()); !errors.Is(err, trainer.ErrBackward) || !strings.Contains(err.Error(), "Backward replaces the gradient") {
		t.Errorf("without BindDualValues: %v", err)
	}
}

// A graph of other weights learns, and the one that evaluates does not.
func TestTwoNetworks(t *testing.T) {
	w := pretrained(t)
	p, tr := made(t, w, small, nil)
	other, _ := made(t, w.clone(), small, nil)
	p.backward = other.backward
	if err := tr.CheckBackward(t.Context()); !errors.Is(err, trainer.ErrBackward) || !strings.Contains(err.Error(), "leave the output as it is") {
		t.Errorf("CheckBackward: %v", err)
	}
	if err := tr.Run(t.Context(), 2, moved); !errors.Is(err, errNotTrained) {
		t.Errorf("error %v", err)
	}
}

// Dropout draws in every run. In a machine of EvalMode it does nothing, and nobody can see
// that the machine with the loss still draws.
func TestDropout(t *testing.T) {
	p, tr := made(t, pretrained(t), small, nil)
	for _, opts := range [][]G.VMOpt{nil, {G.EvalMode()}} {
		e := G.NewGraph()
		x := G.NewMatrix(e, G.Float32, G.WithShape(small.rows, digits.Dim), G.WithName("x"))
		f := G.NewMatrix(e, G.Float32, G.WithShape(small.rows, features), G.WithName("features"))
		p.forward = &graph{rows: small.rows, inputs: G.Nodes{x, f}}
		G.Read(G.Must(G.Dropout(x, .1)), &p.forward.output)
		p.forward.vm = G.NewTapeMachine(e, opts...)
		switch err := tr.CheckOnPolicy(t.Context()); {
		case opts != nil && err != nil:
			t.Errorf("in EvalMode: %v", err)
		case opts == nil && (!errors.Is(err, sampler.ErrOffPolicy) || !strings.Contains(err.Error(), "dropout")):
			t.Errorf("error %v", err)
		}
	}
}

// A node's memory is taken by what follows it, unless it is read.
func TestOverwritten(t *testing.T) {
	w := pretrained(t)
	var node *G.Node
	g, err := newGraph(w, 4, func(v, target *G.Node) *G.Node {
		node = v
		return G.Must(G.Mean(G.Must(G.Square(G.Must(G.Sub(v, target))))))
	})
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 4*digits.Dim)
	for i := range x {
		x[i] = float32(i%5) / 4
	}
	if err := g.run(x, make([]float32, 4*features), x); err != nil {
		t.Fatal(err)
	}
	if d := apart(node.Value().Data().([]float32), g.output.Data().([]float32)); d < .5 {
		t.Errorf("the node's value is off by %v alone", d)
	}
}

// A call of another number of rows than the graph's says what to set.
func TestOtherRows(t *testing.T) {
	_, tr := made(t, pretrained(t), small, func(c *trainer.Config[[]float32]) { c.Shape.Fixed = false; c.Shape.Rows = 30 })
	if err := tr.CheckOnPolicy(t.Context()); err == nil || !strings.Contains(err.Error(), "a graph of 40 rows is asked for 30: set trainer.Config.Shape") {
		t.Errorf("error %v", err)
	}
}

// NaN passes through Gorgonia, and the trainer says where.
func TestNaN(t *testing.T) {
	w := pretrained(t)
	_, tr := made(t, w, small, nil)
	w[5].Data().([]float32)[3] = float32(math.NaN())
	if _, err := tr.Step(t.Context()); !errors.As(err, new(*sampler.NonFiniteError)) {
		t.Errorf("error %v", err)
	}
}
