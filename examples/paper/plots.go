package main

import (
	"image/color"
	"io"
	"path/filepath"

	"cps/examples/internal/finetune"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// The panels of a figure stand in rows. The sizes are those of one panel.
const (
	panelWidth  = 4.2 * vg.Inch
	panelHeight = 3.1 * vg.Inch
	resolution  = 96 // dots an inch
)

// savePanels writes plots as one PNG, row by row. A nil leaves its place empty. An error
// leaves an earlier file as it was.
func savePanels(dir, name string, panels [][]*plot.Plot) error {
	rows, columns := len(panels), len(panels[0])
	canvas := vgimg.NewWith(vgimg.UseWH(vg.Length(columns)*panelWidth, vg.Length(rows)*panelHeight), vgimg.UseDPI(resolution))
	tiles := draw.Tiles{
		Rows: rows, Cols: columns,
		PadTop: vg.Points(6), PadBottom: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(8),
		PadX: vg.Points(12), PadY: vg.Points(10),
	}
	for i, row := range plot.Align(panels, tiles, draw.New(canvas)) {
		for j, c := range row {
			if panels[i][j] != nil {
				panels[i][j].Draw(c)
			}
		}
	}
	return finetune.WriteFile(filepath.Join(dir, name), func(w io.Writer) error {
		_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
		return err
	})
}

func newPanel(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size = vg.Points(11)
	p.Legend.TextStyle.Font.Size = vg.Points(8.5)
	p.Legend.Padding = vg.Points(1.5)
	p.Legend.ThumbnailWidth = vg.Points(16)
	p.Add(plotter.NewGrid())
	return p
}

// visible is the part of its start below which a curve is drawn no further down. Runs that
// collapse would otherwise leave no room for the others.
const visible = 0.75

// addCurve adds a mean and its band of one standard deviation. A dashed line tells a second
// curve of the same colour apart.
func addCurve(p *plot.Plot, name string, c curve, ink color.RGBA, dashed bool) error {
	var line, outline plotter.XYs
	floor := visible * c.y[0].Mean
	add := func(to *plotter.XYs, x, y float64) { *to = append(*to, plotter.XY{X: x, Y: max(y, floor)}) }
	for i, x := range c.x {
		add(&line, x, c.y[i].Mean)
		add(&outline, x, c.y[i].low())
	}
	for i := len(c.x) - 1; i >= 0; i-- {
		add(&outline, c.x[i], c.y[i].high())
	}
	band, err := plotter.NewPolygon(outline)
	if err != nil {
		return err
	}
	band.LineStyle.Width = 0
	band.Color = color.NRGBA{ink.R, ink.G, ink.B, 45}
	p.Add(band)
	return addLine(p, name, line, ink, dashed)
}

func addLine(p *plot.Plot, name string, xy plotter.XYs, ink color.RGBA, dashed bool) error {
	l, err := plotter.NewLine(xy)
	if err != nil {
		return err
	}
	l.Color, l.Width = ink, vg.Points(1.5)
	if dashed {
		l.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	}
	p.Add(l)
	if name != "" {
		p.Legend.Add(name, l)
	}
	return nil
}

// addPoints adds points with error bars of one standard deviation. A point without values is
// left out.
func addPoints(p *plot.Plot, name string, x []float64, y []sample, ink color.RGBA, shape draw.GlyphDrawer) error {
	data := struct {
		plotter.XYs
		plotter.YErrors
	}{}
	for i := range x {
		if y[i].N == 0 {
			continue
		}
		data.XYs = append(data.XYs, plotter.XY{X: x[i], Y: y[i].Mean})
		data.YErrors = append(data.YErrors, struct{ Low, High float64 }{y[i].Std, y[i].Std})
	}
	if len(data.XYs) == 0 {
		return nil
	}
	s, err := plotter.NewScatter(data.XYs)
	if err != nil {
		return err
	}
	s.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: vg.Points(3), Shape: shape}
	bars, err := plotter.NewYErrorBars(data)
	if err != nil {
		return err
	}
	bars.Color, bars.Width = ink, vg.Points(1)
	p.Add(bars, s)
	if name != "" {
		p.Legend.Add(name, s)
	}
	return nil
}

// A bar is a mean of an arm, for a panel of bars.
type bar struct {
	name string
	sample
	ink color.RGBA
}

// barPanel shows each mean as a point with an error bar in a column of its own. Unlike bars,
// points need not start at 0. Names are in the legend.
func barPanel(title, y string, bars []bar) (*plot.Plot, error) {
	p := newPanel(title, "", y)
	p.X.Tick.Marker = plot.ConstantTicks(nil)
	p.X.Min, p.X.Max = -0.5, float64(len(bars))-0.5
	for i, b := range bars {
		if err := addPoints(p, b.name, []float64{float64(i)}, []sample{b.sample}, b.ink, draw.CircleGlyph{}); err != nil {
			return nil, err
		}
	}
	p.Y.Max += 0.05 * (p.Y.Max - p.Y.Min) // error bars have caps
	legendBelow(p, len(bars))
	return p, nil
}

// legendBelow makes room below the data for a legend of n lines at the bottom.
func legendBelow(p *plot.Plot, n int) {
	p.Legend.Top, p.Legend.Left = false, true
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(6), vg.Points(4)
	p.Y.Min -= (p.Y.Max - p.Y.Min) * min(2, 0.1*float64(n))
}

// legendAbove makes room above the data for a legend of n lines at the top.
func legendAbove(p *plot.Plot, n int) {
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(6), -vg.Points(4)
	p.Y.Max += (p.Y.Max - p.Y.Min) * min(2, 0.09*float64(n))
}
