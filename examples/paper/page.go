package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"cps/examples/internal/finetune"
)

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// maxShare is the greatest part of an iteration's time that this library may take, in
// percent.
const maxShare = 5.

// overall judges what holds for all trainings together. Without trainings it returns an
// empty section.
func (r *results) overall() (*section, error) {
	t, err := newTemplates("page")
	out := &section{words: t}
	if err != nil || len(r.records) == 0 {
		return out, err
	}
	iterations, on := 0, 0
	forFigures, collapsed, collapsedForFigures := 0, 0, 0
	for _, v := range r.records {
		iterations += v.iterations
		if v.onPolicy == 0 {
			on += v.iterations
		}
		isResult, err := v.forResults()
		if err != nil {
			return nil, err
		}
		if v.hasCollapse {
			collapsed++
		}
		if isResult {
			forFigures++
			if v.hasCollapse {
				collapsedForFigures++
			}
		}
	}
	all := len(r.records)
	out.fact(on == iterations, "on policy", words{"On": on, "Iterations": iterations, "Trainings": all})
	out.key("finding: on policy", nil)
	out.fact(true, "collapsed", words{"Collapsed": collapsed, "Trainings": all,
		"OfRates": collapsed - collapsedForFigures, "Rates": all - forFigures, "OfFigures": collapsedForFigures, "Figures": forFigures})
	out.key("finding: collapsed", words{"Collapsed": collapsed, "Trainings": all})
	p := r.Percent
	out.ask(is(p.Library < maxShare), "share", words{"Most": maxShare, "Library": p.Library, "Sampling": p.Sampling, "LogProb": p.LogProb, "Gradients": p.Gradients})
	out.key("finding: share", words{"Most": maxShare})
	return out, out.err
}

// A finding line is one of the lines at the top of the page. It has one verdict, or one for
// each reward.
type findingLine struct {
	Text   string
	Parts  []string // outcomes with their evidence
	Places []place
}

// A place is a section that a line links to.
type place struct{ Name, Title string }

// findingLines gathers the verdicts that stand at the top of the page.
func findingLines(sections []*section) []findingLine {
	var lines []findingLine
	for _, s := range sections {
		for _, v := range s.Verdicts {
			if v.finding == "" {
				continue
			}
			i := slices.IndexFunc(lines, func(l findingLine) bool { return l.Text == v.finding })
			if i < 0 {
				i, lines = len(lines), append(lines, findingLine{Text: v.finding})
			}
			l := &lines[i]
			part := "**" + v.Word() + "**"
			if v.reward != "" {
				part += " with " + v.reward
			}
			l.Parts = append(l.Parts, part+" ("+v.short+")")
			if s.id == "" {
				continue // of all trainings
			}
			title, _, _ := strings.Cut(s.title, ":")
			if p := (place{s.fileName(), title}); !slices.Contains(l.Places, p) {
				l.Places = append(l.Places, p)
			}
		}
	}
	return lines
}

// writePage writes paper.md and returns its sections.
func (r *results) writePage() ([]*section, error) {
	var sections []*section
	for _, f := range r.selected() {
		out, err := newSection(f)
		if err == nil {
			out.Paper = out.say("paper", words{"NotebookSteps": notebookSteps, "NotebookLast": notebookLast, "NotebookAccumulated": notebookAccumulated})
			err = f.write(r, out)
		}
		if err == nil {
			err = out.err
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.fileName(), err)
		}
		sections = append(sections, out)
	}
	overall, err := r.overall()
	if err != nil {
		return nil, err
	}
	values, err := r.pageWords()
	if err != nil {
		return nil, err
	}
	values["Findings"] = findingLines(append(slices.Clone(sections), overall))
	values["Sections"], values["Overall"] = sections, overall.Verdicts
	page, err := say(overall.words, "page", values)
	if err != nil {
		return nil, err
	}
	return sections, finetune.WriteFile(filepath.Join(r.out, "paper.md"), func(w io.Writer) error {
		_, err := io.WriteString(w, page+"\n")
		return err
	})
}

