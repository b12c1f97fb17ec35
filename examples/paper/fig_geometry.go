package main

import (
	"context"
	"fmt"
	"image/color"
	"math"

	"cps/sampler"
	"cps/schedule"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

var geometryFigure = figure{
	id:    "3",
	title: "Figure 3: the geometry of a step",
	paper: "The paper draws a step as geometry: predicted and new noise are at right angles, and Flow-CPS keeps the length of their sum at what the schedule says. Here both are drawn as η rises, in units of that length.",
	make:  makeGeometry,
}

// geometrySteps are the steps that are drawn, of ten.
var geometrySteps = []int{3, 8}

func makeGeometry(_ context.Context, s *study, out *section) error {
	families := []struct {
		label string
		rule  func(eta float64) sampler.Rule
		ink   color.RGBA
	}{
		{"Flow-SDE, η to 1", sde, orange},
		{"Modified SDE, η√s, η to 1", func(eta float64) sampler.Rule { return sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(eta)} }, brown},
		{"Flow-CPS, η to 1", cps, blue},
		{"Exact, η to 1", exact, red},
	}
	data := table{columns: []string{"rule", "from", "to", "eta", "predicted noise", "new noise", "level", "schedule"}}
	shown := table{columns: []string{"rule", "step", "level / schedule at η 1"}}
	line := schedule.Linear(steps)
	var panels []*plot.Plot
	worst := map[string]float64{}
	for _, i := range geometrySteps {
		from, to := line.At(i), line.At(i+1)
		p := newPanel(fmt.Sprintf("level %.1f to %.1f", from.Noise, to.Noise), "predicted noise X1 / level", "new noise Eps / level")
		circle := plotter.XYs{}
		for k := range 91 {
			a := float64(k) * math.Pi / 180
			circle = append(circle, plotter.XY{X: math.Cos(a), Y: math.Sin(a)})
		}
		if err := addLine(p, "what the schedule says", circle, color.RGBA{190, 190, 190, 255}, true); err != nil {
			return err
		}
		for _, f := range families {
			const points = 40
			var path plotter.XYs
			for k := range points + 1 {
				eta := float64(k) / points
				c, err := f.rule(eta).Coeffs(from, to)
				if err != nil {
					return err
				}
				path = append(path, plotter.XY{X: c.X1 / to.Noise, Y: c.Eps / to.Noise})
				data.add(f.label, from.Noise, to.Noise, eta, c.X1, c.Eps, c.NoiseLevel(), to.Noise)
				ratio := c.NoiseLevel() / to.Noise
				worst[f.label] = max(worst[f.label], math.Abs(ratio-1))
				if k == points {
					shown.add(f.label, fmt.Sprintf("%.1f to %.1f", from.Noise, to.Noise), ratio)
				}
			}
			if err := addLine(p, f.label, path, f.ink, false); err != nil {
				return err
			}
		}
		p.X.Min, p.Y.Min = min(p.X.Min, 0), 0
		legendAbove(p, 5)
		panels = append(panels, p)
	}
	out.table = shown
	out.check(worst["Flow-CPS, η to 1"] < 1e-12, "Flow-CPS stays on the circle at every η", "the level is off by a factor of at most 1 ± %.1g", worst["Flow-CPS, η to 1"])
	out.check(worst["Flow-SDE, η to 1"] > 1e-3, "Flow-SDE leaves the circle", "at η 1 it is off by %.0f %%", 100*worst["Flow-SDE, η to 1"])
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(data)
}
