package sampler

import (
	"fmt"
	"slices"

	"cps/noise"
	"cps/schedule"
)

// A Window is a half-open range [Start, End): of the scheduler's steps in a [Config], and
// of transitions in [NewTrajectory]. [Sampler.Transitions] turns the one into the other. They
// differ in a Part, and where a [Solver] has several transitions in a step. The zero Window
// is all.
//
// MixGRPO's moving windows and Flow-GRPO-Fast's come from package grpo.
type Window struct{ Start, End int }

// A Config says how to sample. Scheduler and Rule must be set; the other zero
// values work.
//
// The Scheduler is that of the whole run, and Window and Part count its steps. Parts of
// one run, under one key, never share noise: step i draws the noise of step i of the
// whole run, whichever sampler takes it. Two parts give the latents of the whole to the
// bit, if their rules are those of the whole and of first order.
//
// A [Solver] looks back at no step beyond the edges of Window, of a run of consecutive
// steps of Set, or of Part: it begins there as at the start of a run. So nothing outside
// a window enters the density of its steps, and a step that stands alone is of first order.
type Config struct {
	Scheduler  schedule.Scheduler
	Rule       Rule       // inside Window or Set
	Window     Window     // the steps that take Rule; zero: all
	Set        []int      // the same as an ascending list, in place of Window
	Outside    Rule       // outside them; nil: FlowODE
	Part       Window     // the steps that this sampler takes; zero: all
	Start      Start      // what the first latents are made of
	Prediction Prediction // what the model predicts
	Clock      Clock      // how the model counts time; zero: 1 is noise and 0 is data
	Storage    Storage    // the type latents are stored in
}

// A Transition is one evaluation of the model and the move of the latents that follows it.
// A step of the scheduler is one transition, or several with some solvers. Its slices are the
// sampler's own, not to be written.
type Transition struct {
	Step     int // of the scheduler
	Stage    int // of the step, from 0: solvers may evaluate the model several times in one
	From, To schedule.Point
	Coeffs   Coeffs
	Past     []Past // what earlier evaluations add; nil for rules of first order

	// Affine is Coeffs in the basis of the model's output. Its weights are float32
	// values: the ones that every device, log-probability and gradient uses. Where Base
	// is set, the latents it applies to are the base, and X is 1.
	Affine Affine

	// Base are the terms of what the transition steps from, in the order in which they
	// are added: first the latents, then kept vectors of earlier evaluations, by Back
	// and Vector. It is nil where the transition does not look back. See [History].
	Base []Term

	// Keep are the vectors that later transitions look back at, X·x + V·v of this one's
	// latents and output: the predicted sample, the predicted noise, another of which all
	// shares are multiples, or the first two.
	Keep []Affine

	kept      []Coeffs // Keep in the predicted basis
	noDensity string   // why noise makes no density
}

// Stochastic reports whether the transition draws noise and has a density that depends on
// the model's output, that is, carries a policy gradient: whether Density returns nil.
// Steps to level 0 of preserving rules do not draw any.
func (t Transition) Stochastic() bool {
	return t.Affine.Eps != 0 && t.Affine.V != 0 && t.noDensity == ""
}

// Density returns nil if the transition has a density given the latents before it, and an
// error (ErrDensity) that says why not:
//
//   - it draws no noise;
//   - it does not read the model's output (V is 0), so its density is no policy;
//   - a stage of its step draws no noise. The latents of such a stage move with the policy,
//     so no density of the latents exists, though rows of the transition draw noise.
func (t Transition) Density() error {
	switch {
	case t.noDensity != "":
		return fail(ErrDensity, "%s", t.noDensity)
	case t.Affine.Eps == 0:
		return fail(ErrDensity, "step %d draws no noise", t.Step)
	case t.Affine.V == 0:
		return fail(ErrDensity, "step %d draws noise and does not read the model's output at it", t.Step)
	}
	return nil
}

// A Sampler is a validated list of transitions. It is immutable and safe for
// concurrent use.
type Sampler struct {
	steps      []Transition
	firsts     []int     // transition with which each step of the part begins
	depth      int       // evaluations that a transition looks back at most
	vectors    int       // kept of an evaluation at most
	times      []float64 // of each, as the model counts
	first      Affine    // of a row that makes a first latent
	prediction Prediction
	storage    Storage
}

