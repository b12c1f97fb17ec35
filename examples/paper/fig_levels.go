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
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A noisy is a rule whose noise level is drawn, on a schedule.
type noisy struct {
	label  string
	rule   sampler.Rule
	points schedule.Scheduler
	ink    color.RGBA
	blind  bool // not measured: the network does not know such a path
	own    bool // beyond what the paper shows in the figure
}

// The run of the authors' notebook scripts/analysis/sde_noise_level.ipynb, and what it
// prints (IamCreateAI/FlowCPS, at 1d980595).
const (
	notebookSteps       = 16
	notebookLast        = 0.0480
	notebookAccumulated = 0.5359
)

var levelsFigure = figure{
	id:    "2",
	title: "Figure 2: noise level after each step, Flow-SDE and Flow-CPS",
	paper: fmt.Sprintf("The paper plots the noise level of Flow-SDE above that of the schedule at every step, and not 0 at the end. "+
		"The authors' notebook, %d steps at η 0.7, prints %.4f after the last step and an accumulated error of %.4f.", notebookSteps, notebookLast, notebookAccumulated),
	make: makeLevels,
}

func makeLevels(ctx context.Context, s *study, out *section) error {
	line := schedule.Linear(notebookSteps)
	rules := []noisy{
		{label: "ODE", rule: ode, points: line, ink: grey},
		{label: "Flow-CPS 0.7", rule: cps(0.7), points: line, ink: teal},
		{label: "Flow-CPS 0.9", rule: cps(0.9), points: line, ink: blue},
		{label: "Flow-SDE 0.7", rule: sde(0.7), points: line, ink: orange},
		{label: "Flow-SDE 0.9", rule: sde(0.9), points: line, ink: red},
		{label: "Dance-SDE 0.3", rule: dance(0.3), points: line, ink: green, own: true},
	}
	a, err := drawLevels(ctx, s, out, rules)
	if err != nil {
		return err
	}
	last := a[3].audit[notebookSteps-1]
	same := math.Abs(last.Level-notebookLast) < 0.5e-4 && math.Abs(last.Accumulated-notebookAccumulated) < 0.5e-4
	out.check(same, "the levels of Flow-SDE at η 0.7 are those that the authors' notebook prints",
		"%.4f after the last step and %.4f accumulated, against %.4f and %.4f", last.Level, last.Accumulated, notebookLast, notebookAccumulated)
	judgeLevels(out, a)
	return nil
}

var otherLevelsFigure = figure{
	id:    "8",
	title: "Figure 8: noise level after each step, other samplers",
	paper: "The paper analyses VP-SDE (Appendix A), SDE-DPM-Solver-1 and SDE-DPM-Solver++1: only the last preserves coefficients, as Flow-CPS does.",
	make:  makeOtherLevels,
}

func makeOtherLevels(ctx context.Context, s *study, out *section) error {
	line := schedule.Linear(notebookSteps)
	below := append(schedule.Flow{0.98}, line[1:]...) // SDE-DPM-Solver-1 is not finite at 1
	vp, err := schedule.NewVP(schedule.LinearBetas(1000, 1e-4, 0.02))
	if err != nil {
		return err
	}
	points, err := vp.Points(vp.Trailing(notebookSteps), schedule.Point{Signal: 1})
	if err != nil {
		return err
	}
	all, err := drawLevels(ctx, s, out, []noisy{
		{label: "ODE", rule: ode, points: line, ink: grey},
		{label: "SDE-DPM-Solver++1", rule: sampler.DPMSDEPlus{}, points: line, ink: purple},
		{label: "SDE-DPM-Solver-1, from 0.98", rule: sampler.DPMSDE{}, points: below, ink: pink},
		{label: "VP-SDE, on DDPM's path", rule: sampler.VPSDE{}, points: points, ink: brown, blind: true},
		{label: "Modified SDE 0.7, η√s", rule: sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(0.7)}, points: line, ink: orange, own: true},
		{label: "Flow-CPWS 0.7", rule: cpws(0.7), points: line, ink: green, own: true},
		{label: "Exact 0.7", rule: exact(0.7), points: line, ink: red, own: true},
		{label: "Ancestral 0.7", rule: ancestral(0.7), points: line, ink: teal, own: true},
		{label: "Flow-CPS 0.9", rule: cps(0.9), points: line, ink: blue},
	})
	if err != nil {
		return err
	}
	out.check(all[1].preserves() && all[8].preserves(), "SDE-DPM-Solver++1 and Flow-CPS preserve coefficients", "the greatest excess of a step is %.1g and %.1g", all[1].worst(), all[8].worst())
	out.check(!all[2].preserves() && !all[3].preserves(), "SDE-DPM-Solver-1 and VP-SDE do not", "the greatest excess of a step is %.2f and %.2f", all[2].worst(), all[3].worst())
	judgeLevels(out, all[:8]) // Flow-CPS is judged in Figure 2
	out.say("VP-SDE is on DDPM's own path, which the network was not trained on, so that its level is not measured. SDE-DPM-Solver-1 starts from pure noise that it takes for level 0.98; its first steps are beyond the picture.")
	return nil
}

// levels are those of one rule.
type levels struct {
	noisy
	audit sampler.Audit
	seen  []measured // after each step; nil if blind
}

