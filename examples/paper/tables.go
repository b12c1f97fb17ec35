package main

import (
	"context"
	"fmt"
	"slices"

	"cps/examples/internal/finetune"

	"gonum.org/v1/plot"
)

// armTable returns a table of arms with rewards: means and standard deviations over seeds.
func (s *scores) armTable(rewards []string, arms []arm) table {
	t := table{columns: []string{"reward", "arm", "learning rate", "ODE, end", "ODE, average", "rule, end", "accuracy", "diversity", "residual", "collapsed"}}
	for _, reward := range rewards {
		for _, a := range arms {
			t.add(s.armRow(a, reward)...)
		}
	}
	return t
}

func (s *scores) armRow(a arm, reward string) []any {
	f := s.found(a, reward)
	return []any{reward, a.label, s.rate(want{a, reward}), values(f, final), values(f, average), values(f, finalByRule),
		values(f, accuracy), values(f, diversity), values(f, residual), collapsed(f)}
}

// A comparison is a table of the paper in small. It has arms and rewards, and judges pairs
// of arms.
type comparison struct {
	id, title string
	rewards   []string
	arms      func() ([]arm, error)
	pairs     func(arms []arm) [][2]arm
	own       bool // whether they are questions of this study
}

func (c comparison) figure() figure {
	return figure{
		id: c.id, title: c.title,
		wants: func() ([]want, error) {
			arms, err := c.arms()
			return wants(c.rewards, withSources(arms)...), err
		},
		draw:  c.draw,
		write: c.write,
	}
}

// withSources adds to arms those whose learning rates they take.
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

func (c comparison) draw(_ context.Context, s *study, to files) error {
	arms, err := c.arms()
	if err != nil {
		return err
	}
	var panels []*plot.Plot
	for _, reward := range c.rewards {
		var bars []bar
		for _, a := range arms {
			bars = append(bars, bar{a.label, values(s.found(a, reward), final), a.ink})
		}
		p, err := barPanel(fmt.Sprintf("reward %q by the ODE, at the end", reward), "reward", bars)
		if err != nil {
			return err
		}
		panels = append(panels, p)
	}
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	return to.saveData(s.armTable(c.rewards, arms).spread())
}

func (c comparison) write(r *results, out *section) error {
	arms, err := c.arms()
	if err != nil {
		return err
	}
	out.note("rates by average", nil)
	out.Table = r.armTable(c.rewards, arms)
	for _, reward := range c.rewards {
		for _, pair := range c.pairs(arms) {
			r.judgeEnds(out, pair[0], pair[1], reward)
			out.Verdicts[len(out.Verdicts)-1].own = c.own
		}
	}
	return nil
}

// spread returns t with three columns for each sample: mean, standard deviation and number.
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

// fixedArms returns a function that returns arms.
func fixedArms(arms ...arm) func() ([]arm, error) {
	return func() ([]arm, error) { return arms, nil }
}

// firstAgainst pairs the first arm with each of the others.
func firstAgainst(arms []arm) [][2]arm {
	var pairs [][2]arm
	for _, a := range arms[1:] {
		pairs = append(pairs, [2]arm{arms[0], a})
	}
	return pairs
}

var flowTable = comparison{
	id:      "table1",
	title:   "Table 1: Flow-CPS and Flow-SDE in Flow-GRPO, without KL",
	rewards: []string{"glyph", "holes", "taste"},
	arms:    fixedArms(flowCPS, flowSDE, flowSDE9),
	pairs:   firstAgainst,
}.figure()

var danceTable = comparison{
	id:      "table2",
	title:   "Table 2: Flow-CPS and the SDE of DanceGRPO, without KL",
	rewards: []string{"glyph", "holes", "taste"},
	arms:    fixedArms(flowCPS, danceSDE),
	pairs:   firstAgainst,
}.figure()

var klTable = comparison{
	id:      "table3",
	title:   "Table 3: stands for the paper's tables with KL",
	rewards: []string{"glyph", "taste"},
	arms:    fixedArms(flowCPS.penalised(), flowSDE.penalised(), danceSDE.penalised()),
	pairs:   firstAgainst,
	own:     true,
}.figure()

