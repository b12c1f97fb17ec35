package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"cps/internal/room"
	"cps/noise"
	"cps/sampler"
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

// A probe is a Call on which CheckBackward runs Velocity and Backward.
type probe[B any] struct {
	t     *Trainer[B]
	b     *Minibatch[B]
	key   noise.Key
	rooms [5]room.Room[B]
	other B // memory for outputs
	batch sampler.Batch

	lo, hi, dim int     // dv is 0 outside of [lo, hi), which is cut into rows of dim
	dv          float64 // ‖dv‖
	size        float64 // norm of the whole output, or of the whole dv if the output is 0
	reach       float64 // how far parameters were moved with the whole dv
}

// memory returns buffer i, of the size of the output.
func (p *probe[B]) memory(i int, t sampler.Storage) (B, error) {
	x, err := p.rooms[i].Of(p.t.m, p.elements(), t)
	if err != nil {
		return x, p.t.fail("CheckBackward", err)
	}
	return x, nil
}

// asked returns the number of rows of a Call as the policy gets it.
func (p *probe[B]) asked() int {
	if s := p.t.config.Shape; s.Fixed {
		return s.Rows
	}
	return len(p.b.Call.Rows)
}

// elements returns the number of elements of the output.
func (p *probe[B]) elements() int { return len(p.b.Call.Rows) * p.b.dim }

// draw draws dv in the elements [lo, hi), as rows of dim. Others are 0.
func (p *probe[B]) draw(key noise.Key, lo, hi, dim int) (err error) {
	var none B
	p.clear(p.b.DV)
	p.lo, p.hi, p.dim = lo, hi, dim
	b := p.uniform(sampler.Affine{Eps: 1})
	b.Key = key
	for i := range b.Rows {
		b.Rows[i].Sample = uint64(i)
	}
	p.t.m.Step(p.cut(p.b.DV), none, none, b, nil)
	p.dv, err = p.norm(p.b.DV, none, 0)
	return err
}

// drawAll draws dv in all elements.
func (p *probe[B]) drawAll() error { return p.draw(p.key, 0, p.elements(), p.b.dim) }

// clear stores 0 in all elements of x.
func (p *probe[B]) clear(x B) {
	var none B
	p.t.m.Step(x, none, none, uniform(&p.batch, p.b.dim, len(p.b.Call.Rows), sampler.Affine{}), nil)
}

// cut returns the elements of x where dv is drawn.
func (p *probe[B]) cut(x B) B { return p.t.m.Slice(x, p.lo, p.hi) }

// uniform returns a batch for cut, with a in all rows.
func (p *probe[B]) uniform(a sampler.Affine) sampler.Batch {
	return uniform(&p.batch, p.dim, (p.hi-p.lo)/p.dim, a)
}

func (p *probe[B]) free() error {
	err := p.b.Free()
	for i := range p.rooms {
		err = errors.Join(err, p.rooms[i].Free(p.t.m))
	}
	return err
}

// norm returns ‖x - weight·y‖ over the elements where dv is drawn.
func (p *probe[B]) norm(x, y B, weight float64) (float64, error) {
	var none B
	b := p.uniform(sampler.Affine{X: weight})
	sq := make([]float64, len(b.Rows))
	if weight == 0 {
		y = none
	} else {
		y = p.cut(y)
	}
	p.t.m.SumSquares(sq, p.cut(x), y, none, b)
	if err := p.t.m.Sync(); err != nil {
		return 0, p.t.fail("device", err)
	}
	var sum float64
	for _, x := range sq {
		sum += x
	}
	return math.Sqrt(sum), nil
}

// output stores the output at the present parameters in v.
func (p *probe[B]) output(ctx context.Context, v B) error {
	c := p.b.Call
	c.V = v
	if err := p.t.policy.Velocity(ctx, c); err != nil {
		return p.t.fail(fmt.Sprintf("CheckBackward: Velocity of %d rows", len(c.Rows)), err)
	}
	return nil
}

// backward evaluates the output at the present parameters, and adds the gradient of Σ dv·v.
func (p *probe[B]) backward(ctx context.Context, dv B) error {
	if err := p.output(ctx, p.b.Call.V); err != nil {
		return err
	}
	return p.add(ctx, dv)
}

// add adds the gradient of Σ dv·v, after output into p.b.Call.V.
func (p *probe[B]) add(ctx context.Context, dv B) error {
	if err := p.t.policy.Backward(ctx, p.b.Call, dv); err != nil {
		return p.t.fail(fmt.Sprintf("CheckBackward: Backward of %d rows", len(p.b.Call.Rows)), err)
	}
	return nil
}

// broken remembers and returns err. The policy cannot be trained after it.
func (p *probe[B]) broken(err error) error {
	p.t.failed = err
	return err
}

