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

// A Task is what minibatches are trained on. A [Run] is one; objectives of the forward
// process are others. Items are whatever a Task calls so.
type Task[B any] interface {
	// Minibatches returns those of an inner epoch: a step of the optimiser each.
	Minibatches(epoch int) ([][]grpo.Item, error)

	// Fill fills b, after [Minibatch.Resize], with items of one of them, all or some.
	Fill(ctx context.Context, b *Minibatch[B], items []grpo.Item) error

	// Loss returns the loss of b, whose Call.V is the policy's output, as the mean over its
	// items, and stores b.Share times its derivative by the output in b.DV.
	Loss(ctx context.Context, b *Minibatch[B]) (grpo.Stats, error)
}

// A Minibatch is what a policy is asked about at once: a minibatch, or a micro-batch of it.
//
// Evaluations and transitions stand apart: Call, DV, Reference and Past have a row an
// evaluation of the policy, the others an entry a transition. First come the evaluations of
// the transitions themselves, in the order of Items. A first-order rule has no others. Then
// come those that transitions look back at and that are not there yet ([sampler.Solver]):
// each once, so that steps that follow on each other share them.
type Minibatch[B any] struct {
	Call            sampler.Call[B] // evaluations
	DV              B               // ∂loss/∂v, [len(Call.Rows), Dim]
	Reference, Past B               // outputs of other policies, if they are needed, likewise

	Items           []grpo.Item   // the transitions
	Batch           sampler.Batch // their rows, which may stand at different steps
	Next            B             // the latents after them
	Old, Advantages []float64

	Share float64 // of the minibatch, over all ranks
	Fresh bool    // the policy is the one that drew the samples, so that ratios must be 1

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

// Resize makes room for n evaluations and as many transitions, whose values are undefined.
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

// Free gives back the memory of the device.
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

// Fill implements [Task]. It gathers rows on the device. r must have been judged and
// prepared. An item that is none of the trained transitions is an error that names it.
func (r *Run[B]) Fill(_ context.Context, b *Minibatch[B], items []grpo.Item) error {
	switch {
	case r.Old == nil:
		return errors.New("trainer: Fill before Prepare")
	case len(r.Advantages) != len(r.all):
		return errors.New("trainer: Fill before Judge")
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

// gather fills b with what a replay needs.
func (r *Run[B]) gather(b *Minibatch[B], items []grpo.Item) error {
	for _, it := range items {
		if it.Row < 0 || it.Row >= len(r.all) || !r.trained(it.Step) {
			return fmt.Errorf("trainer: item %+v is none of the %d rows at the trained transitions %v", it, len(r.all), r.Steps)
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

// asked returns what the rows of Call are: items, and transitions they look back at.
func (b *Minibatch[B]) asked() []grpo.Item {
	if len(b.Call.Rows) == len(b.Items) {
		return b.Items
	}
	return b.back.asked
}

// Loss implements [Task]: the objective and the penalty. If b is Fresh, a sum of squares
// that is not the rollout's to the bit is an error (sampler.ErrOffPolicy), or a ratio
// beyond Config.Tolerance if there is one. An output that is not finite is a
// [sampler.NonFiniteError].
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
		return s, fmt.Errorf("trainer: before the first update a ratio is off by %v, and Tolerance is %v: %w", s.Deviation, c.Tolerance, sampler.ErrOffPolicy)
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

// compare reports sums of squares that are not finite, and, before the first update, those
// that are not the rollout's.
func (r *Run[B]) compare(b *Minibatch[B], sq []float64) error {
	for k, x := range sq {
		it := b.Items[k]
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return &sampler.NonFiniteError{Step: r.Sampler.At(it.Step).Step, Row: it.Row, Sample: b.Batch.Rows[k].Sample}
		}
		if was := r.Trajectory.SumSquares[it.Step][it.Row]; b.Fresh && r.t.config.Tolerance == 0 && x != was {
			return fmt.Errorf("trainer: step %d, row %d (sample %d): in a minibatch of %d rows before the first update the sum of squares is %v, and in the rollout it was %v, so that its ratio is not 1; CheckOnPolicy tells why: %w",
				r.Sampler.At(it.Step).Step, it.Row, b.Batch.Rows[k].Sample, len(sq), x, was, sampler.ErrOffPolicy)
		}
	}
	return nil
}
