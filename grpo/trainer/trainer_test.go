package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cps/grpo"
	"cps/logprob"
	"cps/sampler"
	"cps/sampler/guidance"
	"cps/sampler/solver"
	"cps/schedule"
)

// Training raises the reward, by every objective.
func TestLearns(t *testing.T) {
	for name, o := range map[string]Objective{
		"none": nil, "clip": Clip{ClipLow: .05, ClipHigh: .05}, "guard": Guard{Guard: grpo.Guard{ClipLow: .05, ClipHigh: .05}},
		"guard per step": Guard{PerStep: true}, "dppo": DPPO{MaxKL: .01},
	} {
		c := small()
		c.Form.Gaussian = true
		c.Objective = o
		c.Group = 16
		p := newPlain()
		p.group, p.rate = 16, 0.01
		tr := newTrainer(t, sampler.CPU{}, p, c)
		var rewards []float64
		err := tr.Run(t.Context(), 40, func(it Iteration) error {
			rewards = append(rewards, it.Reward)
			if it.OnPolicy != 0 {
				t.Errorf("%s: iteration %d is off policy by %v", name, it.Number, it.OnPolicy)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		before, after := rewards[0], (rewards[38]+rewards[39])/2
		t.Logf("%s: reward %.3f to %.3f", name, before, after)
		if !(after > before*0.8) { // negative
			t.Errorf("%s: reward %.3f, before %.3f", name, after, before)
		}
	}
}

// The gradient that Backward gets, against finite differences of the loss: log p, ratios far
// from 1, objectives, divergences, accumulation, padding.
func TestGradient(t *testing.T) {
	gaussian := logprob.Form{Gaussian: true}
	for name, change := range map[string]func(*Config[[]float32]){
		"paper's form":   func(c *Config[[]float32]) {},
		"Gaussian":       func(c *Config[[]float32]) { c.Form = gaussian },
		"sum":            func(c *Config[[]float32]) { c.Form = logprob.Form{Gaussian: true, Sum: true} },
		"clip":           func(c *Config[[]float32]) { c.Form, c.Objective = gaussian, Clip{ClipLow: .01, ClipHigh: .01} },
		"guard":          func(c *Config[[]float32]) { c.Form, c.Objective = gaussian, Guard{} },
		"guard, paper's": func(c *Config[[]float32]) { c.Objective = Guard{PerStep: true} },
		"DPPO":           func(c *Config[[]float32]) { c.Form, c.Objective = gaussian, DPPO{MaxKL: .001} },
		"KL":             func(c *Config[[]float32]) { c.KL = Divergence{Beta: 2, Form: gaussian} },
		"velocity KL":    func(c *Config[[]float32]) { c.KL = Divergence{Beta: 2, Velocity: true} },
		"micro-batches":  func(c *Config[[]float32]) { c.Shape.Rows, c.KL.Beta = 5, 2 },
		"fixed":          func(c *Config[[]float32]) { c.Shape, c.KL.Beta = Shape{Rows: 5, Fixed: true}, 2 },
		"guidance":       func(c *Config[[]float32]) { c.Guidance, c.KL.Beta = guidance.Guidance{Scale: 2.5}, 1 },
		"guidance in an interval, rescaled": func(c *Config[[]float32]) {
			c.Guidance = guidance.Guidance{Scale: 2.5, Low: .3, High: .9, Rescale: .7}
			c.Shape = Shape{Rows: 5, Fixed: true}
		},
		"bfloat16": func(c *Config[[]float32]) { c.Sampling.Storage = sampler.BFloat16 },
	} {
		t.Run(name, func(t *testing.T) {
			c := small()
			change(&c)
			p := newFull()
			tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
			r := drawn(t, tr)
			p.p = [4]float64{.86, .13, -.25, .01} // off policy
			items, err := r.Minibatches(0)
			if err != nil {
				t.Fatal(err)
			}
			loss := func() float64 {
				s, _, err := tr.minibatch(t.Context(), r, items[0], false)
				if err != nil {
					t.Fatal(err)
				}
				return s.Loss
			}
			p.g = [4]float64{}
			loss()
			got := p.g
			at := p.p
			for i := range at {
				const h = 1e-3
				p.p = at
				p.p[i] += h
				hi := loss()
				p.p[i] -= 2 * h
				lo := loss()
				want := (hi - lo) / (2 * h)
				if !near(got[i], want, 2e-3) {
					t.Errorf("∂loss/∂p%d is %v, differences give %v", i, got[i], want)
				}
			}
		})
	}
}

// Micro-batches give the loss and the gradient of the whole, and padding changes no bit.
func TestShapes(t *testing.T) {
	gradient := func(s Shape, stop grpo.EarlyStop) ([4]float64, grpo.Stats, *full) {
		c := small()
		c.KL.Beta, c.Shape, c.Stop = 1, s, stop
		p := newFull()
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
		r := drawn(t, tr)
		p.p[0] += .05
		items, err := r.Minibatches(0)
		if err != nil {
			t.Fatal(err)
		}
		stats, _, err := tr.minibatch(t.Context(), r, items[0], false)
		if err != nil {
			t.Fatal(err)
		}
		return p.g, stats, p
	}
	want, stats, _ := gradient(Shape{}, grpo.EarlyStop{})
	for _, rows := range []int{1, 5, 12, 100} {
		some, s, p := gradient(Shape{Rows: rows}, grpo.EarlyStop{})
		for i := range want {
			if !near(some[i], want[i], 1e-6) {
				t.Errorf("%d rows at a time: gradient %v, want %v", rows, some, want)
			}
		}
		for i, f := range fields(&s) {
			if !near(*f, *fields(&stats)[i], 1e-12) {
				t.Errorf("%d rows at a time: statistics %+v, want %+v", rows, s, stats)
			}
		}
		if slices.Max(p.calls) > rows {
			t.Errorf("a Call has %d rows, want at most %d", slices.Max(p.calls), rows)
		}
		padded, _, p := gradient(Shape{Rows: rows, Fixed: true}, grpo.EarlyStop{})
		if padded != some {
			t.Errorf("%d rows, padded: gradient %v, want %v to the bit", rows, padded, some)
		}
		if slices.Min(p.calls) != rows || slices.Max(p.calls) != rows {
			t.Errorf("Calls of %d to %d rows, want %d", slices.Min(p.calls), slices.Max(p.calls), rows)
		}
		// With an early stop all losses come before the first gradient, and change nothing.
		late, _, _ := gradient(Shape{Rows: rows}, grpo.EarlyStop{Target: 100})
		if late != some {
			t.Errorf("%d rows, early stop: gradient %v, want %v to the bit", rows, late, some)
		}
		if none, _, p := gradient(Shape{Rows: rows}, grpo.EarlyStop{Target: 1e-12}); none != [4]float64{} || p.backs != 0 {
			t.Errorf("%d rows: an early stop leaves the gradient %v", rows, none)
		}
	}
}

// A shape serves rollouts: the same bits, in Calls of one size.
func TestShapedRollout(t *testing.T) {
	draw := func(s Shape) ([]float32, *plain) {
		c := small()
		c.Shape = s
		p := newPlain()
		r, err := newTrainer(t, sampler.CPU{}, p, c).Draw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(r.Trajectory.Latents[5]), p
	}
	want, _ := draw(Shape{})
	got, p := draw(Shape{Rows: 5, Fixed: true})
	if !slices.Equal(got, want) {
		t.Error("Calls of 5 rows give other samples")
	}
	if slices.Min(p.calls) != 5 || slices.Max(p.calls) != 5 {
		t.Errorf("Calls of %v rows, want 5", p.calls)
	}
}

// lane is one of several ranks in one process.
type lane struct {
	rank  int
	all   []*plain
	in    []chan []float64
	ready chan struct{}
	done  []chan struct{}
}

func lanes(p []*plain) []*lane {
	n := len(p)
	all := make([]*lane, n)
	in := make([]chan []float64, n*n)
	done := make([]chan struct{}, n)
	for i := range in {
		in[i] = make(chan []float64, 1)
	}
	for i := range done {
		done[i] = make(chan struct{}, 1)
	}
	ready := make(chan struct{}, n)
	for i := range all {
		all[i] = &lane{i, p, in, ready, done}
	}
	return all
}

func (l *lane) Rank() (rank, ranks int) { return l.rank, len(l.all) }

func (l *lane) Gather(_ context.Context, all, mine []float64) error {
	n := len(l.all)
	for to := range n {
		l.in[to*n+l.rank] <- slices.Clone(mine)
	}
	for from := range n {
		copy(all[from*len(mine):], <-l.in[l.rank*n+from])
	}
	return nil
}

func (l *lane) SumGradients(ctx context.Context) error {
	mine := l.all[l.rank].g
	all := make([]float64, len(l.all)*len(mine))
	if err := l.Gather(ctx, all, mine[:]); err != nil {
		return err
	}
	sum := [4]float64{}
	for i, g := range all {
		sum[i%len(sum)] += g
	}
	l.all[l.rank].g = sum
	return nil
}

// Two ranks draw what one draws, compare rewards over all, and train as one.
func TestRanks(t *testing.T) {
	for _, byPrompt := range []bool{false, true} {
		c := small()
		c.Prompts, c.ByPrompt = 4, byPrompt
		c.Estimator = grpo.FlowGRPOGlobal // which every reward changes
		c.Minibatches = grpo.Minibatches{Steps: 1, InOrder: true}
		prompt := func(p *plain, first int) func(context.Context, int, []int) error {
			return func(_ context.Context, _ int, prompts []int) error {
				for g := range prompts {
					prompts[g] = (first + g) % 3 // one prompt on both ranks
				}
				p.prompt = slices.Clone(prompts)
				return nil
			}
		}
		one := newPlain()
		c.Prompt = prompt(one, 0)
		tr := newTrainer(t, sampler.CPU{}, one, c)
		var want Iteration
		err := tr.Run(t.Context(), 3, func(it Iteration) error { want = it; return nil })
		if err != nil {
			t.Fatal(err)
		}
		two := []*plain{newPlain(), newPlain()}
		errs := make(chan error)
		got := make([]Iteration, 2)
		for i, l := range lanes(two) {
			c := c
			c.Prompts, c.Ranks, c.Prompt = 2, l, prompt(two[i], 2*i)
			tr := newTrainer(t, sampler.CPU{}, two[i], c)
			go func() {
				errs <- tr.Run(t.Context(), 3, func(it Iteration) error { got[i] = it; return nil })
			}()
		}
		for range two {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		if two[0].p != two[1].p || !reflect.DeepEqual(got[0], got[1]) {
			t.Errorf("ranks differ: %v and %v, %+v and %+v", two[0].p, two[1].p, got[0], got[1])
		}
		for i := range one.p {
			if !near(two[0].p[i], one.p[i], 1e-6) || one.p[i] == start[i] {
				t.Errorf("by prompt %v: two ranks learn %v, one %v", byPrompt, two[0].p, one.p)
			}
		}
		if !near(got[0].Reward, want.Reward, 1e-6) || !near(got[0].Std, want.Std, 1e-6) || !near(got[0].ApproxKL, want.ApproxKL, 1e-6) || got[0].Updates != want.Updates {
			t.Errorf("two ranks know %+v, one %+v", got[0], want)
		}
	}
}

// A run that is stored and restored at any iteration goes on with the same bits.
func TestResume(t *testing.T) {
	const iterations = 6
	whole := newFull()
	tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](whole), everything())
	var history []Iteration
	if err := tr.Run(t.Context(), iterations, func(it Iteration) error { history = append(history, it); return nil }); err != nil {
		t.Fatal(err)
	}
	for at := range iterations {
		first := newTrainer(t, sampler.CPU{}, Policy[[]float32](newFull()), everything())
		if err := first.Run(t.Context(), at, nil); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := first.Save(&file); err != nil {
			t.Fatal(err)
		}
		p := newFull()
		second := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), everything())
		if err := second.Load(&file); err != nil {
			t.Fatal(err)
		}
		if second.Iteration() != at {
			t.Fatalf("restored at iteration %d, want %d", second.Iteration(), at)
		}
		var rest []Iteration
		if err := second.Run(t.Context(), iterations, func(it Iteration) error { rest = append(rest, it); return nil }); err != nil {
			t.Fatal(err)
		}
		if p.p != whole.p || p.mean != whole.mean || p.ref != whole.ref || !reflect.DeepEqual(rest, history[at:]) {
			t.Errorf("restored at %d: %v, want %v", at, p.p, whole.p)
		}
		if !reflect.DeepEqual(second.State(), tr.State()) {
			t.Errorf("restored at %d: state %+v, want %+v", at, second.State(), tr.State())
		}
	}
	other := everything()
	other.Group, other.Minibatches.Group = 5, 5
	other.Minibatches.Rows = 10
	if err := newTrainer(t, sampler.CPU{}, Policy[[]float32](newFull()), other).Restore(tr.State()); !errors.Is(err, ErrOtherRun) || !strings.Contains(err.Error(), `"Group: int4", and this trainer has "Group: int5"`) {
		t.Errorf("state of another run: %v", err)
	}
	for name, text := range map[string]string{"nothing": "", "no JSON": "x\n", "no end": `{"Config":""}`, "negative": fmt.Sprintf("{\"Config\":%q,\"Iteration\":-1}\n", everything())} {
		if err := tr.Load(strings.NewReader(text)); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := newTrainer(t, sampler.CPU{}, newPlain(), small()).Save(new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "*trainer.plain is no Saver") {
		t.Errorf("a policy that cannot be saved: %v", err)
	}
}

// Every setting but functions is part of the description by which states are told apart.
func TestConfigString(t *testing.T) {
	c, err := everything().withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	functions := []string{"Prompt", "Clean", "Rollout", "Reward", "Tracker", "Estimator", "Ranks"}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if !slices.Contains(functions, name) && !strings.Contains(c.String(), "\n"+name+": ") && !strings.HasPrefix(c.String(), name+": ") {
			t.Errorf("%s is not part of the description", name)
		}
	}
}

