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
	wants: func() ([]want, error) { return wants(verifiableRewards, published...), nil },
	draw: func(_ context.Context, s *study, to files) error {
		return s.drawCurves(to, verifiableRewards, published)
	},
	write: func(r *results, out *section) error { return r.writeCurves(out, verifiableRewards, published) },
}

var preferenceFigure = figure{
	id:    "5",
	title: "Figure 5: reward curves, preference reward",
	wants: func() ([]want, error) { return wants(preferenceRewards, published...), nil },
	draw: func(_ context.Context, s *study, to files) error {
		return s.drawCurves(to, preferenceRewards, published)
	},
	write: func(r *results, out *section) error { return r.writeCurves(out, preferenceRewards, published) },
}

// drawCurves draws rewards in training and of the ODE for several arms, a row of panels for
// each reward.
func (s *study) drawCurves(to files, rewards []string, arms []arm) error {
	data := curveTable()
	var panels [][]*plot.Plot
	for _, reward := range rewards {
		left := newPanel(fmt.Sprintf("reward %q in training, by the rule", reward), "iteration", "reward")
		right := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
		for _, a := range arms {
			f := s.findingsOf(a, reward)
			train, byODE := s.inTraining(f), s.byODE(f)
			if err := addCurve(left, a.label, train, a.ink, false); err != nil {
				return err
			}
			if err := addCurve(right, a.label, byODE, a.ink, false); err != nil {
				return err
			}
			addCurveRows(&data, a, reward, "training", train)
			addCurveRows(&data, a, reward, "ODE", byODE)
		}
		left.X.Max = right.X.Max // the last iteration begins one before the end
		left.Y.Min, left.Y.Max = min(left.Y.Min, right.Y.Min), max(left.Y.Max, right.Y.Max)
		right.Y.Min, right.Y.Max = left.Y.Min, left.Y.Max
		legendAbove(left, len(arms))
		legendAbove(right, len(arms))
		panels = append(panels, []*plot.Plot{left, right})
	}
	if err := savePanels(to.dir, to.png(), panels); err != nil {
		return err
	}
	return to.saveData(data)
}

// writeCurves judges the first arm against the others.
func (r *results) writeCurves(out *section, rewards []string, arms []arm) error {
	curves, err := r.curves(out.fileName())
	if err != nil {
		return err
	}
	out.note("curves", words{"Seeds": r.seeds, "Visible": visible})
	out.Table = r.armTable(rewards, arms)
	for _, reward := range rewards {
		for _, other := range arms[1:] {
			r.judgeCurves(out, arms[0], other, reward)
			if other.name != flowSDE.name {
				continue
			}
			a, err := curves.byODE(arms[0], reward)
			if err != nil {
				return err
			}
			b, err := curves.byODE(other, reward)
			if err != nil {
				return err
			}
			r.judgeBands(out, arms[0], other, reward, apart(a, b))
		}
	}
	return nil
}

// odePanel draws the reward curves of arms by the ODE, and adds their points to data.
func (s *study) odePanel(data *table, reward string, arms []arm) (*plot.Plot, error) {
	p := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
	for _, a := range arms {
		c := s.byODE(s.findingsOf(a, reward))
		if err := addCurve(p, a.label, c, a.ink, false); err != nil {
			return nil, err
		}
		addCurveRows(data, a, reward, "ODE", c)
	}
	legendAbove(p, len(arms))
	return p, nil
}

func curveTable() table {
	return table{columns: []string{"arm", "reward", "kind", "iteration", "mean", "std", "seeds"}}
}

// addCurveRows adds the points of a curve. Each row has the same values of further columns.
func addCurveRows(t *table, a arm, reward, kind string, c curve, further ...any) {
	for i, x := range c.x {
		t.add(append([]any{a.label, reward, kind, int(x), c.y[i].Mean, c.y[i].Std, c.y[i].N}, further...)...)
	}
}

// judgeCurves judges whether a gets more reward of the ODE than b on the average of a run.
// An arm that converges faster does.
func (s *scores) judgeCurves(out *section, a, b arm, reward string) {
	d := s.differ(a, b, reward, average)
	out.judge(d.positive(), "higher on average", words{"Reward": reward, "A": a.label, "B": b.label, "Difference": d})
}

// judgeBands judges two things together: a ends at least as high as b in the mean over
// seeds, and its band lies above that of b at some evaluation and below at none. It does
// not hold if the end is measurably lower or the band lies below somewhere. It is undecided
// if the mean is lower but not measurably, or if the bands overlap everywhere.
func (s *scores) judgeBands(out *section, a, b arm, reward string, g gap) {
	end := s.differ(a, b, reward, final)
	o := cannotSay
	switch {
	case end.positive() == differs || g.below > 0:
		o = differs
	case end.Value >= 0 && g.above > 0:
		o = agrees
	}
	out.judge(o, "bands", words{"Reward": reward, "A": a.label, "B": b.label, "End": end,
		"Above": g.above, "Below": g.below, "Of": g.of, "First": g.first})
	out.key("finding: bands", words{"A": a.label, "B": b.label})
}

// judgeEnds judges whether a ends higher by the ODE than b.
func (s *scores) judgeEnds(out *section, a, b arm, reward string) {
	d := s.differ(a, b, reward, final)
	out.judge(d.positive(), "ends higher", words{"Reward": reward, "A": a.label, "B": b.label, "Difference": d})
}

// String returns the difference with half its interval.
func (d difference) String() string {
	if math.IsNaN(d.Value) {
		return "unknown"
	}
	if math.IsInf(d.Half, 1) {
		return fmt.Sprintf("%+.4f ± unknown", d.Value)
	}
	return fmt.Sprintf("%+.4f ± %.4f", d.Value, d.Half)
}

// A gap counts the evaluations at which two bands do not overlap: the first above or below
// the second, the iteration where it is first above (-1 if nowhere), and all evaluations.
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
