package sampler

import (
	"fmt"
	"slices"

	"cps/noise"
	"cps/schedule"
)

// A Window is a half-open range [Start, End). In a [Config] it counts the scheduler's
// steps. In [NewTrajectory] it counts transitions. [Sampler.Transitions] converts steps to
// transitions. They differ in a Part, and where a [Solver] has several transitions in a
// step. The zero Window is all. Package grpo makes the moving windows of MixGRPO and
// Flow-GRPO-Fast.
type Window struct{ Start, End int }

// A Config says how to sample. Scheduler and Rule must be set; the other zero
// values work.
//
// Scheduler gives the points of the whole run. Window, Set and Part count its steps.
// Parts of one run, under one key, never share noise: step i draws the noise of step i of
// the whole run, whichever sampler takes it. Two parts give the latents of the whole run
// bit for bit, if they take its rules and these are of first order.
//
// A [Solver] starts afresh at the edges of Window and Part, and at every gap in Set: it
// looks back at no step before them. So the density of a step in a window depends on
// nothing outside the window, and a step that stands alone is of first order.
type Config struct {
	Scheduler  schedule.Scheduler // the points of the whole run
	Rule       Rule               // inside Window or Set
	Window     Window             // the steps that take Rule; zero: all of them
	Set        []int              // the same steps as an ascending list, in place of Window
	Outside    Rule               // at all other steps; nil: FlowODE
	Part       Window             // the steps that this sampler takes; zero: all
	Start      Start              // how the first latents are made
	End        End                // what the last latents are
	Prediction Prediction         // what the model predicts
	Clock      Clock              // how the model counts time; zero: 1 is noise and 0 is data
	Storage    Storage            // the type latents are stored in
}

// A Transition is one evaluation of the model and the move of the latents that follows it.
// A step of the scheduler is one transition, or several with some solvers. Its slices
// belong to the sampler: do not write to them.
type Transition struct {
	Step     int            // index of the scheduler's step
	Stage    int            // index of the evaluation within the step, from 0; solvers may take several
	From, To schedule.Point // the latents before it and after it
	Coeffs   Coeffs         // weights of this evaluation and of the noise
	Past     []Past         // the shares of earlier evaluations; nil for rules of first order

	// Affine is Coeffs in terms of the latent and the model's output. Its weights are
	// float32 values, the ones that every device, log-probability and gradient uses.
	// Where Base is set, Affine applies to the base in place of the latents, and X is 1.
	Affine Affine

	// Base lists the terms of the base from which the transition steps. They are added
	// in this order: first the latents, then kept vectors of earlier evaluations, by
	// Back and Vector. It is nil where the transition does not look back. See [History].
	Base []Term

	// Keep lists the vectors X·x + V·v of this evaluation that later transitions read. If
	// all that they read is a multiple of one vector, that vector is kept alone: the
	// predicted sample, the predicted noise, or a mixture. Else both predictions are
	// kept.
	Keep []Affine

	kept      []Coeffs // Keep in terms of the predictions
	noDensity string   // why there is no density although the transition draws noise
}

// Stochastic reports whether the transition carries a policy gradient: it draws noise,
// and its density depends on the model's output. Density then returns nil. With a
// preserving rule, the step to noise 0 draws no noise.
func (t Transition) Stochastic() bool {
	return t.Affine.Eps != 0 && t.Affine.V != 0 && t.noDensity == ""
}

// Density returns nil if the transition has a density given the latents before it. Else
// its error (ErrDensity) says why it has none:
//
//   - It draws no noise.
//   - It does not read the model's output (V is 0), so its density does not depend on the
//     policy.
//   - One stage of its step draws no noise. The latents of such a stage move with the
//     policy,
//     so the latents have no joint density, although other stages draw noise.
func (t Transition) Density() error {
	switch {
	case t.noDensity != "":
		return fail(ErrDensity, "%s", t.noDensity)
	case t.Affine.Eps == 0:
		return fail(ErrDensity, "step %d draws no noise", t.Step)
	case t.Affine.V == 0:
		return fail(ErrDensity, "step %d draws noise, but does not read the model's output", t.Step)
	}
	return nil
}

