package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"cps/sampler"
)

// byUpdates compares Σ dv·v after an Update with dv and after one with -dv. If the policy is
// a Mover too, its gradient is known to be right. This decides what an Update that changes
// nothing means.
func (p *probe[B]) byUpdates(ctx context.Context, s Saver, m Mover) error {
	if err := p.drawAll(); err != nil {
		return err
	}
	begin, err := p.save(s)
	if err != nil {
		return err
	}
	var none B
	if err := p.output(ctx, p.b.Call.V); err != nil {
		return err
	}
	size, err := p.norm(p.b.Call.V, none, 0)
	if err != nil {
		return err
	}
	rounding := 0x1p-20 * size
	if !p.precise() {
		rounding = 0x1p-8 * size
	}
	if m == nil {
		if err := p.repeats(ctx, s, begin, rounding); err != nil {
			return err
		}
	}
	for _, v := range []B{p.other, p.b.Call.V} {
		left := 0.0
		err := p.update(ctx, p.b.DV, v)
		if err == nil && m != nil {
			left, err = p.left(ctx, m)
		}
		if err = errors.Join(err, p.load(s, begin)); err != nil {
			return err
		}
		if left != 0 {
			return p.wrong("Update does not clear the gradient: its sum of squares is then %v", left)
		}
		p.t.m.Step(p.b.DV, p.b.DV, none, p.uniform(sampler.Affine{X: -1}), nil)
	}
	product, length, err := p.change()
	switch {
	case err != nil:
		return err
	case length == 0 && m == nil:
		return p.wrong("Updates after Backward with dv and with -dv leave the same outputs: no gradient reaches the parameters, or the learning rate is 0")
	case math.IsNaN(product) || math.Abs(product) <= rounding:
		return fmt.Errorf("trainer: CheckBackward: an Update changes Σ dv·v by %.2g, which is within rounding: the learning rate may be too small to see, as in a warm-up: %w", product, sampler.ErrUndecided)
	case product > 0:
		return p.wrong("the sign is wrong, of Backward or of Update: an Update after Backward with dv makes Σ dv·v larger by %.2g than one with -dv", product)
	}
	return nil
}

// repeats reports a gradient that is left after Update, for a policy that cannot say what
// its gradient is. An Update with dv = 0 then repeats the Update with dv before it. It does so
// from the state after that Update, unless Load clears gradients, and from the state before
// it, unless Load keeps them. rounding is what outputs differ by at least.
func (p *probe[B]) repeats(ctx context.Context, s Saver, begin []byte, rounding float64) error {
	zero, err := p.memory(4, p.b.grads)
	if err != nil {
		return err
	}
	p.clear(zero)
	var still, again, out B // outputs
	for i, x := range []*B{&still, &again, &out} {
		if *x, err = p.memory(i+1, p.b.output); err != nil {
			return err
		}
	}
	var after []byte
	var effect, fromAfter, fromBegin float64
	load := func(state *[]byte) func() error { return func() error { return p.load(s, *state) } }
	update := func(dv, v B) func() error { return func() error { return p.update(ctx, dv, v) } }
	distance := func(to *float64, v, w B) func() error {
		return func() (err error) {
			*to, err = p.norm(v, w, 1)
			return err
		}
	}
	for _, do := range []func() error{
		update(zero, still), load(&begin),
		update(p.b.DV, out), distance(&effect, out, still),
		func() (err error) { after, err = p.save(s); return err },
		update(zero, again), load(&after),
		update(zero, out), distance(&fromAfter, again, out), load(&begin),
		update(zero, out), distance(&fromBegin, still, out), load(&begin),
	} {
		if err := do(); err != nil {
			return errors.Join(err, p.load(s, begin))
		}
	}
	if effect > rounding && max(fromAfter, fromBegin) > effect/16 {
		return p.broken(p.wrong("Update does not clear the gradient, or Save and Load do not keep all of the optimiser's state: an Update with dv = 0 depends on dv of the Update before"))
	}
	return nil
}

// update takes a step of the optimiser with dv, and stores the output in v.
func (p *probe[B]) update(ctx context.Context, dv, v B) error {
	if err := p.output(ctx, p.b.Call.V); err != nil {
		return err
	}
	if err := p.add(ctx, dv); err != nil {
		return p.broken(err) // part of a gradient may be left
	}
	if err := p.t.policy.Update(ctx); err != nil {
		return p.broken(p.t.fail("CheckBackward: Update", err))
	}
	return p.output(ctx, v)
}

// left returns the sum of squares of the gradient, and clears it.
func (p *probe[B]) left(ctx context.Context, m Mover) (float64, error) {
	left, err := left(ctx, m)
	if err != nil {
		return 0, p.broken(p.t.fail("CheckBackward", err))
	}
	return left, nil
}

// left returns the sum of squares of the gradient of m, and clears it.
func left(ctx context.Context, m Mover) (float64, error) {
	left, err := m.Move(ctx, 0)
	if err != nil {
		return 0, fmt.Errorf("after Update: Move: %w", err)
	}
	if err := m.ClearGradient(ctx); err != nil {
		return 0, fmt.Errorf("after Update: ClearGradient: %w", err)
	}
	return left, nil
}

func (p *probe[B]) save(s Saver) ([]byte, error) {
	var state bytes.Buffer
	if err := s.Save(&state); err != nil {
		return nil, p.t.fail("CheckBackward: Save", err)
	}
	return state.Bytes(), nil
}

func (p *probe[B]) load(s Saver, state []byte) error {
	if err := s.Load(bytes.NewReader(state)); err != nil {
		return p.broken(p.t.fail("CheckBackward: Load", err))
	}
	return nil
}
