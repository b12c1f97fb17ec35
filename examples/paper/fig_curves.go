package main

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/plot"
)

var verifiableRewards, preferenceRewards = []string{"glyph", "holes"}, []string{"taste"}

// published are the arms of the paper's reward curves, Flow-CPS first.
var published = []arm{flowCPS, flowSDE, flowSDE9, danceSDE}

var verifiableFigure = figure{
	id:    "4",
	title: "Figure 4: reward curves, verifiable rewards",
	paper: "The paper reports faster and more stable convergence with Flow-CPS than with the SDEs of Flow-GRPO and Dance-GRPO.",
	wants: func() ([]want, error) { return wants(verifiableRewards, published...), nil },
	make: func(ctx context.Context, s *study, out *section) error {
		return s.curves(out, verifiableRewards, published)
	},
}

var preferenceFigure = figure{
	id:    "5",
	title: "Figure 5: reward curves, preference reward",
	paper: "The paper reports the same for preference models, and gives the reason: noise in the samples is detrimental to the learning of the reward, and samples without it are judged more accurately.",
	wants: func() ([]want, error) { return wants(preferenceRewards, published...), nil },
	make: func(ctx context.Context, s *study, out *section) error {
		return s.curves(out, preferenceRewards, published)
	},
}

// curves draws rewards in training and by the ODE of several arms, a row of panels for
// each reward, and judges the first arm against the others.
func (s *study) curves(out *section, rewards []string, arms []arm) error {
	data := curveTable()
	out.table = armTable()
	var panels [][]*plot.Plot
	for _, reward := range rewards {
		left := newPanel(fmt.Sprintf("reward %q in training, by the rule", reward), "iteration", "reward")
		right := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
		for _, a := range arms {
			f := s.found(a, reward)
			train, byODE := s.inTraining(f), s.byODE(f)
			if err := addCurve(left, a.label, train, a.ink, false); err != nil {
				return err
			}
			if err := addCurve(right, a.label, byODE, a.ink, false); err != nil {
				return err
			}
			addCurveRows(&data, a, reward, "training", train)
			addCurveRows(&data, a, reward, "ODE", byODE)
			s.addArm(&out.table, a, reward)
		}
		left.X.Max = right.X.Max // the last iteration begins one before the end
		left.Y.Min, left.Y.Max = min(left.Y.Min, right.Y.Min), max(left.Y.Max, right.Y.Max)
		right.Y.Min, right.Y.Max = left.Y.Min, left.Y.Max
		legendAbove(left, len(arms))
		legendAbove(right, len(arms))
		panels = append(panels, []*plot.Plot{left, right})
		for _, other := range arms[1:] {
			s.judgeCurves(out, arms[0], other, reward)
			if other.name == flowSDE.name {
				s.judgeBands(out, arms[0], other, reward)
			}
		}
	}
	out.say("Bands are one standard deviation over %d seeds. The first panel is the mean reward of the samples that training draws, the second that of the ODE from the same noise for all runs, as the paper evaluates. What falls below %g of its start is drawn at that level.", s.seeds, visible)
	if err := savePanels(s.out, out.png(), panels); err != nil {
		return err
	}
	return out.saveData(data)
}

// odePanel draws the reward curves of arms by the ODE, and adds their points to data and the
// arms to the table.
func (s *study) odePanel(out *section, data *table, reward string, arms []arm) (*plot.Plot, error) {
	p := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
	for _, a := range arms {
		c := s.byODE(s.found(a, reward))
		if err := addCurve(p, a.label, c, a.ink, false); err != nil {
			return nil, err
		}
		addCurveRows(data, a, reward, "ODE", c)
		s.addArm(&out.table, a, reward)
	}
	legendAbove(p, len(arms))
	return p, nil
}

func curveTable() table {
	return table{columns: []string{"arm", "reward", "kind", "iteration", "mean", "std", "seeds"}}
}

// addCurveRows adds the points of a curve, each with the values of further columns.
func addCurveRows(t *table, a arm, reward, kind string, c curve, further ...any) {
	for i, x := range c.x {
		t.add(append([]any{a.label, reward, kind, int(x), c.y[i].Mean, c.y[i].Std, c.y[i].N}, further...)...)
	}
}

// judgeCurves judges whether a gets more reward by the ODE than b on the average of a run,
// as who converges faster does.
func (s *study) judgeCurves(out *section, a, b arm, reward string) {
	d := s.differ(a, b, reward, s.area)
	out.judge(d.positive(), fmt.Sprintf("%s: %s is higher by the ODE than %s on the average of the run", reward, a.label, b.label), "%s", d.text())
}

// judgeBands judges whether a ends at least as high by the ODE as b, in the mean over seeds, and
// its band lies above that of b somewhere on the way, and nowhere below. It is not so if the
// end is measurably lower or the band lies below; a mean that is lower, but not measurably,
// and bands that are nowhere apart decide nothing.
func (s *study) judgeBands(out *section, a, b arm, reward string) {
	end := s.differ(a, b, reward, final)
	g := apart(s.byODE(s.found(a, reward)), s.byODE(s.found(b, reward)))
	o := cannotSay
	switch {
	case end.positive() == differs || g.below > 0:
		o = differs
	case end.Value >= 0 && g.above > 0:
		o = agrees
	}
	out.judge(o, fmt.Sprintf("%s: %s ends at least as high by the ODE as %s, and its band lies above on the way and nowhere below", reward, a.label, b.label),
		"the end differs by %s; bands are %s", end.text(), g.text())
	out.key()
}

// judgeEnds judges whether a ends higher by the ODE than b.
func (s *study) judgeEnds(out *section, a, b arm, reward string) {
	d := s.differ(a, b, reward, final)
	out.judge(d.positive(), fmt.Sprintf("%s: %s ends higher by the ODE than %s", reward, a.label, b.label), "%s", d.text())
}

// text says a difference with its interval.
func (d difference) text() string {
	if math.IsNaN(d.Value) {
		return "unknown"
	}
	if math.IsInf(d.Half, 1) {
		return fmt.Sprintf("%+.4f ± unknown", d.Value)
	}
	return fmt.Sprintf("%+.4f ± %.4f", d.Value, d.Half)
}

// A gap says at how many evaluations two bands do not overlap.
type gap struct{ above, below, first, of int }

func apart(a, b curve) gap {
	g := gap{first: -1, of: len(a.x)}
	for i := range a.x {
		if a.y[i].N < 2 {
			continue // no band
		}
		switch {
		case a.y[i].low() > b.y[i].high():
			g.above++
			if g.first < 0 {
				g.first = int(a.x[i])
			}
		case a.y[i].high() < b.y[i].low():
			g.below++
		}
	}
	return g
}

func (g gap) text() string {
	text := fmt.Sprintf("apart with the first arm above at %d of %d evaluations", g.above, g.of)
	if g.above > 0 {
		text += fmt.Sprintf(" (from iteration %d)", g.first)
	}
	return text + fmt.Sprintf(", below at %d", g.below)
}