// A Sampler is a validated list of transitions. It is immutable and safe for
// concurrent use.
type Sampler struct {
	steps      []Transition
	firsts     []int     // the first transition of each step of the part
	depth      int       // how many evaluations back a transition looks, at most
	vectors    int       // how many vectors of an evaluation are kept, at most
	times      []float64 // of each transition, as the model counts
	first      Affine    // weights of a row that makes a first latent
	prediction Prediction
	storage    Storage
}

// New computes and checks every transition of c. An error names the field, or the
// step with its levels, the rule and the parameter:
//
//	sampler: step 0 (noise 1 → 0.9): FlowCPS: eta 1.7 is not in [0, 1]
//
// ErrLost says that rounding to Storage would swallow a step's noise. The noise is then
// below 2⁻²⁴ of the latents' size in float32, 2⁻¹¹ in float16, or 2⁻⁹ in bfloat16. The
// size is that for data of unit variance.
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
	if err := c.End.check(c.Start, points, part.End); err != nil {
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

// points returns the points of the scheduler. It asks for each one once.
func (c Config) points() (schedule.Points, error) {
	if c.Scheduler == nil {
		return nil, fail(ErrConfig, "field Scheduler is nil")
	}
	return schedule.PointsOf(c.Scheduler)
}

// check checks all fields that can be checked without the steps, of which there are n.
func (c Config) check(n int) error {
	switch {
	case c.Rule == nil:
		return fail(ErrConfig, "field Rule is nil")
	case c.Prediction > PredictReversedVelocity:
		return fail(ErrConfig, "field Prediction is %v, which is none of the constants", c.Prediction)
	case c.Storage > Float16:
		return fail(ErrConfig, "field Storage is %v, which is none of the constants", c.Storage)
	case c.Start > FromPart:
		return fail(ErrConfig, "field Start is %v, which is none of the constants", c.Start)
	case c.End > ToPart:
		return fail(ErrConfig, "field End is %v, which is none of the constants", c.End)
	}
	for _, f := range []struct {
		name string
		Window
	}{{"Window", c.Window}, {"Part", c.Part}} {
		if f.Window != (Window{}) && (f.Start < 0 || f.Start >= f.End || f.End > n) {
			return fail(ErrConfig, "the range [%d, %d) of %s is empty, or not within the %d steps of the schedule", f.Start, f.End, f.name, n)
		}
	}
	if c.Set != nil && c.Window != (Window{}) {
		return fail(ErrConfig, "both Window and Set are set: set one of them")
	}
	if c.Set != nil && len(c.Set) == 0 {
		return fail(ErrConfig, "Set is empty: list steps, or leave it nil for all steps")
	}
	for i, step := range c.Set {
		if step < 0 || step >= n || i > 0 && step <= c.Set[i-1] {
			return fail(ErrConfig, "the steps %v of Set do not ascend within the %d steps of the schedule", c.Set, n)
		}
	}
	return c.Clock.check()
}

// inside returns a function that reports whether a step takes Rule.
func (c Config) inside(all Window) func(step int) bool {
	if c.Set != nil {
		return func(step int) bool { _, found := slices.BinarySearch(c.Set, step); return found }
	}
	w := c.Window.or(all)
	return func(step int) bool { return w.Start <= step && step < w.End }
}

// checkTrained returns an error if the caller names steps to train, this part takes some
// of them, and none of these has a density.
func (s *Sampler) checkTrained(c Config, inside func(step int) bool) error {
	if c.Window == (Window{}) && c.Set == nil {
		return nil
	}
	var why error // why the first of them has none
	for _, t := range s.steps {
		if inside(t.Step) && t.Stochastic() {
			return nil
		}
		if why == nil && inside(t.Step) {
			why = t.Density()
		}
	}
	switch {
	case why == nil: // another part takes them
		return nil
	case c.Set != nil:
		return fail(ErrConfig, "no step of Set %v has a density, so none can be trained: %v", c.Set, why)
	}
	return fail(ErrConfig, "no step of the range [%d, %d) of Window has a density, so none can be trained: %v", c.Window.Start, c.Window.End, why)
}

// transition computes one step. It sets the points even when it returns an error.
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
		return t, fail(ErrSingular, "%s with %v: the weights at signal %v, noise %v are %+v, beyond float32: a prediction need not determine x̂0 where there is no signal, or x̂1 where there is no noise",
			FactsOf(r).Name, p, from.Signal, from.Noise, a)
	}
	t.Coeffs, t.Affine = c, a32
	return t, nil
}