// Averages and references move after every step of the optimiser, as package grpo says.
func TestAverages(t *testing.T) {
	p := newFull()
	c := small()
	c.Average, c.Follow = grpo.EMA{Decay: 0.5}, grpo.EMA{Decay: 0.7, Every: 2}
	c.KL.Beta = 0.1
	tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
	if err := tr.Run(t.Context(), 2, nil); err != nil {
		t.Fatal(err)
	}
	want := make([]int, tr.Updates())
	for i := range want {
		want[i] = i
	}
	if !slices.Equal(p.steps, want) || len(want) != 8 {
		t.Errorf("averaged after steps %v, want %v", p.steps, want)
	}
	if p.ref == start || p.ref == p.p || p.mean == p.p {
		t.Errorf("reference %v, average %v of %v", p.ref, p.mean, p.p)
	}
	plain := newFull()
	if err := newTrainer(t, sampler.CPU{}, Policy[[]float32](plain), small()).Run(t.Context(), 1, nil); err != nil {
		t.Fatal(err)
	}
	if plain.mean != plain.p || plain.ref != start {
		t.Errorf("without averages: average %v of %v, reference %v", plain.mean, plain.p, plain.ref)
	}
}

// The trained steps: all that draw noise but the last, a window that moves, a set, and the
// last step if asked for.
func TestTrainedSteps(t *testing.T) {
	sde := sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}
	for name, c := range map[string]struct {
		change     func(*Config[[]float32])
		steps      []int
		stochastic []int
	}{
		"preserving": {func(c *Config[[]float32]) {}, []int{0, 1, 2, 3}, []int{0, 1, 2, 3}},
		"SDE":        {func(c *Config[[]float32]) { c.Sampling.Rule = sde }, []int{0, 1, 2, 3}, []int{0, 1, 2, 3, 4}},
		"last":       {func(c *Config[[]float32]) { c.Sampling.Rule, c.LastStep = sde, true }, []int{0, 1, 2, 3, 4}, []int{0, 1, 2, 3, 4}},
		"window":     {func(c *Config[[]float32]) { c.Window = grpo.Fixed{Start: 1, End: 3} }, []int{1, 2}, []int{1, 2}},
		"set":        {func(c *Config[[]float32]) { c.Sampling.Set = []int{0, 3} }, []int{0, 3}, []int{0, 3}},
		"part": {func(c *Config[[]float32]) {
			c.Sampling.Part, c.Sampling.Start = sampler.Window{Start: 2, End: 5}, sampler.FromPart
			c.Clean = func(_ context.Context, dst []float32, _ []int) error { clear(dst); return nil }
			c.Window = grpo.Fixed{Start: 1, End: 2}
		}, []int{1}, []int{1}},
	} {
		config := small()
		c.change(&config)
		tr := newTrainer(t, sampler.CPU{}, newPlain(), config)
		r := drawn(t, tr)
		if !slices.Equal(r.Steps, c.steps) || !slices.Equal(r.Sampler.Stochastic(), c.stochastic) {
			t.Errorf("%s: trains %v of %v, want %v of %v", name, r.Steps, r.Sampler.Stochastic(), c.steps, c.stochastic)
		}
		var it Iteration
		if err := tr.Train(t.Context(), r, &it); err != nil || it.OnPolicy != 0 || !slices.Equal(it.Steps, c.steps) {
			t.Errorf("%s: %v, %+v", name, err, it)
		}
	}
}

