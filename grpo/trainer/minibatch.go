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
// Call, DV, Reference and Past have one row for each evaluation of the policy. The other
// fields have one entry for each transition. The evaluations of the transitions themselves
// come first, in the order of Items. A first-order rule has no others. The evaluations that
// transitions look back at come next ([sampler.Solver]). Each stands there once, and only if
// it is not among the first, so consecutive steps share evaluations.
type Minibatch[B any] struct {
	Call            sampler.Call[B] // evaluations
	DV              B               // ∂loss/∂v, [len(Call.Rows), Dim]
	Reference, Past B               // outputs of the reference policy and of the one that drew the samples, if needed

	Items           []grpo.Item   // the transitions
	Batch           sampler.Batch // the rows of the transitions, which may stand at different steps
	Next            B             // the latents after the transitions
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
	back                              *lookback[B] // nil until a transition looks back
}

// NewMinibatch returns a minibatch without items.
func (t *Trainer[B]) NewMinibatch() *Minibatch[B] {
	c := t.config
	return &Minibatch[B]{m: t.m, dim: c.Dim, storage: c.Sampling.Storage, output: c.Output, grads: c.Gradient, Share: 1, copy: newCopier(t.m, c.Dim)}
}

// Resize makes room for n evaluations and n transitions. Their values are undefined. The
// error is that of the device's memory.
func (b *Minibatch[B]) Resize(n int) (err error) { return b.resize(n, n) }

// resize makes room for n transitions and for at least as many evaluations.
func (b *Minibatch[B]) resize(n, evaluations int) (err error) {
	b.Call.Dim = b.dim
	b.Call.Rows, b.Call.Times = grow(b.Call.Rows, evaluations), grow(b.Call.Times, evaluations)
	for _, f := range []struct {
		room *room.Room[B]
		at   *B
		n    int
		t    sampler.Storage
	}{
		{&b.x, &b.Call.X, evaluations, b.storage}, {&b.v, &b.Call.V, evaluations, b.output},
		{&b.dv, &b.DV, evaluations, b.grads}, {&b.next, &b.Next, n, b.storage},
	} {
		if *f.at, err = f.room.Of(b.m, f.n*b.dim, f.t); err != nil {
			return b.noRoom(err)
		}
	}
	b.Items = grow(b.Items, n)
	b.Batch.Dim, b.Batch.Rows = b.dim, grow(b.Batch.Rows, n)
	for _, p := range []*[]float64{&b.Old, &b.Advantages, &b.sq, &b.logp, &b.grad, &b.scale, &b.kl, &b.pastKL, &b.scratch} {
		*p = grow(*p, n)
	}
	uniform(&b.distance, b.dim, n, sampler.Affine{V: 1})
	uniform(&b.zero, b.dim, evaluations, sampler.Affine{})
	return nil
}

// noRoom returns err with the size of b.
func (b *Minibatch[B]) noRoom(err error) error {
	return fmt.Errorf("trainer: minibatch of %d rows: %w", len(b.Call.Rows), err)
}

// own returns the rows of x that belong to the transitions' own evaluations.
func (b *Minibatch[B]) own(x B) B {
	if len(b.Call.Rows) == len(b.Items) {
		return x
	}
	return b.m.Slice(x, 0, len(b.Items)*b.dim)
}

// Free gives back the memory of the device. b may be used again after Resize.
func (b *Minibatch[B]) Free() error {
	var errs []error
	for _, r := range []*room.Room[B]{&b.x, &b.v, &b.dv, &b.next, &b.reference, &b.past} {
		errs = append(errs, r.Free(b.m))
	}
	if b.back != nil {
		errs = append(errs, b.back.free(b.m))
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
		if *f.at, err = f.room.Of(b.m, len(b.Call.Rows)*b.dim, b.output); err != nil {
			return b.noRoom(err)
		}
		for k, it := range b.asked() {
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
	asked := items
	if r.looks() {
		asked = r.look(b, items)
	}
	if err := b.resize(len(items), len(asked)); err != nil {
		return err
	}
	b.Batch.Key, b.Batch.Storage = r.Batch.Key, r.Batch.Storage
	copy(b.Items, items)
	for k, it := range items {
		b.Batch.Rows[k] = r.row(it)
		b.copy.row(b.Next, k, r.Trajectory.Latents[it.Step+1], it.Row)
	}
	for k, it := range asked {
		b.Call.Rows[k], b.Call.Times[k] = it.Row, r.Sampler.Time(it.Step)
		b.copy.row(b.Call.X, k, r.Trajectory.Latents[it.Step], it.Row)
	}
	return nil
}

// row returns the row that takes the transition of an item.
func (r *Run[B]) row(it grpo.Item) sampler.Row {
	return r.Sampler.Row(r.Batch.Rows[it.Row].Sample, it.Step)
}

// asked returns the items whose evaluations are the rows of Call.
func (b *Minibatch[B]) asked() []grpo.Item {
	if len(b.Call.Rows) == len(b.Items) {
		return b.Items
	}
	return b.back.asked
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
	v := b.own(b.Call.V)
	from, err := r.from(b)
	if err != nil {
		return s, err
	}
	m.SumSquares(b.sq, b.Next, from, v, b.Batch)
	var reference, past rival[B]
	if c.KL.Beta > 0 {
		if reference, err = r.rival(b, from, b.Reference, 0, c.KL.Velocity); err != nil {
			return s, err
		}
		m.SumSquares(b.kl, reference.next, reference.x, v, reference.batch)
	}
	if uses != Unused {
		if past, err = r.rival(b, from, b.Past, 1, false); err != nil {
			return s, err
		}
		m.SumSquares(b.pastKL, past.next, past.x, v, past.batch)
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
		if err := past.kl(c.Form, b.pastKL, b.Batch); err != nil {
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
	r.add(b, rival[B]{b.Next, from, b.Batch, r.looks(), false})
	if uses == Differentiated {
		if err := past.gradScale(c.Form, b.scale, b.Batch, 1); err != nil {
			return s, err
		}
		for i, g := range b.grad {
			b.scale[i] *= g
		}
		r.add(b, past)
	}
	if c.KL.Beta == 0 {
		return s, nil
	}
	if err := reference.kl(c.KL.Form, b.kl, b.Batch); err != nil {
		return s, err
	}
	weight, err := s.Penalize(c.KL.Beta, b.kl)
	if err != nil {
		return s, err
	}
	if err := reference.gradScale(c.KL.Form, b.scale, b.Batch, weight*b.Share); err != nil {
		return s, err
	}
	r.add(b, reference)
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
			return fmt.Errorf("trainer: step %d, row %d (sample %d): before the first update, in a minibatch of %d rows, the sum of squares is %v; in the rollout it was %v, so the ratio is not 1: CheckOnPolicy says why, or Reward changed the samples: %w",
				r.Sampler.At(it.Step).Step, it.Row, b.Batch.Rows[k].Sample, len(sq), x, was, sampler.ErrOffPolicy)
		}
	}
	return nil
}