// preserves reports whether every step leaves the noise of the schedule, to rounding.
func (v levels) preserves() bool { return v.worst() < 1e-12 }

// drawLevels audits rules, measures the latents that they make, and writes both.
func drawLevels(ctx context.Context, s *study, out *section, rules []noisy) ([]levels, error) {
	l, err := newLab(s.images)
	if err != nil {
		return nil, err
	}
	data := table{columns: []string{"rule", "step", "schedule", "analytic level", "measured level", "standard error"}}
	shown := table{columns: []string{"rule", "preserving", "analytic level at the end", "accumulated excess", "measured at the end"}}
	left := newPanel("analytic (Audit)", "step", "noise level")
	right := newPanel("excess over the schedule: lines analytic, points measured", "step", "level - schedule")
	var all []levels
	for k, r := range rules {
		a, err := sampler.New(sampler.Config{Scheduler: r.points, Rule: r.rule})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.label, err)
		}
		v := levels{noisy: r, audit: a.Audit()}
		if !r.blind {
			x, err := l.latents(ctx, r.points, r.rule)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.label, err)
			}
			for i, step := range v.audit {
				v.seen = append(v.seen, l.residual(x[i+1], step.To.Signal))
			}
		}
		all = append(all, v)
		if err := v.plot(left, right, k == 0); err != nil {
			return nil, err
		}
		for i, step := range v.audit {
			m, e := any(""), any("")
			if !r.blind {
				m, e = v.seen[i].value, v.seen[i].se
			}
			data.add(r.label, step.Step, step.Ideal, step.Level, m, e)
		}
		end, last := "", v.audit[len(v.audit)-1]
		if !r.blind {
			end = v.atEnd().text()
		}
		shown.add(r.label, v.preserves(), last.Level, math.Abs(last.Accumulated), end)
	}
	left.Legend.Left = true // below the line
	left.Legend.XOffs, left.Legend.YOffs = vg.Points(6), vg.Points(4)
	left.Y.Max, right.Y.Max = min(left.Y.Max, 1.3), min(right.Y.Max, 0.3)
	out.table = shown
	out.say("The analytic level holds where the model is exact. The measured one is that of the latents, on the pixels that hardly vary in the data: there the latent is signal times their mean, and the rest is noise; %d samples. "+
		"The two differ where a step begins with more noise than the network is told: what the network makes of the surplus is measured, and no part of the audit.", len(l.classes))
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{{left, right}}); err != nil {
		return nil, err
	}
	return all, out.saveData(data)
}

// plot draws the levels, and the schedule below those of the first rule.
func (v levels) plot(left, right *plot.Plot, first bool) error {
	level := plotter.XYs{{X: 0, Y: v.audit[0].From.Noise}}
	ideal := append(plotter.XYs{}, level...)
	excess := plotter.XYs{{X: 0, Y: 0}}
	var x []float64
	var y []sample
	for i, step := range v.audit {
		at := float64(i + 1)
		level = append(level, plotter.XY{X: at, Y: step.Level})
		ideal = append(ideal, plotter.XY{X: at, Y: step.Ideal})
		excess = append(excess, plotter.XY{X: at, Y: step.Excess})
		if !v.blind {
			x = append(x, at)
			y = append(y, sample{Mean: v.seen[i].value - step.Ideal, Std: v.seen[i].se, N: 1})
		}
	}
	if first {
		if err := addLine(left, "schedule", ideal, color.RGBA{190, 190, 190, 255}, true); err != nil {
			return err
		}
	}
	if err := addLine(left, v.label, level, v.ink, false); err != nil {
		return err
	}
	if err := addLine(right, "", excess, v.ink, false); err != nil {
		return err
	}
	if v.blind {
		return nil
	}
	return addPoints(right, "", x, y, v.ink, draw.CircleGlyph{})
}

// worst is the greatest excess of a step.
func (v levels) worst() float64 {
	var worst float64
	for _, s := range v.audit {
		worst = max(worst, math.Abs(s.Excess))
	}
	return worst
}

// atEnd is the level that is measured after the last step.
func (v levels) atEnd() measured { return v.seen[len(v.seen)-1] }

// judgeLevels judges what latents have at the end of a run: those of rules that preserve
// coefficients no more noise than the ODE's (noMore), which is the first of all, those of the
// others more. Whether the former have as much, neither more nor less, is asked besides.
func judgeLevels(out *section, all []levels) {
	ode := all[0].atEnd()
	for _, v := range all[1:] {
		if v.blind {
			continue
		}
		judge := out.judge
		if v.own {
			judge = out.ask
		}
		d := v.atEnd().less(ode)
		if v.preserves() {
			judge(v.atEnd().atMost(ode), fmt.Sprintf("after the last step latents of %s have no more noise than the ODE's, that is at most %g times as much", v.label, noMore), "%s", v.atEnd().over(ode))
			out.ask(is(d.reaches0()), fmt.Sprintf("after the last step latents of %s have as much noise as the ODE's, neither more nor less, within the error bar", v.label), "%s; %s", d.text(), d.side())
		} else {
			judge(d.positive(), fmt.Sprintf("after the last step latents of %s have more noise than the ODE's", v.label), "%s", d.text())
		}
	}
}
