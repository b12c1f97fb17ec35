package trainer

import (
	"context"
	"io"

	"cps/grpo"
	"cps/sampler"
)

// A Policy is a velocity network with its optimiser. It serves one goroutine at a time.
//
// What a Policy can do besides are the small interfaces below, and [Mover]. A setting that
// needs one which the Policy lacks is an error of [New].
type Policy[B any] interface {
	// Velocity stores the output for the latents c.X in c.V: a [sampler.Model]. Rows that
	// it is asked about may stand at different times, and occur in any order.
	Velocity(ctx context.Context, c sampler.Call[B]) error

	// Backward adds to the gradient what dv = ∂loss/∂v gives, with v the output of Velocity
	// for c at the present parameters, whatever Velocity ran last. c.V is memory for it, and
	// holds it unless there is Guidance. The forward pass must be the one of Velocity: no
	// dropout, the same statistics.
	Backward(ctx context.Context, c sampler.Call[B], dv B) error

	// Update takes a step of the optimiser against the gradient and clears it.
	Update(ctx context.Context) error
}

// An Averager keeps an average of its parameters, those to evaluate.
type Averager interface {
	// Average moves the average as e says after optimiser step number step, from 0:
	// grpo.Average(mean, params, e, step). The zero e copies the parameters.
	Average(ctx context.Context, e grpo.EMA, step int) error
}

// A Referrer has a reference policy, usually the parameters that training began with.
type Referrer[B any] interface {
	// Reference is Velocity of the reference policy.
	Reference(ctx context.Context, c sampler.Call[B]) error
}

// A Follower can move its reference policy towards the policy, as an Averager does. An EMA
// of decay 0 makes it a copy at every Every-th step.
type Follower interface {
	Follow(ctx context.Context, e grpo.EMA, step int) error
}

// A Saver stores all that a framework must keep of a policy: parameters, the optimiser's
// state, the average, the reference.
type Saver interface {
	Save(w io.Writer) error
	Load(r io.Reader) error
}
