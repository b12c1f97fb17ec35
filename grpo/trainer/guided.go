package trainer

import (
	"context"
	"errors"

	"cps/sampler"
	"cps/sampler/guidance"
)

// Guided returns p under classifier-free guidance, as one policy. It mixes the outputs with
// and without condition, and the gradient reaches both. A Call to p may contain row ^r,
// which is row r without its condition. If p is a [Referrer], the result is one too, with
// the same guidance for the reference policy. It has no other interfaces of p. Errors are
// those of [guidance.New].
func Guided[B any](m sampler.Memory[B], p Policy[B], g guidance.Guidance) (Policy[B], error) {
	v, err := guidance.New(m, p.Velocity, g)
	if err != nil {
		return nil, err
	}
	q := &guided[B]{p, v}
	if r, ok := p.(Referrer[B]); ok {
		ref, err := guidance.New(m, r.Reference, g)
		return &guidedReferrer[B]{q, ref}, err
	}
	return q, nil
}

type guided[B any] struct {
	Policy[B]
	g *guidance.Guided[B]
}

// Velocity implements [Policy].
func (g *guided[B]) Velocity(ctx context.Context, c sampler.Call[B]) error {
	return g.g.Velocity(ctx, c)
}

// Backward implements [Policy].
func (g *guided[B]) Backward(ctx context.Context, c sampler.Call[B], dv B) error {
	return g.g.Backward(ctx, c, dv, g.Policy.Backward)
}

func (g *guided[B]) free() error { return g.g.Free() }

type guidedReferrer[B any] struct {
	*guided[B]
	ref *guidance.Guided[B]
}

// Reference implements [Referrer].
func (g *guidedReferrer[B]) Reference(ctx context.Context, c sampler.Call[B]) error {
	return g.ref.Velocity(ctx, c)
}

func (g *guidedReferrer[B]) free() error { return errors.Join(g.guided.free(), g.ref.Free()) }
