package main

import (
	"context"
	"fmt"
	"slices"

	"cps/examples/internal/finetune"

	"gonum.org/v1/plot"
)

// armTable is what the page says of arms.
func armTable() table {
	return table{columns: []string{"reward", "arm", "learning rate", "ODE, end", "ODE, average", "rule, end", "accuracy", "diversity", "residual", "collapsed"}}
}

// addArm adds an arm, means and standard deviations over seeds.
func (s *study) addArm(t *table, a arm, reward string) {
	t.add(s.armRow(a, reward)...)
}

func (s *study) armRow(a arm, reward string) []any {
	f := s.found(a, reward)
	return []any{reward, a.label, s.rate(want{a, reward}), values(f, final), values(f, s.area), values(f, underRule),
		values(f, accuracy), values(f, diversity), values(f, residual), collapsed(f)}
}

// collapsed counts the runs that collapsed.
func collapsed(findings []*finding) int {
	n := 0
	for _, f := range findings {
		if f.collapsed() {
			n++
		}
	}
	return n
}

// A comparison is a table of the paper in small: arms with rewards. Every pair is judged.
type comparison struct {
	id, title, paper string
	rewards          []string
	arms             func() ([]arm, error)
	pairs            func(arms []arm) [][2]arm
	own              bool // whether they are questions of this study
}

func (c comparison) figure() figure {
	return figure{
		id: c.id, title: c.title, paper: c.paper,
		wants: func() ([]want, error) {
			arms, err := c.arms()
			return wants(c.rewards, withSources(arms)...), err
		},
		make: c.make,
	}
}

// withSources adds the arms whose learning rates arms take.
func withSources(arms []arm) []arm {
	all := slices.Clone(arms)
	for _, a := range published {
		for _, b := range arms {
			if b.like == a.name && !slices.ContainsFunc(all, func(c arm) bool { return c.name == a.name }) {
				all = append(all, a)
			}
		}
	}
	return all
}

func (c comparison) make(_ context.Context, s *study, out *section) error {
	arms, err := c.arms()
	if err != nil {
		return err
	}
	out.table = armTable()
	var panels []*plot.Plot
	for _, reward := range c.rewards {
		var bars []bar
		for _, a := range arms {
			bars = append(bars, bar{a.label, values(s.found(a, reward), final), a.ink})
			s.addArm(&out.table, a, reward)
		}
		p, err := barPanel(fmt.Sprintf("reward %q by the ODE, at the end", reward), "reward", bars)
		if err != nil {
			return err
		}
		panels = append(panels, p)
		for _, pair := range c.pairs(arms) {
			s.judgeEnds(out, pair[0], pair[1], reward)
			out.verdicts[len(out.verdicts)-1].own = c.own
		}
	}
	out.say("Rates are chosen by the average of a run, which can part from its end, where these arms are judged.")
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(out.table.spread())
}

// spread returns t with a column each for mean, standard deviation and number.
func (t table) spread() table {
	var u table
	if len(t.rows) == 0 {
		return t
	}
	for j, name := range t.columns {
		u.columns = append(u.columns, name)
		if _, ok := t.rows[0][j].(sample); ok {
			u.columns = append(u.columns, name+" std", name+" seeds")
		}
	}
	for _, row := range t.rows {
		var wide []any
		for _, v := range row {
			if s, ok := v.(sample); ok {
				wide = append(wide, s.Mean, s.Std, s.N)
			} else {
				wide = append(wide, v)
			}
		}
		u.add(wide...)
	}
	return u
}

// fixedArms is arms that are known.
func fixedArms(arms ...arm) func() ([]arm, error) {
	return func() ([]arm, error) { return arms, nil }
}

// firstAgainst pairs the first arm with all others.
func firstAgainst(arms []arm) [][2]arm {
	var pairs [][2]arm
	for _, a := range arms[1:] {
		pairs = append(pairs, [2]arm{arms[0], a})
	}
	return pairs
}

const tableNote = " Its tables hold scores of image models; here the arms are compared by the rewards of this small model, which have another scale."

