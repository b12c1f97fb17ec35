package main

// A trainer without this library: a velocity network of digits and its training by flow
// matching, with GoMLX alone, in the convention of GoMLX's own example. Time 0 is noise and
// 1 is data, and the velocity is data - noise. Nothing here uses package sampler.

import (
	"cps/examples/internal/digits"

	"github.com/gomlx/gomlx/backends"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/gomlx/pkg/ml/datasets"
	"github.com/gomlx/gomlx/pkg/ml/layers"
	"github.com/gomlx/gomlx/pkg/ml/layers/activations"
	"github.com/gomlx/gomlx/pkg/ml/train"
	"github.com/gomlx/gomlx/pkg/ml/train/optimizers"
)

// newContext returns the memory of a new network.
func newContext(width int, seed int64) (*context.Context, error) {
	ctx := context.New()
	ctx.SetParams(map[string]any{
		"width":                      width,
		activations.ParamActivation:  "swish",
		optimizers.ParamOptimizer:    "adam",
		optimizers.ParamLearningRate: 2e-3,
	})
	return ctx, ctx.SetRNGStateFromSeed(seed)
}

// velocity is the network: x [n, 64], time [n, 1], class [n, 1] int32 to [n, 64].
func velocity(ctx *context.Context, x, time, class *Node) *Node {
	ctx = ctx.In("velocity")
	width := context.GetParamOr(ctx, "width", 96)
	phase := Mul(time, Const(x.Graph(), [][]float32{{1, 2, 4, 8, 16}}))
	embedded := layers.Embedding(ctx.In("class"), class, x.DType(), digits.Classes, 32)
	embedded = Reshape(embedded, x.Shape().Dimensions[0], 32)
	h := Concatenate([]*Node{x, time, Sin(phase), Cos(phase), embedded}, -1)
	h = activations.ApplyFromContext(ctx, layers.DenseWithBias(ctx.In("in"), h, width))
	for i := range 2 {
		h = Add(h, activations.ApplyFromContext(ctx, layers.DenseWithBias(ctx.Inf("hidden%d", i), h, width)))
	}
	return layers.DenseWithBias(ctx.In("out"), h, digits.Dim)
}

// flowMatching is the model of pretraining: the loss is its output.
func flowMatching(ctx *context.Context, _ any, inputs []*Node) []*Node {
	data, class := inputs[0], inputs[1]
	g := data.Graph()
	noise := ctx.RandomNormal(g, data.Shape())
	time := ctx.RandomUniform(g, shapes.Make(data.DType(), data.Shape().Dimensions[0], 1))
	x := StopGradient(Add(Mul(data, time), Mul(noise, OneMinus(time))))
	v := velocity(ctx, x, time, class)
	return []*Node{ReduceAllMean(Square(Sub(v, Sub(data, noise))))}
}

// pretrain trains the network on the images with GoMLX's own trainer and loop.
func pretrain(backend backends.Backend, ctx *context.Context, steps int) (loss float32, err error) {
	set, err := digits.Load()
	if err != nil {
		return 0, err
	}
	n := set.Len()
	labels := make([]int32, n)
	for i, l := range set.Labels {
		labels[i] = int32(l)
	}
	images, err := datasets.InMemoryFromData(backend, "digits",
		[]any{tensors.FromFlatDataAndDimensions(set.Pixels, n, digits.Dim), tensors.FromFlatDataAndDimensions(labels, n, 1)}, nil)
	if err != nil {
		return 0, err
	}
	images.Shuffle().Infinite(true).BatchSize(128, true)
	t := train.NewTrainer(backend, ctx, flowMatching, func(_, outputs []*Node) *Node { return outputs[0] }, optimizers.FromContext(ctx), nil, nil)
	metrics, err := train.NewLoop(t).RunSteps(images, steps)
	if err != nil {
		return 0, err
	}
	return tensors.ToScalar[float32](metrics[1]), nil
}
