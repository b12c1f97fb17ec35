package main

import (
	"fmt"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// plotRewards draws the rewards of every run.
func plotRewards(file string, runs [][]float64) error {
	p := plot.New()
	p.Title.Text = "GRPO of a GoMLX model"
	p.X.Label.Text, p.Y.Label.Text = "iteration", "reward"
	for seed, rewards := range runs {
		points := make(plotter.XYs, len(rewards))
		for i, r := range rewards {
			points[i].X, points[i].Y = float64(i), r
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.Color = plotutil.Color(seed)
		p.Add(line)
		p.Legend.Add(fmt.Sprintf("seed %d", seed), line)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	return p.Save(14*vg.Centimeter, 9*vg.Centimeter, file)
}
