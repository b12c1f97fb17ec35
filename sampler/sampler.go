package sampler

import (
	"fmt"

	"cps/noise"
	"cps/schedule"
)

// A Window is the half-open range [Start, End) of steps. The zero Window is all
// steps. MixGRPO's moving windows and Flow-GRPO-Fast's come from package grpo.
type Window struct{ Start, End int }

// A Config says how to sample. Scheduler and Rule must be set; the other zero
// values work.
type Config struct {
	Scheduler  schedule.Scheduler
	Rule       Rule       // inside Window
	Window     Window     // the steps that take Rule; zero: all
	Outside    Rule       // outside Window; nil: FlowODE
	Prediction Prediction // what the model predicts
	Storage    Storage    // the type latents are stored in
}

// A Transition is one step of a run.
type Transition struct {
	From, To schedule.Point
	Coeffs   Coeffs
	// Affine is Coeffs in the basis of the model's output. Its weights are float32
	// values: the ones that every device, log-probability and gradient uses.
	Affine Affine
}

// Stochastic reports whether the step draws noise, that is, has a density and
// carries a policy gradient. Steps to level 0 of preserving rules do not.
func (t Transition) Stochastic() bool { return t.Affine.Eps != 0 }

// A Sampler is a validated list of transitions. It is immutable and safe for
// concurrent use.
type Sampler struct {
	steps   []Transition
	storage Storage
}

// New computes and checks every transition of c. An error names the field, or the
// step with its levels, the rule and the parameter:
//
//	sampler: step 0 (noise 1 → 0.9): FlowCPS: eta 1.7 is not in [0, 1]
func New(c Config) (*Sampler, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("sampler: %w", err)
	}
	n := c.Scheduler.Steps()
	if c.Window == (Window{}) {
		c.Window.End = n
	}
	s := &Sampler{make([]Transition, n), c.Storage}
	for i := range s.steps {
		rule := c.Rule
		if i < c.Window.Start || i >= c.Window.End {
			rule = c.Outside
		}
		if rule == nil {
			rule = FlowODE{}
		}
		t, err := transition(rule, c.Prediction, c.Scheduler.At(i), c.Scheduler.At(i+1))
		if err != nil {
			return nil, fmt.Errorf("sampler: step %d (noise %v → %v): %w", i, t.From.Noise, t.To.Noise, err)
		}
		s.steps[i] = t
	}
	return s, nil
}

// check checks what can be checked before the steps.
func (c Config) check() error {
	switch {
	case c.Scheduler == nil:
		return fail(ErrConfig, "field Scheduler is nil")
	case c.Rule == nil:
		return fail(ErrConfig, "field Rule is nil")
	case c.Prediction > PredictV:
		return fail(ErrConfig, "%v is no prediction", c.Prediction)
	case c.Storage > Float16:
		return fail(ErrConfig, "%v is no storage type", c.Storage)
	}
	if err := schedule.Validate(c.Scheduler); err != nil {
		return err
	}
	if w, n := c.Window, c.Scheduler.Steps(); w != (Window{}) && (w.Start < 0 || w.Start >= w.End || w.End > n) {
		return fail(ErrConfig, "the range [%d, %d) of Window is empty or not within the %d steps", w.Start, w.End, n)
	}
	return nil
}

// transition computes one step; its points are set also when there is an error.
func transition(r Rule, p Prediction, from, to schedule.Point) (Transition, error) {
	t := Transition{From: from, To: to}
	c, err := coeffs(r, from, to)
	if err != nil {
		return t, err
	}
	a := c.Affine(p, from)
	a32 := a.round32()
	if !finite(a32.X, a32.V, a32.Eps) {
		return t, fail(ErrSingular, "%s with %v: the weights at signal %v, noise %v are %+v, beyond float32",
			FactsOf(r).Name, p, from.Signal, from.Noise, a)
	}
	t.Coeffs, t.Affine = c, a32
	return t, nil
}

// Steps returns the number of transitions.
func (s *Sampler) Steps() int { return len(s.steps) }

// At returns transition i. It panics unless 0 <= i < Steps().
func (s *Sampler) At(i int) Transition { return s.steps[i] }

// Batch returns the batch that makes the initial latents of samples, of dim
// elements each: every row is [Start]. It panics unless 1 ≤ dim ≤ [MaxDim].
func (s *Sampler) Batch(dim int, key noise.Key, samples ...uint64) Batch {
	b := Batch{Dim: dim, Key: key, Storage: s.storage, Rows: make([]Row, len(samples))}
	b.checkDim()
	for i, n := range samples {
		b.Rows[i] = Start(n)
	}
	return b
}

// Row is the row of a sample that takes transition i. Transition i draws the noise
// of step i+1; step 0 is the initial latent's.
func (s *Sampler) Row(sample uint64, i int) Row {
	return Row{s.steps[i].Affine, noise.ID{Sample: sample, Step: uint32(i) + 1}}
}

// Move puts every row of b at transition i. It does not allocate; it writes to
// b.Rows.
func (s *Sampler) Move(b Batch, i int) {
	for k := range b.Rows {
		b.Rows[k] = s.Row(b.Rows[k].Sample, i)
	}
}
