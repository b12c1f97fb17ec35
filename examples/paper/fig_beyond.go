package main

import (
	"context"
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
)

var beyondRewards = []string{"glyph", "taste"}

var explorationFigure = figure{
	id:    "exploration",
	title: "Rules at equal mean equivalent η",
	wants: func() ([]want, error) {
		arms, err := equals()
		return wants(beyondRewards, arms...), err
	},
	draw:  drawExploration,
	write: writeExploration,
}

func drawExploration(_ context.Context, s *study, to files) error {
	arms, err := equals()
	if err != nil {
		return err
	}
	data := curveTable()
	data.columns = append(data.columns, "sum of Eps²")
	var panels []*plot.Plot
	for _, reward := range beyondRewards {
		p := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
		for _, a := range arms {
			c := s.byODE(s.findingsOf(a, reward))
			if err := addCurve(p, a.label, c, a.ink, a.window != nil); err != nil {
				return err
			}
			sum, err := a.injects(s.iterations)
			if err != nil {
				return err
			}
			addCurveRows(&data, a, reward, "ODE", c, sum)
		}
		legendAbove(p, len(arms))
		panels = append(panels, p)
	}
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return to.saveData(data)
}

func writeExploration(r *results, out *section) error {
	arms, err := equals()
	if err != nil {
		return err
	}
	out.note("window", words{"Interval": mixInterval, "Steps": steps - 1, "Size": mixSize})
	out.note("same rule", nil)
	out.Table = r.armTable(nil, nil)
	out.Table.columns = append(out.Table.columns, "Σ Eps²")
	for _, reward := range beyondRewards {
		for _, a := range arms {
			sum, err := a.injects(r.iterations)
			if err != nil {
				return err
			}
			out.Table.add(append(r.armRow(a, reward), sum)...)
		}
		for _, a := range arms[1:] {
			d := r.differ(arms[0], a, reward, average)
			claim := "higher at equal η"
			if a.window != nil {
				claim = "higher than with a window"
			}
			out.ask(d.positive(), claim, words{"Reward": reward, "A": arms[0].label, "B": a.label, "Steps": steps - 1, "Size": mixSize, "Difference": d})
			if a.name == arms[1].name { // the rules of the paper
				out.key("finding: equal η", words{"A": arms[0].label, "B": a.label})
			}
		}
	}
	return nil
}

// beyondArms are the arms whose diversity and whose gap between training and evaluation are
// compared.
func beyondArms() []arm { return []arm{flowCPS, flowSDE, danceSDE, dpmPlus} }

var diversityFigure = figure{
	id:    "diversity",
	title: "Diversity beside reward",
	wants: func() ([]want, error) { return wants(beyondRewards, beyondArms()...), nil },
	draw:  drawDiversity,
	write: writeDiversity,
}

func drawDiversity(_ context.Context, s *study, to files) error {
	data := table{columns: []string{"arm", "reward", "iteration", "reward by the ODE", "diversity", "diversity std", "seeds"}}
	var panels []*plot.Plot
	for _, reward := range beyondRewards {
		p := newPanel(fmt.Sprintf("trained with %q", reward), "reward by the ODE", "diversity")
		for _, a := range beyondArms() {
			f := s.findingsOf(a, reward)
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
		}
		legendBelow(p, 4)
		panels = append(panels, p)
	}
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return to.saveData(data)
}

func writeDiversity(r *results, out *section) error {
	out.note("notes", nil)
	out.Table = table{columns: []string{"reward", "arm", "diversity before", "diversity after", "accuracy after"}}
	for _, reward := range beyondRewards {
		for _, a := range beyondArms() {
			f := r.found(a, reward)
			out.Table.add(reward, a.label, values(f, diversityBefore), values(f, diversity), values(f, accuracy))
			loss := paired(each(f, diversityBefore), each(f, diversity))
			out.ask(loss.positive(), "costs diversity", words{"Reward": reward, "Arm": a.label,
				"Change": difference{-loss.Value, loss.Half}, "Before": values(f, diversityBefore).Mean})
		}
	}
	return nil
}

// diversities returns the diversity of the ODE's samples at all evaluations.
func (s *study) diversities(findings []*finding) []sample {
	var d []sample
	for _, x := range s.evaluations() {
		d = append(d, sampleOf(each(findings, func(f *finding) float64 { return diversityAt(f, int(x)) })))
	}
	return d
}

// diversityAt returns the diversity after a number of iterations. A run that diverged
// earlier has that of its last evaluation.
func diversityAt(f *finding, iteration int) float64 {
	if iteration < len(f.History) {
		return f.History[iteration].Eval.Diversity
	}
	return f.Final.Diversity
}

var gapFigure = figure{
	id:    "gap",
	title: "The gap between training and evaluation",
	wants: func() ([]want, error) { return wants(beyondRewards, beyondArms()...), nil },
	draw:  drawGap,
	write: writeGap,
}

func drawGap(_ context.Context, s *study, to files) error {
	var panels []*plot.Plot
	for _, reward := range beyondRewards {
		var bars []bar
		for _, a := range beyondArms() {
			bars = append(bars, bar{a.label, values(s.found(a, reward), rulesGap), a.ink})
		}
		p, err := barPanel(fmt.Sprintf("reward %q by the rule less that by the ODE", reward), "gap", bars)
		if err != nil {
			return err
		}
		panels = append(panels, p)
	}
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return to.saveData(s.gapTable().spread())
}

