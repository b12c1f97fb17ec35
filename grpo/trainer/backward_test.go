package trainer

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cps/grpo"
	"cps/sampler"
	"cps/sampler/guidance"
	"cps/sampler/solver"
	"cps/schedule"
)

// faulty is plain with a changed gradient.
type faulty struct {
	*plain
	spoil func(added *[4]float64, before [4]float64, rows int)
}

func (f faulty) Backward(ctx context.Context, c sampler.Call[[]float32], dv []float32) error {
	before := f.g
	f.g = [4]float64{}
	err := f.plain.Backward(ctx, c, dv)
	if f.spoil != nil {
		f.spoil(&f.g, before, len(c.Rows))
	}
	for i := range f.g {
		f.g[i] += before[i]
	}
	return err
}

// times multiplies a gradient by a factor.
func times(factor func(rows int) float64) func(*[4]float64, [4]float64, int) {
	return func(g *[4]float64, _ [4]float64, rows int) {
		for i := range g {
			g[i] *= factor(rows)
		}
	}
}

func constant(x float64) func(*[4]float64, [4]float64, int) {
	return times(func(int) float64 { return x })
}

// movable is faulty and a Mover.
type movable struct {
	faulty
	at *struct {
		theta [4]float64
		moved bool
	}
}

func newMovable(spoil func(*[4]float64, [4]float64, int)) movable {
	m := movable{faulty: faulty{newPlain(), spoil}}
	m.at = new(struct {
		theta [4]float64
		moved bool
	})
	return m
}

func (m movable) Move(_ context.Context, h float64) (squares float64, err error) {
	if !m.at.moved {
		m.at.theta, m.at.moved = m.p, true
	}
	m.p = m.at.theta
	for i, g := range m.g {
		if h != 0 {
			m.p[i] += h * g
		}
		squares += g * g
	}
	return squares, nil
}

func (m movable) ClearGradient(context.Context) error {
	m.g, m.at.moved = [4]float64{}, false
	return nil
}

func (m movable) Update(ctx context.Context) error {
	m.at.moved = false
	return m.faulty.Update(ctx)
}

// savable is faulty and a Saver. Its Update may do something else.
type savable struct {
	faulty
	update func(p, g *[4]float64)
}

func (s savable) Update(ctx context.Context) error {
	if s.update == nil {
		return s.faulty.Update(ctx)
	}
	s.update(&s.p, &s.g)
	s.g = [4]float64{}
	return nil
}

func (s savable) Save(w io.Writer) error { return (&full{plain: *s.plain}).Save(w) }

func (s savable) Load(r io.Reader) error {
	f := &full{}
	err := f.Load(r)
	s.p = f.p
	return err
}

// adam is an update by the sign of the gradient, as Adam's first one, and some decay.
func adam(p, g *[4]float64) {
	for i := range p {
		p[i] -= 1e-3*math.Copysign(1, g[i]) + 1e-2*p[i]
	}
}