// New computes and checks every transition of c. An error names the field, or the
// step with its levels, the rule and the parameter:
//
//	sampler: step 0 (noise 1 → 0.9): FlowCPS: eta 1.7 is not in [0, 1]
//
// A step whose noise is below the rounding of its latents to Storage, for data of unit
// variance, is ErrLost: 2⁻²⁴ of their size in float32, 2⁻¹¹ in float16, 2⁻⁹ in bfloat16.
func New(c Config) (*Sampler, error) {
	points, err := c.points()
	if err == nil {
		err = c.check(len(points) - 1)
	}
	if err != nil {
		return nil, fmt.Errorf("sampler: %w", err)
	}
	all := Window{0, len(points) - 1}
	inside, part := c.inside(all), c.Part.or(all)
	s := &Sampler{
		first:      c.Start.weights(points[part.Start]),
		prediction: c.Prediction,
		storage:    c.Storage,
	}
	for i := part.Start; i < part.End; {
		rule, end := c.Rule, i+1
		for end < part.End && inside(end) == inside(i) {
			end++
		}
		if !inside(i) {
			rule = c.Outside
		}
		if rule == nil {
			rule = FlowODE{}
		}
		ts, err := plan(rule, c.Prediction, points[i:end+1], i)
		for k := 0; err == nil && k < len(ts); k++ {
			if err = ts[k].keepsNoise(c.Storage); err != nil {
				ts = ts[:k+1]
			}
		}
		if err != nil {
			t := ts[len(ts)-1]
			return nil, fmt.Errorf("sampler: step %d (noise %v → %v): %w", t.Step, t.From.Noise, t.To.Noise, err)
		}
		s.depth = max(s.depth, maxBack(ts))
		for _, t := range ts {
			if t.Stage == 0 {
				s.firsts = append(s.firsts, len(s.steps))
			}
			s.steps = append(s.steps, t)
			s.times = append(s.times, c.Clock.At(t.From.Time))
			s.vectors = max(s.vectors, len(t.Keep))
		}
		i = end
	}
	if err := c.Start.check(points[part.Start], part.Start); err != nil {
		return nil, fmt.Errorf("sampler: %w", err)
	}
	if err := s.checkTrained(c, inside); err != nil {
		return nil, fmt.Errorf("sampler: %w", err)
	}
	return s, nil
}

// or returns w, or all for the zero Window.
func (w Window) or(all Window) Window {
	if w == (Window{}) {
		return all
	}
	return w
}

// points returns the points of the scheduler, each asked for once.
func (c Config) points() (schedule.Points, error) {
	if c.Scheduler == nil {
		return nil, fail(ErrConfig, "field Scheduler is nil")
	}
	return schedule.PointsOf(c.Scheduler)
}

// check checks what can be checked before the steps, of which there are n.
func (c Config) check(n int) error {
	switch {
	case c.Rule == nil:
		return fail(ErrConfig, "field Rule is nil")
	case c.Prediction > PredictReversedVelocity:
		return fail(ErrConfig, "%v is no prediction", c.Prediction)
	case c.Storage > Float16:
		return fail(ErrConfig, "%v is no storage type", c.Storage)
	case c.Start > FromPart:
		return fail(ErrConfig, "%v is no start", c.Start)
	}
	for _, f := range []struct {
		name string
		Window
	}{{"Window", c.Window}, {"Part", c.Part}} {
		if f.Window != (Window{}) && (f.Start < 0 || f.Start >= f.End || f.End > n) {
			return fail(ErrConfig, "the range [%d, %d) of %s is empty or not within the %d steps", f.Start, f.End, f.name, n)
		}
	}
	if c.Set != nil && c.Window != (Window{}) {
		return fail(ErrConfig, "both Window and Set are set")
	}
	if c.Set != nil && len(c.Set) == 0 {
		return fail(ErrConfig, "Set has no steps; nil stands for all")
	}
	for i, step := range c.Set {
		if step < 0 || step >= n || i > 0 && step <= c.Set[i-1] {
			return fail(ErrConfig, "the steps %v of Set are not ascending within the %d steps", c.Set, n)
		}
	}
	return c.Clock.check()
}

// inside returns what tells the steps that take Rule.
func (c Config) inside(all Window) func(step int) bool {
	if c.Set != nil {
		return func(step int) bool { _, found := slices.BinarySearch(c.Set, step); return found }
	}
	w := c.Window.or(all)
	return func(step int) bool { return w.Start <= step && step < w.End }
}

// checkTrained returns an error if the caller asks for steps to train, some of them in
// this part, and none of these has a density.
func (s *Sampler) checkTrained(c Config, inside func(step int) bool) error {
	if c.Window == (Window{}) && c.Set == nil {
		return nil
	}
	var why error // of the first step asked for
	for _, t := range s.steps {
		if inside(t.Step) && t.Stochastic() {
			return nil
		}
		if why == nil && inside(t.Step) {
			why = t.Density()
		}
	}
	switch {
	case why == nil: // they are in another part
		return nil
	case c.Set != nil:
		return fail(ErrConfig, "no step of Set %v has a density, so none can be trained: %v", c.Set, why)
	}
	return fail(ErrConfig, "no step of the range [%d, %d) of Window has a density, so none can be trained: %v", c.Window.Start, c.Window.End, why)
}

