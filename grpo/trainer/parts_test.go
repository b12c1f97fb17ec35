package trainer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"cps/noise"
	"cps/sampler"
)

// layer has parameters of its own for every element: v = a·x + b·t + c·condition. Backward
// may have mistakes.
type layer struct {
	p, g, still []float64 // still: before a Move
	wrong       int       // the parameter whose sign is wrong; -1: none
	oneTime     bool      // takes the time of the first row for all
}

func newLayer() *layer {
	l := &layer{p: make([]float64, 3*dim), g: make([]float64, 3*dim), wrong: -1}
	for i := range l.p {
		l.p[i] = float64(i%5-2)/8 + .1
	}
	return l
}

// inputs returns what parameters of an element multiply.
func (l *layer) inputs(c sampler.Call[[]float32], row, k int, time float64) [3]float64 {
	return [3]float64{float64(c.X[row*dim+k]), time, float64(c.Rows[row]/group%3) - 1}
}

func (l *layer) Velocity(_ context.Context, c sampler.Call[[]float32]) error {
	for i := range c.Rows {
		for k := range dim {
			var v float64
			for j, x := range l.inputs(c, i, k, c.Times[i]) {
				v += l.p[3*k+j] * x
			}
			c.V[i*dim+k] = float32(v)
		}
	}
	return nil
}

func (l *layer) Backward(_ context.Context, c sampler.Call[[]float32], dv []float32) error {
	for i := range c.Rows {
		time := c.Times[i]
		if l.oneTime {
			time = c.Times[0]
		}
		for k := range dim {
			for j, x := range l.inputs(c, i, k, time) {
				if 3*k+j == l.wrong {
					x = -x
				}
				l.g[3*k+j] += float64(dv[i*dim+k]) * x
			}
		}
	}
	return nil
}

func (l *layer) Update(context.Context) error {
	for i, g := range l.g {
		l.p[i] -= .01 * g
	}
	clear(l.g)
	l.still = nil
	return nil
}

func (l *layer) Move(_ context.Context, h float64) (squares float64, err error) {
	if l.still == nil {
		l.still = slices.Clone(l.p)
	}
	for i, g := range l.g {
		l.p[i] = l.still[i] + h*g
		squares += g * g
	}
	return squares, nil
}

func (l *layer) ClearGradient(context.Context) error {
	clear(l.g)
	l.still = nil
	return nil
}

// One of 24 parameters of the wrong sign is found for most parameters, where dv in all elements
// alone finds few. One time for all rows is found always. What is right passes.
func TestCheckBackwardOfParts(t *testing.T) {
	const keys = 20
	check := func(key int, change func(*layer)) error {
		l, c := newLayer(), small()
		c.Key = noise.Key(key)
		change(l)
		was := slices.Clone(l.p)
		err := newTrainer(t, sampler.CPU{}, Policy[[]float32](l), c).CheckBackward(t.Context())
		if !slices.Equal(l.p, was) || slices.ContainsFunc(l.g, func(g float64) bool { return g != 0 }) {
			t.Errorf("key %d: the check changes the policy", key)
		}
		if err != nil && !errors.Is(err, ErrBackward) {
			t.Errorf("key %d: %v", key, err)
		}
		return err
	}
	found, parts := 0, 0
	for key := range keys {
		if err := check(key, func(*layer) {}); err != nil {
			t.Errorf("key %d: %v", key, err)
		}
		for i := range 3 * dim {
			err := check(key, func(l *layer) { l.wrong = i })
			if err == nil {
				continue
			}
			found++
			if strings.Contains(err.Error(), "alone, at time") && strings.Contains(err.Error(), "and with dv in all elements it is right: parts of it are wrong, for example some parameters") {
				parts++
			}
		}
		if err := check(key, func(l *layer) { l.oneTime = true }); err == nil {
			t.Errorf("key %d: Backward takes one time for all rows, and passes", key)
		}
	}
	all := keys * 3 * dim
	t.Logf("of %d parameters %d are found, %d of them in parts", all, found, parts)
	if found < all*2/3 || parts < all/4 {
		t.Errorf("of %d parameters only %d are found, %d of them in parts", all, found, parts)
	}
}

// rounded is a layer that computes in bfloat16 and returns float32.
type rounded struct{ *layer }

func (r rounded) Velocity(ctx context.Context, c sampler.Call[[]float32]) error {
	err := r.layer.Velocity(ctx, c)
	words := make([]uint16, len(c.V))
	sampler.BFloat16.Pack(words, c.V)
	sampler.BFloat16.Unpack(c.V, words)
	return err
}

// Rounding inside of a network is not taken for a wrong gradient.
func TestCheckBackwardOfRounded(t *testing.T) {
	for key := range 50 {
		c := small()
		c.Key = noise.Key(key)
		if err := newTrainer(t, sampler.CPU{}, Policy[[]float32](rounded{newLayer()}), c).CheckBackward(t.Context()); errors.Is(err, ErrBackward) {
			t.Errorf("key %d: %v", key, err)
		}
	}
}

