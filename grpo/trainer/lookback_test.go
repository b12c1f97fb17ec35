package trainer

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
	"cps/sampler/guidance"
	"cps/sampler/solver"
	"cps/schedule"

	"pgregory.net/rapid"
)

// both is a solver of two evaluations back, which reads both predictions of each.
type both struct{}

func (both) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) {
	return sampler.FlowCPS{Eta: .6}.Coeffs(from, to)
}

func (r both) Plan(points []schedule.Point) ([]sampler.Move, error) {
	moves := make([]sampler.Move, len(points)-1)
	for i := range moves {
		c, err := r.Coeffs(points[i], points[i+1])
		if err != nil {
			return nil, err
		}
		moves[i] = sampler.Move{Step: i, To: points[i+1], Coeffs: c}
		for back := 1; back <= min(i, 2); back++ {
			moves[i].Past = append(moves[i].Past, sampler.Past{Back: back, X0: .2 / float64(back), X1: -.1 * float64(i)})
		}
	}
	return moves, nil
}

// lookers are rules whose steps look back.
var lookers = map[string]sampler.Rule{
	"2M SDE":       solver.DPMPlus{Order: 2, Eta: 1},
	"3M SDE":       solver.DPMPlus{Order: 3, Eta: 1, Heun: true},
	"x̂1 SDE":      solver.DPM{Order: 2, Eta: .3},
	"ancestral 2M": solver.Ancestral{Inner: solver.DPMPlus{Order: 2}, Share: solver.Constant(.5)},
	"both":         both{},
}

// quiet is a share that draws no noise in the second and the third step of looking.
type quiet struct{}

func (quiet) Split(from, to schedule.Point) (kept, fresh float64, err error) {
	if from.Noise == .8 || from.Noise == .6 {
		return to.Noise, 0, nil
	}
	return solver.Constant(.5).Split(from, to)
}

// still makes the fourth step look back at one that is not trained, after another such.
func still(c *Config[[]float32]) {
	c.Sampling.Rule = solver.Ancestral{Inner: solver.DPMPlus{Order: 2}, Share: quiet{}}
}

// looking is small with a rule that looks back, from a level where it soon does.
func looking(r sampler.Rule) Config[[]float32] {
	c := small()
	c.Sampling = sampler.Config{Scheduler: schedule.Flow{.9, .8, .6, .4, .2, 0}, Rule: r}
	c.Form = logprob.Form{Gaussian: true}
	return c
}

// Steps that look back train as others do: on policy bit for bit, whatever the minibatches
// and shapes, and the policy learns.
func TestLookBackOnPolicy(t *testing.T) {
	for name, rule := range lookers {
		for what, change := range map[string]func(*Config[[]float32]){
			"":           func(*Config[[]float32]) {},
			"lone steps": func(c *Config[[]float32]) { c.Minibatches.Steps = 1 },
			"whole":      func(c *Config[[]float32]) { c.Minibatches = grpo.Minibatches{} },
			"fixed":      func(c *Config[[]float32]) { c.Shape = Shape{Rows: 5, Fixed: true} },
			"one by one": func(c *Config[[]float32]) { c.Shape.Rows = 1 },
			"guidance":   func(c *Config[[]float32]) { c.Guidance = guidance.Guidance{Scale: 2, Low: .3, High: .9, Rescale: .5} },
			"bfloat16":   func(c *Config[[]float32]) { c.Sampling.Storage = sampler.BFloat16 },
			"penalty":    func(c *Config[[]float32]) { c.KL = Divergence{Beta: .1, Form: c.Form} },
			"divergence": func(c *Config[[]float32]) { c.Objective = Guard{} },
			"window":     func(c *Config[[]float32]) { c.Window = grpo.Fixed{Start: 1, End: 4} },
			"set":        func(c *Config[[]float32]) { c.Sampling.Set = []int{0, 1, 3} },
			"solver around": func(c *Config[[]float32]) {
				c.Sampling.Outside, c.Window = solver.DPMPlus{Order: 3}, grpo.Fixed{End: 3}
			},
			"still steps":  func(c *Config[[]float32]) { still(c); c.Objective = Guard{}; c.KL = Divergence{Beta: .1} },
			"shared start": func(c *Config[[]float32]) { c.SharedStart = true },
			"early stop":   func(c *Config[[]float32]) { c.Stop.Target = 1e9; c.Shape.Rows = 7 },
		} {
			c := looking(rule)
			change(&c)
			p := newFull()
			tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
			if err := tr.CheckOnPolicy(t.Context()); err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
				continue
			}
			it, err := tr.Step(t.Context())
			if err != nil || it.OnPolicy != 0 || it.Updates == 0 || it.Deviation == 0 && it.Updates > 1 || p.p == start {
				t.Errorf("%s, %s: %v, %+v", name, what, err, it)
			}
			if !tr.run.looks() {
				t.Errorf("%s, %s: no trained step looks back", name, what)
			}
		}
	}
}

