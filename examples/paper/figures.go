package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"
)

// A figure is a figure or a table of the paper, or one beyond it.
type figure struct {
	id    string // on the command line
	title string
	paper string // what the paper reports
	wants func() ([]want, error)
	make  func(ctx context.Context, s *study, out *section) error
}

// A section is what the page says of a figure. Its picture and its data have the name of
// the figure.
type section struct {
	dir, name string
	text      []string // paragraphs
	table     table    // shown on the page
	verdicts  []verdict
}

// A verdict is a claim and what the numbers say of it.
type verdict struct {
	claim, evidence string
	outcome
	own   bool // a question of this study, not a claim of the paper
	check bool // of a formula, which measures nothing
	fact  bool // a count, which nothing is concluded from
	key   bool // it stands at the top of the page
}

// word is the outcome on the page.
func (v verdict) word() string {
	switch {
	case v.fact && v.outcome == agrees:
		return "fact"
	case v.check && v.outcome == agrees:
		return "check holds"
	case v.check:
		return "check fails"
	case v.own:
		return v.answer()
	}
	return v.String()
}

// judge judges a claim of the paper.
func (s *section) judge(o outcome, claim, evidence string, args ...any) {
	s.verdicts = append(s.verdicts, verdict{claim: claim, evidence: fmt.Sprintf(evidence, args...), outcome: o})
}

// ask answers a question that is not the paper's.
func (s *section) ask(o outcome, claim, evidence string, args ...any) {
	s.judge(o, claim, evidence, args...)
	s.verdicts[len(s.verdicts)-1].own = true
}

// check checks a formula.
func (s *section) check(holds bool, claim, evidence string, args ...any) {
	s.judge(is(holds), claim, evidence, args...)
	s.verdicts[len(s.verdicts)-1].check = true
}

// fact states what is so, with its count.
func (s *section) fact(holds bool, claim, evidence string, args ...any) {
	s.judge(is(holds), claim, evidence, args...)
	s.verdicts[len(s.verdicts)-1].fact = true
}

// key puts the last verdict at the top of the page.
func (s *section) key() { s.verdicts[len(s.verdicts)-1].key = true }

func (s *section) say(format string, args ...any) {
	s.text = append(s.text, fmt.Sprintf(format, args...))
}

// saveData writes the data of the figure.
func (s *section) saveData(t table) error { return t.save(s.dir, s.name+".csv") }

// png is the name of the picture.
func (s *section) png() string { return s.name + ".png" }

// figures are all there are, in the order of the page.
var figures = []figure{
	samplesFigure, levelsFigure, geometryFigure, verifiableFigure, preferenceFigure,
	ablationFigure, dpmFigure, otherLevelsFigure, risingFigure, denominatorFigure,
	flowTable, danceTable, klTable, othersTable, dpmTable,
	explorationFigure, diversityFigure, gapFigure, hackingFigure,
}

func figureIDs() []string {
	return each(figures, func(f figure) string { return f.id })
}

// fileName is what its files are called.
func (f figure) fileName() string {
	if f.id[0] >= '0' && f.id[0] <= '9' {
		return "figure" + f.id
	}
	return f.id
}

// selected returns the figures to make.
func (o options) selected() []figure {
	if len(o.only) == 0 {
		return figures
	}
	var chosen []figure
	for _, f := range figures {
		if slices.Contains(o.only, f.id) {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// wanted returns the trainings that figures need.
func wanted(figures []figure) ([]want, error) {
	var all []want
	for _, f := range figures {
		if f.wants == nil {
			continue
		}
		w, err := f.wants()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.fileName(), err)
		}
		all = append(all, w...)
	}
	return all, nil
}

// produce makes figures and page.
func produce(ctx context.Context, o options, w, progress io.Writer) error {
	start := time.Now()
	s, err := newStudy(o, progress)
	if err != nil {
		return err
	}
	chosen := o.selected()
	all, err := wanted(chosen)
	if err != nil {
		return err
	}
	if err := s.train(ctx, all); err != nil {
		return err
	}
	var sections []section
	for _, f := range chosen {
		out := section{dir: o.out, name: f.fileName()}
		if err := f.make(ctx, s, &out); err != nil {
			return fmt.Errorf("%s: %w", out.name, err)
		}
		sections = append(sections, out)
	}
	if err := s.saveRuns(); err != nil {
		return err
	}
	if err := s.writePage(chosen, sections); err != nil {
		return err
	}
	printVerdicts(w, chosen, sections)
	fmt.Fprintf(w, "\nwrote %s and %s in %.0f s\n", filepath.Join(o.out, "paper.md"), countOf(len(chosen)), time.Since(start).Seconds())
	return nil
}

// countOf says n figures and tables.
func countOf(n int) string {
	if n == 1 {
		return "1 figure or table"
	}
	return fmt.Sprintf("%d figures and tables", n)
}