// twice is the ODE in two evaluations a step.
type twice struct{}

func (twice) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) {
	return sampler.FlowODE{}.Coeffs(from, to)
}

func (r twice) Plan(points []schedule.Point) (moves []sampler.Move, err error) {
	for i, from := range points[:len(points)-1] {
		to := points[i+1]
		half := schedule.Level((from.Noise + to.Noise) / 2)
		first, _ := r.Coeffs(from, half)
		second, _ := r.Coeffs(half, to)
		moves = append(moves, sampler.Move{Step: i, To: half, Coeffs: first}, sampler.Move{Step: i, To: to, Coeffs: second})
	}
	return moves, nil
}

// The steps of a window are trained wherever their transitions stand.
func TestStagesOutside(t *testing.T) {
	c := small()
	c.Sampling.Outside, c.Window = twice{}, grpo.Fixed{Start: 1, End: 3}
	tr := newTrainer(t, sampler.CPU{}, newPlain(), c)
	if err := tr.CheckOnPolicy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if it, err := tr.Step(t.Context()); err != nil || it.OnPolicy != 0 || !slices.Equal(it.Steps, []int{2, 3}) {
		t.Errorf("%v, %+v", err, it)
	}
}

// A solver that looks back may walk the steps that are not trained.
func TestSolverOutside(t *testing.T) {
	c := small()
	c.Sampling.Outside, c.Window = solver.DPMPlus{Order: 2}, grpo.Fixed{End: 2}
	tr := newTrainer(t, sampler.CPU{}, newPlain(), c)
	if err := tr.CheckOnPolicy(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := drawn(t, tr)
	if r.Sampler.Depth() == 0 || !slices.Equal(r.Steps, []int{0, 1}) {
		t.Errorf("depth %d, trains %v", r.Sampler.Depth(), r.Steps)
	}
	var it Iteration
	if err := tr.Train(t.Context(), r, &it); err != nil || it.OnPolicy != 0 {
		t.Errorf("%v, %+v", err, it)
	}
}

// Samples of a group share their start if asked to, and runs begin at clean samples if
// given.
func TestStarts(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for _, data := range []bool{false, true} {
			c := small()
			c.SharedStart = shared
			c.Sampling.Set = []int{0}
			if data {
				c.Sampling.Scheduler, c.Sampling.Start = schedule.Flow{.5, .25, 0}, sampler.FromData
				c.Clean = func(_ context.Context, dst []float32, prompts []int) error {
					for i := range dst {
						dst[i] = 100 * float32(prompts[i/dim])
					}
					return nil
				}
			}
			r := drawn(t, newTrainer(t, sampler.CPU{}, newPlain(), c))
			row := func(i int) []float32 { return r.Trajectory.Latents[0][i*dim:][:dim] }
			if got := slices.Equal(row(0), row(group-1)); got != shared {
				t.Errorf("shared %v: a group starts alike: %v", shared, got)
			}
			if slices.Equal(row(group-1), row(group)) {
				t.Error("two groups start alike")
			}
			if mean := row(2 * group)[0]; data && math.Abs(float64(mean)-100) > 3 {
				t.Errorf("half of a clean sample of 200 is %v", mean)
			}
			next := func(i int) []float32 { return r.Trajectory.Latents[1][i*dim:][:dim] }
			if slices.Equal(next(0), next(1)) {
				t.Error("two samples draw the same noise")
			}
		}
	}
}

