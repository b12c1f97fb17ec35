package main

import (
	"context"
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
)

var ablationRewards = []string{"glyph", "taste"}

var ablationFigure = figure{
	id:    "6",
	title: "Figure 6: Flow-CPS from η 0.1 to 1.0",
	paper: "The paper varies η of Flow-CPS from 0.1 to 1.0; its trainings take 0.9.",
	wants: func() ([]want, error) { return wants(ablationRewards, ablations()...), nil },
	make:  makeAblation,
}

var ablationEtas = []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, etaCPS, 1}

func ablations() []arm {
	return each(ablationEtas, func(eta float64) arm {
		a := ablation(eta)
		a.ink = between(eta, color.RGBA{95, 25, 140, 255}, color.RGBA{0, 150, 140, 255}, color.RGBA{225, 120, 10, 255})
		return a
	})
}

// between returns the colour at x in [0, 1] on the way over three.
func between(x float64, a, b, c color.RGBA) color.RGBA {
	if x > 0.5 {
		a, b, x = b, c, x-0.5
	}
	mix := func(u, v uint8) uint8 { return uint8(float64(u) + 2*x*(float64(v)-float64(u))) }
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

func makeAblation(_ context.Context, s *study, out *section) error {
	data := curveTable()
	out.table = armTable()
	var panels [][]*plot.Plot
	arms := ablations()
	paper := slices.Index(ablationEtas, etaCPS)
	for _, reward := range ablationRewards {
		left := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
		right := newPanel(fmt.Sprintf("reward %q by the ODE, against η", reward), "η", "reward")
		var x []float64
		var shownEnds, shownAreas []sample
		for k, a := range arms {
			f := s.found(a, reward)
			c := s.byODE(f)
			addCurveRows(&data, a, reward, "ODE", c)
			if err := addCurve(left, a.label, c, a.ink, false); err != nil {
				return err
			}
			end, area := values(f, final), values(f, s.area)
			if end.low() > visible*c.y[0].Mean {
				x, shownEnds, shownAreas = append(x, ablationEtas[k]), append(shownEnds, end), append(shownAreas, area)
			}
			s.addArm(&out.table, a, reward)
		}
		if err := addPoints(right, "at the end", x, shownEnds, blue, draw.CircleGlyph{}); err != nil {
			return err
		}
		if err := addPoints(right, "average of the run", x, shownAreas, orange, draw.SquareGlyph{}); err != nil {
			return err
		}
		legendAbove(left, len(arms))
		legendAbove(right, 2)
		panels = append(panels, []*plot.Plot{left, right})

		d := s.differ(arms[paper], arms[0], reward, s.area)
		out.ask(d.positive(), fmt.Sprintf("%s: η 0.9 is better than 0.1 on the average of the run", reward), "%s", d.text())
		s.askBest(out, arms, paper, reward)
	}
	out.say("Every η has a learning rate of its own. 0.9 is compared with each of the others, without correction for their number, which is against it. The right panels leave out an η whose band goes below %g of the start, and curves are drawn at that level at least; the table has all.", visible)
	if err := savePanels(s.out, out.png(), panels); err != nil {
		return err
	}
	return out.saveData(data)
}

// askBest asks whether no arm is better than the paper's on the average of the run.
func (s *study) askBest(out *section, arms []arm, paper int, reward string) {
	var outcomes []outcome
	words := [...]string{agrees: "lower", differs: "higher", cannotSay: "undecided"}
	parts := map[outcome][]string{}
	for i, a := range arms {
		if i == paper {
			continue
		}
		d := s.differ(a, arms[paper], reward, s.area)
		o := d.notPositive()
		outcomes = append(outcomes, o)
		parts[o] = append(parts[o], fmt.Sprintf("%.1f (%s)", ablationEtas[i], d.text()))
	}
	var evidence []string
	for _, o := range []outcome{differs, cannotSay, agrees} {
		if len(parts[o]) > 0 {
			evidence = append(evidence, words[o]+": "+strings.Join(parts[o], ", "))
		}
	}
	out.ask(allOf(outcomes...), fmt.Sprintf("%s: no η is better than the paper's 0.9 on the average of the run", reward), "%s", strings.Join(evidence, "; "))
	out.key()
}
