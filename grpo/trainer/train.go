package trainer

import (
	"context"
	"fmt"
	"iter"
	"time"

	"cps/grpo"
)

// Train trains the policy on a task and stores the statistics of all ranks in it. It cuts
// minibatches of more rows than Config.Shape into micro-batches, and adds up their
// gradients, weighted by their shares of the rows. An epoch without minibatches and an
// empty minibatch are errors.
func (t *Trainer[B]) Train(ctx context.Context, task Task[B], it *Iteration) error {
	if r, ok := task.(*Run[B]); ok {
		it.Steps = append(it.Steps[:0], r.Steps...)
	}
	it.Minibatches, it.Updates, it.Stopped = 0, 0, false
	it.OnPolicy, it.Deviation = 0, 0
	means := []*float64{&it.Loss, &it.KL, &it.ApproxKL, &it.ClipFraction}
	for _, p := range means {
		*p = 0
	}
	for epoch := 0; epoch < t.config.Epochs && !it.Stopped; epoch++ {
		batches, err := task.Minibatches(epoch)
		if err != nil {
			return t.fail("minibatches", err)
		}
		if len(batches) == 0 {
			return t.fail(fmt.Sprintf("epoch %d", epoch), fmt.Errorf("%T.Minibatches returns no minibatches, so there is nothing to train on", task))
		}
		for k, items := range batches {
			if len(items) == 0 {
				return t.fail(fmt.Sprintf("epoch %d, minibatch %d", epoch, k), fmt.Errorf("%T.Minibatches returns a minibatch without items", task))
			}
			s, stopped, err := t.minibatch(ctx, task, items, it.Updates == 0)
			if err != nil {
				return t.fail(fmt.Sprintf("epoch %d, minibatch %d", epoch, k), err)
			}
			if it.Updates == 0 {
				it.OnPolicy = max(it.OnPolicy, s.Deviation)
			}
			it.Minibatches++
			it.Loss += s.Loss
			it.KL += s.KL
			it.ApproxKL += s.ApproxKL
			it.ClipFraction += s.ClipFraction
			it.Deviation = max(it.Deviation, s.Deviation)
			if it.Stopped = stopped; stopped {
				break
			}
			if err := t.update(ctx); err != nil {
				return t.fail(fmt.Sprintf("epoch %d, update after minibatch %d", epoch, k), err)
			}
			it.Updates++
		}
	}
	for _, p := range means {
		*p /= float64(it.Minibatches)
	}
	return nil
}

// minibatch computes the loss of a minibatch. It adds the gradient to the policy's, unless
// Config.Stop says to stop.
func (t *Trainer[B]) minibatch(ctx context.Context, task Task[B], items []grpo.Item, fresh bool) (total grpo.Stats, stopped bool, err error) {
	c := t.config
	_, ranks := c.Ranks.Rank()
	wait := c.Stop != (grpo.EarlyStop{}) // no gradient before all statistics
	var parts []*Minibatch[B]
	for part := range t.parts(task, items) {
		k := len(parts)
		if !wait {
			k = 0
		}
		for len(t.batches) <= k {
			t.batches = append(t.batches, t.NewMinibatch())
		}
		b := t.batches[k]
		share := float64(len(part)) / float64(len(items))
		b.Share, b.Fresh = share/float64(ranks), fresh
		s, err := t.loss(ctx, task, b, part)
		if err != nil {
			return s, false, err
		}
		mix(&total, s, share)
		if wait {
			parts = append(parts, b)
		} else if err := t.backward(ctx, b); err != nil {
			return s, false, err
		}
	}
	if total, err = common(ctx, c.Ranks, total); err != nil {
		return total, false, fmt.Errorf("Ranks.Gather: %w", err)
	}
	if stopped, err = c.Stop.Reached(total); err != nil || stopped {
		return total, stopped, err
	}
	for _, b := range parts {
		if err := t.backward(ctx, b); err != nil {
			return total, false, err
		}
	}
	return total, false, nil
}

// parts cuts a minibatch into micro-batches.
func (t *Trainer[B]) parts(task Task[B], items []grpo.Item) iter.Seq[[]grpo.Item] {
	if r, ok := task.(*Run[B]); ok && r.looks() {
		return r.pieces(t.config.Shape, items)
	}
	return chunks(t.config.Shape, items)
}

// loss fills b and computes its loss.
func (t *Trainer[B]) loss(ctx context.Context, task Task[B], b *Minibatch[B], items []grpo.Item) (grpo.Stats, error) {
	if err := task.Fill(ctx, b, items); err != nil {
		return grpo.Stats{}, err
	}
	if err := t.model(ctx, b.Call); err != nil {
		return grpo.Stats{}, fmt.Errorf("Velocity of %d rows: %w", len(b.Call.Rows), err)
	}
	return task.Loss(ctx, b)
}

func (t *Trainer[B]) backward(ctx context.Context, b *Minibatch[B]) error {
	defer func(began time.Time) { since(&t.timing.Policy, began) }(time.Now())
	if err := t.policy.Backward(ctx, b.Call, b.DV); err != nil {
		return fmt.Errorf("Backward of %d rows: %w", len(b.Call.Rows), err)
	}
	return nil
}

// update takes a step of the optimiser.
func (t *Trainer[B]) update(ctx context.Context) error {
	defer func(began time.Time) { since(&t.timing.Policy, began) }(time.Now())
	c := t.config
	if err := c.Ranks.SumGradients(ctx); err != nil {
		return fmt.Errorf("ranks: SumGradients: %w", err)
	}
	if err := t.policy.Update(ctx); err != nil {
		return fmt.Errorf("policy: Update: %w", err)
	}
	if m := t.unseen; m != nil {
		t.unseen = nil
		left, err := left(ctx, m)
		if err != nil {
			return fmt.Errorf("policy: %w", err)
		}
		if left != 0 {
			return fmt.Errorf("policy: %w: Update does not clear the gradient: its sum of squares is then %v", ErrBackward, left)
		}
	}
	step := t.updates
	t.updates++
	if a, ok := t.raw.(Averager); ok {
		if err := a.Average(ctx, c.Average, step); err != nil {
			return fmt.Errorf("policy: Average: %w", err)
		}
	}
	if c.Follow == (grpo.EMA{}) {
		return nil
	}
	if err := t.raw.(Follower).Follow(ctx, c.Follow, step); err != nil {
		return fmt.Errorf("policy: Follow: %w", err)
	}
	return nil
}