// An output of the history that has changed makes the first minibatch off policy.
func TestLookBackOffPolicy(t *testing.T) {
	c := looking(lookers["2M SDE"])
	p := newPlain()
	tr := newTrainer(t, sampler.CPU{}, p, c)
	r := drawn(t, tr)
	b := tr.NewMinibatch()
	it := grpo.Item{Row: 3, Step: 2}
	if err := r.Fill(t.Context(), b, []grpo.Item{it}); err != nil {
		t.Fatal(err)
	}
	b.Fresh = true
	for _, change := range []float32{0, 1e-3} {
		if err := p.Velocity(t.Context(), b.Call); err != nil {
			t.Fatal(err)
		}
		b.Call.V[dim] += change // the last evaluation's
		if _, err := r.Loss(t.Context(), b); (err == nil) != (change == 0) {
			t.Errorf("output changed by %v: %v", change, err)
		}
	}
}

// The gradient that Backward gets, against differences of the loss, off policy. The history's
// outputs move with the policy too.
func TestLookBackGradient(t *testing.T) {
	for name, rule := range lookers {
		for what, change := range map[string]func(*Config[[]float32]){
			"Gaussian":       func(c *Config[[]float32]) {},
			"paper's form":   func(c *Config[[]float32]) { c.Form = logprob.Form{} },
			"sum":            func(c *Config[[]float32]) { c.Form.Sum = true },
			"lone steps":     func(c *Config[[]float32]) { c.Minibatches.Steps = 1 },
			"clip":           func(c *Config[[]float32]) { c.Objective = Clip{ClipLow: .01, ClipHigh: .01} },
			"guard":          func(c *Config[[]float32]) { c.Objective = Guard{} },
			"guard per step": func(c *Config[[]float32]) { c.Objective = Guard{PerStep: true} },
			"DPPO":           func(c *Config[[]float32]) { c.Objective = DPPO{MaxKL: .01} },
			"KL":             func(c *Config[[]float32]) { c.KL = Divergence{Beta: 2, Form: c.Form} },
			"paper's KL":     func(c *Config[[]float32]) { c.KL = Divergence{Beta: 2} },
			"velocity KL":    func(c *Config[[]float32]) { c.KL = Divergence{Beta: 2, Velocity: true} },
			"micro-batches":  func(c *Config[[]float32]) { c.Shape.Rows, c.KL = 5, Divergence{Beta: 2, Form: c.Form} },
			"fixed":          func(c *Config[[]float32]) { c.Shape = Shape{Rows: 5, Fixed: true} },
			"guidance":       func(c *Config[[]float32]) { c.Guidance = guidance.Guidance{Scale: 2.5} },
			"bfloat16":       func(c *Config[[]float32]) { c.Sampling.Storage = sampler.BFloat16 },
			"still steps":    func(c *Config[[]float32]) { still(c); c.Objective = Guard{}; c.KL = Divergence{Beta: .1} },
			"all at once":    func(c *Config[[]float32]) { c.Minibatches = grpo.Minibatches{} },
		} {
			c := looking(rule)
			change(&c)
			p := newFull()
			tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
			r := drawn(t, tr)
			p.p = [4]float64{.81, .11, -.28, .018} // off policy
			batches, err := r.Minibatches(0)
			if err != nil {
				t.Fatal(err)
			}
			items := batches[0]
			if !slices.ContainsFunc(items, func(it grpo.Item) bool { return len(r.history.evaluations[it.Step]) > 1 }) {
				t.Fatalf("%s, %s: no item looks back", name, what)
			}
			loss := func() float64 {
				s, _, err := tr.minibatch(t.Context(), r, items, false)
				if err != nil {
					t.Fatalf("%s, %s: %v", name, what, err)
				}
				return s.Loss
			}
			p.g = [4]float64{}
			loss()
			got, at := p.g, p.p
			size := 0.0
			for _, g := range got {
				size = max(size, math.Abs(g))
			}
			for i := range at {
				const h = 1e-4
				p.p = at
				p.p[i] += h
				hi := loss()
				p.p[i] -= 2 * h
				lo := loss()
				if want := (hi - lo) / (2 * h); math.Abs(got[i]-want) > 5e-3*size {
					t.Errorf("%s, %s: ∂loss/∂p%d is %v, differences give %v", name, what, i, got[i], want)
				}
			}
		}
	}
}