// An error names what is wrong with a gradient, and a right gradient passes, however Calls
// are shaped and outputs mixed.
func TestCheckBackward(t *testing.T) {
	const rows = 12
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, tc := range map[string]struct {
		p    Policy[[]float32]
		kind error
		want string
	}{
		"right":                   {newMovable(nil), nil, ""},
		"a part":                  {newMovable(func(g *[4]float64, _ [4]float64, _ int) { g[1], g[3] = 0, 0 }), nil, ""},
		"wrong sign":              {newMovable(constant(-1)), ErrBackward, "its gradient is -1 times that by differences of Velocity: the sign is wrong, and nothing else"},
		"half":                    {newMovable(constant(.5)), ErrBackward, "is 0.5 times that by differences of Velocity: the factor is about 1/2"},
		"double":                  {newMovable(constant(2)), ErrBackward, "about 2, as of a square"},
		"a scale of losses":       {newMovable(constant(65536)), ErrBackward, "is 6.554e+04 times"},
		"mean over rows":          {newMovable(times(func(n int) float64 { return 1 / float64(n) })), ErrBackward, "about 1/12, a mean over the rows of the Call"},
		"mean over elements":      {newMovable(times(func(n int) float64 { return 1 / float64(n*dim) })), ErrBackward, "about 1/(12·8), a mean over all elements"},
		"mean over a row":         {newMovable(constant(1. / dim)), ErrBackward, "about 1/8, a mean over the elements of a row"},
		"times rows":              {newMovable(constant(rows)), ErrBackward, "about 12, the rows of the Call"},
		"times elements of a row": {newMovable(constant(dim)), ErrBackward, "about 8, the elements of a row"},
		"times elements":          {newMovable(constant(rows * dim)), ErrBackward, "about 12·8, the elements of the Call"},
		"sign and factor":         {newMovable(constant(-1. / rows)), ErrBackward, "the sign is wrong: the factor is about 1/12"},
		"5% more":                 {newMovable(constant(1.06)), ErrBackward, "is 1.06 times that by differences of Velocity: this is no simple number, so parts of it are wrong, for example some parameters"},
		"none":                    {newMovable(constant(0)), ErrBackward, "Backward adds nothing"},
		"NaN":                     {newMovable(constant(math.NaN())), ErrBackward, "the sum of squares of the gradient is NaN"},
		"of another parameter":    {newMovable(func(g *[4]float64, _ [4]float64, _ int) { g[1] += 30 }), ErrBackward, " times that by"},
		"replaces":                {newMovable(func(g *[4]float64, before [4]float64, _ int) { subtract(g, before) }), ErrBackward, "Backward replaces the gradient"},
		"grows": {newMovable(func(g *[4]float64, before [4]float64, _ int) {
			subtract(g, [4]float64{-before[0], -before[1], -before[2], -before[3]})
		}), ErrBackward, "a second, equal call makes the gradient 3 times as long"},
		"does not move":             {stuck{newMovable(nil)}, ErrBackward, "parameters that are moved along it leave the output as it is"},
		"random":                    {noisy{newMovable(nil), rnd}, sampler.ErrUndecided, "do not agree with each other"},
		"saved":                     {savable{faulty{newPlain(), nil}, nil}, nil, ""},
		"saved, Adam":               {savable{faulty{newPlain(), nil}, adam}, nil, ""},
		"saved, wrong sign":         {savable{faulty{newPlain(), constant(-1)}, nil}, ErrBackward, "the sign is wrong, of Backward or of Update"},
		"saved, Adam, wrong sign":   {savable{faulty{newPlain(), constant(-1)}, adam}, ErrBackward, "the sign is wrong, of Backward or of Update"},
		"saved, a large rate":       {savable{faulty{newPlain(), nil}, func(p, g *[4]float64) { subtract(p, *g) }}, nil, ""},
		"saved, Update is reversed": {savable{faulty{newPlain(), nil}, func(p, g *[4]float64) { subtract(p, [4]float64{-g[0], -g[1], -g[2], -g[3]}) }}, ErrBackward, "the sign is wrong, of Backward or of Update"},
		"saved, none":               {savable{faulty{newPlain(), constant(0)}, nil}, ErrBackward, "no gradient reaches the parameters, or the learning rate is 0"},
		"saved, no rate":            {savable{faulty{newPlain(), nil}, func(_, _ *[4]float64) {}}, ErrBackward, "or the learning rate is 0"},
		"saved, hardly a rate":      {savable{faulty{newPlain(), nil}, func(p, g *[4]float64) { p[0] -= 1e-9 * g[0] }}, sampler.ErrUndecided, "within rounding"},
		"neither":                   {newPlain(), ErrConfig, "is neither Mover nor Saver"},
	} {
		tr := newTrainer(t, sampler.CPU{}, tc.p, small())
		err := tr.CheckBackward(t.Context())
		if tc.kind == nil && err != nil || !errors.Is(err, tc.kind) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if tr.Timing() != (Timing{}) || tr.Iteration() != 0 {
			t.Errorf("%s: the check counts", name)
		}
	}
}

func subtract(g *[4]float64, x [4]float64) {
	for i := range g {
		g[i] -= x[i]
	}
}

// stuck is a Mover that does not move.
type stuck struct{ movable }

func (s stuck) Move(ctx context.Context, _ float64) (float64, error) { return s.movable.Move(ctx, 0) }