// Advantages: any estimator, a tracker over iterations, a limit, groups by prompt.
func TestAdvantages(t *testing.T) {
	judged := func(change func(*Config[[]float32])) []float64 {
		c := small()
		change(&c)
		p := newPlain()
		p.prompt = []int{0, 1, 0}
		c.Prompt = func(_ context.Context, _ int, prompts []int) error { copy(prompts, p.prompt); return nil }
		return slices.Clone(drawn(t, newTrainer(t, sampler.CPU{}, p, c)).Advantages)
	}
	plain := judged(func(*Config[[]float32]) {})
	for g := range 3 {
		sum := 0.0
		for _, a := range plain[g*group:][:group] {
			sum += a
		}
		if math.Abs(sum) > 1e-12 {
			t.Errorf("advantages of group %d add up to %v", g, sum)
		}
	}
	limited := judged(func(c *Config[[]float32]) { c.Limit = .5 })
	for i, a := range plain {
		if limited[i] != max(-.5, min(.5, a)) {
			t.Errorf("advantage %v becomes %v", a, limited[i])
		}
	}
	if got := judged(func(c *Config[[]float32]) { c.ByPrompt = true }); slices.Equal(got, plain) || !slices.Equal(got[group:2*group], plain[group:2*group]) {
		t.Error("samples of one prompt in two groups do not compete")
	}
	if got := judged(func(c *Config[[]float32]) { c.Tracker = new(grpo.Tracker[int]) }); slices.Equal(got, plain) {
		t.Error("the tracker does not count")
	}
	if got := judged(func(c *Config[[]float32]) { c.Estimator = estimator{value: 2} }); slices.ContainsFunc(got, func(a float64) bool { return a != 2 }) {
		t.Errorf("advantages %v of an estimator of one's own", got)
	}
}

