package main

import (
	"context"
	"fmt"

	"cps/sampler"

	G "gorgonia.org/gorgonia"
)

// A policy is the network as package trainer takes it, with Gorgonia's own solver. It has
// two graphs over the same weights: one that evaluates, and one whose loss is Σ dv·v, so
// that its gradient is the one that package trainer computed by the output.
type policy struct {
	forward, backward *graph
	solver            G.Solver
	class             func(row int) int
	features          []float32
	still             [][]float32 // the weights before a Move, see move.go
}

func newPolicy(w weights, rows int, rate float64, class func(row int) int) (*policy, error) {
	forward, err := newGraph(w, rows, nil)
	if err != nil {
		return nil, err
	}
	backward, err := newGraph(w, rows, func(v, dv *G.Node) *G.Node { return G.Must(G.Sum(G.Must(G.HadamardProd(dv, v)))) })
	return &policy{forward, backward, G.NewAdamSolver(G.WithLearnRate(rate)), class, make([]float32, rows*features), nil}, err
}

// run evaluates a graph for a Call, whose rows must be as many as the graph's.
func (p *policy) run(g *graph, c sampler.Call[[]float32], dv ...[]float32) error {
	if len(c.Rows) != g.rows {
		return fmt.Errorf("a graph of %d rows is asked for %d: set trainer.Config.Shape", g.rows, len(c.Rows))
	}
	for i, row := range c.Rows {
		encode(p.features[i*features:][:features], c.Times[i], p.class(row))
	}
	return g.run(append([][]float32{c.X, p.features}, dv...)...)
}

func (p *policy) Velocity(_ context.Context, c sampler.Call[[]float32]) error {
	if err := p.run(p.forward, c); err != nil {
		return err
	}
	copy(c.V, p.forward.output.Data().([]float32))
	return nil
}

func (p *policy) Backward(_ context.Context, c sampler.Call[[]float32], dv []float32) error {
	return p.run(p.backward, c, dv) // Gorgonia adds up gradients until the solver steps
}

func (p *policy) Update(context.Context) error {
	p.still = nil
	return p.solver.Step(G.NodesToValueGrads(p.backward.params))
}
