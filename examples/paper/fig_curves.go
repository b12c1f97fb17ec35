package main

import (
	"context"
	"fmt"

	"gonum.org/v1/plot"
)

var verifiableRewards, preferenceRewards = []string{"glyph", "holes"}, []string{"taste"}

// published are the arms of the paper's reward curves, Flow-CPS first.
var published = []arm{flowCPS, flowSDE, danceSDE}

var verifiableFigure = figure{
	id:    "4",
	title: "Figure 4: reward curves, verifiable rewards",
	paper: "The paper reports that with Flow-CPS rewards rise faster, higher and more steadily than with Flow-SDE.",
	wants: func() ([]want, error) { return wants(verifiableRewards, published...), nil },
	make: func(ctx context.Context, s *study, out *section) error {
		return s.curves(out, verifiableRewards, published)
	},
}

var preferenceFigure = figure{
	id:    "5",
	title: "Figure 5: reward curves, preference reward",
	paper: "The paper reports the same for preference models, which see noise and mark it down: there noise-free samples give a truer reward.",
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
		legendAbove(left, len(arms))
		legendAbove(right, len(arms))
		panels = append(panels, []*plot.Plot{left, right})
		for _, other := range arms[1:] {
			s.judgeCurves(out, arms[0], other, reward)
		}
	}
	out.say("Bands are one standard deviation over %d seeds. The first panel is the mean reward of the samples that training draws, the second that of the ODE from the same noise for all runs, as the paper evaluates.", s.seeds)
	if err := savePanels(s.out, out.png(), panels); err != nil {
		return err
	}
	return out.saveData(data)
}

func curveTable() table {
	return table{columns: []string{"arm", "reward", "kind", "iteration", "mean", "std", "seeds"}}
}

func addCurveRows(t *table, a arm, reward, kind string, c curve) {
	for i, x := range c.x {
		t.add(a.label, reward, kind, int(x), c.y[i].Mean, c.y[i].Std, c.y[i].N)
	}
}

// judgeCurves judges whether a gets more reward by the ODE than b: at the end, and over
// the whole run; and says where their bands lie apart.
func (s *study) judgeCurves(out *section, a, b arm, reward string) {
	fa, fb := s.found(a, reward), s.found(b, reward)
	d := values(fa, final).minus(values(fb, final))
	out.judge(d.positive(), fmt.Sprintf("%s: %s ends higher by the ODE than %s", reward, a.label, b.label), "%s", d.text())
	d = values(fa, s.area).minus(values(fb, s.area))
	ca, cb := s.byODE(fa), s.byODE(fb)
	out.judge(d.positive(), fmt.Sprintf("%s: %s is higher by the ODE than %s on the average of the run", reward, a.label, b.label),
		"%s; bands %s", d.text(), apart(ca, cb))
}

// text says a difference with its interval.
func (d difference) text() string { return fmt.Sprintf("%+.4f ± %.4f", d.Value, d.Half) }

// apart says at how many evaluations the bands of a and b do not overlap.
func apart(a, b curve) string {
	above, below, first := 0, 0, -1
	for i := range a.x {
		if a.y[i].N < 2 {
			continue // no band
		}
		switch {
		case a.y[i].low() > b.y[i].high():
			above++
			if first < 0 {
				first = int(a.x[i])
			}
		case a.y[i].high() < b.y[i].low():
			below++
		}
	}
	text := fmt.Sprintf("apart with the first above at %d of %d evaluations", above, len(a.x))
	if above > 0 {
		text += fmt.Sprintf(" (first at iteration %d)", first)
	}
	return text + fmt.Sprintf(", below at %d", below)
}