// transition computes one step; its points are set also when there is an error.
func transition(r Rule, p Prediction, from, to schedule.Point) (Transition, error) {
	t := Transition{From: from, To: to}
	c, err := coeffs(r, from, to)
	if err != nil {
		return t, err
	}
	if to.Noise > from.Noise && c.Eps != 0 {
		return t, fail(ErrPath, "%s: it injects noise, and inversion is deterministic: take FlowODE", FactsOf(r).Name)
	}
	a := c.Affine(p, from)
	a32 := a.round32()
	if !finite(a32.X, a32.V, a32.Eps) {
		return t, fail(ErrSingular, "%s with %v: the weights at signal %v, noise %v are %+v, beyond float32: a prediction says nothing of x̂0 where there is no signal, nor of x̂1 where there is no noise",
			FactsOf(r).Name, p, from.Signal, from.Noise, a)
	}
	t.Coeffs, t.Affine = c, a32
	return t, nil
}

// Steps returns the number of transitions of s, which is that of evaluations of the model.
// It is the number of the scheduler's steps that s takes, unless a [Solver] evaluates the
// model several times in one.
func (s *Sampler) Steps() int { return len(s.steps) }

// At returns transition i. The index of a transition counts from 0 at the start of s, not in
// the scheduler's steps. All methods that take one panic unless 0 <= i < Steps(), with the
// index and that range.
func (s *Sampler) At(i int) Transition { return *s.at("At", i) }

// at returns transition i for a method of that name.
func (s *Sampler) at(method string, i int) *Transition {
	if uint(i) >= uint(len(s.steps)) {
		panicIndex(method, i, len(s.steps))
	}
	return &s.steps[i]
}

// panicIndex is apart from its callers, which so remain small.
//
//go:noinline
func panicIndex(method string, i, n int) {
	panic(fmt.Sprintf("sampler: Sampler.%s: transition %d is not in [0, %d)", method, i, n))
}

// Time returns the time at which transition i asks the model, as the model counts it.
func (s *Sampler) Time(i int) float64 {
	s.at("Time", i)
	return s.times[i]
}

// Stochastic returns the transitions that draw noise, in order: those that have a
// density, and that can be trained. Published trainers leave out a step to noise 0, which
// rules that do not preserve coefficients have: its density is so narrow that log p loses
// digits.
func (s *Sampler) Stochastic() []int {
	var set []int
	for i, t := range s.steps {
		if t.Stochastic() {
			set = append(set, i)
		}
	}
	return set
}

// PredictedSample returns the weights of x̂0, the clean sample that the model predicts at
// transition i, from its latents and its output there:
//
//	d.Step(preview, x, v, b.WithAffine(s.PredictedSample(i)), nil)
func (s *Sampler) PredictedSample(i int) Affine {
	return Coeffs{X0: 1}.Affine(s.prediction, s.at("PredictedSample", i).From).round32()
}

// Batch returns the batch that makes the first latents of samples, of dim elements
// each, as Config.Start says:
//
//	FromNoise  d.Step(x, zero, zero, b, nil)       rows are those of [InitialRow]
//	FromData   d.Step(x, clean, zero, b, nil)      Signal·clean + Noise·ε
//	FromPart   d.Step(x, before, zero, b, nil)     before, rounded to the storage type
//
// with the zero buffer for what is not read. The noise is that of noise step 0. It
// panics unless 1 ≤ dim ≤ [MaxDim].
func (s *Sampler) Batch(dim int, key noise.Key, samples ...uint64) Batch {
	b := Batch{Dim: dim, Key: key, Storage: s.storage, Rows: make([]Row, len(samples))}
	b.checkDim()
	for i, n := range samples {
		b.Rows[i] = Row{Affine: s.first, ID: noise.ID{Sample: n}}
	}
	return b
}

// Row is the row of a sample that takes transition i. It draws the noise of step
// 1 + Step + 2¹⁶·Stage of At(i); that of step 0 is the first latent's. If the transition
// looks back, the latents of the row are the base that a [History] makes.
func (s *Sampler) Row(sample uint64, i int) Row {
	return s.at("Row", i).row(sample)
}

// row is the row of a sample that takes t.
func (t *Transition) row(sample uint64) Row {
	return Row{Affine: t.Affine, ID: noise.ID{Sample: sample, Step: 1 + uint32(t.Step) + uint32(t.Stage)<<16}}
}

// SetStep puts every row of b at transition i, an index as [Sampler.At] has it. It does not
// allocate; it writes to b.Rows.
func (s *Sampler) SetStep(b Batch, i int) {
	t := s.at("SetStep", i)
	for k := range b.Rows {
		r := &b.Rows[k]
		block := r.Block
		*r = t.row(r.Sample)
		r.Block = block
	}
}