type estimator struct {
	value float64
	short bool
}

func (e estimator) Advantages(dst, _ []float64, g grpo.Groups) ([]float64, error) {
	for _, samples := range g.All(len(dst)) {
		for i := range samples {
			dst[i] = e.value
		}
	}
	if e.short {
		return dst[1:], nil
	}
	return dst, nil
}

// When ctx is done before the first update, the trainer is unchanged. Updates are not
// interrupted.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := everything()
	p := newFull()
	rewards := c.Reward
	calls := 0
	c.Reward = func(ctx context.Context, dst []float64, x []float32, prompts []int) error {
		if calls++; calls == 3 {
			cancel()
		}
		return rewards(ctx, dst, x, prompts)
	}
	tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
	if err := tr.Run(ctx, 5, nil); !errors.Is(err, context.Canceled) || tr.Iteration() != 2 {
		t.Errorf("error %v after %d iterations", err, tr.Iteration())
	}
	if err := tr.Run(t.Context(), 4, nil); err != nil {
		t.Fatal(err)
	}
	whole := newFull()
	if err := newTrainer(t, sampler.CPU{}, Policy[[]float32](whole), everything()).Run(t.Context(), 4, nil); err != nil {
		t.Fatal(err)
	}
	if p.p != whole.p {
		t.Errorf("cancelled and continued: %v, want %v", p.p, whole.p)
	}
	// Within the first update.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	tr = newTrainer(t, sampler.CPU{}, Policy[[]float32](&stopper{full: newFull(), cancel: cancel}), small())
	if _, err := tr.Step(ctx); err != nil || tr.Iteration() != 1 {
		t.Errorf("an update was interrupted: %v", err)
	}
	stop := errors.New("enough")
	if err := tr.Run(t.Context(), 9, func(Iteration) error { return stop }); err != stop || tr.Iteration() != 2 {
		t.Errorf("error %v after %d iterations", err, tr.Iteration())
	}
}

type stopper struct {
	*full
	cancel func()
}

func (s *stopper) Backward(ctx context.Context, c sampler.Call[[]float32], dv []float32) error {
	s.cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.full.Backward(ctx, c, dv)
}

// Step returns an error in the middle of an iteration again, until the trainer is restored.
func TestFailure(t *testing.T) {
	p := newFull()
	tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), small())
	state := tr.State()
	p.rate = math.NaN()
	_, err := tr.Step(t.Context()) // the second minibatch sees NaN
	var bad *sampler.NonFiniteError
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "iteration 0: epoch 0, minibatch 1") {
		t.Errorf("error %v", err)
	}
	if _, err := tr.Step(t.Context()); !errors.As(err, &bad) || !strings.Contains(err.Error(), "restore the policy") {
		t.Errorf("error %v", err)
	}
	if err := tr.Save(new(bytes.Buffer)); err == nil {
		t.Error("a policy in the middle of an iteration is saved")
	}
	p.p, p.rate = start, .05
	if err := tr.Restore(state); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Step(t.Context()); err != nil {
		t.Errorf("restored: %v", err)
	}
}

func TestEarlyStop(t *testing.T) {
	c := small()
	c.Epochs = 4
	it, err := newTrainer(t, sampler.CPU{}, newPlain(), c).Step(t.Context())
	if err != nil || it.Updates != 16 || it.Stopped || it.Minibatches != 16 {
		t.Fatalf("%v, %+v", err, it)
	}
	c.Stop.Target = it.ApproxKL / 10
	p := newPlain()
	it, err = newTrainer(t, sampler.CPU{}, p, c).Step(t.Context())
	if err != nil || !it.Stopped || it.Updates == 0 || it.Updates >= 16 || it.Minibatches != it.Updates+1 || p.g != [4]float64{} {
		t.Errorf("%v, %+v, gradient %v", err, it, p.g)
	}
}

// A rollout from elsewhere trains to the same bits; outputs that an objective needs are
// then made anew.
func TestRollout(t *testing.T) {
	for _, o := range []Objective{Clip{}, Guard{}} {
		c := small()
		c.Form.Gaussian, c.Objective = true, o
		here, there := newPlain(), newPlain()
		if _, err := newTrainer(t, sampler.CPU{}, here, c).Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		remote := newPlain()
		c.Rollout = func(ctx context.Context, s *sampler.Sampler, b sampler.Batch, r *sampler.Trajectory[[]float32], _ sampler.Model[[]float32]) error {
			return sampler.Rollout(ctx, sampler.CPU{}, s, b, r, remote.Velocity)
		}
		if _, err := newTrainer(t, sampler.CPU{}, there, c).Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if here.p != there.p || len(remote.calls) == 0 {
			t.Errorf("%T: %v, want %v", o, there.p, here.p)
		}
	}
}

// Plan tells a machine elsewhere what the trainer's rollouts are, from three settings.
func TestPlan(t *testing.T) {
	for _, w := range []grpo.Strategy{nil, grpo.Sliding{Size: 1, Stride: 1, Interval: grpo.Every(1)}} {
		c := small()
		c.Window = w
		tr := newTrainer(t, sampler.CPU{}, newPlain(), c)
		var before []int
		for range 3 {
			r := drawn(t, tr)
			s, steps, err := Config[[]float32]{Sampling: c.Sampling, Window: w}.Plan(r.Iteration)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(steps, r.Steps) || s.Steps() != r.Sampler.Steps() {
				t.Errorf("Plan(%d) trains %v of %d, the trainer %v of %d", r.Iteration, steps, s.Steps(), r.Steps, r.Sampler.Steps())
			}
			for i := range s.Steps() {
				if got, want := s.At(i), r.Sampler.At(i); !reflect.DeepEqual(got, want) {
					t.Errorf("Plan(%d): transition %d is %+v, the trainer's %+v", r.Iteration, i, got, want)
				}
			}
			if w != nil && slices.Equal(steps, before) {
				t.Errorf("iteration %d trains %v again", r.Iteration, steps)
			}
			before = slices.Clone(steps)
			tr.Done()
		}
	}
}