// The divergences are those of the means that the outputs of every policy give by itself.
func TestLookBackDivergence(t *testing.T) {
	for name, rule := range lookers {
		c := looking(rule)
		c.KL = Divergence{Beta: 1, Form: c.Form}
		c.Objective = Guard{}
		p := newFull()
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
		r := drawn(t, tr)
		if s, _, err := tr.minibatch(t.Context(), r, []grpo.Item{{Row: 1, Step: 2}, {Row: 2, Step: 3}}, true); err != nil || s.KL != 0 {
			t.Errorf("%s: divergence %v of a policy from itself, %v", name, s.KL, err)
		}
		p.p = [4]float64{.7, .15, -.25, .03}
		it := grpo.Item{Row: 5, Step: 3}
		s, _, err := tr.minibatch(t.Context(), r, []grpo.Item{it}, false)
		if err != nil {
			t.Fatal(err)
		}
		// The mean of the step under a policy, in float64.
		mean := func(of *[4]float64, k int) float64 {
			v := func(i int) (x, v float64) {
				x = float64(r.Trajectory.Latents[i][it.Row*dim+k])
				return x, of[0]*x + of[1]*r.Sampler.Time(i) + of[2]*p.condition(it.Row) + of[3]*x*x*x
			}
			tr := r.Sampler.At(it.Step)
			x, out := v(it.Step)
			sum := tr.Affine.V * out
			for _, term := range tr.Base {
				if term.Back == 0 {
					sum += term.Weight * x
					continue
				}
				xj, vj := v(it.Step - term.Back)
				keep := r.Sampler.At(it.Step - term.Back).Keep[term.Vector]
				sum += term.Weight * (keep.X*xj + keep.V*vj)
			}
			return sum
		}
		want := 0.0
		for k := range dim {
			d := mean(&p.p, k) - mean(&p.ref, k)
			want += d * d / dim
		}
		eps := r.Sampler.At(it.Step).Affine.Eps
		if want /= 2 * eps * eps; !near(s.KL, want, 1e-5) || want < 1e-3 {
			t.Errorf("%s: divergence %v, want %v", name, s.KL, want)
		}
	}
}

