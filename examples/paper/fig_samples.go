package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"cps/examples/internal/finetune"
	"cps/examples/internal/strips"
	"cps/sampler"
	"cps/schedule"
)

// residualRatio is the least residual noise of Flow-SDE, in units of the ODE's, with which
// this study counts it as much more.
const residualRatio = 1.4

var samplesFigure = figure{
	id:    "1",
	title: "Figure 1: samples of Flow-SDE and Flow-CPS",
	draw:  drawSamples,
	write: writeSamples,
}

func drawSamples(ctx context.Context, s *study, to files) error {
	l, err := newLab(s.images)
	if err != nil {
		return err
	}
	// All at the paper's eta. Flow-SDE also at that of Flow-GRPO.
	rules := []struct {
		label string
		rule  sampler.Rule
	}{
		{"ODE", ode},
		{"Flow-CPS 0.9", cps(0.9)},
		{"Flow-SDE 0.9", sde(0.9)},
		{"Flow-SDE 0.7", sde(etaSDE)},
	}
	data := table{columns: []string{"rule", "residual", "standard error", "ratio to the ODE", "median", "samples"}}
	var rows []strips.Strip
	var ofODE float64
	for _, r := range rules {
		x, err := l.latents(ctx, schedule.Linear(steps), r.rule)
		if err != nil {
			return err
		}
		m := l.residual(x[steps], 1)
		if r.label == "ODE" {
			ofODE = m.value
		}
		data.add(r.label, m.value, m.se, m.value/ofODE, l.median(x[steps]), len(l.classes))
		rows = append(rows, strips.Strip{Label: r.label, Remark: fmt.Sprintf("residual noise %.4f", m.value), Images: l.show(x[steps], 2)})
	}
	err = finetune.WriteFile(filepath.Join(to.dir, to.png()), func(w io.Writer) error {
		return strips.Encode(w, fmt.Sprintf("%d steps from the same initial noise", steps), "residual noise: on the pixels that hardly vary in the data, root mean square", rows)
	})
	if err != nil {
		return err
	}
	return to.saveData(data)
}

func writeSamples(r *results, out *section) error {
	s, err := readSheet(r.out, out.fileName()+".csv")
	if err != nil {
		return err
	}
	out.Table = table{columns: s.columns}
	noise := map[string]measured{}
	for i := range s.rows {
		m := measured{s.number(i, "residual"), s.number(i, "standard error")}
		noise[s.text(i, "rule")] = m
		out.Table.add(s.text(i, "rule"), m.value, m.se, s.number(i, "ratio to the ODE"), s.number(i, "median"), s.whole(i, "samples"))
	}
	for _, rule := range []string{"ODE", "Flow-CPS 0.9", "Flow-SDE 0.9"} {
		s.find("rule", rule)
	}
	if s.err != nil {
		return s.err
	}
	out.note("residual", words{"Samples": samplesOf(r.images), "Steps": steps})
	out.note("median", nil)

	ode, preserved, noisy := noise["ODE"], noise["Flow-CPS 0.9"], noise["Flow-SDE 0.9"]
	out.judge(preserved.atMost(ode), "no more noise", words{"NoMore": noMore, "CPS": preserved, "ODE": ode, "Ratio": preserved.over(ode)})
	out.key("finding: no more noise", nil)
	d := preserved.less(ode)
	out.ask(is(d.reaches0()), "as much noise", words{"Difference": d, "Side": d.side()})
	out.judge(noisy.less(ode).positive(), "more noise", words{"SDE": noisy, "ODE": ode})
	out.ask(noisy.less(ode.times(residualRatio)).positive(), "much more noise", words{"Least": residualRatio, "SDE": noisy, "Ratio": noisy.over(ode)})
	out.key("finding: much more noise", words{"Least": residualRatio})
	return nil
}

var risingFigure = figure{
	id:    "9",
	title: "Figure 9: samples as η rises; Flow-SDE, the modified SDE and Flow-CPS",
	draw:  drawRising,
	write: writeRising,
}

// risingFamilies are the rules whose noise is measured as η rises.
var risingFamilies = []struct {
	label string
	rule  func(eta float64) sampler.Rule
}{
	{"Flow-SDE", sde},
	{"Modified SDE, η√s", func(eta float64) sampler.Rule { return sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(eta)} }},
	{"Modified SDE, ηs", func(eta float64) sampler.Rule { return sampler.ModifiedSDE{Diffusion: sampler.Proportional(eta)} }},
	{"Flow-CPS", cps},
}

var risingEtas = []float64{0.3, 0.5, 0.7, 0.9}

func drawRising(ctx context.Context, s *study, to files) error {
	l, err := newLab(s.images)
	if err != nil {
		return err
	}
	data := table{columns: []string{"rule", "eta", "residual", "standard error"}}
	var rows []strips.Strip
	for _, f := range risingFamilies {
		for _, eta := range risingEtas {
			x, err := l.latents(ctx, schedule.Linear(steps), f.rule(eta))
			if err != nil {
				return err
			}
			m := l.residual(x[steps], 1)
			data.add(f.label, eta, m.value, m.se)
			rows = append(rows, strips.Strip{Label: fmt.Sprintf("%s, %.1f", f.label, eta), Remark: fmt.Sprintf("residual noise %.4f", m.value), Images: l.show(x[steps], 1)})
		}
	}
	err = finetune.WriteFile(filepath.Join(to.dir, to.png()), func(w io.Writer) error {
		return strips.Encode(w, fmt.Sprintf("η rises, %d steps from the same initial noise", steps), "residual noise: on the pixels that hardly vary in the data, root mean square", rows)
	})
	if err != nil {
		return err
	}
	return to.saveData(data)
}

func writeRising(r *results, out *section) error {
	s, err := readSheet(r.out, out.fileName()+".csv")
	if err != nil {
		return err
	}
	out.Table = table{columns: []string{"rule"}}
	for _, eta := range risingEtas {
		out.Table.columns = append(out.Table.columns, fmt.Sprintf("η %.1f", eta))
	}
	noise := make([][]measured, len(risingFamilies))
	for i, f := range risingFamilies {
		line := []any{f.label}
		for _, eta := range risingEtas {
			rows := s.find("rule", f.label, "eta", fmt.Sprint(eta))
			if s.err != nil {
				return s.err
			}
			m := measured{s.number(rows[0], "residual"), s.number(rows[0], "standard error")}
			noise[i] = append(noise[i], m)
			line = append(line, m.String())
		}
		out.Table.add(line...)
	}
	if s.err != nil {
		return s.err
	}
	out.note("notes", nil)

	var rises []outcome
	for k := range risingEtas[1:] {
		rises = append(rises, noise[0][k+1].less(noise[0][k]).positive())
	}
	out.judge(allOf(rises...), "rises", words{"Levels": each(noise[0], measured.String)})
	last := each(noise, func(m []measured) measured { return m[len(m)-1] })
	sde, root, level, cps := last[0], last[1], last[2], last[3]
	out.ask(sde.less(root).positive(), "root below SDE", words{"A": root, "B": sde})
	out.ask(root.less(cps).positive(), "root above CPS", words{"A": root, "B": cps})
	out.ask(level.less(cps).positive(), "level above CPS", words{"A": level, "B": cps})
	return nil
}