// pageWords returns the values that page.md names, without the sections.
func (r *results) pageWords() (words, error) {
	gaussian, err := flowCPS.normalised().objective()
	if err != nil {
		return nil, err
	}
	low, high, chosen := r.atEdges()
	return words{
		"Command": r.command(), "Made": r.made,
		"FirstHeldOut": heldOut + 1, "LastHeldOut": heldOut + r.tuningSeeds, "TuningSeeds": r.tuningSeeds,
		"Iterations": r.iterations, "Group": r.group, "Steps": steps, "Trained": steps - 1,
		"Clip": clip, "GaussianHigh": gaussian.ClipHigh, "GaussianLow": gaussian.ClipLow,
		"Every": count(r.every, "iteration"), "Samples": r.samples,
		"Rates":         strings.Join(each(r.rates, rateText), ", "),
		"LeastAccuracy": leastAccuracy, "MostResidual": mostResidual, "EtaEqual": etaEqual,
		"Chosen": chosen, "AtLow": low, "AtHigh": high, "AtEdges": low+high > 0,
		"Trials": r.trialTable(),
	}, nil
}

// count returns n things in words, and one thing without the number.
func count(n int, thing string) string {
	if n == 1 {
		return thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func rateText(rate float64) string { return fmt.Sprintf("%g", rate) }

// Counts returns how many verdicts of the section have each outcome. Claims of the paper
// come first, then questions of this study, then checks, which have two outcomes.
func (s *section) Counts() []int {
	var paper, own, checks [3]int
	for _, v := range s.Verdicts {
		switch {
		case v.check:
			checks[v.outcome]++
		case v.own:
			own[v.outcome]++
		default:
			paper[v.outcome]++
		}
	}
	return []int{paper[agrees], paper[differs], paper[cannotSay], own[agrees], own[differs], own[cannotSay], checks[agrees], checks[differs]}
}

// Markdown returns the table as Markdown, or "" if it has no rows.
func (t table) Markdown() string {
	if len(t.rows) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(t.columns, " | "), strings.Repeat("---|", len(t.columns)))
	for _, row := range t.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(each(row, cell), " | "))
	}
	return b.String()
}

// cell rounds a value for the page.
func cell(v any) string {
	if x, ok := v.(float64); ok {
		return fmt.Sprintf("%.4g", x)
	}
	return fmt.Sprint(v)
}

// String returns mean and standard deviation, and how many values are known if not all are.
func (v sample) String() string {
	text := fmt.Sprintf("%.3f ± %.3f", v.Mean, v.Std)
	switch {
	case v.N == 0:
		text = "unknown"
	case v.N == 1:
		text = fmt.Sprintf("%.3f", v.Mean)
	case math.Abs(v.Mean) >= 1e4: // of a run that collapsed
		text = fmt.Sprintf("%.1e ± %.1e", v.Mean, v.Std)
	}
	if v.Lost > 0 {
		text += fmt.Sprintf(" (%d of %d)", v.N, v.N+v.Lost)
	}
	return text
}

// trialTable returns the scores of all learning rates, a row for each arm and reward.
func (p *plan) trialTable() table {
	t := table{columns: append(append([]string{"arm", "reward"}, each(p.rates, rateText)...), "chosen")}
	for i := 0; i < len(p.trials); i += len(p.rates) {
		row := p.trials[i:][:len(p.rates)]
		cells := []any{row[0].arm, row[0].reward}
		chosen := ""
		for _, v := range row {
			cells = append(cells, v)
			if !v.chosen {
				continue
			}
			chosen = rateText(v.rate)
			switch {
			case v.collapsed():
				chosen += ", for want of a better"
			case p.edge(v) != 0:
				chosen += ", at the edge"
			}
		}
		t.add(append(cells, chosen)...)
	}
	return t
}

func (t trial) String() string {
	if t.collapsed() {
		return "collapsed"
	}
	return fmt.Sprintf("%.3f", t.score.Mean)
}

// printVerdicts prints all verdicts.
func printVerdicts(w io.Writer, sections []*section) {
	for _, s := range sections {
		if len(s.Verdicts) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", s.title)
		for _, v := range s.Verdicts {
			fmt.Fprintf(w, "  %-11s  %s %s\n", v.Word(), v.Claim, v.Evidence)
		}
	}
}
