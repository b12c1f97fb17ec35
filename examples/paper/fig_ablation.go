package main

import (
	"context"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
)

var ablationRewards = []string{"glyph", "taste"}

var ablationFigure = figure{
	id:    "6",
	title: "Figure 6: Flow-CPS from η 0.1 to 1.0",
	wants: func() ([]want, error) { return wants(ablationRewards, ablations()...), nil },
	draw:  drawAblation,
	write: writeAblation,
}

var ablationEtas = []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, etaCPS, 1}

func ablations() []arm {
	return each(ablationEtas, func(eta float64) arm {
		a := ablation(eta)
		a.ink = between(eta, color.RGBA{95, 25, 140, 255}, color.RGBA{0, 150, 140, 255}, color.RGBA{225, 120, 10, 255})
		return a
	})
}

// between returns the colour at x in [0, 1], where a is at 0, b at 0.5 and c at 1.
func between(x float64, a, b, c color.RGBA) color.RGBA {
	if x > 0.5 {
		a, b, x = b, c, x-0.5
	}
	mix := func(u, v uint8) uint8 { return uint8(float64(u) + 2*x*(float64(v)-float64(u))) }
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

func drawAblation(_ context.Context, s *study, to files) error {
	data := curveTable()
	var panels [][]*plot.Plot
	arms := ablations()
	for _, reward := range ablationRewards {
		left := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
		right := newPanel(fmt.Sprintf("reward %q by the ODE, against η", reward), "η", "reward")
		var x []float64
		var shownEnds, shownAverages []sample
		for k, a := range arms {
			c := s.byODE(s.findingsOf(a, reward))
			addCurveRows(&data, a, reward, "ODE", c)
			if err := addCurve(left, a.label, c, a.ink, false); err != nil {
				return err
			}
			f := s.found(a, reward)
			if end := values(f, final); end.low() > visible*c.y[0].Mean {
				x, shownEnds, shownAverages = append(x, ablationEtas[k]), append(shownEnds, end), append(shownAverages, values(f, average))
			}
		}
		if err := addPoints(right, "at the end", x, shownEnds, blue, draw.CircleGlyph{}); err != nil {
			return err
		}
		if err := addPoints(right, "average of the run", x, shownAverages, orange, draw.SquareGlyph{}); err != nil {
			return err
		}
		legendAbove(left, len(arms))
		legendAbove(right, 2)
		panels = append(panels, []*plot.Plot{left, right})
	}
	if err := savePanels(to.dir, to.png(), panels); err != nil {
		return err
	}
	return to.saveData(data)
}

func writeAblation(r *results, out *section) error {
	arms := ablations()
	paper := slices.Index(ablationEtas, etaCPS)
	out.note("notes", words{"Visible": visible})
	out.Table = r.armTable(ablationRewards, arms)
	for _, reward := range ablationRewards {
		d := r.differ(arms[paper], arms[0], reward, average)
		out.ask(d.positive(), "against 0.1", words{"Reward": reward, "Difference": d})
		r.askBest(out, arms, paper, reward)
	}
	return nil
}

// askBest asks whether the paper's arm is the best on the average of the run.
func (s *scores) askBest(out *section, arms []arm, paper int, reward string) {
	var outcomes []outcome
	parts := map[outcome][]string{}
	var better []string
	for i, a := range arms {
		if i == paper {
			continue
		}
		d := s.differ(a, arms[paper], reward, average)
		o := d.notPositive()
		outcomes = append(outcomes, o)
		eta := fmt.Sprintf("%.1f", ablationEtas[i])
		parts[o] = append(parts[o], fmt.Sprintf("%s (%v)", eta, d))
		if o == differs {
			better = append(better, eta)
		}
	}
	out.ask(allOf(outcomes...), "best", words{"Reward": reward, "Higher": parts[differs], "Undecided": parts[cannotSay], "Lower": parts[agrees], "Better": better})
	out.key("finding: best", nil)
}
