package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

// A figure is a figure or a table of the paper, or one beyond it. First draw measures, and
// saves the picture and the CSV file. Then write fills the section of the page from files.
type figure struct {
	id    string // on the command line
	title string
	wants func() ([]want, error) // the trainings it needs; nil if none
	draw  func(ctx context.Context, s *study, to files) error
	write func(r *results, out *section) error
}

// files are the picture and the data of one figure. Both have the figure's name.
type files struct{ dir, name string }

// saveData writes the data of the figure.
func (f files) saveData(t table) error { return t.save(f.dir, f.name+".csv") }

// png returns the name of the picture.
func (f files) png() string { return f.name + ".png" }

// A section is what the page says of a figure.
type section struct {
	figure
	words    *template.Template
	Paper    string   // what the paper reports
	Notes    []string // paragraphs
	Table    table
	Verdicts []verdict
	err      error // the first error of the words
}

// newSection returns an empty section with the words of a figure.
func newSection(f figure) (*section, error) {
	t, err := newTemplates(f.fileName())
	return &section{figure: f, words: t}, err
}

// A verdict is a claim and what the numbers say of it.
type verdict struct {
	Claim, Evidence string
	short           string // evidence in short, for the findings at the top
	outcome
	own   bool // a question of this study, not a claim of the paper
	check bool // of a formula, which measures nothing
	fact  bool // a count, which nothing is concluded from

	// finding is the line at the top of the page that has this verdict, "" if none has.
	// Verdicts with the same finding share a line, where each names its reward.
	finding, reward string
}

// Word returns the outcome on the page.
func (v verdict) Word() string {
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

// say returns one of the figure's texts. It keeps the first error.
func (s *section) say(name string, values words) string {
	text, err := say(s.words, name, values)
	if err != nil && s.err == nil {
		s.err = err
	}
	return text
}

// note adds a paragraph.
func (s *section) note(name string, values words) { s.Notes = append(s.Notes, s.say(name, values)) }

// judge judges a claim of the paper. The text has a line for the claim and a line for the
// evidence. A third line, if there is one, is the evidence in short.
func (s *section) judge(o outcome, name string, values words) {
	lines := strings.Split(s.say(name, values), "\n")
	if len(lines) < 2 {
		lines = []string{lines[0], ""}
		if s.err == nil {
			s.err = fmt.Errorf("text %q has no line for the evidence", name)
		}
	}
	v := verdict{Claim: lines[0], Evidence: lines[1], short: strings.TrimSuffix(lines[len(lines)-1], "."), outcome: o}
	if reward, ok := values["Reward"]; ok {
		v.reward = fmt.Sprint(reward)
	}
	s.Verdicts = append(s.Verdicts, v)
}

// ask answers a question that is not the paper's.
func (s *section) ask(o outcome, name string, values words) {
	s.judge(o, name, values)
	s.Verdicts[len(s.Verdicts)-1].own = true
}

// check checks a formula.
func (s *section) check(holds bool, name string, values words) {
	s.judge(is(holds), name, values)
	s.Verdicts[len(s.Verdicts)-1].check = true
}

// fact states a count.
func (s *section) fact(holds bool, name string, values words) {
	s.judge(is(holds), name, values)
	s.Verdicts[len(s.Verdicts)-1].fact = true
}

// key puts the last verdict at the top of the page, in the line with the text of a name.
func (s *section) key(name string, values words) {
	s.Verdicts[len(s.Verdicts)-1].finding = s.say(name, values)
}

// figures are all figures and tables, in the order of the page.
var figures = []figure{
	samplesFigure, levelsFigure, geometryFigure, verifiableFigure, preferenceFigure,
	ablationFigure, dpmFigure, otherLevelsFigure, risingFigure, denominatorFigure,
	flowTable, danceTable, klTable, othersTable, dpmTable,
	explorationFigure, diversityFigure, gapFigure, hackingFigure,
}

func figureIDs() []string {
	return each(figures, func(f figure) string { return f.id })
}

// fileName returns the name of the figure's files, without extension.
func (f figure) fileName() string {
	if f.id[0] >= '0' && f.id[0] <= '9' {
		return "figure" + f.id
	}
	return f.id
}

// Title and Name are for the page.
func (s *section) Title() string { return s.title }
func (s *section) Name() string  { return s.fileName() }

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

// produce makes the files of a study and the page. With -page it reads the files instead.
func produce(ctx context.Context, o options, w, progress io.Writer) error {
	start := time.Now()
	if !o.page {
		if err := measure(ctx, o, progress); err != nil {
			return err
		}
	}
	r, err := readResults(o.out)
	if err != nil {
		return err
	}
	sections, err := r.writePage()
	if err != nil {
		return err
	}
	printVerdicts(w, sections)
	page := filepath.Join(o.out, "paper.md")
	if o.page {
		fmt.Fprintf(w, "\nwrote %s from the files beside it\n", page)
		return nil
	}
	fmt.Fprintf(w, "\nwrote %s and %s in %.0f s\n", page, countOf(len(sections)), time.Since(start).Seconds())
	return nil
}

// measure trains, and writes all files but the page.
func measure(ctx context.Context, o options, progress io.Writer) error {
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
	for _, f := range chosen {
		if err := f.draw(ctx, s, files{o.out, f.fileName()}); err != nil {
			return fmt.Errorf("%s: %w", f.fileName(), err)
		}
	}
	if len(s.records) > 0 {
		if err := recordTable(s.records).save(o.out, "runs.csv"); err != nil {
			return err
		}
		if err := s.rateTable().save(o.out, "rates.csv"); err != nil {
			return err
		}
	}
	return s.made().save(o.out)
}

// countOf returns a number of figures and tables in words.
func countOf(n int) string {
	if n == 1 {
		return "1 figure or table"
	}
	return fmt.Sprintf("%d figures and tables", n)
}