// noisy has dropout.
type noisy struct {
	movable
	rnd *rand.Rand
}

func (n noisy) Velocity(ctx context.Context, c sampler.Call[[]float32]) error {
	err := n.movable.Velocity(ctx, c)
	for i := range c.V {
		if n.rnd.IntN(2) == 0 {
			c.V[i] = 0
		}
	}
	return err
}

// A right gradient passes in every shape, under guidance, from another part, and from an
// output that is 0; and what is wrong does not.
func TestCheckBackwardOfShapes(t *testing.T) {
	for name, change := range map[string]func(c *Config[[]float32], p *plain){
		"micro-batches": func(c *Config[[]float32], _ *plain) { c.Shape.Rows = 5 },
		"fixed":         func(c *Config[[]float32], _ *plain) { c.Shape = Shape{Rows: 5, Fixed: true} },
		"one row":       func(c *Config[[]float32], _ *plain) { c.Shape.Rows = 1 },
		"guidance": func(c *Config[[]float32], _ *plain) {
			c.Guidance = guidance.Guidance{Scale: 2.5, Low: .3, High: .9, Rescale: .7}
			c.Shape = Shape{Rows: 7, Fixed: true}
		},
		"stored": func(c *Config[[]float32], _ *plain) { c.Sampling.Storage = sampler.BFloat16 },
		"output is 0": func(c *Config[[]float32], p *plain) {
			p.p = [4]float64{}
			c.Sampling.Rule = sampler.FlowSDE{Diffusion: sampler.Ratio(.7)}
		},
		"large output": func(_ *Config[[]float32], p *plain) { p.p = [4]float64{3, 1e3, 40, 0} },
	} {
		for _, factor := range []float64{1, -1, 1e-6, 1e6} {
			c, p := small(), newMovable(constant(factor))
			change(&c, p.plain)
			was := *p.plain
			tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
			err := tr.CheckBackward(t.Context())
			if factor == 1 && err != nil || factor != 1 && !errors.Is(err, ErrBackward) {
				t.Errorf("%s, factor %v: %v", name, factor, err)
			}
			if p.p != was.p || p.g != ([4]float64{}) {
				t.Errorf("%s: parameters %v, gradient %v", name, p.p, p.g)
			}
		}
	}
}

// Minibatches of steps that look back have more evaluations than transitions; Backward is
// asked about all.
func TestCheckBackwardOfLookers(t *testing.T) {
	for name, rule := range lookers {
		for _, shape := range []Shape{{}, {Rows: 5, Fixed: true}} {
			for _, factor := range []float64{1, -1} {
				c, p := looking(rule), newMovable(constant(factor))
				c.Shape = shape
				tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
				err := tr.CheckBackward(t.Context())
				if factor == 1 && err != nil || factor != 1 && (!errors.Is(err, ErrBackward) || !strings.Contains(err.Error(), "the sign is wrong, and nothing else")) {
					t.Errorf("%s, %+v, factor %v: %v", name, shape, factor, err)
				}
				if in, err := tr.Inputs(t.Context()); err != nil || in != (sampler.Inputs{Latents: true, Time: true, Row: true}) {
					t.Errorf("%s, %+v: %+v, %v", name, shape, in, err)
				}
			}
		}
	}
}