// change returns Σ dv·(v - w) and ‖v - w‖ of the outputs v and w, over the elements where dv
// is drawn, with v in p.other and w in p.b.Call.V. It overwrites v. The product is the difference of two sums of squares, so
// both of its terms are first scaled to one size.
func (p *probe[B]) change() (product, size float64, err error) {
	var none B
	v := p.other
	p.t.m.Step(p.cut(v), p.cut(v), p.cut(p.b.Call.V), p.uniform(sampler.Affine{X: 1, V: -1}), nil)
	if size, err = p.norm(v, none, 0); err != nil || size == 0 {
		return 0, size, err
	}
	weight := size / p.dv
	far, err := p.norm(v, p.b.DV, -weight)
	if err != nil {
		return 0, 0, err
	}
	near, err := p.norm(v, p.b.DV, weight)
	return (far - near) * (far + near) / (4 * weight), size, err
}

// precise reports whether outputs are float32.
func (p *probe[B]) precise() bool {
	return p.b.output == sampler.Float32 && p.b.storage == sampler.Float32
}

// tolerance returns how far a measured factor may be from 1.
func (p *probe[B]) tolerance() float64 {
	if p.precise() {
		return 0.05
	}
	return 0.2
}

// byMoves compares Σg² with the slope of Σ dv·v along g, for several dv.
func (p *probe[B]) byMoves(ctx context.Context, m Mover) (err error) {
	move := func(h float64) (float64, error) {
		squares, err := m.Move(ctx, h)
		if err != nil {
			return 0, p.t.fail("CheckBackward: Move", err)
		}
		return squares, nil
	}
	restore := func() error {
		clean := context.WithoutCancel(ctx)
		_, e := m.Move(clean, 0)
		if e = errors.Join(e, m.ClearGradient(clean)); e != nil {
			return p.broken(p.t.fail("CheckBackward: restoring the policy", e))
		}
		return nil
	}
	defer func() {
		if e := restore(); e != nil {
			err = errors.Join(err, e)
		}
	}()
	if err := p.byWhole(ctx, move); err != nil {
		return err
	}
	if err := restore(); err != nil {
		return err
	}
	left, err := move(0)
	if err != nil {
		return err
	}
	if left != 0 {
		return p.broken(p.wrong("ClearGradient does not clear the gradient: its sum of squares is then %v", left))
	}
	return p.byParts(ctx, move, restore)
}

// byWhole draws dv in all elements.
func (p *probe[B]) byWhole(ctx context.Context, move func(h float64) (float64, error)) error {
	if err := p.drawAll(); err != nil {
		return err
	}
	var squares [2]float64 // after one Backward, and two
	for i := range squares {
		err := p.backward(ctx, p.b.DV)
		if err != nil {
			return err
		}
		if squares[i], err = move(0); err != nil {
			return err
		}
	}
	once, twice := squares[0], squares[1]
	switch {
	case !(once <= math.MaxFloat64) || !(twice <= math.MaxFloat64):
		return p.wrong("the sum of squares of the gradient is %v, and after another call %v", once, twice)
	case once == 0:
		return p.wrong("the gradient of Σ dv·v with random dv is 0 in every parameter: Backward adds nothing")
	case math.Abs(twice/once-1) < 0.05:
		return p.wrong("a second call leaves the gradient as it is: Backward replaces the gradient, and must add to it, for a minibatch may come in several Calls")
	case math.Abs(twice/once-4) > 0.2:
		return p.wrong("a second, equal call makes the gradient %.4g times as long, and must double it: was the gradient clear?", math.Sqrt(twice/once))
	}
	slope, err := p.slope(ctx, move, twice)
	if err != nil {
		return err
	}
	if factor := twice / slope / 2; math.Abs(factor-1) >= p.tolerance() {
		return p.wrong("%s", explain(factor, p.asked(), p.b.dim))
	}
	return nil
}

// byParts draws dv in single rows and in single elements, whose gradients have no others to
// hide behind. Rows are of the least and of the greatest time, since a Backward may take
// one time for all. restore clears the gradient.
func (p *probe[B]) byParts(ctx context.Context, move func(h float64) (float64, error), restore func() error) error {
	n, d, times := len(p.b.Call.Rows), p.b.dim, p.b.Call.Times
	low, high := 0, 0
	for i, t := range times {
		if t < times[low] {
			low = i
		}
		if t > times[high] {
			high = i
		}
	}
	pick := func(k, of int) int { return int(uint64(p.key.Derive(uint64(k))) % uint64(of)) }
	if low == high {
		high = pick(100, n)
	}
	type part struct{ row, lo, hi, dim int }
	var parts []part
	if n > 1 {
		for _, row := range []int{low, high} {
			parts = append(parts, part{row, row * d, (row + 1) * d, d})
		}
	}
	if p.precise() && d > 2 {
		for k, row := range []int{low, high, pick(101, n)} {
			lo := row*d + (pick(102, d)+k*d/3)%d
			parts = append(parts, part{row, lo, lo + 1, 1})
		}
	}
	for k, q := range parts {
		if err := restore(); err != nil {
			return err
		}
		if err := p.draw(p.key.Derive(uint64(k)), q.lo, q.hi, q.dim); err != nil {
			return err
		}
		factor, err := p.part(ctx, move)
		if err != nil {
			return err
		}
		if math.Abs(1/factor-1) >= p.partTolerance() {
			where := fmt.Sprintf("row %d", p.b.Call.Rows[q.row])
			if q.dim == 1 {
				where = fmt.Sprintf("element %d of ", q.lo%d) + where
			}
			return p.wrong("with dv nonzero in %s alone, at time %v, its gradient is %.4g times that by differences of Velocity, and with dv in all elements it is right: parts of it are wrong, for example some parameters, or the time or the condition of a row",
				where, times[q.row], factor)
		}
	}
	return nil
}

