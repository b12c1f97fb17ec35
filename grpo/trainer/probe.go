package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"

	"cps/internal/room"
	"cps/noise"
	"cps/sampler"
)

// A probe is a Call on which CheckBackward runs Velocity and Backward.
type probe[B any] struct {
	t     *Trainer[B]
	b     *Minibatch[B]
	key   noise.Key
	rooms [5]room.Room[B]
	other B // memory for outputs
	batch sampler.Batch

	lo, hi, dim int     // dv is 0 outside of [lo, hi), which is cut into rows of dim
	dv          float64 // ‖dv‖
	size        float64 // norm of the whole output, or of the whole dv if the output is 0
	reach       float64 // how far parameters were moved with the whole dv
}

// memory returns buffer i, of the size of the output.
func (p *probe[B]) memory(i int, t sampler.Storage) (B, error) {
	x, err := p.rooms[i].Of(p.t.m, p.elements(), t)
	if err != nil {
		return x, p.t.fail("CheckBackward", err)
	}
	return x, nil
}

// asked returns the number of rows of a Call as the policy gets it.
func (p *probe[B]) asked() int {
	if s := p.t.config.Shape; s.Fixed {
		return s.Rows
	}
	return len(p.b.Call.Rows)
}

// elements returns the number of elements of the output.
func (p *probe[B]) elements() int { return len(p.b.Call.Rows) * p.b.dim }

// draw draws dv in the elements [lo, hi), as rows of dim. Others are 0.
func (p *probe[B]) draw(key noise.Key, lo, hi, dim int) (err error) {
	var none B
	p.clear(p.b.DV)
	p.lo, p.hi, p.dim = lo, hi, dim
	b := p.uniform(sampler.Affine{Eps: 1})
	b.Key = key
	for i := range b.Rows {
		b.Rows[i].Sample = uint64(i)
	}
	p.t.m.Step(p.cut(p.b.DV), none, none, b, nil)
	p.dv, err = p.norm(p.b.DV, none, 0)
	return err
}

// drawAll draws dv in all elements.
func (p *probe[B]) drawAll() error { return p.draw(p.key, 0, p.elements(), p.b.dim) }

// clear stores 0 in all elements of x.
func (p *probe[B]) clear(x B) {
	var none B
	p.t.m.Step(x, none, none, uniform(&p.batch, p.b.dim, len(p.b.Call.Rows), sampler.Affine{}), nil)
}

// cut returns the elements of x where dv is drawn.
func (p *probe[B]) cut(x B) B { return p.t.m.Slice(x, p.lo, p.hi) }

// uniform returns a batch for cut, with a in all rows.
func (p *probe[B]) uniform(a sampler.Affine) sampler.Batch {
	return uniform(&p.batch, p.dim, (p.hi-p.lo)/p.dim, a)
}

func (p *probe[B]) free() error {
	err := p.b.Free()
	for i := range p.rooms {
		err = errors.Join(err, p.rooms[i].Free(p.t.m))
	}
	return err
}

// norm returns ‖x - weight·y‖ over the elements where dv is drawn.
func (p *probe[B]) norm(x, y B, weight float64) (float64, error) {
	var none B
	b := p.uniform(sampler.Affine{X: weight})
	sq := make([]float64, len(b.Rows))
	if weight == 0 {
		y = none
	} else {
		y = p.cut(y)
	}
	p.t.m.SumSquares(sq, p.cut(x), y, none, b)
	if err := p.t.m.Sync(); err != nil {
		return 0, p.t.fail("device", err)
	}
	var sum float64
	for _, x := range sq {
		sum += x
	}
	return math.Sqrt(sum), nil
}

// finite returns an error unless all elements of an output are finite.
func (p *probe[B]) finite(v B) error {
	var none B
	sq := make([]float64, len(p.b.Call.Rows))
	p.t.m.SumSquares(sq, v, none, none, uniform(&p.batch, p.b.dim, len(sq), sampler.Affine{}))
	if err := p.t.m.Sync(); err != nil {
		return p.t.fail("device", err)
	}
	for i, x := range sq {
		if !(x <= math.MaxFloat64) {
			return fmt.Errorf("trainer: CheckBackward: Velocity of row %d of the run, at time %v: the sum of squares of the output is %v", p.b.Call.Rows[i], p.b.Call.Times[i], x)
		}
	}
	return nil
}

// output stores the output at the present parameters in v.
func (p *probe[B]) output(ctx context.Context, v B) error {
	c := p.b.Call
	c.V = v
	if err := p.t.policy.Velocity(ctx, c); err != nil {
		return p.t.fail(fmt.Sprintf("CheckBackward: Velocity of %d rows", len(c.Rows)), err)
	}
	return nil
}

// backward evaluates the output at the present parameters, and adds the gradient of Σ dv·v.
func (p *probe[B]) backward(ctx context.Context, dv B) error {
	if err := p.output(ctx, p.b.Call.V); err != nil {
		return err
	}
	if err := p.finite(p.b.Call.V); err != nil {
		return err
	}
	return p.add(ctx, dv)
}

// add adds the gradient of Σ dv·v, after output into p.b.Call.V.
func (p *probe[B]) add(ctx context.Context, dv B) error {
	if err := p.t.policy.Backward(ctx, p.b.Call, dv); err != nil {
		return p.t.fail(fmt.Sprintf("CheckBackward: Backward of %d rows", len(p.b.Call.Rows)), err)
	}
	return nil
}

// broken remembers and returns err. The policy cannot be trained after it.
func (p *probe[B]) broken(err error) error {
	p.t.failed = err
	return err
}

// change returns Σ dv·(v - w) and ‖v - w‖ of the outputs v and w, over the elements where dv
// is drawn, with v in p.other and w in p.b.Call.V. It overwrites v. The product is the
// difference of two sums of squares, so both of its terms are first scaled to one size.
func (p *probe[B]) change() (product, size float64, err error) {
	var none B
	v := p.other
	p.t.m.Step(p.cut(v), p.cut(v), p.cut(p.b.Call.V), p.uniform(sampler.Affine{X: 1, V: -1}), nil)
	if size, err = p.norm(v, none, 0); err != nil || size == 0 {
		return 0, size, err
	}
	weight := size / p.dv
	far, err := p.norm(v, p.b.DV, -weight)
	if err != nil {
		return 0, 0, err
	}
	near, err := p.norm(v, p.b.DV, weight)
	return (far - near) * (far + near) / (4 * weight), size, err
}

// precise reports whether outputs are float32.
func (p *probe[B]) precise() bool {
	return p.b.output == sampler.Float32 && p.b.storage == sampler.Float32
}

// tolerance returns how far a measured factor may be from 1.
func (p *probe[B]) tolerance() float64 {
	if p.precise() {
		return 0.05
	}
	return 0.2
}