// The number of rows that an error names is that of the policy's Calls, padded or cut.
func TestCheckBackwardNamesRows(t *testing.T) {
	mean := times(func(n int) float64 { return 1 / float64(n) })
	padded := small()
	padded.Shape, padded.Minibatches = Shape{Rows: 16, Fixed: true}, grpo.Minibatches{Rows: 3}
	cut := looking(solver.DPMPlus{Order: 3, Eta: 1})
	cut.Shape.Rows = 5
	for name, c := range map[string]Config[[]float32]{"padded": padded, "cut": cut} {
		err := newTrainer(t, sampler.CPU{}, Policy[[]float32](newMovable(mean)), c).CheckBackward(t.Context())
		if !errors.Is(err, ErrBackward) || !strings.Contains(err.Error(), "a mean over the rows of the Call") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// late is movable, and its outputs are NaN from a call on.
type late struct {
	movable
	from, calls *int
}

func (l late) Velocity(ctx context.Context, c sampler.Call[[]float32]) error {
	err := l.movable.Velocity(ctx, c)
	if *l.calls++; *l.calls >= *l.from {
		c.V[0] = float32(math.NaN())
	}
	return err
}

// An output that is not finite is no fault of Backward, whenever it comes.
func TestCheckBackwardOfNaN(t *testing.T) {
	for from := 6; ; from++ { // the rollout calls Velocity five times
		calls := 0
		p := late{newMovable(nil), &from, &calls}
		err := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), small()).CheckBackward(t.Context())
		if calls < from { // the check takes fewer
			if err != nil || from < 20 {
				t.Errorf("%d calls: %v", calls, err)
			}
			break
		}
		if err == nil || errors.Is(err, ErrBackward) {
			t.Errorf("NaN from call %d of %d on: %v", from, calls, err)
		}
	}
}

// unsteady is savable, and a call of Velocity fails.
type unsteady struct {
	savable
	left *int
}

func (u unsteady) Velocity(ctx context.Context, c sampler.Call[[]float32]) error {
	if *u.left--; *u.left == 0 {
		return context.Canceled
	}
	return u.savable.Velocity(ctx, c)
}

// Where Velocity fails, the policy is as before, and trains.
func TestCheckBackwardInterrupted(t *testing.T) {
	for call := 6; call < 20; call++ {
		left := call
		p := unsteady{savable{faulty{newPlain(), nil}, nil}, &left}
		was := *p.plain
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), small())
		err := tr.CheckBackward(t.Context())
		if left > 0 {
			break // it takes fewer calls
		}
		if !errors.Is(err, context.Canceled) || p.p != was.p || p.g != ([4]float64{}) {
			t.Errorf("call %d: %v, parameters %v, gradient %v", call, err, p.p, p.g)
		}
		if _, err := tr.Step(t.Context()); err != nil {
			t.Errorf("call %d, Step: %v", call, err)
		}
	}
}

// On a device that queues, and in words of 16 bits.
func TestCheckBackwardOnDevices(t *testing.T) {
	for _, factor := range []float64{1, -1} {
		f, p := newFar(), newFull()
		c := small()
		d := Config[handle]{Key: c.Key, Sampling: c.Sampling, Dim: c.Dim, Prompts: c.Prompts, Group: c.Group,
			Reward: func(context.Context, []float64, handle, []int) error { return nil }}
		p.rate *= factor
		tr, err := New(f, Policy[handle](distant{p, f}), d)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.CheckBackward(t.Context()); (err == nil) != (factor == 1) || err != nil && !errors.Is(err, ErrBackward) {
			t.Errorf("factor %v: %v", factor, err)
		}
		if p.p != start || p.mean != start || p.ref != start || p.g != ([4]float64{}) {
			t.Errorf("the check leaves %+v", p)
		}
		if err := tr.Close(); err != nil || len(f.buffers) != 0 {
			t.Errorf("Close: %v, %d buffers are left", err, len(f.buffers))
		}

		w := words16{words{newPlain()}, newMovable(constant(factor))}
		w.movable.plain = w.words.plain
		tw := newTrainer(t, sampler.CPU16{Type: sampler.BFloat16}, Policy[[]uint16](w), Config[[]uint16]{
			Sampling: sampler.Config{Scheduler: schedule.Linear(5), Rule: sampler.FlowCPS{Eta: .8}, Storage: sampler.BFloat16},
			Dim:      dim, Prompts: 3, Group: group, Output: sampler.BFloat16, Gradient: sampler.BFloat16,
			Reward: func(context.Context, []float64, []uint16, []int) error { return nil },
		})
		if err := tw.CheckBackward(t.Context()); (err == nil) != (factor == 1) || err != nil && !errors.Is(err, ErrBackward) {
			t.Errorf("words, factor %v: %v", factor, err)
		}
	}
}

// words16 is words and a Mover.
type words16 struct {
	words
	movable movable
}

