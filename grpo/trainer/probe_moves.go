package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"

	"cps/sampler"
)

// byMoves compares Σg² with the slope of Σ dv·v along g, for several dv.
func (p *probe[B]) byMoves(ctx context.Context, m Mover) (err error) {
	move := func(h float64) (float64, error) {
		squares, err := m.Move(ctx, h)
		if err != nil {
			return 0, p.t.fail("CheckBackward: Move", err)
		}
		return squares, nil
	}
	restore := func() error {
		clean := context.WithoutCancel(ctx)
		_, e := m.Move(clean, 0)
		if e = errors.Join(e, m.ClearGradient(clean)); e != nil {
			return p.broken(p.t.fail("CheckBackward: restoring the policy", e))
		}
		return nil
	}
	defer func() {
		if e := restore(); e != nil {
			err = errors.Join(err, e)
		}
	}()
	if err := p.byWhole(ctx, move); err != nil {
		return err
	}
	if err := restore(); err != nil {
		return err
	}
	left, err := move(0)
	if err != nil {
		return err
	}
	if left != 0 {
		return p.broken(p.wrong("ClearGradient does not clear the gradient: its sum of squares is then %v", left))
	}
	return p.byParts(ctx, move, restore)
}

// byWhole draws dv in all elements.
func (p *probe[B]) byWhole(ctx context.Context, move func(h float64) (float64, error)) error {
	if err := p.drawAll(); err != nil {
		return err
	}
	var squares [2]float64 // after one Backward, and two
	for i := range squares {
		err := p.backward(ctx, p.b.DV)
		if err != nil {
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
		return p.wrong("%s", explain(factor, p.asked(), p.b.dim))
	}
	return nil
}

// byParts draws dv in single rows and in single elements, whose gradients have no others to
// hide behind. Rows are of the least and of the greatest time, since a Backward may take
// one time for all. restore clears the gradient.
func (p *probe[B]) byParts(ctx context.Context, move func(h float64) (float64, error), restore func() error) error {
	n, d, times := len(p.b.Call.Rows), p.b.dim, p.b.Call.Times
	low, high := 0, 0
	for i, t := range times {
		if t < times[low] {
			low = i
		}
		if t > times[high] {
			high = i
		}
	}
	pick := func(k, of int) int { return int(uint64(p.key.Derive(uint64(k))) % uint64(of)) }
	if low == high {
		high = pick(100, n)
	}
	type part struct{ row, lo, hi, dim int }
	var parts []part
	if n > 1 {
		for _, row := range []int{low, high} {
			parts = append(parts, part{row, row * d, (row + 1) * d, d})
		}
	}
	if p.precise() && d > 2 {
		for k, row := range []int{low, high, pick(101, n)} {
			lo := row*d + (pick(102, d)+k*d/3)%d
			parts = append(parts, part{row, lo, lo + 1, 1})
		}
	}
	for k, q := range parts {
		if err := restore(); err != nil {
			return err
		}
		if err := p.draw(p.key.Derive(uint64(k)), q.lo, q.hi, q.dim); err != nil {
			return err
		}
		factor, err := p.part(ctx, move)
		if err != nil {
			return err
		}
		if math.Abs(1/factor-1) >= p.partTolerance() {
			where := fmt.Sprintf("row %d", p.b.Call.Rows[q.row])
			if q.dim == 1 {
				where = fmt.Sprintf("element %d of ", q.lo%d) + where
			}
			return p.wrong("with dv nonzero in %s alone, at time %v, its gradient is %.4g times that by differences of Velocity, and with dv in all elements it is right: parts of it are wrong, for example some parameters, or the time or the condition of a row",
				where, times[q.row], factor)
		}
	}
	// Moved parameters may overflow the output; those of the policy must not.
	if err := restore(); err != nil {
		return err
	}
	if err := p.output(ctx, p.b.Call.V); err != nil {
		return err
	}
	return p.finite(p.b.Call.V)
}

// partTolerance returns how far the inverse of a part's factor may be from 1.
func (p *probe[B]) partTolerance() float64 {
	if p.precise() {
		return 0.1
	}
	return 0.2
}

// part returns the factor of the gradient for the present dv, and 1 if it cannot be told: if
// the gradient is 0, or if differences do not agree. If the gradient is right, the first
// move changes Σ dv·v by target·‖dv‖ to each side, so larger moves are not needed.
func (p *probe[B]) part(ctx context.Context, move func(h float64) (float64, error)) (float64, error) {
	var none B
	if err := p.backward(ctx, p.b.DV); err != nil {
		return 0, err
	}
	squares, err := move(0)
	if err != nil {
		return 0, err
	}
	if !(squares <= math.MaxFloat64) {
		return 0, p.wrong("the sum of squares of the gradient is %v", squares)
	}
	size, err := p.norm(p.b.Call.V, none, 0)
	if err != nil {
		return 0, err
	}
	size = max(size, p.size*math.Sqrt(float64(p.hi-p.lo)/float64(p.elements())))
	target, levels := size/2, 3 // where networks that compute with 16 bits inside are precise enough
	h := target * p.dv / squares
	if !(h*math.Sqrt(squares) <= 64*p.reach) { // or the gradient is 0
		return 1, nil
	}
	product, _, err := p.between(ctx, move, h)
	for range levels {
		if err != nil {
			return 0, err
		}
		slope := product
		h /= 2
		if product, _, err = p.between(ctx, move, h); math.Abs(product-slope) <= p.partTolerance()/2*squares {
			return squares / product, err
		}
	}
	return 1, err
}

// between returns Σ dv·v at +h less that at -h over 2h, and half of the norm of the change
// of v.
func (p *probe[B]) between(ctx context.Context, move func(h float64) (float64, error), h float64) (slope, length float64, err error) {
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
	product, length, err := p.change()
	return product / (2 * h), length / 2, err
}

// slope returns the derivative of Σ dv·v by h at 0. It takes differences until they agree.
func (p *probe[B]) slope(ctx context.Context, move func(h float64) (float64, error), squares float64) (float64, error) {
	var none B
	size, err := p.norm(p.b.Call.V, none, 0)
	if err != nil {
		return 0, err
	}
	if size == 0 {
		size = p.dv
	}
	p.size = size
	target := size / 8 // wanted norm of the change of the output to one side
	h := target * p.dv / squares
	moved := false
	for range 40 {
		slope, length, err := p.between(ctx, move, h)
		if err != nil {
			return 0, err
		}
		moved = moved || length != 0 // NaN is a change too
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
		p.reach = h * math.Sqrt(squares)
		half, _, err := p.between(ctx, move, h/2)
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
	return 0, fmt.Errorf("trainer: CheckBackward: differences of Velocity along the gradient do not agree with each other, because of rounding or because Velocity is rough, random or not finite: %w", sampler.ErrUndecided)
}
