package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"cps/examples/internal/finetune"
)

// results are the contents of a folder's files. The page is made of them, and of nothing
// else that was measured.
type results struct {
	scores
	made
}

// made says how a study was made. It is kept in study.json.
type made struct {
	Quick   bool
	Seeds   int
	Only    []string `json:",omitempty"`
	System  string   // GOOS/GOARCH
	Go      string   // version, without the letters go
	Commit  string   `json:",omitempty"` // of the code; "" if it is not known
	Percent percents
}

// percents are parts of the time of iterations, without evaluations.
type percents struct {
	Library                      float64 // all that this module's library takes: the sum of the others
	Sampling, LogProb, Gradients float64
}

// percentsOf returns the parts of a timing. No time gives zeros.
func percentsOf(t finetune.Timing) percents {
	whole := float64(t.Total - t.Evaluation)
	if whole <= 0 {
		return percents{}
	}
	return percents{
		Library:   100 * t.Share(),
		Sampling:  100 * float64(t.Sampling) / whole,
		LogProb:   100 * float64(t.LogProb) / whole,
		Gradients: 100 * float64(t.Gradients) / whole,
	}
}

// made returns how this process makes s.
func (s *study) made() made {
	var time finetune.Timing
	for _, f := range s.findings {
		time = time.Add(f.Timing)
	}
	return made{
		Quick: s.quick, Seeds: s.seeds, Only: s.only,
		System:  runtime.GOOS + "/" + runtime.GOARCH,
		Go:      strings.TrimPrefix(runtime.Version(), "go"),
		Commit:  s.commitOfCode(),
		Percent: percentsOf(time),
	}
}

// commitOfCode returns the commit that the command line names, or else the one that the
// build recorded. It returns "" if neither is known: go run records none.
func (o options) commitOfCode() string {
	if o.commit != "" {
		return o.commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var commit, changed string
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			commit = setting.Value
		case "vcs.modified":
			if setting.Value == "true" {
				changed = ", with uncommitted changes"
			}
		}
	}
	if commit == "" {
		return ""
	}
	return commit + changed
}

const madeFile = "study.json"

func (m made) save(dir string) error {
	return finetune.WriteFile(filepath.Join(dir, madeFile), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "\t")
		return e.Encode(m)
	})
}

// readMade reads study.json.
func readMade(dir string) (m made, err error) {
	file := filepath.Join(dir, madeFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("%w: a folder without %s has no study; make one without -page", err, madeFile)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", file, err)
	}
	o := options{out: dir, quick: m.Quick, seeds: m.Seeds, only: m.Only}
	if err := o.check(nil); err != nil {
		return m, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// readResults reads the files of a folder, and checks that the trainings of all its
// figures are there.
func readResults(dir string) (*results, error) {
	m, err := readMade(dir)
	if err != nil {
		return nil, err
	}
	r := &results{made: m}
	r.options = options{out: dir, quick: m.Quick, seeds: m.Seeds, only: m.Only}
	r.budget = r.options.budget()
	all, err := wanted(r.selected())
	if err != nil || len(all) == 0 {
		return r, err
	}
	if r.trials, err = readTrials(dir, len(r.rates)); err != nil {
		return nil, err
	}
	if r.records, err = readRecords(dir); err != nil {
		return nil, err
	}
	for _, w := range all {
		if _, ok := r.chosen(w); !ok {
			return nil, fmt.Errorf("%s: no learning rate is chosen for arm %s, reward %s", filepath.Join(dir, "rates.csv"), w.tuned(), w.reward)
		}
		for _, t := range r.runs(w) {
			if r.records[t.file()] == nil {
				return nil, fmt.Errorf("%s: no training %s", filepath.Join(dir, "runs.csv"), t.file())
			}
		}
	}
	return r, nil
}

// rateTable returns rates.csv.
func (p *plan) rateTable() table {
	t := table{columns: []string{"arm", "reward", "learning rate", "score", "score std", "collapsed", "chosen"}}
	for _, v := range p.trials {
		score, std := any(v.score.Mean), any(v.score.Std)
		if v.collapsed() {
			score, std = "", ""
		}
		t.add(v.arm, v.reward, v.rate, score, std, v.collapsed(), v.chosen)
	}
	return t
}

// readTrials reads rates.csv, in which every arm and reward has n rows.
func readTrials(dir string, n int) ([]trial, error) {
	s, err := readSheet(dir, "rates.csv")
	if err != nil {
		return nil, err
	}
	var all []trial
	for i := range s.rows {
		t := trial{arm: s.text(i, "arm"), reward: s.text(i, "reward"), rate: s.number(i, "learning rate"), chosen: s.flag(i, "chosen")}
		if s.flag(i, "collapsed") {
			t.score = sample{Mean: math.Inf(-1)}
		} else {
			t.score = sample{Mean: s.number(i, "score"), Std: s.number(i, "score std")}
		}
		all = append(all, t)
	}
	if s.err == nil && len(all)%n != 0 {
		s.err = fmt.Errorf("%s: %d rows, not a multiple of the %d learning rates", s.file, len(all), n)
	}
	return all, s.err
}

// curves reads the curves of arms from a figure's CSV file.
type curves struct{ sheet *sheet }

func (r *results) curves(figure string) (curves, error) {
	s, err := readSheet(r.out, figure+".csv")
	return curves{s}, err
}

// byODE returns the curve of rewards of the ODE's samples.
func (c curves) byODE(a arm, reward string) (curve, error) {
	var y curve
	for _, i := range c.sheet.find("arm", a.label, "reward", reward, "kind", "ODE") {
		y.x = append(y.x, c.sheet.number(i, "iteration"))
		y.y = append(y.y, sample{Mean: c.sheet.number(i, "mean"), Std: c.sheet.number(i, "std"), N: c.sheet.whole(i, "seeds")})
	}
	return y, c.sheet.err
}
