package finetune

import (
	"context"
	"slices"

	"cps/examples/internal/digits"
	"cps/grpo"
	"cps/sampler"
)

// A policy is the trainer.Policy of this package: a network, its optimiser, and the other
// weights of a run.
type policy struct {
	net  *digits.Net // trained
	mean *digits.Net // evaluated
	ref  *digits.Net // reference of the divergence

	adam  *digits.Adam
	rate  float64
	grad  []float32
	digit func(row int) int // returns the digit of a row of the run

	pass, reference *digits.Pass
	last            []float32 // output of the pass
	still           []float32 // parameters before Move
	classes         []int
	trained         int // rows that Backward had
}

func newPolicy(net *digits.Net, rate float64) *policy {
	n := len(net.Params())
	return &policy{net: net, mean: net.Clone(), ref: net.Clone(), adam: digits.NewAdam(n), rate: rate, grad: make([]float32, n)}
}

// forward runs a network on a Call, in a pass that grows as needed.
func (p *policy) forward(net *digits.Net, pass **digits.Pass, c sampler.Call[[]float32]) error {
	if *pass == nil || (*pass).Rows() < len(c.Rows) {
		*pass = digits.NewPass(net, len(c.Rows))
	}
	p.classes = p.classes[:0]
	for _, row := range c.Rows {
		p.classes = append(p.classes, p.digit(row))
	}
	(*pass).Forward(c.V, c.X, p.classes, c.Times)
	return nil
}

// Velocity implements trainer.Policy.
func (p *policy) Velocity(_ context.Context, c sampler.Call[[]float32]) error {
	p.last = c.V
	return p.forward(p.net, &p.pass, c)
}

// Backward implements trainer.Policy. It uses the last forward pass if that was of c, and
// otherwise repeats it.
func (p *policy) Backward(ctx context.Context, c sampler.Call[[]float32], dv []float32) error {
	if len(p.last) != len(c.V) || &p.last[0] != &c.V[0] {
		if err := p.Velocity(ctx, c); err != nil {
			return err
		}
	}
	p.pass.Backward(p.grad, dv)
	p.trained += len(c.Rows)
	return nil
}

// Update implements trainer.Policy.
func (p *policy) Update(context.Context) error {
	p.adam.Step(p.net.Params(), p.grad, p.rate)
	p.last, p.still = nil, nil
	return nil
}

// Move implements trainer.Mover.
func (p *policy) Move(_ context.Context, h float64) (squares float64, err error) {
	params := p.net.Params()
	if p.still == nil {
		p.still = slices.Clone(params)
	}
	p.last = nil
	copy(params, p.still)
	for i, g := range p.grad {
		if h != 0 { // which keeps the sign of a zero
			params[i] += float32(h * float64(g))
		}
		squares += float64(g) * float64(g)
	}
	return squares, nil
}

// ClearGradient implements trainer.Mover.
func (p *policy) ClearGradient(context.Context) error {
	clear(p.grad)
	p.still = nil
	return nil
}

// Reference implements trainer.Referrer.
func (p *policy) Reference(_ context.Context, c sampler.Call[[]float32]) error {
	return p.forward(p.ref, &p.reference, c)
}

// Average implements trainer.Averager.
func (p *policy) Average(_ context.Context, e grpo.EMA, step int) error {
	return grpo.Average(p.mean.Params(), p.net.Params(), e, step)
}

// Follow implements trainer.Follower.
func (p *policy) Follow(_ context.Context, e grpo.EMA, step int) error {
	return grpo.Average(p.ref.Params(), p.net.Params(), e, step)
}

// lists returns all numbers that training changes.
func (p *policy) lists() [5][]float32 {
	m, v, _ := p.adam.State()
	return [5][]float32{p.net.Params(), m, v, p.mean.Params(), p.ref.Params()}
}
