package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// A panel is one plot of speed against one quantity.
type panel struct {
	label   string
	x       func(result) int
	sizes   []size
	threads []int
}

// panels returns the three panels of the plot: speed against rows, their length and threads.
func panels(quick bool) []panel {
	all := []int{1}
	if n := processors(); n > 1 {
		all = append(all, n)
	}
	rows, dims := []int{1, 4, 16, 64, 256, 1024, 4096}, []int{64, 256, 1024, 4096, 16384, 65536, 262144}
	most := size{64, 262144}
	if quick {
		rows, dims, most = []int{1, 4}, []int{64, 256}, size{4, 4096}
	}
	batch := panel{label: "rows of 4096 elements", x: func(r result) int { return r.Rows }, threads: all}
	for _, n := range rows {
		batch.sizes = append(batch.sizes, size{n, 4096})
	}
	dim := panel{label: "elements of each of 64 rows", x: func(r result) int { return r.Dim }, threads: all}
	for _, n := range dims {
		dim.sizes = append(dim.sizes, size{64, n})
	}
	threads := panel{label: fmt.Sprintf("threads, %v elements", most), x: func(r result) int { return r.Threads }, sizes: []size{most}}
	for n := 1; n <= processors(); n++ {
		threads.threads = append(threads.threads, n)
	}
	return []panel{batch, dim, threads}
}

// plotted are the passes in the plot.
var plotted = []string{"step", "replay", "KL", "replay and gradient"}

// measurePanel measures the fastest implementation. The thread counts of one size take turns.
func measurePanel(p panel, o options) (all []result, err error) {
	for _, s := range p.sizes {
		cases, err := passCases(s, implementations()[:1], p.threads)
		if err != nil {
			return nil, err
		}
		cases = slices.DeleteFunc(cases, func(c benchCase) bool { return !slices.Contains(plotted, c.Pass) })
		results, err := measure(cases, o)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", s, err)
		}
		all = append(all, results...)
	}
	return all, nil
}

// plotScaling measures all panels and draws them side by side. It returns the results.
func plotScaling(file string, o options) (all []result, err error) {
	var plots []*plot.Plot
	for _, panel := range panels(o.quick) {
		results, err := measurePanel(panel, o)
		if err != nil {
			return nil, err
		}
		p, err := panel.draw(results)
		if err != nil {
			return nil, err
		}
		plots = append(plots, p)
		all = append(all, results...)
	}
	plots[len(plots)-1].Legend.Left = true
	least, most := plots[0].Y.Min, plots[0].Y.Max
	for _, p := range plots {
		least, most = min(least, p.Y.Min), max(most, p.Y.Max)
	}
	for i, p := range plots {
		p.Y.Min, p.Y.Max = least, 4*most // with room for the legend
		if i < len(plots)-1 {
			p.Legend = plot.NewLegend()
		}
	}
	plots[0].Y.Label.Text = "billion elements a second"

	canvas := vgimg.NewWith(vgimg.UseWH(11*vg.Inch, 3.6*vg.Inch), vgimg.UseDPI(96))
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: vg.Points(12), PadTop: vg.Points(4), PadBottom: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(12)}
	for i, c := range plot.Align([][]*plot.Plot{plots}, tiles, draw.New(canvas))[0] {
		plots[i].Draw(c)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return nil, err
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	_, err = vgimg.PngCanvas{Canvas: canvas}.WriteTo(f)
	return all, errors.Join(err, f.Close())
}

// draw plots a line for each pass. It is dashed if it has more than one thread, unless threads
// are the axis.
func (panel panel) draw(results []result) (*plot.Plot, error) {
	p := plot.New()
	p.X.Label.Text = panel.label
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Padding = true, vg.Points(3)
	overThreads := len(panel.sizes) == 1
	if !overThreads {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	} else {
		p.X.Tick.Marker = plot.ConstantTicks(threadTicks(panel.threads))
		p.X.Min, p.X.Max = 0.8, float64(slices.Max(panel.threads))+0.2
	}
	for i, pass := range plotted {
		for _, n := range panel.threads {
			if overThreads && n > 1 {
				break
			}
			var xy plotter.XYs
			for _, r := range results {
				if r.Pass == pass && (overThreads || r.Threads == n) {
					xy = append(xy, plotter.XY{X: float64(panel.x(r)), Y: r.Elements / 1e9})
				}
			}
			line, points, err := plotter.NewLinePoints(xy)
			if err != nil {
				return nil, err
			}
			line.Color = plotutil.DarkColors[i]
			points.Color, points.Shape, points.Radius = line.Color, draw.CircleGlyph{}, vg.Points(2)
			if n > 1 {
				line.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
			}
			p.Add(line, points)
			if n == 1 {
				p.Legend.Add(pass, line)
			}
		}
	}
	return p, nil
}

func threadTicks(threads []int) (ticks []plot.Tick) {
	for _, n := range threads {
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: fmt.Sprint(n)})
	}
	return ticks
}
