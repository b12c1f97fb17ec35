package main

import (
	"context"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

var denominatorRewards = []string{"glyph", "taste"}

var denominatorFigure = figure{
	id:    "10",
	title: "Figure 10: log p with and without its denominator",
	wants: func() ([]want, error) {
		return wants(denominatorRewards, flowCPS, flowCPS.normalised()), nil
	},
	draw:  drawDenominator,
	write: writeDenominator,
}

// denominatorArms are Flow-CPS without and with the denominator.
func denominatorArms() []arm { return []arm{flowCPS, flowCPS.normalised()} }

// weights returns 1/(2·Eps²) of every trained step: the weight of a step's log p with the
// denominator.
func weights() ([]float64, error) {
	squares, err := injected(flowCPS.rule)
	return each(squares, func(square float64) float64 { return 1 / (2 * square) }), err
}

func drawDenominator(_ context.Context, s *study, to files) error {
	data := curveTable()
	var panels []*plot.Plot
	for _, reward := range denominatorRewards {
		p, err := s.odePanel(&data, reward, denominatorArms())
		if err != nil {
			return err
		}
		panels = append(panels, p)
	}
	p := newPanel("weight of a step's log p, 1/(2σ²)", "step", "log10 of the weight")
	all, err := weights()
	if err != nil {
		return err
	}
	var xy, zero plotter.XYs
	for i, w := range all {
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
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return to.saveData(data)
}

func writeDenominator(r *results, out *section) error {
	arms := denominatorArms()
	without, with := arms[0], arms[1]
	out.Table = r.armTable(denominatorRewards, arms)
	for _, reward := range denominatorRewards {
		d := r.differ(without, with, reward, average)
		out.ask(d.positive(), "higher without", words{"Reward": reward, "Difference": d})
		d = r.differ(without, with, reward, diversity)
		out.ask(d.positive(), "more diverse without", words{"Reward": reward, "Difference": d, "Before": values(r.found(without, reward), diversityBefore).Mean})
		spread := func(a arm) float64 { return values(r.found(a, reward), average).Std }
		if r.seeds > 1 {
			out.note("stability", words{"Reward": reward, "Without": spread(without), "With": spread(with)})
		}
	}
	for _, reward := range denominatorRewards {
		a, b := r.trialAt(without, reward, len(r.rates)-1), r.trialAt(with, reward, len(r.rates)-1)
		out.note("highest rate", words{"Reward": reward, "Rate": a.rate, "Without": a, "With": b})
	}
	all, err := weights()
	if err != nil {
		return err
	}
	out.note("weights", words{"Power": math.Log10(all[len(all)-1]) - math.Log10(all[0])})
	return nil
}
