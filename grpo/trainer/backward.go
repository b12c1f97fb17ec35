package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"cps/noise"
	"cps/sampler"
)

// ErrBackward reports a Backward that is not the derivative of Velocity.
var ErrBackward = errors.New("Backward is not the derivative of Velocity")

// A Mover can move its parameters along their gradient. [Trainer.CheckBackward] measures
// the gradient with it.
type Mover interface {
	// Move sets the parameters to θ + h·g, and returns Σg². θ are the parameters after the
	// last Update or Load, and g is the sum that Backward has added since. Move(0) restores
	// θ bit for bit. The average, the reference policy and the optimiser's state stay.
	Move(ctx context.Context, h float64) (squares float64, err error)

	// ClearGradient clears the gradient as Update does, and changes nothing else.
	ClearGradient(ctx context.Context) error
}

// CheckBackward compares Backward with differences of Velocity. The error names the sign or
// the factor that fits (ErrBackward). No other check finds these mistakes. A policy with
// the wrong sign lowers its reward, and reports nothing.
//
// It draws the samples of the next iteration, and takes as much of the first minibatch as
// fits into one Call. Backward gets random dv, and thus computes the gradient g of Σ dv·v.
//
//   - If the policy is a [Mover], its parameters move along g to both sides. Per unit of
//     the move, Σ dv·v must change by Σg². This finds a wrong sign, and a factor that is
//     off by 5% or more (20% if outputs have 16 bits). It also finds a gradient that is 0,
//     and a Backward that replaces the gradient instead of adding to it.
//   - If the policy is a [Saver], its state is saved in memory. From there, one Update
//     follows dv and one follows -dv. Σ dv·v must be lower after the first. This finds a
//     wrong sign, of Backward or of Update, and outputs that no Update changes. It does not
//     find a factor, since most optimisers divide it out.
//
// A gradient that is right for only some parameters passes, since others may be frozen. If
// rounding hides the difference, or Velocity is too rough, the error is
// [sampler.ErrUndecided]. A policy that is neither Mover nor Saver is ErrConfig.
//
// Afterwards the policy is as before, bit for bit, and its gradient is clear. If an error
// of the policy itself prevents this, Step returns the error until [Trainer.Restore]. Call
// CheckBackward once, at start-up. It does not count in [Timing].
func (t *Trainer[B]) CheckBackward(ctx context.Context) (err error) {
	mover, moves := t.raw.(Mover)
	saver, saves := t.raw.(Saver)
	if !moves && !saves {
		return bad("%T is neither Mover nor Saver: implement one, since CheckBackward moves parameters and restores them", t.raw)
	}
	timing := t.timing
	defer func() { t.timing = timing }()
	r, err := t.Draw(ctx)
	if err != nil {
		return err
	}
	batches, err := r.Minibatches(0)
	if err != nil {
		return t.fail("minibatches", err)
	}
	p := probe[B]{t: t, b: t.NewMinibatch()}
	defer func() {
		if e := p.free(); err == nil {
			err = e
		}
	}()
	for part := range chunks(t.config.Shape, batches[0]) {
		if err := r.gather(p.b, part); err != nil {
			return err
		}
		break
	}
	if err := p.prepare(r.Key.Derive(1)); err != nil {
		return err
	}
	if moves {
		err = p.byMoves(ctx, mover)
	}
	if err == nil && saves {
		err = p.byUpdates(ctx, saver, moves)
	}
	return err
}

// A probe is a Call on which CheckBackward runs Velocity and Backward.
type probe[B any] struct {
	t     *Trainer[B]
	b     *Minibatch[B]
	other B // memory for outputs
	batch sampler.Batch
	dv    float64 // ‖dv‖
}

// prepare draws dv and makes memory.
func (p *probe[B]) prepare(key noise.Key) (err error) {
	m, n := p.t.m, len(p.b.Call.Rows)
	if p.other, err = p.b.reference.Of(m, n*p.b.dim, p.b.output); err != nil {
		return p.t.fail("CheckBackward", err)
	}
	uniform(&p.batch, p.b.dim, n, sampler.Affine{Eps: 1})
	p.batch.Key = key
	for i := range p.batch.Rows {
		p.batch.Rows[i].Sample = uint64(i)
	}
	var none B
	m.Step(p.b.DV, none, none, p.batch, nil)
	p.dv, err = p.norm(p.b.DV, none, 0)
	return err
}

func (p *probe[B]) free() error { return p.b.Free() }

