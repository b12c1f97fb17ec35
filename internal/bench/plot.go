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
)

// plotResults draws elements a second of every pass of ours over the sizes, a bar for
// every number of threads.
func plotResults(file string, all []result) error {
	type bar struct {
		pass    string
		threads int
	}
	var sizes []string
	bars := map[bar]plotter.Values{}
	var order []bar
	var passes []string
	for _, r := range all {
		label := size{r.Rows, r.Dim}.String()
		if len(sizes) == 0 || sizes[len(sizes)-1] != label {
			sizes = append(sizes, label)
		}
		if r.Implementation != all[3].Implementation || r.Pass == "normal" { // the fastest of ours
			continue
		}
		k := bar{r.Pass, r.Threads}
		if bars[k] == nil {
			order = append(order, k)
			if !slices.Contains(passes, r.Pass) {
				passes = append(passes, r.Pass)
			}
		}
		bars[k] = append(bars[k], r.Elements/1e9)
	}
	p := plot.New()
	p.Title.Text = "Passes of the CPU device, " + all[3].Implementation
	p.Y.Label.Text = "billion elements a second"
	p.Y.Min = 0
	p.Legend.Top = true
	p.NominalX(sizes...)
	width := vg.Points(90 / float64(len(order)))
	for i, k := range order {
		b, err := plotter.NewBarChart(bars[k], width)
		if err != nil {
			return err
		}
		b.Color = plotutil.DarkColors[i%len(passes)]
		if k.threads > 1 {
			b.Color = plotutil.SoftColors[i%len(passes)]
		}
		b.LineStyle.Width = 0
		b.Offset = width * vg.Length(float64(i)-float64(len(order)-1)/2)
		p.Add(b)
		threads := fmt.Sprintf("%d threads", k.threads)
		if k.threads == 1 {
			threads = "1 thread"
		}
		p.Legend.Add(k.pass+", "+threads, b)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), p.Save(9*vg.Inch, 4.5*vg.Inch, file))
}
