package main

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

var denominatorRewards = []string{"glyph", "taste"}

var denominatorFigure = figure{
	id:    "10",
	title: "Figure 10: log p with and without its denominator",
	paper: "The paper drops the denominator 2σ² of the Gaussian log p (Eq. 15 for Eq. 14), and compares training with and without.",
	wants: func() ([]want, error) {
		return wants(denominatorRewards, flowCPS, flowCPS.normalised()), nil
	},
	make: makeDenominator,
}

func makeDenominator(_ context.Context, s *study, out *section) error {
	arms := []arm{flowCPS, flowCPS.normalised()}
	data := curveTable()
	out.table = armTable()
	var panels []*plot.Plot
	for _, reward := range denominatorRewards {
		p, err := s.odePanel(out, &data, reward, arms)
		if err != nil {
			return err
		}
		panels = append(panels, p)
		d := s.differ(arms[0], arms[1], reward, s.area)
		out.ask(d.positive(), fmt.Sprintf("%s: without denominator the reward by the ODE is higher on the average of the run", reward), "%s", d.text())
		d = s.differ(arms[0], arms[1], reward, diversity)
		out.ask(d.positive(), fmt.Sprintf("%s: without denominator diversity is higher at the end", reward), "%s, of %.3f before", d.text(), values(s.found(arms[0], reward), diversityBefore).Mean)
		spread := func(a arm) float64 { return values(s.found(a, reward), s.area).Std }
		if s.seeds > 1 {
			out.say("Stability: over seeds the average reward of a run has a standard deviation of %.4f without denominator and %.4f with it (%s).", spread(arms[0]), spread(arms[1]), reward)
		}
	}
	for _, reward := range denominatorRewards {
		without, with := s.trialAt(arms[0], reward, len(s.rates)-1), s.trialAt(arms[1], reward, len(s.rates)-1)
		out.say("At the highest learning rate tried, %g, the trials with reward %q: %s without denominator, %s with it.", without.rate, reward, without.text(), with.text())
	}
	p := newPanel("weight of a step's log p, 1/(2σ²)", "step", "log10 of the weight")
	squares, err := injected(flowCPS.rule)
	if err != nil {
		return err
	}
	var xy, zero plotter.XYs
	for i, square := range squares {
		w := 1 / (2 * square)
		xy = append(xy, plotter.XY{X: float64(i), Y: math.Log10(w)})
		zero = append(zero, plotter.XY{X: float64(i)})
		data.add(flowCPS.normalised().label, "", "weight", i, w, 0., 1)
	}
	if err := addLine(p, "", xy, pink, false); err != nil {
		return err
	}
	if err := addLine(p, "", zero, blue, false); err != nil {
		return err
	}
	panels = append(panels, p)
	first, last := xy[0].Y, xy[len(xy)-1].Y
	out.say("With the denominator the last trained step weighs 10^%.1f as much as the first, without it the same.", last-first)
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(data)
}
