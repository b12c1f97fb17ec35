package main

import (
	stdctx "context"
	"errors"

	"cps/sampler"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/gomlx/pkg/ml/train"
	"github.com/gomlx/gomlx/pkg/ml/train/optimizers"
)

// newPolicy returns the network as a policy, with GoMLX's own trainer. The loss is Σ dv·v
// over the rows of every Call since the last update. Its gradient by v is therefore the dv
// that package trainer computed.
func newPolicy(backend backends.Backend, ctx *context.Context, rate float64, class func(row int) int32) (*policy, error) {
	ctx, adam := fineTuned(ctx, rate)
	eval, err := context.NewExec(backend, ctx, velocity)
	model := func(ctx *context.Context, _ any, in []*Node) (v []*Node) {
		for ; len(in) > 0; in = in[3:] {
			v = append(v, velocity(ctx, in[0], in[1], in[2]))
		}
		return v
	}
	injected := func(dv, v []*Node) *Node {
		loss := ScalarZero(v[0].Graph(), v[0].DType())
		for i := range v {
			loss = Add(loss, ReduceAllSum(Mul(StopGradient(dv[i]), v[i])))
		}
		return loss
	}
	return &policy{eval: eval, trainer: train.NewTrainer(backend, ctx, model, injected, adam, nil, nil), class: class}, err
}

// fineTuned returns the memory of a network for further training, and a new optimiser. It
// sets the learning rate, since GoMLX would keep that of pretraining.
func fineTuned(ctx *context.Context, rate float64) (*context.Context, optimizers.Interface) {
	ctx = ctx.Checked(false)
	optimizers.LearningRateVarWithValue(ctx, dtypes.Float32, rate).MustSetValue(tensors.FromScalar(float32(rate)))
	return ctx, optimizers.Adam().Scope("grpo").LearningRate(rate).Done()
}

// glue: begin
type policy struct {
	eval    *context.Exec
	trainer *train.Trainer
	class   func(row int) int32
	in, dv  []*tensors.Tensor // of every Backward since the last Update
}

func (p *policy) inputs(c sampler.Call[[]float32]) []*tensors.Tensor {
	times, classes := make([]float32, len(c.Rows)), make([]int32, len(c.Rows))
	for i, row := range c.Rows {
		times[i], classes[i] = float32(c.Times[i]), p.class(row)
	}
	return []*tensors.Tensor{matrix(c.X, c.Dim), matrix(times, 1), matrix(classes, 1)}
}

func (p *policy) Velocity(_ stdctx.Context, c sampler.Call[[]float32]) error {
	in := p.inputs(c)
	v, err := p.eval.Exec1(in[0], in[1], in[2])
	if err != nil {
		return err
	}
	return errors.Join(tensors.ConstFlatData(v, func(flat []float32) { copy(c.V, flat) }), v.FinalizeAll())
}

func (p *policy) Backward(_ stdctx.Context, c sampler.Call[[]float32], dv []float32) error {
	p.in, p.dv = append(p.in, p.inputs(c)...), append(p.dv, matrix(dv, c.Dim))
	return nil
}

func (p *policy) Update(stdctx.Context) error {
	_, err := p.trainer.TrainStep(nil, p.in, p.dv)
	p.in, p.dv = nil, nil
	return err
}

// glue: end

// matrix returns a copy of x with rows of n elements.
func matrix[T float32 | int32](x []T, n int) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(x, len(x)/n, n)
}
