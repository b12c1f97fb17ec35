package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
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

// CheckBackward compares Backward with differences of Velocity. A policy with the wrong sign
// lowers its reward and reports nothing, and no other check finds it. Implement [Mover] to
// check Backward, its sign and its factor. Implement [Saver] to check the sign of Update.
// Implement both for both checks. The error says what is wrong (ErrBackward).
//
// CheckBackward draws the samples of the next iteration, and takes as much of the first
// minibatch as fits into one Call. Backward gets random dv, and thus computes the gradient
// g of Σ dv·v. What nil means depends on the interfaces of the policy:
//
//   - A Mover alone: Backward is right, and Update is not checked for its sign. The
//     parameters move along g to both sides. Per unit of the move, Σ dv·v must change by
//     Σg². This finds a wrong sign, and a factor that is off by 5% or more (20% if outputs
//     have 16 bits). It also finds a gradient that is 0, and a Backward that replaces the
//     gradient instead of adding to it. Then dv is nonzero in one row alone (two rows are
//     tried), or in one element alone (three elements; none if outputs have 16 bits). This
//     finds gradients that are wrong in parts: some parameters, or the times of other rows.
//     An error of a part below 10% (20%) passes, and so does a part that rounding hides.
//     The first Update of training is followed by Move(0), and Step returns ErrBackward if
//     a gradient is left.
//   - A Saver alone: the signs of Backward and of Update fit together, and Update clears
//     the gradient. The state is saved in memory. From there, one Update follows dv and one
//     follows -dv. Σ dv·v must be lower after the first. Further Updates follow dv = 0, and
//     must not repeat the one before. This finds outputs that no Update changes, too. It
//     finds no factor, since most optimisers divide it out. If Save stores the gradient
//     too, a gradient that is left passes.
//   - Both: all of this. Move(0) after Update says whether a gradient is left.
//
// A gradient that is 0 for some parameters passes, since these may be frozen. If rounding
// hides the difference, or Velocity is too rough, the error is [sampler.ErrUndecided]. A
// policy that is neither Mover nor Saver is ErrConfig.
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
	p := probe[B]{t: t, b: t.NewMinibatch(), key: r.Key.Derive(1)}
	defer func() {
		if e := p.free(); err == nil {
			err = e
		}
	}()
	for part := range t.parts(r, batches[0]) {
		if err := r.gather(p.b, part); err != nil {
			return err
		}
		break
	}
	if p.other, err = p.memory(0, p.b.output); err != nil {
		return err
	}
	if moves {
		err = p.byMoves(ctx, mover)
	}
	if err == nil && saves {
		err = p.byUpdates(ctx, saver, mover)
	}
	if err == nil && !saves {
		t.unseen = mover
	}
	return err
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
	return s + ": this is no simple number, so parts of it are wrong, for example some parameters"
}
