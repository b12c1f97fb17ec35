package trainer

import (
	"context"
	"errors"
	"fmt"

	"cps/grpo"
	"cps/sampler"
	"cps/sampler/guidance"
)

// CheckOnPolicy draws the samples of the next iteration and replays them without training.
// It replays first in the batch of the rollout, then in the minibatches, cut and padded as
// in training. If a sum of squares does not equal the rollout's bit for bit, the error
// (sampler.ErrOffPolicy) names the step, the row and the likely reason. If the replay
// differs in the batch of the rollout, the model draws random numbers or keeps a state,
// such as dropout. If it differs only in other batches, the model's output for a row
// depends on its batch. Examples are batch normalisation, and a framework that picks its
// matrix product by size. If all sums agree, every ratio of a first minibatch is exactly 1.
//
// CheckOnPolicy changes nothing, and does not count in [Timing]. Call it once, at start-up.
func (t *Trainer[B]) CheckOnPolicy(ctx context.Context) error {
	timing := t.timing
	defer func() { t.timing = timing }()
	r, err := t.Draw(ctx)
	if err != nil {
		return err
	}
	if err := t.checkReplay(ctx, r); err != nil {
		return err
	}
	batches, err := r.Minibatches(0)
	if err != nil {
		return t.fail("minibatches", err)
	}
	b := t.NewMinibatch()
	for _, items := range batches {
		for part := range t.parts(r, items) {
			if err := t.checkMinibatch(ctx, r, b, part); err != nil {
				b.Free()
				return err
			}
		}
	}
	return b.Free()
}

// Inputs reports which inputs the policy reads. It calls [sampler.FindInputs] on the samples
// of the next iteration, without guidance. Row is false if the output is the same for all
// prompts. With Guidance, Condition is false if the policy gives row ^r (no condition) the
// same output as row r. Some policies need no time or no condition, so a false field is not
// an error. Compare the result with what your policy should read.
// Inputs changes nothing, and does not count in [Timing].
func (t *Trainer[B]) Inputs(ctx context.Context) (in sampler.Inputs, err error) {
	timing := t.timing
	defer func() { t.timing = timing }()
	r, err := t.Draw(ctx)
	if err != nil {
		return in, err
	}
	p := Shaped(t.m, t.raw, t.config.Shape)
	in, err = sampler.FindInputs(ctx, t.m, r.Sampler, r.Batch, r.Trajectory, p.Velocity, t.config.Guidance != (guidance.Guidance{}))
	if s, ok := p.(interface{ free() error }); ok {
		err = errors.Join(err, s.free())
	}
	if err != nil {
		return in, t.fail("Inputs", err)
	}
	return in, nil
}

// checkReplay replays in the batch of the rollout.
func (t *Trainer[B]) checkReplay(ctx context.Context, r *Run[B]) error {
	again := *r.Trajectory
	again.SumSquares = make([][]float64, len(r.Trajectory.SumSquares))
	for i, sq := range r.Trajectory.SumSquares {
		if sq != nil {
			again.SumSquares[i] = make([]float64, len(sq))
		}
	}
	if err := sampler.Replay(ctx, sampler.Device[B](t.m), r.Sampler, r.Batch, &again, t.model); err != nil {
		return t.fail("replay", err)
	}
	for _, i := range r.Steps {
		for row, sq := range again.SumSquares[i] {
			if was := r.Trajectory.SumSquares[i][row]; sq != was {
				return t.fail("replay", fmt.Errorf("step %d, row %d (sample %d): in a second evaluation of the rollout's batch the sum of squares is %v and was %v: the model draws random numbers or keeps a state (dropout, statistics of training), or changes its input: %w",
					r.Sampler.At(i).Step, row, r.Batch.Rows[row].Sample, sq, was, sampler.ErrOffPolicy))
			}
		}
	}
	return nil
}

// checkMinibatch replays items as training does.
func (t *Trainer[B]) checkMinibatch(ctx context.Context, r *Run[B], b *Minibatch[B], items []grpo.Item) error {
	if err := r.gather(b, items); err != nil {
		return err
	}
	ask := func() error {
		if err := t.model(ctx, b.Call); err != nil {
			return t.fail(fmt.Sprintf("Velocity of %d rows", len(items)), err)
		}
		from, err := r.from(b)
		if err != nil {
			return err
		}
		t.m.SumSquares(b.sq, b.Next, from, b.own(b.Call.V), b.Batch)
		if err := t.m.Sync(); err != nil {
			return t.fail("device", err)
		}
		return nil
	}
	if err := ask(); err != nil {
		return err
	}
	off := 0
	for off < len(items) && b.sq[off] == r.Trajectory.SumSquares[items[off].Step][items[off].Row] {
		off++
	}
	if off == len(items) {
		return nil
	}
	it, sq := items[off], b.sq[off]
	if err := ask(); err != nil {
		return err
	}
	why := "either the model's output for a row depends on its batch (batch normalisation, a matrix product chosen by size) or on the order of Call.Rows, or the model takes one time for all rows"
	if b.sq[off] != sq {
		why = "a second evaluation gives another sum: the model draws random numbers or keeps a state (dropout, statistics of training)"
	}
	return t.fail("replay", fmt.Errorf("step %d, row %d (sample %d): in a minibatch of %d rows the sum of squares is %v, and in the rollout of %d it was %v: %s: %w",
		r.Sampler.At(it.Step).Step, it.Row, r.Batch.Rows[it.Row].Sample, len(items), sq, len(r.all), r.Trajectory.SumSquares[it.Step][it.Row], why, sampler.ErrOffPolicy))
}