// norm returns ‖x - weight·y‖.
func (p *probe[B]) norm(x, y B, weight float64) (float64, error) {
	uniform(&p.batch, p.b.dim, len(p.b.Call.Rows), sampler.Affine{X: weight})
	var none B
	sq := make([]float64, len(p.batch.Rows))
	p.t.m.SumSquares(sq, x, y, none, p.batch)
	if err := p.t.m.Sync(); err != nil {
		return 0, p.t.fail("device", err)
	}
	var sum float64
	for _, x := range sq {
		sum += x
	}
	return math.Sqrt(sum), nil
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
func (p *probe[B]) backward(ctx context.Context) error {
	if err := p.output(ctx, p.b.Call.V); err != nil {
		return err
	}
	if err := p.t.policy.Backward(ctx, p.b.Call, p.b.DV); err != nil {
		return p.t.fail(fmt.Sprintf("CheckBackward: Backward of %d rows", len(p.b.Call.Rows)), err)
	}
	return nil
}

// broken remembers and returns err. The policy cannot be trained after it.
func (p *probe[B]) broken(err error) error {
	p.t.failed = err
	return err
}

// change returns Σ dv·(v - w) and ‖v - w‖ of the outputs v and w, with v in p.other and w
// in p.b.Call.V. It overwrites v. The product is the difference of two sums of squares, so
// both of its terms are first scaled to one size.
func (p *probe[B]) change() (product, size float64, err error) {
	var none B
	v := p.other
	p.t.m.Step(v, v, p.b.Call.V, uniform(&p.batch, p.b.dim, len(p.b.Call.Rows), sampler.Affine{X: 1, V: -1}), nil)
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

// byMoves compares Σg² with the slope of Σ dv·v along g.
func (p *probe[B]) byMoves(ctx context.Context, m Mover) (err error) {
	move := func(h float64) (float64, error) {
		squares, err := m.Move(ctx, h)
		if err != nil {
			return 0, p.t.fail("CheckBackward: Move", err)
		}
		return squares, nil
	}
	defer func() {
		clean := context.WithoutCancel(ctx)
		_, e := m.Move(clean, 0)
		if e = errors.Join(e, m.ClearGradient(clean)); e != nil {
			err = errors.Join(err, p.broken(p.t.fail("CheckBackward: restoring the policy", e)))
		}
	}()
	var squares [2]float64 // after one Backward, and two
	for i := range squares {
		if err := p.backward(ctx); err != nil {
			return err
		}
		if squares[i], err = move(0); err != nil {
			return err
		}
	}
	once, twice := squares[0], squares[1]
	switch {
	case !(once <= math.MaxFloat64) || !(twice <= math.MaxFloat64):
		return p.wrong("the sum of squares of the gradient is %v, and after another call %v", once, twice)
	case once == 0:
		return p.wrong("the gradient of Σ dv·v with random dv is 0 in every parameter: Backward adds nothing")
	case math.Abs(twice/once-1) < 0.05:
		return p.wrong("a second call leaves the gradient as it is: Backward replaces the gradient, and must add to it, for a minibatch may come in several Calls")
	case math.Abs(twice/once-4) > 0.2:
		return p.wrong("a second, equal call makes the gradient %.4g times as long, and must double it: was the gradient clear?", math.Sqrt(twice/once))
	}
	slope, err := p.slope(ctx, move, twice)
	if err != nil {
		return err
	}
	if factor := twice / slope / 2; math.Abs(factor-1) >= p.tolerance() {
		return p.wrong("%s", explain(factor, len(p.b.Call.Rows), p.b.dim))
	}
	return nil
}

// slope returns the derivative of Σ dv·v by h at 0. It takes differences until they agree.
func (p *probe[B]) slope(ctx context.Context, move func(h float64) (float64, error), squares float64) (float64, error) {
	size, err := p.norm(p.b.Call.V, p.b.DV, 0) // norm of the output, or of dv if the output is 0
	if err != nil {
		return 0, err
	}
	if size == 0 {
		size = p.dv
	}
	between := func(h float64) (product, length float64, err error) {
		for _, side := range []struct {
			h float64
			v B
		}{{h, p.other}, {-h, p.b.Call.V}} {
			if _, err := move(side.h); err != nil {
				return 0, 0, err
			}
			if err := p.output(ctx, side.v); err != nil {
				return 0, 0, err
			}
		}
		product, length, err = p.change()
		return product / (2 * h), length / 2, err
	}
	target := size / 64 // wanted norm of the change of the output to one side
	if !p.precise() {
		target = size / 8
	}
	h := target * p.dv / squares
	moved := false
	for range 40 {
		slope, length, err := between(h)
		if err != nil {
			return 0, err
		}
		moved = moved || length > 0
		switch ratio := length / target; {
		case !(ratio <= 64): // or NaN
			h /= 64
			continue
		case ratio < 1./64:
			h *= 64
			continue
		case ratio < 1./4 || ratio > 1:
			h /= 2 * ratio
			continue
		}
		half, _, err := between(h / 2)
		switch {
		case err != nil:
			return 0, err
		case math.Abs(slope-half) < p.tolerance()/2*math.Abs(half):
			return half, nil
		}
		target /= 2
		h /= 2
		if target < size*0x1p-14 {
			break
		}
	}
	if !moved {
		return 0, p.wrong("the gradient is not 0, and parameters that are moved along it leave the output as it is: it is of other parameters, or Move does nothing")
	}
	return 0, fmt.Errorf("trainer: CheckBackward: differences of Velocity along the gradient do not agree with each other, because of rounding or because Velocity is rough or random: %w", sampler.ErrUndecided)
}

// wrong returns an ErrBackward with a reason.
func (p *probe[B]) wrong(format string, args ...any) error {
	return fmt.Errorf("trainer: CheckBackward: %w: %s", ErrBackward, fmt.Sprintf(format, args...))
}

// explain describes the factor of a gradient, for a Call of rows times dim elements.
func explain(factor float64, rows, dim int) string {
	s := fmt.Sprintf("its gradient is %.4g times that by differences of Velocity", factor)
	if factor < 0 {
		s += ": the sign is wrong"
		if factor = -factor; math.Abs(factor-1) < 0.05 {
			return s + ", and nothing else: dv is ∂loss/∂v, and Update goes against the gradient"
		}
	}
	n, d := float64(rows), float64(dim)
	for _, f := range []struct {
		factor float64
		is     string
	}{
		{1 / n, fmt.Sprintf("1/%d, a mean over the rows of the Call, where the sum is asked for", rows)},
		{1 / (n * d), fmt.Sprintf("1/(%d·%d), a mean over all elements of the Call, where the sum is asked for", rows, dim)},
		{1 / d, fmt.Sprintf("1/%d, a mean over the elements of a row, where the sum is asked for", dim)},
		{n, fmt.Sprintf("%d, the rows of the Call", rows)},
		{d, fmt.Sprintf("%d, the elements of a row", dim)},
		{n * d, fmt.Sprintf("%d·%d, the elements of the Call", rows, dim)},
		{2, "2, as of a square"},
		{0.5, "1/2, as of half a square"},
	} {
		if math.Abs(factor/f.factor-1) < 0.05 {
			return s + ": the factor is about " + f.is
		}
	}
	return s
}

// byUpdates compares Σ dv·v after an Update with dv and after one with -dv. right says
// whether the gradient is known to be right. This decides what an Update that changes
// nothing means.
func (p *probe[B]) byUpdates(ctx context.Context, s Saver, right bool) error {
	var state bytes.Buffer
	if err := s.Save(&state); err != nil {
		return p.t.fail("CheckBackward: Save", err)
	}
	var none B
	if err := p.output(ctx, p.b.Call.V); err != nil {
		return err
	}
	size, err := p.norm(p.b.Call.V, none, 0)
	if err != nil {
		return err
	}
	for _, v := range []B{p.other, p.b.Call.V} {
		if err := p.backward(ctx); err != nil {
			return p.broken(err) // part of a gradient may be left
		}
		if err := p.t.policy.Update(ctx); err != nil {
			return p.broken(p.t.fail("CheckBackward: Update", err))
		}
		err := p.output(ctx, v)
		if e := s.Load(bytes.NewReader(state.Bytes())); e != nil {
			err = p.broken(p.t.fail("CheckBackward: Load", e))
		}
		if err != nil {
			return err
		}
		p.t.m.Step(p.b.DV, p.b.DV, none, uniform(&p.batch, p.b.dim, len(p.b.Call.Rows), sampler.Affine{X: -1}), nil)
	}
	product, length, err := p.change()
	rounding := 0x1p-20 * size
	if !p.precise() {
		rounding = 0x1p-8 * size
	}
	switch {
	case err != nil:
		return err
	case length == 0 && !right:
		return p.wrong("Updates after Backward with dv and with -dv leave the same outputs: no gradient reaches the parameters, or the learning rate is 0")
	case math.IsNaN(product) || math.Abs(product) <= rounding:
		return fmt.Errorf("trainer: CheckBackward: an Update changes Σ dv·v by %.2g, which is within rounding: the learning rate may be too small to see, as in a warm-up: %w", product, sampler.ErrUndecided)
	case product > 0:
		return p.wrong("the sign is wrong, of Backward or of Update: an Update after Backward with dv makes Σ dv·v larger by %.2g than one with -dv", product)
	}
	return nil
}
