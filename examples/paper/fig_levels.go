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

// A noisy is a rule on a schedule, whose noise level is drawn.
type noisy struct {
	label  string
	rule   sampler.Rule
	points schedule.Scheduler
	ink    color.RGBA
	blind  bool // not measured: the network was not trained on such a path
	own    bool // beyond what the paper shows in the figure
}

// The settings of the authors' notebook scripts/analysis/sde_noise_level.ipynb, and the
// numbers that it prints (IamCreateAI/FlowCPS, commit 1d980595).
const (
	notebookSteps       = 16
	notebookLast        = 0.0480
	notebookAccumulated = 0.5359
)

var levelsFigure = figure{
	id:    "2",
	title: "Figure 2: noise level after each step, Flow-SDE and Flow-CPS",
	draw:  drawLevels,
	write: writeLevels,
}

// levelRules are the rules of Figure 2, the ODE first.
func levelRules() []noisy {
	line := schedule.Linear(notebookSteps)
	return []noisy{
		{label: "ODE", rule: ode, points: line, ink: grey},
		{label: "Flow-CPS 0.7", rule: cps(0.7), points: line, ink: teal},
		{label: "Flow-CPS 0.9", rule: cps(0.9), points: line, ink: blue},
		{label: "Flow-SDE 0.7", rule: sde(0.7), points: line, ink: orange},
		{label: "Flow-SDE 0.9", rule: sde(0.9), points: line, ink: red},
		{label: "Dance-SDE 0.3", rule: dance(0.3), points: line, ink: green, own: true},
	}
}

func drawLevels(ctx context.Context, s *study, to files) error {
	return s.drawNoise(ctx, to, levelRules())
}

func writeLevels(r *results, out *section) error {
	all, err := r.writeNoise(out, levelRules())
	if err != nil {
		return err
	}
	last := all[3].audit[notebookSteps-1]
	same := math.Abs(last.Level-notebookLast) < 0.5e-4 && math.Abs(last.Accumulated-notebookAccumulated) < 0.5e-4
	out.check(same, "the notebook's levels", words{"Last": last.Level, "Accumulated": last.Accumulated, "NotebookLast": notebookLast, "NotebookAccumulated": notebookAccumulated})
	judgeLevels(out, all)
	return nil
}

var otherLevelsFigure = figure{
	id:    "8",
	title: "Figure 8: noise level after each step, other samplers",
	draw:  drawOtherLevels,
	write: writeOtherLevels,
}

// otherLevelRules are the rules of Figure 8, the ODE first.
func otherLevelRules() ([]noisy, error) {
	line := schedule.Linear(notebookSteps)
	below := append(schedule.Flow{0.98}, line[1:]...) // SDE-DPM-Solver-1 is not finite at 1
	vp, err := schedule.NewVP(schedule.LinearBetas(1000, 1e-4, 0.02))
	if err != nil {
		return nil, err
	}
	points, err := vp.Points(vp.Trailing(notebookSteps), schedule.Point{Signal: 1})
	return []noisy{
		{label: "ODE", rule: ode, points: line, ink: grey},
		{label: "SDE-DPM-Solver++1", rule: sampler.DPMSDEPlus{}, points: line, ink: purple},
		{label: "SDE-DPM-Solver-1, from 0.98", rule: sampler.DPMSDE{}, points: below, ink: pink},
		{label: "VP-SDE, on DDPM's path", rule: sampler.VPSDE{}, points: points, ink: brown, blind: true},
		{label: "Modified SDE 0.7, η√s", rule: sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(0.7)}, points: line, ink: orange, own: true},
		{label: "Flow-CPWS 0.7", rule: cpws(0.7), points: line, ink: green, own: true},
		{label: "Exact 0.7", rule: exact(0.7), points: line, ink: red, own: true},
		{label: "Ancestral 0.7", rule: ancestral(0.7), points: line, ink: teal, own: true},
		{label: "Flow-CPS 0.9", rule: cps(0.9), points: line, ink: blue},
	}, err
}

func drawOtherLevels(ctx context.Context, s *study, to files) error {
	rules, err := otherLevelRules()
	if err != nil {
		return err
	}
	return s.drawNoise(ctx, to, rules)
}

func writeOtherLevels(r *results, out *section) error {
	rules, err := otherLevelRules()
	if err != nil {
		return err
	}
	all, err := r.writeNoise(out, rules)
	if err != nil {
		return err
	}
	out.note("paths", nil)
	out.check(all[1].preserves() && all[8].preserves(), "preserve", words{"A": all[1].worst(), "B": all[8].worst()})
	out.check(!all[2].preserves() && !all[3].preserves(), "do not preserve", words{"A": all[2].worst(), "B": all[3].worst()})
	judgeLevels(out, all[:8]) // Flow-CPS is judged in Figure 2
	return nil
}

