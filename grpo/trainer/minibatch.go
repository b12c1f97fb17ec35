package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"cps/grpo"
	"cps/internal/room"
	"cps/sampler"
)

// A Task gives a trainer minibatches and their loss. A [Run] is one. Objectives of the
// forward process are others. A Task decides what its items mean.
type Task[B any] interface {
	// Minibatches returns the minibatches of an inner epoch. Each is one step of the
	// optimiser.
	Minibatches(epoch int) ([][]grpo.Item, error)

	// Fill calls [Minibatch.Resize] and fills b with items, which are all or some items of
	// one minibatch.
	Fill(ctx context.Context, b *Minibatch[B], items []grpo.Item) error

	// Loss returns the mean loss over the items of b, given the policy's output in
	// b.Call.V. It stores b.Share times the derivative by the output in b.DV.
	Loss(ctx context.Context, b *Minibatch[B]) (grpo.Stats, error)
}

// A Minibatch holds what a policy evaluates at once: a minibatch, or a micro-batch of it.
//
// Call and DV have one row for each evaluation of the policy. The other fields have one
// entry for each transition. A transition of a first-order rule is one evaluation, so both
// numbers are equal and both have the same order.
type Minibatch[B any] struct {
	Call sampler.Call[B] // evaluations
	DV   B               // ∂loss/∂v, [len(Call.Rows), Dim]

	Items           []grpo.Item   // the transitions
	Batch           sampler.Batch // the rows of the transitions, which may stand at different steps
	Next            B             // the latents after the transitions
	Reference, Past B             // outputs of the reference policy and of the one that drew the samples, if needed
	Old, Advantages []float64     // log p under the policy that drew the samples; advantages

	Share float64 // the share of these items in the minibatches of all ranks, in (0, 1]
	Fresh bool    // the policy is still the one that drew the samples, so ratios must be 1

	m                      sampler.Memory[B]
	dim                    int
	storage, output, grads sampler.Storage

	x, v, dv, next, reference, past   room.Room[B]
	distance, zero                    sampler.Batch
	sq, logp, grad, scale, kl, pastKL []float64
	scratch                           []float64
	copy                              copier[B]
}

// NewMinibatch returns a minibatch without items.
func (t *Trainer[B]) NewMinibatch() *Minibatch[B] {
	c := t.config
	return &Minibatch[B]{m: t.m, dim: c.Dim, storage: c.Sampling.Storage, output: c.Output, grads: c.Gradient, Share: 1, copy: newCopier(t.m, c.Dim)}
}

// Resize makes room for n evaluations and n transitions. Their values are undefined. The
// error is that of the device's memory.
func (b *Minibatch[B]) Resize(n int) (err error) {
	for _, f := range []struct {
		room *room.Room[B]
		at   *B
		t    sampler.Storage
	}{{&b.x, &b.Call.X, b.storage}, {&b.v, &b.Call.V, b.output}, {&b.dv, &b.DV, b.grads}, {&b.next, &b.Next, b.storage}} {
		if *f.at, err = f.room.Of(b.m, n*b.dim, f.t); err != nil {
			return fmt.Errorf("trainer: minibatch of %d rows: %w", n, err)
		}
	}
	b.Call.Dim = b.dim
	b.Call.Rows, b.Call.Times = grow(b.Call.Rows, n), grow(b.Call.Times, n)
	b.Items = grow(b.Items, n)
	b.Batch.Dim, b.Batch.Rows = b.dim, grow(b.Batch.Rows, n)
	for _, p := range []*[]float64{&b.Old, &b.Advantages, &b.sq, &b.logp, &b.grad, &b.scale, &b.kl, &b.pastKL, &b.scratch} {
		*p = grow(*p, n)
	}
	uniform(&b.distance, b.dim, n, sampler.Affine{V: 1})
	uniform(&b.zero, b.dim, n, sampler.Affine{})
	return nil
}

// Free gives back the memory of the device. b may be used again after Resize.
func (b *Minibatch[B]) Free() error {
	var errs []error
	for _, r := range []*room.Room[B]{&b.x, &b.v, &b.dv, &b.next, &b.reference, &b.past} {
		errs = append(errs, r.Free(b.m))
	}
	return errors.Join(errs...)
}

// Fill implements [Task]. It gathers rows on the device. Call [Trainer.Judge] and
// [Trainer.Prepare] first. An item that is not a trained transition is an error that names
// it.
func (r *Run[B]) Fill(_ context.Context, b *Minibatch[B], items []grpo.Item) error {
	switch {
	case r.Old == nil:
		return errors.New("trainer: Fill before Prepare: call Trainer.Prepare first")
	case len(r.Advantages) != len(r.all):
		return errors.New("trainer: Fill before Judge: call Trainer.Judge first")
	}
	if err := r.gather(b, items); err != nil {
		return err
	}
	for k, it := range items {
		b.Old[k] = r.Old[it.Step][it.Row]
		b.Advantages[k] = r.Advantages[it.Row]
	}
	for _, f := range []struct {
		of   []B
		room *room.Room[B]
		at   *B
	}{{r.Reference, &b.reference, &b.Reference}, {r.Past, &b.past, &b.Past}} {
		if f.of == nil {
			continue
		}
		var err error
		if *f.at, err = f.room.Of(b.m, len(items)*b.dim, b.output); err != nil {
			return fmt.Errorf("trainer: minibatch of %d rows: %w", len(items), err)
		}
		for k, it := range items {
			b.copy.row(*f.at, k, f.of[it.Step], it.Row)
		}
	}
	return nil
}