func (w words16) Backward(ctx context.Context, c sampler.Call[[]uint16], dv []uint16) error {
	d := make([]float32, len(dv))
	sampler.BFloat16.Unpack(d, dv)
	return w.movable.Backward(ctx, w.call(c), d)
}

func (w words16) Move(ctx context.Context, h float64) (float64, error) { return w.movable.Move(ctx, h) }

func (w words16) ClearGradient(ctx context.Context) error { return w.movable.ClearGradient(ctx) }

// A run with the check has the bits of one without.
func TestCheckBackwardChangesNothing(t *testing.T) {
	run := func(check bool) (*full, []float64) {
		p := newFull()
		c := everything()
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
		var rewards []float64
		for range 3 {
			if check {
				if err := tr.CheckBackward(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			it, err := tr.Step(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rewards = append(rewards, it.Reward)
		}
		return p, rewards
	}
	a, r := run(false)
	b, q := run(true)
	if a.p != b.p || a.mean != b.mean || a.ref != b.ref || !slices.Equal(r, q) {
		t.Errorf("%v, %v after checks, want %v, %v", b.p, q, a.p, r)
	}
}

// refusing is a policy whose n-th call of a method fails.
type refusing struct {
	movable
	savable
	fails string
	left  *int
}

var errRefused = errors.New("out of memory")

func (r refusing) call(name string) error {
	if name == r.fails {
		if *r.left--; *r.left == 0 {
			return errRefused
		}
	}
	return nil
}

func (r refusing) Velocity(ctx context.Context, c sampler.Call[[]float32]) error {
	return errors.Join(r.call("Velocity"), r.movable.Velocity(ctx, c))
}

func (r refusing) Backward(ctx context.Context, c sampler.Call[[]float32], dv []float32) error {
	return errors.Join(r.call("Backward"), r.movable.Backward(ctx, c, dv))
}

func (r refusing) Update(ctx context.Context) error {
	return errors.Join(r.call("Update"), r.movable.Update(ctx))
}

func (r refusing) Move(ctx context.Context, h float64) (float64, error) {
	squares, err := r.movable.Move(ctx, h)
	return squares, errors.Join(r.call("Move"), err)
}

func (r refusing) ClearGradient(ctx context.Context) error {
	return errors.Join(r.call("ClearGradient"), r.movable.ClearGradient(ctx))
}

func (r refusing) Save(w io.Writer) error {
	return errors.Join(r.call("Save"), r.savable.Save(w))
}

func (r refusing) Load(in io.Reader) error {
	return errors.Join(r.call("Load"), r.savable.Load(in))
}

// An error of the policy is passed on. Training goes on after it only where the policy is as
// it was.
func TestCheckBackwardPassesErrorsOn(t *testing.T) {
	for _, tc := range []struct {
		method string
		call   int // number of the call that fails
		broken bool
	}{
		{"Velocity", 5, false}, {"Velocity", 6, false}, // the rollout calls Velocity five times
		{"Backward", 1, false}, {"Backward", 2, false}, {"Backward", 3, false}, {"Backward", 8, true},
		{"Update", 1, true}, {"Move", 1, false}, {"Move", 3, false},
		{"ClearGradient", 1, true}, {"Save", 1, false}, {"Load", 1, true}, {"Load", 2, true},
	} {
		p := newPlain()
		m := newMovable(nil)
		m.plain = p
		left := tc.call
		c := small()
		c.Minibatches = grpo.Minibatches{}
		r := refusing{m, savable{faulty{p, nil}, nil}, tc.method, &left}
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](r), c)
		if err := tr.CheckBackward(t.Context()); !errors.Is(err, errRefused) || left > 0 {
			t.Errorf("call %d of %s fails: %v", tc.call, tc.method, err)
		}
		if _, err := tr.Step(t.Context()); (err != nil) != tc.broken || err != nil && !errors.Is(err, errRefused) {
			t.Errorf("after call %d of %s failed, Step: %v", tc.call, tc.method, err)
		}
		if !tc.broken {
			continue
		}
		if err := tr.Restore(tr.State()); err != nil {
			t.Error(err)
		}
		if _, err := tr.Step(t.Context()); err != nil {
			t.Errorf("after Restore: %v", err)
		}
	}
}