// Micro-batches give the loss and the gradient of the whole. They hold as many evaluations as
// the shape allows, and steps that follow on each other share them.
func TestLookBackShapes(t *testing.T) {
	gradient := func(rule sampler.Rule, s Shape) ([4]float64, grpo.Stats, *full) {
		c := looking(rule)
		c.KL, c.Shape = Divergence{Beta: 1, Form: c.Form}, s
		p := newFull()
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
		r := drawn(t, tr)
		p.p[0] += .01
		p.calls = nil
		var items []grpo.Item
		for step := range 4 {
			for row := range 4 {
				items = append(items, grpo.Item{Row: row, Step: step})
			}
		}
		stats, _, err := tr.minibatch(t.Context(), r, items, false)
		if err != nil {
			t.Fatal(err)
		}
		return p.g, stats, p
	}
	for name, rule := range lookers {
		want, stats, p := gradient(rule, Shape{})
		if len(p.calls) != 1 || p.calls[0] != 16 {
			t.Errorf("%s: %v evaluations of 16 transitions that follow on each other", name, p.calls)
		}
		for _, rows := range []int{1, 3, 5, 8, 100} {
			some, s, p := gradient(rule, Shape{Rows: rows})
			for i := range want {
				if !near(some[i], want[i], 1e-5) {
					t.Errorf("%s, %d rows at a time: gradient %v, want %v", name, rows, some, want)
				}
			}
			for i, f := range fields(&s) {
				if !near(*f, *fields(&stats)[i], 1e-10) {
					t.Errorf("%s, %d rows at a time: statistics %+v, want %+v", name, rows, s, stats)
				}
			}
			if slices.Max(p.calls) > rows {
				t.Errorf("%s: a Call has %d rows, want at most %d", name, slices.Max(p.calls), rows)
			}
			if rows >= 3 && p.backs != len(p.calls) {
				t.Errorf("%s, %d rows at a time: %d calls of Backward for %d of Velocity", name, rows, p.backs, len(p.calls))
			}
			if rows == 8 && len(p.calls) != 2 {
				t.Errorf("%s: evaluations of two samples do not fill a Call of 8: %v", name, p.calls)
			}
			padded, _, p := gradient(rule, Shape{Rows: rows, Fixed: true})
			if padded != some {
				t.Errorf("%s, %d rows, padded: gradient %v, want %v to the bit", name, rows, padded, some)
			}
			if slices.Min(p.calls) != rows || slices.Max(p.calls) != rows {
				t.Errorf("%s: Calls of %d to %d rows, want %d", name, slices.Min(p.calls), slices.Max(p.calls), rows)
			}
		}
	}
}

// The gradient and the loss of a minibatch are the means of those of its transitions,
// whatever these are and however the minibatch is cut.
func TestLookBackSums(t *testing.T) {
	names := slices.Sorted(maps.Keys(lookers))
	rapid.Check(t, func(rt *rapid.T) {
		c := looking(lookers[rapid.SampledFrom(names).Draw(rt, "rule")])
		c.Objective, c.KL = Guard{}, Divergence{Beta: 1, Form: c.Form}
		c.Shape.Rows = rapid.IntRange(0, 12).Draw(rt, "rows")
		c.Shape.Fixed = c.Shape.Rows > 0 && rapid.Bool().Draw(rt, "fixed")
		p := newFull()
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
		r := drawn(t, tr)
		p.p[0] += .01
		items := rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) grpo.Item {
			return grpo.Item{Row: rapid.IntRange(0, len(r.all)-1).Draw(rt, "row"), Step: rapid.SampledFrom(r.Steps).Draw(rt, "step")}
		}), 1, 20, rapid.ID).Draw(rt, "items")
		gradient := func(items []grpo.Item) ([4]float64, float64) {
			p.g = [4]float64{}
			s, _, err := tr.minibatch(t.Context(), r, items, false)
			if err != nil {
				rt.Fatal(err)
			}
			return p.g, s.Loss
		}
		var sum [4]float64
		var loss, size float64
		for _, it := range items {
			g, l := gradient([]grpo.Item{it})
			for i := range g {
				sum[i] += g[i] / float64(len(items))
				size += math.Abs(g[i]) / float64(len(items))
			}
			loss += l / float64(len(items))
		}
		g, l := gradient(items)
		for i := range g {
			if math.Abs(g[i]-sum[i]) > 1e-5*size {
				rt.Errorf("gradient %v, of the transitions %v", g, sum)
			}
		}
		if !near(l, loss, 1e-9) {
			rt.Errorf("loss %v, of the transitions %v", l, loss)
		}
	})
}

