package sampler

import "cps/schedule"

// Facts describe a rule before it takes a step, whatever its parameters. With
// eta 0, or a g of 0, a rule of this package steps as [FlowODE] and keeps its own facts.
// The facts of a [Solver] are those at its parameters.
type Facts struct {
	Name        string // in errors and tables; empty: the name of the Go type
	Source      string // equation of the paper, arXiv number, or program
	Path        Path   // the path that the rule serves; other points are ErrPath
	Preserving  bool   // every step preserves coefficients (Definition 1)
	Density     bool   // it draws noise, and each step that does has a density given the latents before it
	Evaluations int    // evaluations of the model in each step

	// Order is the order of convergence. With an exact model, halving all steps divides
	// the error of the samples' distribution by 2^Order. It is 0 where the distribution
	// does not tend to the model's, however short the steps. HistoryOrder is the order of a run that
	// begins with exact earlier evaluations. It exceeds Order only for rules that look
	// back and whose first steps have nothing to look back at.
	Order, HistoryOrder int
}

// A Describer is a Rule that states its facts, as all rules of this package do. [New] and
// [EquivalentEta] check the facts. A step off Path is ErrPath. If Preserving is set, a
// step that does not preserve coefficients to 1e-6 is ErrFacts.
type Describer interface {
	Rule
	Facts() Facts
}

// FactsOf returns the facts of a rule with Name filled in: FlowCPS for a rule of this
// package, trainer.MyRule for others. A rule that is no [Describer] is assumed to take one
// evaluation a step and to have a density. For such a rule, AnyPath,
// Preserving false and Order 0 mean unknown. [Coeffs.Preserves] measures a step.
func FactsOf(r Rule) Facts {
	f := Facts{Density: true}
	if d, ok := r.(Describer); ok && !isNil(r) {
		f = d.Facts()
	}
	if f.Name == "" {
		f.Name = typeName(r)
	}
	f.Evaluations = max(f.Evaluations, 1)
	return f
}

// first returns f for a rule of order 1 with one evaluation a step, whose steps have a
// density.
func (f Facts) first() Facts {
	f.Density, f.Evaluations, f.Order, f.HistoryOrder = true, 1, 1, 1
	return f
}

// apart is first for a rule of order 0: its distribution does not tend to the model's.
func (f Facts) apart() Facts {
	f.Density, f.Evaluations = true, 1
	return f
}

// A Path is a family of points that a rule serves.
type Path uint8

const (
	AnyPath  Path = iota // all points
	FlowPath             // rectified flow, see [schedule.Point.OnFlow]
	VPPath               // variance-preserving, see [schedule.Point.OnVP]
)

// String returns the name of the constant.
func (p Path) String() string { return name("Path", p, "AnyPath", "FlowPath", "VPPath") }

// fail returns an error of a kind that begins with the rule's name.
func (f Facts) fail(kind error, format string, args ...any) error {
	return fail(kind, "%s: "+format, append([]any{f.Name}, args...)...)
}

// onPath returns an error unless both points lie on the path of the rule.
func (f Facts) onPath(from, to schedule.Point) error {
	for _, p := range [2]schedule.Point{from, to} {
		switch {
		case f.Path == FlowPath && !p.OnFlow():
			return f.fail(ErrPath, "signal %v and noise %v do not add up to 1, so this is not the rectified-flow path", p.Signal, p.Noise)
		case f.Path == VPPath && !p.OnVP():
			return f.fail(ErrPath, "the squares of signal %v and noise %v do not add up to 1, so this is not the variance-preserving path", p.Signal, p.Noise)
		}
	}
	return nil
}

// down returns an error unless both points lie on the path of the rule and the step does
// not raise the noise.
func (f Facts) down(from, to schedule.Point) error {
	if err := f.onPath(from, to); err != nil {
		return err
	}
	if to.Noise > from.Noise {
		return f.noisier(from, to)
	}
	return nil
}

// noisier returns the error for a step that raises the ratio of noise to signal.
func (f Facts) noisier(from, to schedule.Point) error {
	return f.fail(ErrPath, "the ratio of noise to signal does not fall from %v/%v to %v/%v",
		from.Noise, from.Signal, to.Noise, to.Signal)
}

// unit returns an error unless 0 ≤ eta ≤ 1.
func (f Facts) unit(eta float64) error {
	if eta >= 0 && eta <= 1 {
		return nil
	}
	return f.fail(ErrEta, "eta %v is not in [0, 1]", eta)
}

// step returns c, or an error if c is not finite with Eps ≥ 0. Rules of the caller may
// return anything, and a large parameter can overflow a formula.
func (f Facts) step(c Coeffs) (Coeffs, error) {
	if !finite(c.X0, c.X1, c.Eps) || c.Eps < 0 {
		return Coeffs{}, f.fail(ErrSingular, "the coefficients %+v are not finite with Eps ≥ 0", c)
	}
	return c, nil
}

// keeps returns an error if c breaks the promise of a preserving rule. The tolerance is
// above the rounding of float32 weights.
func (f Facts) keeps(c Coeffs, to schedule.Point) error {
	if !f.Preserving || c.Preserves(to, 1e-6) {
		return nil
	}
	return f.fail(ErrFacts, "its facts say that it preserves coefficients, but the step leaves signal %v and noise %v where %v and %v are allocated",
		c.X0, c.NoiseLevel(), to.Signal, to.Noise)
}
