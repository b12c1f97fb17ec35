package main

import (
	"fmt"
	"image/color"
	"math"
	"strconv"
	"strings"

	"cps/sampler"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// plotLevels writes a plot of the noise after every step beside the noise that the schedule
// allocates. It is Figure 2 of the paper for the schedule of this run. All rules that follow
// the schedule share one line.
func plotLevels(file string, rules []rule, samplers []*sampler.Sampler) error {
	p := plot.New()
	p.Title.Text = "Noise in the latent after each step"
	p.X.Label.Text = "step"
	p.X.Tick.Marker = plot.TickerFunc(wholeSteps)
	p.X.Max = float64(samplers[0].Steps()) + 0.2
	p.Y.Label.Text = "noise level"
	p.Y.Min = 0
	p.Legend.Top = true
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(12), -vg.Points(8)
	p.Legend.Padding = vg.Points(2)
	p.Add(plotter.NewGrid())

	var names []string
	for i, s := range samplers {
		if follows(s) {
			names = append(names, rules[i].label)
		}
	}
	preserving := strings.Join(names, ", ")

	audit := samplers[0].Audit()
	start := plotter.XY{X: 0, Y: audit[0].From.Noise}
	ideal := plotter.XYs{start}
	for _, a := range audit {
		ideal = append(ideal, plotter.XY{X: float64(a.Step + 1), Y: a.Ideal})
	}
	line, err := plotter.NewLine(ideal)
	if err != nil {
		return err
	}
	line.Width = vg.Points(9) // wide, so that it shows below the line of rules that follow it
	line.Color = color.Gray{215}
	p.Add(line)
	p.Legend.Add("schedule", line)

	drawn := 0
	for i, s := range samplers {
		label := rules[i].label
		if follows(s) {
			if label = preserving; label == "" {
				continue // drawn already
			}
			preserving = ""
		}
		levels := plotter.XYs{start}
		for _, a := range s.Audit() {
			levels = append(levels, plotter.XY{X: float64(a.Step + 1), Y: a.Level})
		}
		line, points, err := plotter.NewLinePoints(levels)
		if err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
		line.Color, line.Dashes = plotutil.Color(drawn), plotutil.Dashes(drawn)
		points.Color, points.Shape = plotutil.Color(drawn), plotutil.Shape(drawn)
		drawn++
		p.Add(line, points)
		p.Legend.Add(label, line, points)
	}
	return p.Save(7*vg.Inch, 4.5*vg.Inch, file)
}

// follows reports whether every step leaves the noise of the schedule, to rounding.
func follows(s *sampler.Sampler) bool {
	for _, a := range s.Audit() {
		if math.Abs(a.Excess) > 1e-12 {
			return false
		}
	}
	return true
}

// wholeSteps returns ticks at whole numbers, of which about ten have labels.
func wholeSteps(lo, hi float64) []plot.Tick {
	var ticks []plot.Tick
	every := max(1, int(math.Ceil((hi-lo)/12)))
	for i := int(math.Ceil(lo)); float64(i) <= hi; i++ {
		t := plot.Tick{Value: float64(i)}
		if i%every == 0 {
			t.Label = strconv.Itoa(i)
		}
		ticks = append(ticks, t)
	}
	return ticks
}