// Filling a minibatch, its loss, and asking the policy do not allocate once warm.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	for name, s := range map[string]Shape{"": {}, "fixed": {Rows: 16, Fixed: true}, "looks back": {}} {
		c := small()
		if name == "looks back" {
			c = looking(lookers["3M SDE"])
		}
		c.Form.Gaussian, c.Objective, c.KL.Beta, c.Shape = true, Guard{}, .1, s
		p := newFull()
		tr := newTrainer(t, sampler.CPU{Workers: 1}, Policy[[]float32](p), c)
		r := drawn(t, tr)
		items, err := r.Minibatches(0)
		if err != nil {
			t.Fatal(err)
		}
		b := tr.NewMinibatch()
		once := func() {
			p.calls = p.calls[:0]
			for _, items := range items {
				_, err := tr.loss(t.Context(), r, b, items)
				if err == nil {
					err = tr.backward(t.Context(), b)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		once()
		if n := testing.AllocsPerRun(10, once); n > 0 {
			t.Errorf("%s: %v allocations a round of %d minibatches", name, n, len(items))
		}
	}
}

// gap draws noise everywhere but at the second step of five.
type gap struct{}

func (gap) Coeffs(from, to schedule.Point) (sampler.Coeffs, error) {
	if from.Noise == .8 {
		return sampler.FlowODE{}.Coeffs(from, to)
	}
	return sampler.FlowCPS{Eta: .5}.Coeffs(from, to)
}

func TestConfigErrors(t *testing.T) {
	nan := math.NaN()
	type config = Config[[]float32]
	for _, c := range []struct {
		change func(*config)
		want   string
	}{
		{func(c *config) { c.Reward = nil }, "Reward is nil"},
		{func(c *config) { c.Dim = 0 }, "Dim 0"},
		{func(c *config) { c.Prompts = 0 }, "Prompts 0"},
		{func(c *config) { c.Group = 1 }, "Group 1 is not at least 2"},
		{func(c *config) { c.Prompts = math.MaxInt32 }, "too many"},
		{func(c *config) { c.Epochs = -1 }, "Epochs -1"},
		{func(c *config) { c.Shape.Rows = -1 }, "Shape.Rows -1"},
		{func(c *config) { c.Shape.Fixed = true }, "Shape is Fixed and Rows is 0"},
		{func(c *config) { c.KL.Beta = nan }, "KL.Beta NaN"},
		{func(c *config) { c.KL.Beta = 1 }, "*trainer.plain is no Referrer"},
		{func(c *config) { c.Average.Decay = .5 }, "*trainer.plain is no Averager"},
		{func(c *config) { c.Follow.Decay = .5 }, "*trainer.plain is no Follower"},
		{func(c *config) { c.Limit = nan }, "Limit NaN"},
		{func(c *config) { c.Tolerance = -1 }, "Tolerance -1"},
		{func(c *config) { c.Output = 9 }, "is not a storage type"},
		{func(c *config) { c.Sampling.Start = sampler.FromData }, "Clean is nil"},
		{func(c *config) { c.Clean = func(context.Context, []float32, []int) error { return nil } }, "starts from pure noise"},
		{func(c *config) { c.Sampling.Rule = sampler.FlowCPS{Eta: 2} }, "FlowCPS: eta 2 is not in [0, 1]"},
		{func(c *config) { c.Sampling.Rule = sampler.FlowODE{} }, "Rule FlowODE{} leaves nothing to train: no step draws noise and reads the model's output"},
		{func(c *config) { c.Sampling.Rule = solver.DPMPlus{Order: 2} }, "leaves nothing to train: no step draws"},
		{func(c *config) { c.Guidance.Rescale = 2 }, "guidance: bad configuration: Rescale 2"},
		{func(c *config) { c.Window, c.Sampling.Set = grpo.Fixed{}, []int{0} }, "both Window and Sampling.Window or Sampling.Set are set"},
		{func(c *config) { c.Window, c.Sampling.Rule = grpo.Fixed{}, gap{} }, "trainer.gap{} draws no noise at step 1"},
		{func(c *config) { c.Window = grpo.Fixed{Start: 2, End: 9} }, "window [2, 9) of 4 steps"},
		{func(c *config) { c.Objective = Clip{ClipLow: -1} }, "Objective.ClipLow -1"},
		{func(c *config) { c.Objective = DPPO{} }, "DPPO.MaxKL 0"},
		{func(c *config) { c.Objective = Guard{Guard: grpo.Guard{ClipHigh: nan}} }, "Objective.ClipHigh NaN"},
		{func(c *config) { c.Estimator = grpo.Norm{Eps: -1} }, "Norm.Eps -1"},
		{func(c *config) { c.Tracker = &grpo.Tracker[int]{Norm: grpo.FlowGRPOBatch} }, "PerBatch, which has no history"},
		{func(c *config) { c.Stop.Target = nan }, "EarlyStop.Target NaN"},
		{func(c *config) { c.Minibatches.Rows = -1 }, "Minibatches.Rows -1"},
		{func(c *config) { c.Minibatches.Group = 4 }, "Minibatches.Group 4 does not divide"},
		{func(c *config) { c.Average.Decay = 2 }, "EMA.Decay 2"},
		{func(c *config) { c.Ranks = &lane{rank: 2} }, "rank 2 of 0"},
	} {
		config := small()
		c.change(&config)
		if _, err := New(sampler.CPU{}, Policy[[]float32](newPlain()), config); err == nil || !strings.HasPrefix(err.Error(), "trainer: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	if _, err := New[[]float32](nil, newPlain(), small()); !errors.Is(err, ErrConfig) {
		t.Errorf("no memory: %v", err)
	}
	if _, err := New[[]float32](sampler.CPU{}, nil, small()); !errors.Is(err, ErrConfig) {
		t.Errorf("no policy: %v", err)
	}
}

// Errors in the course of an iteration name what is at fault, and leave the trainer usable.
func TestStepErrors(t *testing.T) {
	type config = Config[[]float32]
	broken := errors.New("broken")
	for _, c := range []struct {
		change func(*config)
		want   string
	}{
		{func(c *config) { c.Prompt = func(context.Context, int, []int) error { return broken } }, "samples: config: Prompt: broken"},
		{func(c *config) { c.Reward = func(context.Context, []float64, []float32, []int) error { return broken } }, "Reward: broken"},
		{func(c *config) { c.Reward = func(context.Context, []float64, []float32, []int) error { return nil } }, "reward of sample 0 is NaN"},
		{func(c *config) { c.Estimator = estimator{value: math.Inf(1)} }, "advantage of sample 0 is +Inf"},
		{func(c *config) { c.Estimator = estimator{short: true} }, "returns 11 advantages for 12 samples"},
	} {
		config := small()
		c.change(&config)
		tr := newTrainer(t, sampler.CPU{}, newPlain(), config)
		for range 2 {
			if _, err := tr.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "trainer: iteration 0: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		}
	}
	tr := newTrainer(t, sampler.CPU{}, newPlain(), small())
	r, err := tr.Draw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := tr.NewMinibatch()
	if err := r.Fill(t.Context(), b, []grpo.Item{{}}); err == nil || !strings.Contains(err.Error(), "before Prepare") {
		t.Errorf("error %v", err)
	}
	r = drawn(t, tr)
	for _, it := range []grpo.Item{{Row: 12}, {Row: -1}, {Step: 4}, {Step: -1}, {Step: 9}} {
		if err := r.Fill(t.Context(), b, []grpo.Item{it}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%+v", it)) {
			t.Errorf("item %+v: error %v", it, err)
		}
	}
}

func TestTiming(t *testing.T) {
	tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](newFull()), everything())
	if err := tr.Run(t.Context(), 3, nil); err != nil {
		t.Fatal(err)
	}
	tm := tr.Timing()
	parts := tm.Sampling + tm.LogProb + tm.Gradients + tm.Policy + tm.Reward
	if tm.Iterations != 3 || parts > tm.Total || tm.Policy == 0 || tm.Sampling <= 0 || tm.LogProb == 0 || tm.Gradients == 0 {
		t.Errorf("%+v", tm)
	}
	if err := tr.CheckOnPolicy(t.Context()); err != nil || tr.Timing() != tm {
		t.Errorf("a check counts as training: %v, %+v", err, tr.Timing())
	}
}

// lazy is a policy whose methods take a while.
type lazy struct {
	*full
	of map[string]int // calls
}

const while = 2 * time.Millisecond

func (l lazy) wait(name string) {
	l.of[name]++
	time.Sleep(while)
}

func (l lazy) Velocity(ctx context.Context, c sampler.Call[[]float32]) error {
	l.wait("Velocity")
	return l.full.Velocity(ctx, c)
}

func (l lazy) Backward(ctx context.Context, c sampler.Call[[]float32], dv []float32) error {
	l.wait("Backward")
	return l.full.Backward(ctx, c, dv)
}

func (l lazy) Update(ctx context.Context) error {
	l.wait("Update")
	return l.full.Update(ctx)
}

func (l lazy) Reference(ctx context.Context, c sampler.Call[[]float32]) error {
	l.wait("Reference")
	return l.full.Reference(ctx, c)
}

// All that the policy does counts as its time: a sleep lasts at least what it is asked for.
func TestTimingOfPolicy(t *testing.T) {
	c := small()
	c.KL.Beta = 1
	p := lazy{newFull(), map[string]int{}}
	tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
	if _, err := tr.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, n := range p.of {
		calls += n
	}
	if got, least := tr.Timing().Policy, time.Duration(calls)*while; len(p.of) != 4 || got < least {
		t.Errorf("%v of the policy, and %v calls took %v at least", got, p.of, least)
	}
}

// Outputs of the policy that drew the samples are kept where the objective needs them alone,
// and made anew after a Rollout of the caller's, which keeps none.
func TestPast(t *testing.T) {
	train := func(o Objective, elsewhere bool) (*plain, *Run[[]float32]) {
		c := small()
		c.Form.Gaussian, c.Objective = true, o
		if elsewhere {
			c.Rollout = func(ctx context.Context, s *sampler.Sampler, b sampler.Batch, r *sampler.Trajectory[[]float32], model sampler.Model[[]float32]) error {
				if r.Observe != nil {
					t.Error("a Rollout of the caller's is asked to observe")
				}
				return sampler.Rollout(ctx, sampler.CPU{}, s, b, r, model)
			}
		}
		p := newPlain()
		tr := newTrainer(t, sampler.CPU{}, Policy[[]float32](p), c)
		r := drawn(t, tr)
		if err := tr.Train(t.Context(), r, new(Iteration)); err != nil {
			t.Fatal(err)
		}
		return p, r
	}
	for _, o := range []Objective{Clip{ClipLow: .01, ClipHigh: .01}, DPPO{MaxKL: .001}} {
		here, r := train(o, false)
		there, q := train(o, true)
		if here.p != there.p || here.p == start {
			t.Errorf("%T: parameters %v, and %v after a Rollout of the caller's", o, here.p, there.p)
		}
		needs := o.Divergence() != Unused
		if (r.Past != nil) != needs || (q.Past != nil) != needs {
			t.Errorf("%T: outputs are kept: %v and %v, want %v", o, r.Past != nil, q.Past != nil, needs)
		}
	}
}

// tight is a far whose buffer of some number cannot be made.
type tight struct {
	*far
	fail int
}

var errTight = errors.New("no memory")

func (m tight) Make(n int, t sampler.Storage) (handle, error) {
	if m.made+1 == m.fail {
		return handle{}, errTight
	}
	return m.far.Make(n, t)
}

func (m tight) Like(_ handle, n int) (handle, error) { return m.Make(n, sampler.Float32) }

// Whichever buffer cannot be made, the iteration says so, and the checks do; Close gives all
// others back.
func TestNoMemory(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		made := 1
		for fail := 0; fail <= made; fail++ {
			f, p := newFar(), newFull()
			m := tight{f, fail}
			c := small()
			c.Form.Gaussian = true
			d := Config[handle]{
				Sampling: c.Sampling, Dim: dim, Prompts: 3, Group: group, Minibatches: c.Minibatches, Form: c.Form,
				KL: Divergence{Beta: 1, Form: c.Form}, Objective: DPPO{MaxKL: .01}, Shape: Shape{Rows: 5, Fixed: true},
				Guidance: guidance.Guidance{Scale: 2, Rescale: .5},
				Reward: func(ctx context.Context, dst []float64, x handle, prompts []int) error {
					f.Sync()
					return reward(ctx, dst, f.of(x), prompts)
				},
			}
			if elsewhere {
				d.Rollout = func(ctx context.Context, s *sampler.Sampler, b sampler.Batch, r *sampler.Trajectory[handle], model sampler.Model[handle]) error {
					return sampler.Rollout(ctx, sampler.Device[handle](m), s, b, r, model)
				}
			}
			tr, err := New(m, Policy[handle](distant{p, f}), d)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tr.Step(t.Context())
			if err == nil {
				err = tr.CheckOnPolicy(t.Context())
			}
			if err == nil {
				_, err = tr.Inputs(t.Context())
			}
			if err == nil {
				err = tr.CheckBackward(t.Context())
			}
			if fail == 0 && err == nil {
				made = f.made
			} else if fail == 0 || !errors.Is(err, errTight) {
				t.Errorf("buffer %d cannot be made: %v", fail, err)
			}
			if err := tr.Close(); err != nil || len(f.buffers) != 0 {
				t.Errorf("buffer %d cannot be made, Close: %v, %d buffers are left", fail, err, len(f.buffers))
			}
		}
	}
}

