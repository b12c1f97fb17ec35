package main

// The other recipe: the loss in operations of the graph, with GoMLX's own gradient. Each row
// brings the Affine of its step, three numbers. Package trainer draws, judges and gathers;
// the program calls its parts one by one.

import (
	stdctx "context"
	"math"

	"cps/grpo"
	"cps/grpo/trainer"
	"cps/logprob"

	"github.com/gomlx/gomlx/backends"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/gomlx/pkg/ml/train"
)

// lossGraph builds the clipped loss of transitions. Its inputs are x, time, class, the
// latents after the step, the step's Affine [n, 3], old log p [n, 1] and advantages [n, 1].
func lossGraph(ctx *context.Context, in []*Node, form logprob.Form, clip grpo.Objective) *Node {
	x, next, affine, old, adv := in[0], in[3], in[4], in[5], in[6]
	v := velocity(ctx, x, in[1], in[2])
	weight := func(i int) *Node { return Slice(affine, AxisRange(), AxisElem(i)) } // [n, 1]
	dim := x.Shape().Dimensions[1]
	d := Sub(next, Add(Mul(weight(0), x), Mul(weight(1), v)))
	logp := Neg(ReduceAndKeep(Square(d), ReduceSum, -1))
	if form.Gaussian {
		std := weight(2)
		logp = Sub(Div(logp, MulScalar(Square(std), 2)), MulScalar(AddScalar(Log(std), math.Log(2*math.Pi)/2), dim))
	}
	if !form.Sum {
		logp = DivScalar(logp, dim)
	}
	ratio := Exp(Sub(logp, old))
	clipped := MinScalar(MaxScalar(ratio, 1-clip.ClipLow), 1+clip.ClipHigh)
	return ReduceAllMean(Max(Neg(Mul(adv, ratio)), Neg(Mul(adv, clipped))))
}

// lossInputs returns the inputs of lossGraph.
func lossInputs(p *policy, b *trainer.Minibatch[[]float32]) []*tensors.Tensor {
	var affine, old, adv []float32
	for i, r := range b.Batch.Rows {
		affine = append(affine, float32(r.X), float32(r.V), float32(r.Eps))
		old, adv = append(old, float32(b.Old[i])), append(adv, float32(b.Advantages[i]))
	}
	return append(p.inputs(b.Call), matrix(b.Next, b.Call.Dim), matrix(affine, 3), matrix(old, 1), matrix(adv, 1))
}

// A graphTrainer trains by lossGraph.
type graphTrainer struct {
	*trainer.Trainer[[]float32]
	policy  *policy
	trainer *train.Trainer
}

func newGraphTrainer(backend backends.Backend, ctx *context.Context, rate float64, p *policy, t *trainer.Trainer[[]float32]) *graphTrainer {
	ctx, adam := fineTuned(ctx, rate)
	c := t.Config()
	model := func(ctx *context.Context, _ any, in []*Node) []*Node {
		return []*Node{lossGraph(ctx, in, c.Form, grpo.Objective(c.Objective.(trainer.Clip)))}
	}
	return &graphTrainer{t, p, train.NewTrainer(backend, ctx, model, func(_, loss []*Node) *Node { return loss[0] }, adam, nil, nil)}
}

// step does one iteration.
func (t *graphTrainer) step(ctx stdctx.Context) (it trainer.Iteration, err error) {
	r, err := t.Draw(ctx)
	if err == nil {
		err = t.Judge(ctx, r, &it)
	}
	if err == nil {
		err = t.Prepare(ctx, r)
	}
	if err != nil {
		return it, err
	}
	batches, err := r.Minibatches(0)
	if err != nil {
		return it, err
	}
	b := t.NewMinibatch()
	for _, items := range batches {
		if err := r.Fill(ctx, b, items); err != nil {
			return it, err
		}
		metrics, err := t.trainer.TrainStep(nil, lossInputs(t.policy, b), nil)
		if err != nil {
			return it, err
		}
		it.Loss += float64(tensors.ToScalar[float32](metrics[0])) / float64(len(batches))
		it.Updates++
	}
	t.Done()
	return it, nil
}
