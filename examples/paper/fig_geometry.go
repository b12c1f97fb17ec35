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
	draw:  drawGeometry,
	write: writeGeometry,
}

// geometrySteps are the steps that are drawn. A run has ten.
var geometrySteps = []int{3, 8}

// geometryCPS and geometrySDE are the rules that the page judges.
const geometryCPS, geometrySDE = "Flow-CPS, η to 1", "Flow-SDE, η to 1"

func drawGeometry(_ context.Context, _ *study, files files) error {
	families := []struct {
		label string
		rule  func(eta float64) sampler.Rule
		ink   color.RGBA
	}{
		{geometrySDE, sde, orange},
		{"Modified SDE, η√s, η to 1", func(eta float64) sampler.Rule { return sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(eta)} }, brown},
		{geometryCPS, cps, blue},
		{"Exact, η to 1", exact, red},
	}
	data := table{columns: []string{"rule", "from", "to", "eta", "predicted noise", "new noise", "level", "schedule"}}
	line := schedule.Linear(steps)
	var panels []*plot.Plot
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
			}
			if err := addLine(p, f.label, path, f.ink, false); err != nil {
				return err
			}
		}
		p.X.Min, p.Y.Min = min(p.X.Min, 0), 0
		legendAbove(p, 5)
		panels = append(panels, p)
	}
	if err := savePanels(files.dir, files.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return files.saveData(data)
}

func writeGeometry(r *results, out *section) error {
	s, err := readSheet(r.out, out.fileName()+".csv")
	if err != nil {
		return err
	}
	out.Table = table{columns: []string{"rule", "step", "level / schedule at η 1"}}
	worst := map[string]float64{geometryCPS: 0, geometrySDE: 0}
	for i := range s.rows {
		rule := s.text(i, "rule")
		ratio := s.number(i, "level") / s.number(i, "schedule")
		worst[rule] = max(worst[rule], math.Abs(ratio-1))
		if s.number(i, "eta") == 1 {
			out.Table.add(rule, fmt.Sprintf("%.1f to %.1f", s.number(i, "from"), s.number(i, "to")), ratio)
		}
	}
	out.check(worst[geometryCPS] < 1e-12, "stays on the circle", words{"Off": worst[geometryCPS]})
	out.check(worst[geometrySDE] > 1e-3, "leaves the circle", words{"Percent": 100 * worst[geometrySDE]})
	return s.err
}
