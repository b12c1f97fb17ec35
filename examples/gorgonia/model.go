package main

// The trainer that was there before: a velocity network of digits and its training by flow
// matching, with Gorgonia alone. Time 1 is noise and 0 is data, and the velocity is
// noise - data. Nothing here knows of package sampler.

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"cps/examples/internal/digits"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

const (
	waves    = 5 // frequencies that the network sees the time in
	features = 1 + 2*waves + digits.Classes
)

// weights are a network of residual layers, shared by its graphs: a pair of a matrix and a bias for
// each layer.
type weights []*tensor.Dense

// newWeights returns a network that has not learned anything.
func newWeights(width int, random *rand.Rand) weights {
	var w weights
	for _, s := range [][2]int{{digits.Dim + features, width}, {width, width}, {width, width}, {width, digits.Dim}} {
		matrix := make([]float32, s[0]*s[1])
		for i := range matrix {
			matrix[i] = float32(random.NormFloat64() / math.Sqrt(float64(s[0])))
		}
		w = append(w, dense(matrix, s[0], s[1]), dense(make([]float32, s[1]), 1, s[1]))
	}
	return w
}

// clone returns a network of the same weights, which may learn something else.
func (w weights) clone() weights {
	var c weights
	for _, t := range w {
		c = append(c, t.Clone().(*tensor.Dense))
	}
	return c
}

// dense returns a tensor over x, which it shares.
func dense(x []float32, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(x))
}

// A graph is the network for a number of rows, which is fixed when the graph is made.
type graph struct {
	rows         int
	inputs       G.Nodes // latents, features, and what the loss takes besides, all [rows, …]
	params       G.Nodes // over the weights
	output, loss G.Value // of the last run; the output is [rows, 64]
	vm           G.VM
}

// newGraph returns a graph over w. With a loss, which is a function of the output and of an
// input of its shape, a run adds its gradient to that of the weights.
func newGraph(w weights, rows int, loss func(output, input *G.Node) *G.Node) (*graph, error) {
	e := G.NewGraph()
	matrix := func(name string, columns int) *G.Node {
		return G.NewMatrix(e, G.Float32, G.WithShape(rows, columns), G.WithName(name))
	}
	g := &graph{rows: rows, inputs: G.Nodes{matrix("x", digits.Dim), matrix("features", features)}}
	h := G.Must(G.Concat(1, g.inputs...))
	for i := 0; i < len(w); i += 2 {
		for k := range 2 {
			g.params = append(g.params, G.NewMatrix(e, G.Float32, G.WithShape(w[i+k].Shape()...), G.WithName(fmt.Sprint("weights ", i+k)), G.WithValue(w[i+k])))
		}
		a := G.Must(G.BroadcastAdd(G.Must(G.Mul(h, g.params[i])), g.params[i+1], nil, []byte{0}))
		if i < len(w)-2 {
			a = G.Must(G.Tanh(a))
		}
		if i > 0 && i < len(w)-2 {
			a = G.Must(G.Add(a, h))
		}
		h = a
	}
	G.Read(h, &g.output) // a copy: operations of the loss take the memory of the node
	if loss == nil {
		g.vm = G.NewTapeMachine(e)
		return g, nil
	}
	g.inputs = append(g.inputs, matrix("loss input", digits.Dim))
	l := loss(h, g.inputs[2])
	G.Read(l, &g.loss)
	if _, err := G.Grad(l, g.params...); err != nil {
		return nil, err
	}
	g.vm = G.NewTapeMachine(e, G.BindDualValues(g.params...)) // without, a run overwrites the gradient
	return g, nil
}

// run evaluates the graph for values of its inputs, which it reads until it returns.
func (g *graph) run(values ...[]float32) error {
	for i, x := range values {
		if err := G.Let(g.inputs[i], dense(x, g.rows, len(x)/g.rows)); err != nil {
			return err
		}
	}
	defer g.vm.Reset() // without, the next run does nothing
	return g.vm.RunAll()
}

// encode stores what the network is told of the time and the class of a row.
func encode(dst []float32, time float64, class int) {
	clear(dst)
	dst[0] = float32(time)
	for k := range waves {
		sin, cos := math.Sincos(float64(int(1)<<k) * time)
		dst[1+k], dst[1+waves+k] = float32(sin), float32(cos)
	}
	dst[1+2*waves+class] = 1
}

// pretrain trains the network on the images, and returns an average of the last losses.
func pretrain(ctx context.Context, w weights, steps int, random *rand.Rand) (loss float64, err error) {
	const rows = 120
	set, err := digits.Load()
	if err != nil {
		return 0, err
	}
	g, err := newGraph(w, rows, func(output, target *G.Node) *G.Node {
		return G.Must(G.Mean(G.Must(G.Square(G.Must(G.Sub(output, target))))))
	})
	if err != nil {
		return 0, err
	}
	adam := G.NewAdamSolver(G.WithLearnRate(2e-3))
	x, f, target := make([]float32, rows*digits.Dim), make([]float32, rows*features), make([]float32, rows*digits.Dim)
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for row := range rows {
			image, t := random.IntN(set.Len()), random.Float64()
			encode(f[row*features:][:features], t, set.Labels[image])
			for k, clean := range set.Image(image) {
				noise := float32(random.NormFloat64())
				x[row*digits.Dim+k], target[row*digits.Dim+k] = float32(1-t)*clean+float32(t)*noise, noise-clean
			}
		}
		if err := g.run(x, f, target); err != nil {
			return 0, err
		}
		now := float64(g.loss.Data().(float32))
		if step == 0 {
			loss = now
		}
		loss += (now - loss) / 50
		if err := adam.Step(G.NodesToValueGrads(g.params)); err != nil {
			return 0, err
		}
	}
	return loss, nil
}