// gather fills b with all that a replay needs.
func (r *Run[B]) gather(b *Minibatch[B], items []grpo.Item) error {
	for _, it := range items {
		if it.Row < 0 || it.Row >= len(r.all) || !r.trained(it.Step) {
			return fmt.Errorf("trainer: item %+v is not one of the %d rows at one of the trained transitions %v", it, len(r.all), r.Steps)
		}
	}
	if err := b.Resize(len(items)); err != nil {
		return err
	}
	b.Batch.Key, b.Batch.Storage = r.Batch.Key, r.Batch.Storage
	copy(b.Items, items)
	for k, it := range items {
		b.Call.Rows[k], b.Call.Times[k] = it.Row, r.Sampler.Time(it.Step)
		b.Batch.Rows[k] = r.Sampler.Row(r.Batch.Rows[it.Row].Sample, it.Step)
		b.copy.row(b.Call.X, k, r.Trajectory.Latents[it.Step], it.Row)
		b.copy.row(b.Next, k, r.Trajectory.Latents[it.Step+1], it.Row)
	}
	return nil
}

// Loss implements [Task]: the objective and the penalty. If b is Fresh, every sum of
// squares must equal the rollout's bit for bit. If Config.Tolerance is set, every ratio
// must be within it instead. A failure is sampler.ErrOffPolicy. An output that is not
// finite is a [sampler.NonFiniteError].
func (r *Run[B]) Loss(_ context.Context, b *Minibatch[B]) (s grpo.Stats, err error) {
	t, c, m := r.t, &r.t.config, b.m
	var none B
	began := time.Now()
	uses := c.Objective.Divergence()
	m.SumSquares(b.sq, b.Next, b.Call.X, b.Call.V, b.Batch)
	if c.KL.Beta > 0 {
		m.SumSquares(b.kl, b.Reference, none, b.Call.V, b.distance)
	}
	if uses != Unused {
		m.SumSquares(b.pastKL, b.Past, none, b.Call.V, b.distance)
	}
	if err := m.Sync(); err != nil {
		return s, fmt.Errorf("trainer: device: %w", err)
	}
	if err := r.compare(b, b.sq); err != nil {
		return s, err
	}
	if _, err := c.Form.LogProb(b.logp, b.Batch, b.sq); err != nil {
		return s, err
	}
	began = since(&t.timing.LogProb, began)
	defer func() { since(&t.timing.Gradients, began) }()

	terms := Terms{Batch: b.Batch, Form: c.Form, LogP: b.logp, Old: b.Old, Advantages: b.Advantages, Scratch: b.scratch}
	if uses != Unused {
		if _, err := c.Form.KL(b.pastKL, b.Batch, b.pastKL); err != nil {
			return s, err
		}
		terms.KL = b.pastKL
	}
	if s, err = c.Objective.Loss(b.grad, terms); err != nil {
		return s, err
	}
	if b.Fresh && s.Deviation > c.Tolerance {
		return s, fmt.Errorf("trainer: before the first update a ratio differs from 1 by %v, and Tolerance is %v: %w", s.Deviation, c.Tolerance, sampler.ErrOffPolicy)
	}
	for i := range b.grad {
		b.grad[i] *= b.Share
	}
	if _, err := c.Form.GradScale(b.scale, b.Batch, b.grad); err != nil {
		return s, err
	}
	m.Step(b.DV, none, none, b.zero, nil)
	m.Grad(b.DV, b.Next, b.Call.X, b.Call.V, b.Batch, b.scale)
	if uses == Differentiated {
		if _, err := c.Form.GradScaleKL(b.scale, b.Batch, 1); err != nil {
			return s, err
		}
		for i, g := range b.grad {
			b.scale[i] *= g
		}
		m.Grad(b.DV, b.Past, none, b.Call.V, b.distance, b.scale)
	}
	if c.KL.Beta == 0 {
		return s, nil
	}
	if err := c.KL.kl(b.kl, b.Batch, b.kl); err != nil {
		return s, err
	}
	weight, err := s.Penalize(c.KL.Beta, b.kl)
	if err != nil {
		return s, err
	}
	if err := c.KL.gradScale(b.scale, b.Batch, weight*b.Share); err != nil {
		return s, err
	}
	m.Grad(b.DV, b.Reference, none, b.Call.V, b.distance, b.scale)
	return s, nil
}

// compare returns an error for a sum of squares that is not finite. Before the first
// update it does so for a sum that differs from the rollout's.
func (r *Run[B]) compare(b *Minibatch[B], sq []float64) error {
	for k, x := range sq {
		it := b.Items[k]
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return &sampler.NonFiniteError{Step: r.Sampler.At(it.Step).Step, Row: it.Row, Sample: b.Batch.Rows[k].Sample}
		}
		if was := r.Trajectory.SumSquares[it.Step][it.Row]; b.Fresh && r.t.config.Tolerance == 0 && x != was {
			return fmt.Errorf("trainer: step %d, row %d (sample %d): before the first update, in a minibatch of %d rows, the sum of squares is %v; in the rollout it was %v, so the ratio is not 1; CheckOnPolicy says why: %w",
				r.Sampler.At(it.Step).Step, it.Row, b.Batch.Rows[k].Sample, len(sq), x, was, sampler.ErrOffPolicy)
		}
	}
	return nil
}