var flowTable = comparison{
	id:      "table1",
	title:   "Table 1: Flow-CPS and Flow-SDE in Flow-GRPO, without KL",
	paper:   "The paper reports that Flow-CPS serves Flow-GRPO better than its SDE." + tableNote,
	rewards: []string{"glyph", "holes", "taste"},
	arms:    fixedArms(flowCPS, flowSDE, flowSDE9),
	pairs:   firstAgainst,
}.figure()

var danceTable = comparison{
	id:      "table2",
	title:   "Table 2: Flow-CPS and the SDE of Dance-GRPO, without KL",
	paper:   "The paper reports that Flow-CPS serves Dance-GRPO better than its SDE, whose diffusion coefficient is constant." + tableNote,
	rewards: []string{"glyph", "holes", "taste"},
	arms:    fixedArms(flowCPS, danceSDE),
	pairs:   firstAgainst,
}.figure()

var klTable = comparison{
	id:      "table3",
	title:   "Table 3: stands for the paper's tables with KL",
	paper:   "The paper trains with and without a KL penalty. These arms stand for its tables with KL: they have another penalty, on the distance of velocities." + tableNote,
	rewards: []string{"glyph", "taste"},
	arms:    fixedArms(flowCPS.penalised(), flowSDE.penalised(), danceSDE.penalised()),
	pairs:   firstAgainst,
	own:     true,
}.figure()

var dpmTable = comparison{
	id:      "table5",
	title:   "Table 5: Flow-CPS and SDE-DPM-Solver++1",
	paper:   "The paper compares Flow-CPS with the solver that preserves coefficients too." + tableNote,
	rewards: dpmRewards,
	arms:    dpmArms,
	pairs:   func(arms []arm) [][2]arm { return [][2]arm{{arms[0], arms[2]}, {arms[1], arms[2]}} },
	own:     true,
}.figure()

// othersTable scores what training with one reward does to the other rewards.
var othersTable = figure{
	id:    "table4",
	title: "Table 4: stands for the paper's tables with KL: all rewards after training with one",
	paper: "The paper trains with and without a KL penalty. Here is what training with one reward does to the others.",
	wants: func() ([]want, error) { return wants(othersRewards, othersArms()...), nil },
	make:  makeOthers,
}

var othersRewards = []string{"glyph", "taste"}

func othersArms() []arm {
	return []arm{flowCPS, flowCPS.penalised(), flowSDE, flowSDE.penalised()}
}

func makeOthers(ctx context.Context, s *study, out *section) error {
	names := finetune.RewardNames()
	out.table = table{columns: append([]string{"trained", "arm"}, names...)}
	var panels []*plot.Plot
	for _, reward := range othersRewards {
		add := func(label string, f []*finding) {
			row := []any{reward, label}
			for _, name := range names {
				row = append(row, values(f, other(name)))
			}
			out.table.add(row...)
		}
		start, err := s.bench.untrained(ctx, training{flowCPS, reward, s.rates[0], 1})
		if err != nil {
			return err
		}
		add("before", []*finding{start})
		var bars []bar
		for _, a := range othersArms() {
			f := s.found(a, reward)
			add(a.label, f)
			ink := a.ink
			if a.beta > 0 {
				ink.R, ink.G, ink.B = ink.R/2+100, ink.G/2+100, ink.B/2+100
			}
			bars = append(bars, bar{a.label, values(f, other("class")), ink})
		}
		p, err := barPanel(fmt.Sprintf("reward %q after training with %q", "class", reward), "reward", bars)
		if err != nil {
			return err
		}
		panels = append(panels, p)
		for _, a := range []arm{flowCPS, flowSDE} {
			for _, name := range names {
				if name == reward {
					continue
				}
				d := s.differ(a.penalised(), a, reward, other(name))
				out.ask(d.positive(), fmt.Sprintf("trained with %s: the untrained reward %q ends higher with KL (%s)", reward, name, a.label), "%s", d.text())
			}
		}
	}
	if err := savePanels(s.out, out.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return out.saveData(out.table.spread())
}
