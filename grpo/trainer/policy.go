package trainer

import (
	"context"
	"io"

	"cps/grpo"
	"cps/sampler"
)

// A Policy is a velocity network with its optimiser. It serves one goroutine at a time.
//
// c.Rows[i] is a row of the run. Its group is c.Rows[i]/Group, and Config.Prompt says which
// prompt that is. So a policy finds the condition of each row. With Guidance a row may be
// ^r, which is row r without its condition.
//
// A Policy may implement the small interfaces below too, and [Mover]. If a setting needs an
// interface that the Policy lacks, [New] returns an error.
type Policy[B any] interface {
	// Velocity stores the output for the latents c.X in c.V. It is a [sampler.Model]. The
	// rows of a Call may stand at different times and in any order.
	Velocity(ctx context.Context, c sampler.Call[B]) error

	// Backward adds ∂loss/∂parameters to the gradient, given dv = ∂loss/∂v. v is the output
	// of Velocity for c at the present parameters. Run the forward pass of c again, or keep
	// its graph: other calls of Velocity may have come since. It must equal the pass of
	// Velocity: no dropout, the same statistics. Without Guidance c.V holds the output. With
	// Guidance its contents are undefined, and you may write to it.
	Backward(ctx context.Context, c sampler.Call[B], dv B) error

	// Update takes a step of the optimiser against the gradient, and clears the gradient.
	Update(ctx context.Context) error
}

// An Averager keeps an average of its parameters, to evaluate in place of them.
type Averager interface {
	// Average moves the average after optimiser step number step, from 0:
	// grpo.Average(mean, params, e, step). The zero e copies the parameters.
	Average(ctx context.Context, e grpo.EMA, step int) error
}

// A Referrer has a reference policy, usually the parameters that training began with.
type Referrer[B any] interface {
	// Reference is the Velocity of the reference policy.
	Reference(ctx context.Context, c sampler.Call[B]) error
}

// A Follower can move its reference policy towards the policy, as an Averager moves its
// average. With Decay 0 the reference policy becomes a copy at every Every-th step.
type Follower interface {
	Follow(ctx context.Context, e grpo.EMA, step int) error
}

// A Saver stores and restores all that a framework must keep of a policy: parameters, the
// optimiser's state, the average, the reference policy.
type Saver interface {
	Save(w io.Writer) error
	Load(r io.Reader) error
}
