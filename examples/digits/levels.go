package main

import (
	"fmt"
	"image/color"

	"cps/sampler"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// plotLevels writes the noise left after every step beside the noise that the
// schedule allocates: Figure 2 of the paper, for the schedule of this run.
func plotLevels(file string, rules []rule, samplers []*sampler.Sampler) error {
	p := plot.New()
	p.Title.Text = "Noise in the latent after each step"
	p.X.Label.Text = "step"
	p.Y.Label.Text = "noise level"
	p.X.Max = float64(samplers[0].Steps()) + 0.2
	p.Legend.Top = true
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(12), -vg.Points(8)
	p.Legend.Padding = vg.Points(2)
	p.Add(plotter.NewGrid())

	ideal := plotter.XYs{}
	for _, a := range samplers[0].Audit() {
		ideal = append(ideal, plotter.XY{X: float64(a.Step + 1), Y: a.Ideal})
	}
	line, err := plotter.NewLine(ideal)
	if err != nil {
		return err
	}
	line.Width = vg.Points(9) // so that the rules that follow it are seen on it
	line.Color = color.Gray{215}
	p.Add(line)
	p.Legend.Add("schedule", line)

	for i, s := range samplers {
		levels := plotter.XYs{}
		for _, a := range s.Audit() {
			levels = append(levels, plotter.XY{X: float64(a.Step + 1), Y: a.Level})
		}
		line, points, err := plotter.NewLinePoints(levels)
		if err != nil {
			return fmt.Errorf("%s: %w", rules[i].label, err)
		}
		line.Color, line.Dashes = plotutil.Color(i), plotutil.Dashes(i)
		points.Color, points.Shape = plotutil.Color(i), plotutil.Shape(i)
		p.Add(line, points)
		p.Legend.Add(rules[i].label, line, points)
	}
	return p.Save(7*vg.Inch, 4.5*vg.Inch, file)
}