var dpmTable = comparison{
	id:      "table5",
	title:   "Table 5: Flow-CPS and SDE-DPM-Solver++1",
	rewards: dpmRewards,
	arms:    dpmArms,
	pairs:   func(arms []arm) [][2]arm { return [][2]arm{{arms[0], arms[2]}, {arms[1], arms[2]}} },
	own:     true,
}.figure()

// othersTable shows what training with one reward does to the other rewards.
var othersTable = figure{
	id:    "table4",
	title: "Table 4: stands for the paper's tables with KL: all rewards after training with one",
	wants: func() ([]want, error) { return wants(othersRewards, othersArms()...), nil },
	draw:  drawOthers,
	write: writeOthers,
}

var othersRewards = []string{"glyph", "taste"}

func othersArms() []arm {
	return []arm{flowCPS, flowCPS.penalised(), flowSDE, flowSDE.penalised()}
}

// before returns what is known of the network before it is trained with a reward.
func (s *study) before(ctx context.Context, reward string) (*record, error) {
	f, err := s.bench.untrained(ctx, training{flowCPS, reward, s.rates[0], 1})
	if err != nil {
		return nil, err
	}
	return s.record("before", f), nil
}

// othersTable returns the rewards of arms, each trained with one of othersRewards. The
// network before training comes first.
func (s *scores) othersTable(before func(reward string) (*record, error)) (table, error) {
	names := finetune.RewardNames()
	t := table{columns: append([]string{"trained", "arm"}, names...)}
	for _, reward := range othersRewards {
		add := func(label string, f []*record) {
			row := []any{reward, label}
			for _, name := range names {
				row = append(row, values(f, rewarded(name)))
			}
			t.add(row...)
		}
		start, err := before(reward)
		if err != nil {
			return t, err
		}
		add("before", []*record{start})
		for _, a := range othersArms() {
			add(a.label, s.found(a, reward))
		}
	}
	return t, nil
}

func drawOthers(ctx context.Context, s *study, to files) error {
	var panels []*plot.Plot
	for _, reward := range othersRewards {
		var bars []bar
		for _, a := range othersArms() {
			ink := a.ink
			if a.beta > 0 {
				ink.R, ink.G, ink.B = ink.R/2+100, ink.G/2+100, ink.B/2+100
			}
			bars = append(bars, bar{a.label, values(s.found(a, reward), rewarded("class")), ink})
		}
		p, err := barPanel(fmt.Sprintf("reward %q after training with %q", "class", reward), "reward", bars)
		if err != nil {
			return err
		}
		panels = append(panels, p)
	}
	if err := savePanels(to.dir, to.png(), [][]*plot.Plot{panels}); err != nil {
		return err
	}
	t, err := s.othersTable(func(reward string) (*record, error) { return s.before(ctx, reward) })
	if err != nil {
		return err
	}
	return to.saveData(t.spread())
}

// beforeOthers reads all rewards of the network before training from table4.csv.
func (r *results) beforeOthers(reward string) (*record, error) {
	s, err := readSheet(r.out, "table4.csv")
	if err != nil {
		return nil, err
	}
	i := s.find("trained", reward, "arm", "before")
	if s.err != nil {
		return nil, s.err
	}
	start := &record{others: map[string]float64{}}
	for _, name := range finetune.RewardNames() {
		start.others[name] = s.number(i[0], name)
	}
	return start, s.err
}

func writeOthers(r *results, out *section) error {
	var err error
	if out.Table, err = r.othersTable(r.beforeOthers); err != nil {
		return err
	}
	for _, reward := range othersRewards {
		for _, a := range []arm{flowCPS, flowSDE} {
			for _, name := range finetune.RewardNames() {
				if name == reward {
					continue
				}
				d := r.differ(a.penalised(), a, reward, rewarded(name))
				out.ask(d.positive(), "higher with KL", words{"Reward": reward, "Other": name, "Arm": a.label, "Difference": d})
			}
		}
	}
	return nil
}