// leaky is a Saver whose Update does not clear the gradient. A Saver may keep the gradient in
// Load, or clear it. An optimiser may have momentum, which Save stores.
type leaky struct {
	*plain
	momentum     float64
	speed        *[4]float64
	clears       bool // Update clears the gradient
	loadClears   bool
	forgetsSpeed bool // Save does not store the optimiser's state
}

func (l leaky) Update(context.Context) error {
	for i, g := range l.g {
		l.speed[i] = l.momentum*l.speed[i] + g
		l.p[i] -= 1e-3 * l.speed[i]
	}
	if l.clears {
		l.g = [4]float64{}
	}
	return nil
}

func (l leaky) Save(w io.Writer) error {
	return binary.Write(w, binary.LittleEndian, [2][4]float64{l.p, *l.speed})
}

func (l leaky) Load(r io.Reader) error {
	var x [2][4]float64
	err := binary.Read(r, binary.LittleEndian, &x)
	l.p = x[0]
	if !l.forgetsSpeed {
		*l.speed = x[1]
	}
	if l.loadClears {
		l.g = [4]float64{}
	}
	return err
}

// leakyMover is leaky and a Mover.
type leakyMover struct {
	leaky
	m movable
}

func (l leakyMover) Move(ctx context.Context, h float64) (float64, error) { return l.m.Move(ctx, h) }

func (l leakyMover) ClearGradient(ctx context.Context) error { return l.m.ClearGradient(ctx) }

func (l leakyMover) Update(ctx context.Context) error {
	l.m.at.moved = false
	return l.leaky.Update(ctx)
}

func (l leakyMover) Load(r io.Reader) error {
	l.m.at.moved = false
	return l.leaky.Load(r)
}

// onlyMover hides that leakyMover is a Saver.
type onlyMover struct {
	Policy[[]float32]
	Mover
}

// stubborn is a Mover whose ClearGradient does nothing.
type stubborn struct{ movable }

func (s stubborn) ClearGradient(context.Context) error {
	s.at.moved = false
	return nil
}

// An Update that leaves the gradient is found, whatever the policy implements.
func TestUpdateClears(t *testing.T) {
	const want = "Update does not clear the gradient"
	is := func(err error) bool { return errors.Is(err, ErrBackward) && strings.Contains(err.Error(), want) }
	for _, momentum := range []float64{0, .9} {
		for _, loadClears := range []bool{false, true} {
			for _, clears := range []bool{false, true} {
				l := leaky{newPlain(), momentum, new([4]float64), clears, loadClears, false}
				tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](l), small())
				if err := tr.CheckBackward(t.Context()); is(err) == clears || clears && err != nil {
					t.Errorf("Saver, %+v: %v", l, err)
				}
				if l.p != start || *l.speed != [4]float64{} {
					t.Errorf("Saver, %+v: the check changes the policy", l)
				}
				if _, err := tr.Step(t.Context()); is(err) == clears {
					t.Errorf("Saver, %+v: Step: %v", l, err)
				}

				l.plain, l.speed = newPlain(), new([4]float64)
				m := leakyMover{l, newMovable(nil)}
				m.m.plain = l.plain
				tr = newTrainer(t, sampler.CPU{}, Policy[[]float32](m), small())
				if err := tr.CheckBackward(t.Context()); is(err) == clears || clears && err != nil {
					t.Errorf("Mover and Saver, %+v: %v", l, err)
				}
				if l.p != start || *l.speed != [4]float64{} || l.g != [4]float64{} {
					t.Errorf("Mover and Saver, %+v: the check changes the policy", l)
				}

				tr = newTrainer(t, sampler.CPU{}, Policy[[]float32](onlyMover{m, m}), small())
				if err := tr.CheckBackward(t.Context()); err != nil {
					t.Errorf("Mover, %+v: %v", l, err)
				}
				if _, err := tr.Step(t.Context()); is(err) == clears || clears && err != nil {
					t.Errorf("Mover, %+v: Step: %v", l, err)
				}
			}
		}
	}
	l := leaky{newPlain(), .9, new([4]float64), true, false, true}
	err := newTrainer(t, sampler.CPU{}, Policy[[]float32](l), small()).CheckBackward(t.Context())
	if !is(err) || !strings.Contains(err.Error(), "or Save and Load do not keep all of the optimiser's state") {
		t.Errorf("a Saver without the optimiser's state: %v", err)
	}
	tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](stubborn{newMovable(nil)}), small())
	if err := tr.CheckBackward(t.Context()); !errors.Is(err, ErrBackward) || !strings.Contains(err.Error(), "ClearGradient does not clear the gradient") {
		t.Errorf("ClearGradient does nothing: %v", err)
	}
	if _, err := tr.Step(t.Context()); !errors.Is(err, ErrBackward) {
		t.Errorf("a gradient is left, and Step goes on: %v", err)
	}
}