func (s *scores) gapTable() table {
	t := table{columns: []string{"reward", "arm", "by the rule", "by the ODE", "gap"}}
	for _, reward := range beyondRewards {
		for _, a := range beyondArms() {
			f := s.found(a, reward)
			t.add(reward, a.label, values(f, finalByRule), values(f, final), values(f, rulesGap))
		}
	}
	return t
}

func writeGap(r *results, out *section) error {
	out.Table = r.gapTable()
	gapOf := func(a arm, reward string) sample { return values(r.found(a, reward), rulesGap) }
	for _, reward := range beyondRewards {
		first := gapOf(flowCPS, reward)
		for _, a := range []arm{flowSDE, danceSDE} {
			d := r.differ(flowCPS, a, reward, rulesGap)
			out.judge(d.positive(), "score lower", words{"Reward": reward, "Arm": a.label, "Difference": d,
				"First": first, "Second": gapOf(a, reward), "Mostly": d.Value > 0 && first.Mean > d.Value/2})
		}
	}
	return nil
}

var hackingFigure = figure{
	id:    "hacking",
	title: "Reward hacking, with and without KL",
	wants: func() ([]want, error) { return wants(hackingRewards, othersArms()...), nil },
	draw:  drawHacking,
	write: writeHacking,
}

var hackingRewards = []string{"taste"}

func drawHacking(ctx context.Context, s *study, to files) error {
	data := table{columns: []string{"arm", "reward", "iteration", "reward by the ODE", "accuracy", "accuracy std", "diversity", "seeds", "class", "holes", "distance to the data"}}
	var panels []*plot.Plot
	for _, reward := range hackingRewards {
		left := newPanel(fmt.Sprintf("reward %q by the ODE", reward), "iteration", "reward")
		right := newPanel("accuracy of an independent classifier", "iteration", "accuracy")
		start, err := s.before(ctx, reward)
		if err != nil {
			return err
		}
		for _, a := range othersArms() {
			f, ends := s.findingsOf(a, reward), s.found(a, reward)
			c, d := s.byODE(f), s.diversities(f)
			acc := curve{x: c.x}
			for i, x := range c.x {
				acc.y = append(acc.y, sampleOf(each(f, func(f *finding) float64 {
					if i := int(x); i < len(f.History) {
						return f.History[i].Eval.Accuracy
					}
					return f.Final.Accuracy
				})))
				class, holes, away := any(""), any(""), any("") // known before and after
				switch i {
				case 0:
					class, holes, away = start.others["class"], start.others["holes"], start.novelty
				case len(c.x) - 1:
					class, holes, away = values(ends, rewarded("class")).Mean, values(ends, rewarded("holes")).Mean, values(ends, distance).Mean
				}
				data.add(a.label, reward, int(x), c.y[i].Mean, acc.y[i].Mean, acc.y[i].Std, d[i].Mean, d[i].N, class, holes, away)
			}
			if err := addCurve(left, a.label, c, a.ink, a.beta > 0); err != nil {
				return err
			}
			if err := addCurve(right, a.label, acc, a.ink, a.beta > 0); err != nil {
				return err
			}
		}
		legendAbove(left, 4)
		legendBelow(right, 4)
		panels = append(panels, left, right)
	}
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return to.saveData(data)
}

// beforeHacking reads what is known of the network before training from hacking.csv.
func (r *results) beforeHacking(reward string) (*record, error) {
	s, err := readSheet(r.out, "hacking.csv")
	if err != nil {
		return nil, err
	}
	i := s.find("reward", reward, "iteration", "0")
	if s.err != nil {
		return nil, s.err
	}
	return &record{
		final: s.number(i[0], "reward by the ODE"), accuracy: s.number(i[0], "accuracy"), novelty: s.number(i[0], "distance to the data"),
		others: map[string]float64{"class": s.number(i[0], "class"), "holes": s.number(i[0], "holes")},
	}, s.err
}

func writeHacking(r *results, out *section) error {
	out.note("notes", words{"Beta": beta})
	out.Table = table{columns: []string{"reward", "arm", "ODE, end", "accuracy", "class", "holes", "distance to the data"}}
	for _, reward := range hackingRewards {
		start, err := r.beforeHacking(reward)
		if err != nil {
			return err
		}
		add := func(label string, f []*record) {
			out.Table.add(reward, label, values(f, final), values(f, accuracy), values(f, rewarded("class")), values(f, rewarded("holes")), values(f, distance))
		}
		add("before", []*record{start})
		for _, a := range othersArms() {
			add(a.label, r.found(a, reward))
		}
		for _, a := range []arm{flowCPS, flowSDE} {
			f := r.found(a, reward)
			since := func(value func(*record) float64) difference {
				return paired(each(f, value), each(f, func(*record) float64 { return value(start) }))
			}
			d := since(distance)
			out.ask(d.positive(), "away from the data", words{"Reward": reward, "Arm": a.label, "Difference": d})
			for _, name := range []string{"class", "holes"} {
				d = since(rewarded(name))
				out.ask(d.notPositive(), "costs another reward", words{"Reward": reward, "Arm": a.label, "Other": name, "Difference": d})
			}
			d = r.differ(a, a.penalised(), reward, distance)
			out.ask(d.positive(), "nearer with KL", words{"Reward": reward, "Arm": a.label, "Difference": d})
			d = r.differ(a, a.penalised(), reward, final)
			out.ask(d.positive(), "KL costs", words{"Reward": reward, "Arm": a.label, "Difference": d})
		}
	}
	return nil
}