// A transition alone costs its evaluation and those that it looks back at.
func TestLookBackEvaluations(t *testing.T) {
	tr := newTrainer(t, sampler.CPU{}, newPlain(), looking(lookers["3M SDE"]))
	r := drawn(t, tr)
	for want, items := range map[string][]grpo.Item{
		"[3:0]":                     {{Row: 3, Step: 0}},
		"[3:1 3:0]":                 {{Row: 3, Step: 1}},
		"[3:3 3:1 3:2]":             {{Row: 3, Step: 3}},
		"[3:3 3:2 3:1 3:0]":         {{Row: 3, Step: 3}, {Row: 3, Step: 2}, {Row: 3, Step: 1}},
		"[3:2 5:2 3:0 3:1 5:0 5:1]": {{Row: 3, Step: 2}, {Row: 5, Step: 2}},
	} {
		b := tr.NewMinibatch()
		if err := r.Fill(t.Context(), b, items); err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, row := range b.Call.Rows {
			step := slices.IndexFunc(r.asks, func(bool) bool { return true })
			for b.Call.Times[i] != r.Sampler.Time(step) {
				step++
			}
			got = append(got, fmt.Sprintf("%d:%d", row, step))
			if !slices.Equal(b.Call.X[i*dim:][:dim], r.Trajectory.Latents[step][row*dim:][:dim]) {
				t.Errorf("%v: evaluation %d has other latents", items, i)
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%v asks for %v, want %v", items, got, want)
		}
	}
}

// Two ranks train as one.
func TestLookBackRanks(t *testing.T) {
	c := looking(lookers["2M SDE"])
	c.Prompts, c.Minibatches = 4, grpo.Minibatches{Steps: 2, InOrder: true}
	c.Estimator = grpo.FlowGRPOGlobal
	one := newPlain()
	if err := newTrainer(t, sampler.CPU{}, one, c).Run(t.Context(), 2, nil); err != nil {
		t.Fatal(err)
	}
	two := []*plain{newPlain(), newPlain()}
	errs := make(chan error)
	for i, l := range lanes(two) {
		c := c
		c.Prompts, c.Ranks = 2, l
		two[i].prompt = []int{2 * i, 2*i + 1}
		tr := newTrainer(t, sampler.CPU{}, two[i], c)
		go func() { errs <- tr.Run(t.Context(), 2, nil) }()
	}
	for range two {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	for i := range one.p {
		if !near(two[0].p[i], one.p[i], 1e-6) || one.p[i] == start[i] {
			t.Errorf("two ranks learn %v, one %v", two[0].p, one.p)
		}
	}
}

// Training by steps that look back raises the reward.
func TestLookBackLearns(t *testing.T) {
	for name, rule := range lookers {
		if !sampler.FactsOf(rule).Preserving {
			continue // its samples are far from any reward's
		}
		c := looking(rule)
		c.Group = 16
		p := newPlain()
		p.group, p.rate = 16, 0.01
		tr := newTrainer(t, sampler.CPU{}, p, c)
		var rewards []float64
		if err := tr.Run(t.Context(), 40, func(it Iteration) error { rewards = append(rewards, it.Reward); return nil }); err != nil {
			t.Fatal(err)
		}
		before, after := rewards[0], (rewards[38]+rewards[39])/2
		t.Logf("%s: reward %.3f to %.3f", name, before, after)
		if !(after > before*0.8) { // negative
			t.Errorf("%s: reward %.3f, before %.3f", name, after, before)
		}
	}
}
