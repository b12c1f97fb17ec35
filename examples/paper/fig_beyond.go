package main

import (
	"context"
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
)

var beyondRewards = []string{"glyph", "taste"}

const beyond = "Beyond the paper."

var explorationFigure = figure{
	id:    "exploration",
	title: "Rules at equal mean equivalent η",
	paper: beyond + " Are the differences those of the rules, or of how much they explore? Every rule has the η at which the mean of its equivalent η over the trained steps, each capped at 1, is that of Flow-CPS at 0.5. This is one measure of exploration; the table shows another, the sum of the variances Eps² injected at trained steps, which differs.",
	wants: func() ([]want, error) {
		arms, err := equals()
		return wants(beyondRewards, arms...), err
	},
	make: makeExploration,
}

func makeExploration(_ context.Context, s *study, out *section) error {
	arms, err := equals()
	if err != nil {
		return err
	}
	data := curveTable()
	data.columns = append(data.columns, "sum of Eps²")
	out.table = armTable()
	out.table.columns = append(out.table.columns, "Σ Eps²")
	var panels []*plot.Plot
	for _, reward := range beyondRewards {
		p := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
		for _, a := range arms {
			c := s.byODE(s.found(a, reward))
			if err := addCurve(p, a.label, c, a.ink, a.window != nil); err != nil {
				return err
			}
			sum, err := a.injects(s.iterations)
			if err != nil {
				return err
			}
			addCurveRows(&data, a, reward, "ODE", c, sum)
			out.table.add(append(s.armRow(a, reward), sum)...)
		}
		legendAbove(p, len(arms))
		panels = append(panels, p)
		for _, a := range arms[1:] {
			d := s.differ(arms[0], a, reward, s.area)
			claim := fmt.Sprintf("%s: %s is higher than %s on the average of the run, at equal mean equivalent η", reward, arms[0].label, a.label)
			if a.window != nil {
				claim = fmt.Sprintf("%s: %s, with noise in all %d trained steps, is higher on the average of the run than with a MixGRPO window of %d, which explores less in all", reward, arms[0].label, steps-1, mixSize)
			}
			out.ask(d.positive(), claim, "%s", d.text())
			if a.name == arms[1].name {
				out.key() // the rules of the paper
			}
		}
	}
	out.say("The MixGRPO window moves by one after every %d iterations. Of the %d steps %d are stochastic and trained, with the same η at each, in two updates an iteration where the other arms have three: it explores less in all, and costs less.", mixInterval, steps-1, mixSize)
	out.say("Rules that preserve coefficients and inject the same noise at every step are the same rule, as long as they do not turn the predicted noise around: those here differ in where along the run they explore. Flow-SDE leaves noise besides.")
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(data)
}

// beyondArms are compared in diversity and in the gap between training and evaluation.
func beyondArms() []arm { return []arm{flowCPS, flowSDE, danceSDE, dpmPlus} }

var diversityFigure = figure{
	id:    "diversity",
	title: "Diversity beside reward",
	paper: beyond + " Diversity is the mean distance of a sample to the nearest other one of its digit; noise raises it too, so it is that of the ODE's samples.",
	wants: func() ([]want, error) { return wants(beyondRewards, beyondArms()...), nil },
	make:  makeDiversity,
}

func makeDiversity(_ context.Context, s *study, out *section) error {
	data := table{columns: []string{"arm", "reward", "iteration", "reward by the ODE", "diversity", "diversity std", "seeds"}}
	out.table = table{columns: []string{"reward", "arm", "diversity before", "diversity after", "accuracy after"}}
	var panels []*plot.Plot
	for _, reward := range beyondRewards {
		p := newPanel(fmt.Sprintf("trained with %q", reward), "reward by the ODE", "diversity")
		for _, a := range beyondArms() {
			f := s.found(a, reward)
			c, d := s.byODE(f), s.diversities(f)
			var x []float64
			var y []sample
			for i := range c.x {
				if d[i].Mean < 1.5*d[0].Mean {
					x, y = append(x, c.y[i].Mean), append(y, d[i])
				}
				data.add(a.label, reward, int(c.x[i]), c.y[i].Mean, d[i].Mean, d[i].Std, d[i].N)
			}
			if err := addPoints(p, a.label, x, y, a.ink, draw.CircleGlyph{}); err != nil {
				return err
			}
			out.table.add(reward, a.label, d[0], d[len(d)-1], values(f, accuracy))
		}
		legendBelow(p, 4)
		panels = append(panels, p)
		for _, a := range beyondArms() {
			f := s.found(a, reward)
			before := each(f, diversityBefore)
			loss := paired(before, each(f, diversity))
			out.ask(loss.positive(), fmt.Sprintf("%s: training with %s costs diversity", reward, a.label), "%s of %.3f", difference{-loss.Value, loss.Half}.text(), sampleOf(before).Mean)
		}
	}
	out.say("Pixels of a run that collapsed leave their range; means with more than one and a half times the diversity at the start are left out of the picture.")
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(data)
}

// diversities are those of the ODE's samples at all evaluations.
func (s *study) diversities(findings []*finding) []sample {
	var d []sample
	for _, x := range s.evaluations() {
		d = append(d, values(findings, func(f *finding) float64 { return diversityAt(f, int(x)) }))
	}
	return d
}

func diversityBefore(f *finding) float64 { return diversityAt(f, 0) }

