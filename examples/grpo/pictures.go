package main

import (
	"context"
	"fmt"
	"image/color"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
	"cps/examples/internal/strips"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plotRewards writes a plot of the rewards by iteration: the mean over seeds, and a band of
// one standard deviation.
func plotRewards(file string, o options, trainers []*finetune.Trainer, r report) error {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Reward %q of %s", o.config.Reward.Name, o.rule)
	p.X.Label.Text = "iteration"
	p.Y.Label.Text = "mean reward"
	p.Add(plotter.NewGrid())
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = vg.Points(8), -vg.Points(8), vg.Points(2)
	p.X.Max = 1.02 * float64(o.iterations) // room for the last label

	var rule, ode curve
	for i := range o.iterations {
		var under, by []float64
		for _, t := range trainers {
			it := t.History()[i]
			under = append(under, it.Reward)
			if it.Eval != nil {
				by = append(by, it.Eval.Reward)
			}
		}
		rule.add(float64(i), under)
		if by != nil {
			ode.add(float64(i), by)
		}
	}
	var last []float64
	for _, e := range r.after {
		last = append(last, e.Reward)
	}
	ode.add(float64(o.iterations), last)
	if err := rule.draw(p, "samples of the training rule", color.RGBA{200, 120, 30, 255}); err != nil {
		return err
	}
	if err := ode.draw(p, "samples of the ODE", color.RGBA{30, 90, 170, 255}); err != nil {
		return err
	}
	return p.Save(7*vg.Inch, 4.5*vg.Inch, file)
}

// A curve is a mean and a standard deviation by iteration.
type curve struct{ mean, low, high plotter.XYs }

func (c *curve) add(x float64, values []float64) {
	mean, std := meanStd(values)
	c.mean = append(c.mean, plotter.XY{X: x, Y: mean})
	c.low = append(c.low, plotter.XY{X: x, Y: mean - std})
	c.high = append(c.high, plotter.XY{X: x, Y: mean + std})
}

func (c *curve) draw(p *plot.Plot, name string, ink color.RGBA) error {
	outline := append(plotter.XYs{}, c.low...)
	for i := range c.high {
		outline = append(outline, c.high[len(c.high)-1-i])
	}
	band, err := plotter.NewPolygon(outline)
	if err != nil {
		return err
	}
	band.LineStyle.Width = 0
	band.Color = color.NRGBA{ink.R, ink.G, ink.B, 50}
	line, err := plotter.NewLine(c.mean)
	if err != nil {
		return err
	}
	line.Color, line.Width = ink, vg.Points(1.5)
	p.Add(band, line)
	p.Legend.Add(name, line)
	return nil
}

// drawSamples writes a picture of samples before and after the training of the first seed.
// They are of the ODE, from the same initial noise, two of each digit.
func drawSamples(ctx context.Context, file string, o options, before, after *finetune.Trainer, r report) error {
	const each = 2
	var rows []strips.Strip
	for _, t := range []struct {
		*finetune.Trainer
		label  string
		reward float64
	}{{before, "before", r.before.Reward}, {after, "after", r.after[0].Reward}} {
		x, _, err := t.Samples(ctx, ode, each)
		if err != nil {
			return err
		}
		rows = append(rows, strips.Strip{Label: t.label, Remark: fmt.Sprintf("reward %.3f", t.reward), Images: x})
	}
	if o.config.Reward.Name == "glyph" {
		glyphs, err := finetune.Glyphs()
		if err != nil {
			return err
		}
		target := strips.Strip{Label: "target"}
		for g := range digits.Classes {
			for range each {
				target.Images = append(target.Images, glyphs[g*digits.Dim:][:digits.Dim]...)
			}
		}
		rows = append(rows, target)
	}
	title := fmt.Sprintf("%d iterations of GRPO with %s, reward %q", o.iterations, o.rule, o.config.Reward.Name)
	return strips.Save(file, title, "the same initial noise, sampled by the ODE", rows)
}
