package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"cps/examples/internal/finetune"
	"cps/examples/internal/strips"
	"cps/sampler"
	"cps/schedule"
)

// residualRatio is what the residual noise of Flow-SDE must exceed, in units of the ODE's.
const residualRatio = 1.4

var samplesFigure = figure{
	id:    "1",
	title: "Figure 1: samples of Flow-SDE and Flow-CPS",
	paper: "The paper shows that samples of Flow-SDE carry pronounced noise and that Flow-CPS eliminates it.",
	make:  makeSamples,
}

func makeSamples(ctx context.Context, s *study, out *section) error {
	l, err := newLab(s.images)
	if err != nil {
		return err
	}
	// At the paper's eta, and Flow-SDE at Flow-GRPO's as well.
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
	var all []measured
	for _, r := range rules {
		x, err := l.latents(ctx, schedule.Linear(steps), r.rule)
		if err != nil {
			return err
		}
		m := l.residual(x[steps], 1)
		all = append(all, m)
		data.add(r.label, m.value, m.se, m.value/all[0].value, l.median(x[steps]), len(l.classes))
		rows = append(rows, strips.Strip{Label: r.label, Remark: fmt.Sprintf("residual noise %.4f", m.value), Images: l.show(x[steps], 2)})
	}
	out.table = data
	out.say("Residual noise is the root mean square of the deviations on the pixels that hardly vary in the data, over %d samples of %d steps from the same initial noise.", len(l.classes), steps)
	out.say("The root mean square is over all samples, and the few with a stroke on these pixels, as there are in the data, make much of it. The median over samples, the noise of a usual sample, leaves them out.")

	ode, preserved, noisy := all[0], all[1], all[2]
	out.judge(preserved.atMost(ode), fmt.Sprintf("Flow-CPS at η 0.9 leaves no more residual noise than the ODE, that is at most %g times as much", noMore),
		"Flow-CPS %s, ODE %s, that is %s", preserved.text(), ode.text(), preserved.over(ode))
	out.key()
	d := preserved.less(ode)
	out.ask(is(d.reaches0()), "Flow-CPS at η 0.9 leaves as much residual noise as the ODE, neither more nor less, within the error bar", "%s; %s", d.text(), d.side())
	out.key()
	out.judge(noisy.less(ode).positive(), "Flow-SDE at η 0.9 leaves more residual noise than the ODE", "%s, against %s", noisy.text(), ode.text())
	out.ask(noisy.less(ode.times(residualRatio)).positive(), fmt.Sprintf("Flow-SDE at η 0.9 leaves at least %.1f times the residual noise of the ODE", residualRatio),
		"%s, which is %s", noisy.text(), noisy.over(ode))
	out.key()

	err = finetune.WriteFile(filepath.Join(s.out, out.png()), func(w io.Writer) error {
		return strips.Encode(w, fmt.Sprintf("%d steps from the same initial noise", steps), "residual noise: on the pixels that hardly vary in the data, root mean square", rows)
	})
	if err != nil {
		return err
	}
	return out.saveData(data)
}

var risingFigure = figure{
	id:    "9",
	title: "Figure 9: samples as η rises; Flow-SDE, the modified SDE and Flow-CPS",
	paper: "The paper shows samples of Flow-SDE, of its modified SDE (Appendix C, Eq. 28) and of Flow-CPS as η rises: the noise is that of the SDE.",
	make:  makeRising,
}

func makeRising(ctx context.Context, s *study, out *section) error {
	l, err := newLab(s.images)
	if err != nil {
		return err
	}
	families := []struct {
		label string
		rule  func(eta float64) sampler.Rule
	}{
		{"Flow-SDE", sde},
		{"Modified SDE, η√s", func(eta float64) sampler.Rule { return sampler.ModifiedSDE{Diffusion: sampler.SquareRoot(eta)} }},
		{"Modified SDE, ηs", func(eta float64) sampler.Rule { return sampler.ModifiedSDE{Diffusion: sampler.Proportional(eta)} }},
		{"Flow-CPS", cps},
	}
	etas := []float64{0.3, 0.5, 0.7, 0.9}
	data := table{columns: []string{"rule", "eta", "residual", "standard error"}}
	shown := table{columns: []string{"rule"}}
	for _, eta := range etas {
		shown.columns = append(shown.columns, fmt.Sprintf("η %.1f", eta))
	}
	var rows []strips.Strip
	noise := make([][]measured, len(families))
	for i, f := range families {
		line := []any{f.label}
		for _, eta := range etas {
			x, err := l.latents(ctx, schedule.Linear(steps), f.rule(eta))
			if err != nil {
				return err
			}
			m := l.residual(x[steps], 1)
			noise[i] = append(noise[i], m)
			data.add(f.label, eta, m.value, m.se)
			line = append(line, m.text())
			rows = append(rows, strips.Strip{Label: fmt.Sprintf("%s, %.1f", f.label, eta), Remark: fmt.Sprintf("residual noise %.4f", m.value), Images: l.show(x[steps], 1)})
		}
		shown.add(line...)
	}
	out.table = shown
	out.say("We read Eq. 28, the modified coefficient, in two ways, η√s and ηs; both are shown.")

	var rises []outcome
	for k := range etas[1:] {
		rises = append(rises, noise[0][k+1].less(noise[0][k]).positive())
	}
	out.judge(allOf(rises...), "the noise of Flow-SDE rises with η, from each to the next", "%s", strings.Join(each(noise[0], measured.text), ", "))
	last := each(noise, func(m []measured) measured { return m[len(m)-1] })
	sde, root, level, cps := last[0], last[1], last[2], last[3]
	out.ask(sde.less(root).positive(), "at η 0.9 the modified SDE with η√s leaves less than Flow-SDE", "%s against %s", root.text(), sde.text())
	out.ask(root.less(cps).positive(), "at η 0.9 the modified SDE with η√s leaves more than Flow-CPS", "%s against %s", root.text(), cps.text())
	out.ask(level.less(cps).positive(), "at η 0.9 the modified SDE with ηs leaves more than Flow-CPS", "%s against %s", level.text(), cps.text())

	err = finetune.WriteFile(filepath.Join(s.out, out.png()), func(w io.Writer) error {
		return strips.Encode(w, fmt.Sprintf("η rises, %d steps from the same initial noise", steps), "residual noise: on the pixels that hardly vary in the data, root mean square", rows)
	})
	if err != nil {
		return err
	}
	return out.saveData(data)
}