// flaky is a far whose wait of some number fails.
type flaky struct {
	*far
	waits *int
	fail  int
}

var errDevice = errors.New("the device is gone")

func (f flaky) Sync() error {
	f.far.Sync()
	if *f.waits++; *f.waits == f.fail {
		return errDevice
	}
	return nil
}

// Whichever wait for the device fails, the iteration or the check that waits says so.
func TestDeviceFails(t *testing.T) {
	for name, call := range map[string]func(tr *Trainer[handle]) error{
		"Step":          func(tr *Trainer[handle]) error { _, err := tr.Step(t.Context()); return err },
		"CheckOnPolicy": func(tr *Trainer[handle]) error { return tr.CheckOnPolicy(t.Context()) },
		"CheckBackward": func(tr *Trainer[handle]) error { return tr.CheckBackward(t.Context()) },
		"Inputs":        func(tr *Trainer[handle]) error { _, err := tr.Inputs(t.Context()); return err },
	} {
		for _, p := range []func(f *far) Policy[handle]{
			func(f *far) Policy[handle] { return distant{newFull(), f} },
			func(f *far) Policy[handle] {
				m := newMovable(nil)
				return movableFar{distant{&full{plain: *m.plain, mean: start, ref: start}, f}, m.at}
			},
		} {
			waits := 1
			for fail := 0; fail <= waits; fail++ {
				f, n := newFar(), 0
				c := small()
				tr, err := New(flaky{f, &n, fail}, p(f), Config[handle]{
					Sampling: c.Sampling, Dim: dim, Prompts: 3, Group: group, Minibatches: c.Minibatches, KL: Divergence{Beta: 1}, Guidance: guidance.Guidance{Scale: 2},
					Reward: func(ctx context.Context, dst []float64, x handle, prompts []int) error {
						f.Sync()
						return reward(ctx, dst, f.of(x), prompts)
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				err = call(tr)
				if fail == 0 {
					waits = n
				}
				if fail == 0 && err != nil || fail > 0 && !errors.Is(err, errDevice) {
					t.Errorf("%s of %T, wait %d of %d fails: %v", name, p(f), fail, waits, err)
				}
			}
		}
	}
}

// movableFar is distant and a Mover.
type movableFar struct {
	distant
	at *struct {
		theta [4]float64
		moved bool
	}
}

func (m movableFar) Move(_ context.Context, h float64) (squares float64, err error) {
	m.f.Sync()
	if !m.at.moved {
		m.at.theta, m.at.moved = m.p, true
	}
	for i, g := range m.g {
		m.p[i] = m.at.theta[i] + h*g
		squares += g * g
	}
	return squares, nil
}

func (m movableFar) ClearGradient(context.Context) error {
	m.g, m.at.moved = [4]float64{}, false
	return nil
}
