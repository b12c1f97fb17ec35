package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"cps/internal/finetune"
	"cps/internal/strips"
	"cps/sampler"
	"cps/schedule"
)

// What is asked of residual noise, in units of the ODE's: noMore is what still counts as
// no more than that, residualRatio what Flow-SDE's must exceed.
const (
	noMore        = 1.25
	residualRatio = 1.4
)

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
	var rms, se []float64
	for _, r := range rules {
		x, err := l.latents(ctx, schedule.Linear(steps), r.rule)
		if err != nil {
			return err
		}
		m, e := l.residual(x[steps], 1)
		rms, se = append(rms, m), append(se, e)
		data.add(r.label, m, e, m/rms[0], l.median(x[steps]), len(l.classes))
		rows = append(rows, strips.Strip{Label: r.label, Remark: fmt.Sprintf("residual noise %.4f", m), Images: l.show(x[steps], 2)})
	}
	out.table = data
	out.say("Residual noise is the root mean square of the deviations on the pixels that hardly vary in the data, over %d samples of %d steps from the same initial noise.", len(l.classes), steps)
	out.say("The root mean square is over all samples, and the few with a stroke on these pixels, as there are in the data, make much of it. The median over samples, the noise of a usual sample, leaves them out.")

	excess := func(a int, factor float64) difference {
		return difference{rms[a] - factor*rms[0], 2 * math.Hypot(se[a], factor*se[0])}
	}
	out.judge(excess(1, noMore).notPositive(), fmt.Sprintf("Flow-CPS at η 0.9 leaves at most %g times the residual noise of the ODE", noMore),
		"Flow-CPS %.4f ± %.4f, ODE %.4f ± %.4f", rms[1], se[1], rms[0], se[0])
	out.key()
	d := excess(1, 1)
	out.ask(is(d.reaches0()), "Flow-CPS at η 0.9 leaves as much residual noise as the ODE, neither more nor less, within the error bar",
		"the difference is %+.4f, twice its standard error %.4f; %s", d.Value, d.Half, d.side())
	out.key()
	out.judge(excess(2, 1).positive(), "Flow-SDE at η 0.9 leaves more residual noise than the ODE", "%.4f ± %.4f", rms[2], se[2])
	ratio := rms[2] / rms[0]
	out.ask(excess(2, residualRatio).positive(), fmt.Sprintf("Flow-SDE at η 0.9 leaves at least %.1f times the residual noise of the ODE", residualRatio),
		"%.4f ± %.4f, which is %.1f ± %.1f times the ODE's", rms[2], se[2], ratio, 2*ratio*math.Hypot(se[2]/rms[2], se[0]/rms[0]))
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
		{"Modified SDE, η√s", func(eta float64) sampler.Rule { return sampler.ModifiedSDE{Diffusion: sampler.RootLevel(eta)} }},
		{"Modified SDE, ηs", func(eta float64) sampler.Rule { return sampler.ModifiedSDE{Diffusion: sampler.Level(eta)} }},
		{"Flow-CPS", cps},
	}
	etas := []float64{0.3, 0.5, 0.7, 0.9}
	data := table{columns: []string{"rule", "eta", "residual", "standard error"}}
	shown := table{columns: []string{"rule"}}
	for _, eta := range etas {
		shown.columns = append(shown.columns, fmt.Sprintf("η %.1f", eta))
	}
	var rows []strips.Strip
	var rms, se []float64 // of Flow-SDE, by eta
	var last, lastError []float64
	var rises []outcome // of Flow-SDE, from eta to eta
	for i, f := range families {
		line := []any{f.label}
		for k, eta := range etas {
			x, err := l.latents(ctx, schedule.Linear(steps), f.rule(eta))
			if err != nil {
				return err
			}
			m, e := l.residual(x[steps], 1)
			if i == 0 {
				if k > 0 {
					rises = append(rises, difference{m - rms[k-1], 2 * math.Hypot(e, se[k-1])}.positive())
				}
				rms, se = append(rms, m), append(se, e)
			}
			data.add(f.label, eta, m, e)
			line = append(line, fmt.Sprintf("%.4f ± %.4f", m, e))
			rows = append(rows, strips.Strip{Label: fmt.Sprintf("%s, %.1f", f.label, eta), Remark: fmt.Sprintf("residual noise %.4f", m), Images: l.show(x[steps], 1)})
			if eta == etas[len(etas)-1] {
				last, lastError = append(last, m), append(lastError, e)
			}
		}
		shown.add(line...)
	}
	out.table = shown
	out.say("We read Eq. 28, the modified coefficient, in two ways, η√s and ηs; both are shown.")

	out.judge(allOf(rises...), "the noise of Flow-SDE rises with η", "%.4f", rms)
	gap := func(a, b int) difference {
		return difference{last[a] - last[b], 2 * math.Hypot(lastError[a], lastError[b])}
	}
	out.ask(gap(0, 1).positive(), "at η 0.9 the modified SDE leaves less than Flow-SDE", "%.4f and %.4f, against %.4f", last[1], last[2], last[0])
	out.ask(gap(1, 3).positive(), "at η 0.9 the modified SDE with η√s leaves more than Flow-CPS", "%.4f against %.4f", last[1], last[3])
	out.ask(gap(2, 3).positive(), "at η 0.9 the modified SDE with ηs leaves more than Flow-CPS", "%.4f against %.4f", last[2], last[3])

	err = finetune.WriteFile(filepath.Join(s.out, out.png()), func(w io.Writer) error {
		return strips.Encode(w, fmt.Sprintf("η rises, %d steps from the same initial noise", steps), "residual noise: on the pixels that hardly vary in the data, root mean square", rows)
	})
	if err != nil {
		return err
	}
	return out.saveData(data)
}