// levels are the noise levels of one rule.
type levels struct {
	noisy
	audit sampler.Audit
	seen  []measured // after each step; nil if blind
}

// preserves reports whether every step leaves the noise that the schedule says, to rounding.
func (v levels) preserves() bool { return v.worst() < 1e-12 }

// auditOf returns the levels of a rule by formula. The measured ones are still missing.
func auditOf(r noisy) (levels, error) {
	a, err := sampler.New(sampler.Config{Scheduler: r.points, Rule: r.rule})
	if err != nil {
		return levels{}, fmt.Errorf("%s: %w", r.label, err)
	}
	return levels{noisy: r, audit: a.Audit()}, nil
}

// drawNoise audits rules and measures their latents. It draws and saves both.
func (s *study) drawNoise(ctx context.Context, to files, rules []noisy) error {
	l, err := newLab(s.images)
	if err != nil {
		return err
	}
	data := table{columns: []string{"rule", "step", "schedule", "analytic level", "measured level", "standard error"}}
	left := newPanel("analytic (Audit)", "step", "noise level")
	right := newPanel("excess over the schedule: lines analytic, points measured", "step", "level - schedule")
	for k, r := range rules {
		v, err := auditOf(r)
		if err != nil {
			return err
		}
		if !r.blind {
			x, err := l.latents(ctx, r.points, r.rule)
			if err != nil {
				return fmt.Errorf("%s: %w", r.label, err)
			}
			for i, step := range v.audit {
				v.seen = append(v.seen, l.residual(x[i+1], step.To.Signal))
			}
		}
		if err := v.plot(left, right, k == 0); err != nil {
			return err
		}
		for i, step := range v.audit {
			m, e := any(""), any("")
			if !r.blind {
				m, e = v.seen[i].value, v.seen[i].se
			}
			data.add(r.label, step.Step, step.Ideal, step.Level, m, e)
		}
	}
	left.Legend.Left = true // below the line
	left.Legend.XOffs, left.Legend.YOffs = vg.Points(6), vg.Points(4)
	left.Y.Max, right.Y.Max = min(left.Y.Max, 1.3), min(right.Y.Max, 0.3)
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{{left, right}}); err != nil {
		return err
	}
	return to.saveData(data)
}

// writeNoise audits rules again and reads the measured levels from the figure's CSV file.
func (r *results) writeNoise(out *section, rules []noisy) ([]levels, error) {
	s, err := readSheet(r.out, out.fileName()+".csv")
	if err != nil {
		return nil, err
	}
	out.note("levels", words{"Samples": samplesOf(r.images)})
	out.Table = table{columns: []string{"rule", "preserving", "analytic level at the end", "accumulated excess", "measured at the end"}}
	var all []levels
	for _, rule := range rules {
		v, err := auditOf(rule)
		if err != nil {
			return nil, err
		}
		end, last := "", v.audit[len(v.audit)-1]
		if !rule.blind {
			for _, i := range s.find("rule", rule.label) {
				v.seen = append(v.seen, measured{s.number(i, "measured level"), s.number(i, "standard error")})
			}
			if s.err != nil {
				return nil, s.err
			}
			end = v.atEnd().String()
		}
		all = append(all, v)
		out.Table.add(rule.label, v.preserves(), last.Level, math.Abs(last.Accumulated), end)
	}
	return all, nil
}

// plot draws the levels. The first rule also draws the schedule.
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

// worst returns the greatest excess of a step.
func (v levels) worst() float64 {
	var worst float64
	for _, s := range v.audit {
		worst = max(worst, math.Abs(s.Excess))
	}
	return worst
}

// atEnd returns the level that is measured after the last step.
func (v levels) atEnd() measured { return v.seen[len(v.seen)-1] }

// judgeLevels compares the noise after the last step with that of the ODE, the first of all.
// A rule that preserves coefficients must have no more noise (noMore). Any other rule must
// have more. A further question is whether a preserving rule has neither more nor less.
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
			judge(v.atEnd().atMost(ode), "level: no more", words{"Rule": v.label, "NoMore": noMore, "Ratio": v.atEnd().over(ode)})
			out.ask(is(d.reaches0()), "level: as much", words{"Rule": v.label, "Difference": d, "Side": d.side()})
		} else {
			judge(d.positive(), "level: more", words{"Rule": v.label, "Difference": d})
		}
	}
}
