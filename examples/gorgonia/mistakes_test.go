package main

import (
	"errors"
	"math"
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

// A graph of other weights learns, and the one that evaluates does not.
func TestTwoNetworks(t *testing.T) {
	w := pretrained(t)
	p, tr := made(t, w, small, nil)
	other, _ := made(t, w.clone(), small, nil)
	p.backward = other.backward
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