func diversityAt(f *finding, iteration int) float64 {
	if iteration < len(f.History) {
		return f.History[iteration].Eval.Diversity
	}
	return f.Final.Diversity
}

var gapFigure = figure{
	id:    "gap",
	title: "The gap between training and evaluation",
	paper: "The paper argues that noise in the samples of an SDE misleads the reward. Training sees the samples of its rule, users those of the ODE. The gap is the reward of the rule's samples less that of the ODE's, of the same trained network.",
	wants: func() ([]want, error) { return wants(beyondRewards, beyondArms()...), nil },
	make:  makeGap,
}

func makeGap(_ context.Context, s *study, out *section) error {
	out.table = table{columns: []string{"reward", "arm", "by the rule", "by the ODE", "gap"}}
	var panels []*plot.Plot
	for _, reward := range beyondRewards {
		gap := func(f *finding) float64 { return underRule(f) - f.Final.Reward }
		var bars []bar
		for _, a := range beyondArms() {
			f := s.found(a, reward)
			bars = append(bars, bar{a.label, values(f, gap), a.ink})
			out.table.add(reward, a.label, values(f, underRule), values(f, final), values(f, gap))
		}
		p, err := barPanel(fmt.Sprintf("reward %q by the rule less that by the ODE", reward), "gap", bars)
		if err != nil {
			return err
		}
		panels = append(panels, p)
		for _, a := range []arm{flowSDE, danceSDE} {
			d := s.differ(flowCPS, a, reward, gap)
			out.judge(d.positive(), fmt.Sprintf("%s: samples of %s score lower, compared with the ODE's, than those of Flow-CPS", reward, a.label), "%s", d.text())
		}
	}
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(out.table.spread())
}

var hackingFigure = figure{
	id:    "hacking",
	title: "Reward hacking, with and without KL",
	paper: beyond + " The reward that is trained rises on, while what it stands for may fall: here the accuracy of an independent classifier, the probability that it gives the digit (the reward *class*), and the distance to the nearest real image.",
	wants: func() ([]want, error) { return wants(hackingRewards, othersArms()...), nil },
	make:  makeHacking,
}

var hackingRewards = []string{"taste"}

func makeHacking(ctx context.Context, s *study, out *section) error {
	data := table{columns: []string{"arm", "reward", "iteration", "reward by the ODE", "accuracy", "accuracy std", "diversity", "seeds", "class", "distance to the data"}}
	out.table = table{columns: []string{"reward", "arm", "ODE, end", "accuracy", "class", "holes", "distance to the data"}}
	var panels []*plot.Plot
	for _, reward := range hackingRewards {
		left := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
		right := newPanel("accuracy of an independent classifier", "iteration", "accuracy")
		start, err := s.bench.untrained(ctx, training{flowCPS, reward, s.rates[0], 1})
		if err != nil {
			return err
		}
		row := func(label string, f []*finding) []any {
			return []any{reward, label, values(f, final), values(f, accuracy), values(f, other("class")), values(f, other("holes")), values(f, novelty)}
		}
		out.table.add(row("before", []*finding{start})...)
		for _, a := range othersArms() {
			f := s.found(a, reward)
			c, d := s.byODE(f), s.diversities(f)
			acc := curve{x: c.x}
			for i, x := range c.x {
				acc.y = append(acc.y, values(f, func(f *finding) float64 {
					if i := int(x); i < len(f.History) {
						return f.History[i].Eval.Accuracy
					}
					return f.Final.Accuracy
				}))
				class, away := any(""), any("") // known before and after
				switch i {
				case 0:
					class, away = other("class")(start), novelty(start)
				case len(c.x) - 1:
					class, away = values(f, other("class")).Mean, values(f, novelty).Mean
				}
				data.add(a.label, reward, int(x), c.y[i].Mean, acc.y[i].Mean, acc.y[i].Std, d[i].Mean, d[i].N, class, away)
			}
			if err := addCurve(left, a.label, c, a.ink, a.beta > 0); err != nil {
				return err
			}
			if err := addCurve(right, a.label, acc, a.ink, a.beta > 0); err != nil {
				return err
			}
			out.table.add(row(a.label, f)...)
		}
		legendAbove(left, 4)
		legendBelow(right, 4)
		panels = append(panels, left, right)
		for _, a := range []arm{flowCPS, flowSDE} {
			f := s.found(a, reward)
			since := func(value func(*finding) float64) difference {
				return paired(each(f, value), each(f, func(*finding) float64 { return value(start) }))
			}
			d := since(novelty)
			out.ask(d.positive(), fmt.Sprintf("%s: training without KL takes samples away from the data (%s)", reward, a.label), "%s", d.text())
			for _, name := range []string{"class", "holes"} {
				d = since(other(name))
				out.ask(d.notPositive(), fmt.Sprintf("%s: training without KL costs the reward %q (%s)", reward, name, a.label), "it changes by %s", d.text())
			}
			d = s.differ(a, a.penalised(), reward, novelty)
			out.ask(d.positive(), fmt.Sprintf("%s: with KL samples stay nearer to the data (%s)", reward, a.label), "%s nearer", d.text())
			d = s.differ(a, a.penalised(), reward, final)
			out.ask(d.positive(), fmt.Sprintf("%s: KL costs reward (%s)", reward, a.label), "%s", d.text())
		}
	}
	out.say("The penalty is %g times the mean square distance of the velocities from those at the start.", beta)
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(data)
}