// Steps returns the number of transitions of s, which is the number of evaluations of the
// model. It is the number of the scheduler's steps that s takes, unless a [Solver]
// evaluates the model several times in a step.
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

// Stochastic returns the indices of the transitions that have a density, in ascending
// order. These can be trained. Where [Sampler.Depth] is not 0, the sums of squares and
// gradients of your own loop need a [History]. Rules that do not preserve coefficients may draw noise in
// the step to noise 0. Published trainers leave that step out: its density is so narrow
// that log p loses digits.
func (s *Sampler) Stochastic() []int {
	var set []int
	for i, t := range s.steps {
		if t.Stochastic() {
			set = append(set, i)
		}
	}
	return set
}

// PredictedSample returns the weights that turn the latents and the output of transition
// i into x̂0, the clean sample that the model predicts there:
//
//	d.Step(preview, x, v, b.WithAffine(s.PredictedSample(i)), nil)
func (s *Sampler) PredictedSample(i int) Affine {
	return Coeffs{X0: 1}.Affine(s.prediction, s.at("PredictedSample", i).From).round32()
}

// Batch returns the batch that makes the first latents of samples of dim elements each.
// Config.Start selects how:
//
//	FromNoise  d.Step(x, zero, zero, b, nil)       rows are those of [InitialRow]
//	FromData   d.Step(x, clean, zero, b, nil)      Signal·clean + Noise·ε
//	FromPart   d.Step(x, before, zero, b, nil)     before, rounded to the storage type
//
// Here zero is the zero buffer, which stands for an input that is not read. The noise is
// that of noise step 0. Batch panics unless 1 ≤ dim ≤ [MaxDim].
func (s *Sampler) Batch(dim int, key noise.Key, samples ...uint64) Batch {
	b := Batch{Dim: dim, Key: key, Storage: s.storage, Rows: make([]Row, len(samples))}
	b.checkDim()
	for i, n := range samples {
		b.Rows[i] = Row{Affine: s.first, ID: noise.ID{Sample: n}}
	}
	return b
}

// Row returns the row of a sample that takes transition i. It draws the noise of noise
// step 1 + Step + 2¹⁶·Stage of At(i). Noise step 0 belongs to the first latent. If the
// transition looks back (At(i).Base is set), the row steps from the base that a [History]
// makes. With its latents in place of the base, Step, SumSquares and Grad give a wrong
// result and no error.
func (s *Sampler) Row(sample uint64, i int) Row {
	return s.at("Row", i).row(sample)
}

// row is the row of a sample that takes t.
func (t *Transition) row(sample uint64) Row {
	return Row{Affine: t.Affine, ID: noise.ID{Sample: sample, Step: 1 + uint32(t.Step) + uint32(t.Stage)<<16}}
}

// SetStep moves every row of b to transition i, an index as in [Sampler.At]. It writes to
// b.Rows and does not allocate.
//
// A transition may look back if [Sampler.Depth] is not 0. Its rows then step from the base
// of a [History], as for [Sampler.Row]. A loop of your own that passes latents in place of
// the base gets a wrong gradient and no error.
func (s *Sampler) SetStep(b Batch, i int) {
	t := s.at("SetStep", i)
	for k := range b.Rows {
		r := &b.Rows[k]
		block := r.Block
		*r = t.row(r.Sample)
		r.Block = block
	}
}