// partTolerance returns how far the inverse of a part's factor may be from 1.
func (p *probe[B]) partTolerance() float64 {
	if p.precise() {
		return 0.1
	}
	return 0.2
}

// part returns the factor of the gradient for the present dv, and 1 if it cannot be told: if
// the gradient is 0, or if differences do not agree. If the gradient is right, the first
// move changes Σ dv·v by target·‖dv‖ to each side, so larger moves are not needed.
func (p *probe[B]) part(ctx context.Context, move func(h float64) (float64, error)) (float64, error) {
	var none B
	if err := p.backward(ctx, p.b.DV); err != nil {
		return 0, err
	}
	squares, err := move(0)
	if err != nil {
		return 0, err
	}
	if !(squares <= math.MaxFloat64) {
		return 0, p.wrong("the sum of squares of the gradient is %v", squares)
	}
	size, err := p.norm(p.b.Call.V, none, 0)
	if err != nil {
		return 0, err
	}
	size = max(size, p.size*math.Sqrt(float64(p.hi-p.lo)/float64(p.elements())))
	target, levels := size/2, 3 // where networks that compute with 16 bits inside are precise enough
	h := target * p.dv / squares
	if !(h*math.Sqrt(squares) <= 64*p.reach) { // or the gradient is 0
		return 1, nil
	}
	product, _, err := p.between(ctx, move, h)
	for range levels {
		if err != nil {
			return 0, err
		}
		slope := product
		h /= 2
		if product, _, err = p.between(ctx, move, h); math.Abs(product-slope) <= p.partTolerance()/2*squares {
			return squares / product, err
		}
	}
	return 1, err
}

// between returns Σ dv·v at +h less that at -h over 2h, and half of the norm of the change
// of v.
func (p *probe[B]) between(ctx context.Context, move func(h float64) (float64, error), h float64) (slope, length float64, err error) {
	for _, side := range []struct {
		h float64
		v B
	}{{h, p.other}, {-h, p.b.Call.V}} {
		if _, err := move(side.h); err != nil {
			return 0, 0, err
		}
		if err := p.output(ctx, side.v); err != nil {
			return 0, 0, err
		}
	}
	product, length, err := p.change()
	return product / (2 * h), length / 2, err
}

// slope returns the derivative of Σ dv·v by h at 0. It takes differences until they agree.
func (p *probe[B]) slope(ctx context.Context, move func(h float64) (float64, error), squares float64) (float64, error) {
	var none B
	size, err := p.norm(p.b.Call.V, none, 0)
	if err != nil {
		return 0, err
	}
	switch {
	case !(size <= math.MaxFloat64):
		return 0, fmt.Errorf("trainer: CheckBackward: the norm of the output of Velocity is %v", size)
	case size == 0:
		size = p.dv
	}
	p.size = size
	target := size / 8 // wanted norm of the change of the output to one side
	h := target * p.dv / squares
	moved := false
	for range 40 {
		slope, length, err := p.between(ctx, move, h)
		if err != nil {
			return 0, err
		}
		moved = moved || length != 0 // NaN is a change too
		switch ratio := length / target; {
		case !(ratio <= 64): // or NaN
			h /= 64
			continue
		case ratio < 1./64:
			h *= 64
			continue
		case ratio < 1./4 || ratio > 1:
			h /= 2 * ratio
			continue
		}
		p.reach = h * math.Sqrt(squares)
		half, _, err := p.between(ctx, move, h/2)
		switch {
		case err != nil:
			return 0, err
		case math.Abs(slope-half) < p.tolerance()/2*math.Abs(half):
			return half, nil
		}
		target /= 2
		h /= 2
		if target < size*0x1p-14 {
			break
		}
	}
	if !moved {
		return 0, p.wrong("the gradient is not 0, and parameters that are moved along it leave the output as it is: it is of other parameters, or Move does nothing")
	}
	return 0, fmt.Errorf("trainer: CheckBackward: differences of Velocity along the gradient do not agree with each other, because of rounding or because Velocity is rough, random or not finite: %w", sampler.ErrUndecided)
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
