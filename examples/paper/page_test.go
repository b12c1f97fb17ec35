package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// committed is the folder of the study that is committed.
const committed = "results"

// copyOf returns a folder with the committed files that the page is made of.
func copyOf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, pattern := range []string{"*.csv", madeFile} {
		files, err := filepath.Glob(filepath.Join(committed, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(read(t, file)), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// The committed page is a function of the committed files. Formulas are computed again, whose
// last bits depend on the architecture.
func TestPage(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the page was written on amd64")
	}
	dir := copyOf(t)
	var out bytes.Buffer
	o, err := parse([]string{"-page", "-out", dir}, io.Discard)
	if err == nil {
		err = run(t.Context(), o, &out, io.Discard)
	}
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(read(t, filepath.Join(dir, "paper.md")), "\n")
	want := strings.Split(read(t, filepath.Join(committed, "paper.md")), "\n")
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("line %d is\n%s\nwant\n%s\n(if the words changed: go run ./examples/paper -page -out examples/paper/results)", i+1, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
	if made, err := filepath.Glob(filepath.Join(dir, "*.png")); err != nil || len(made) > 0 {
		t.Errorf("pictures %q, %v", made, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "runs")); !os.IsNotExist(err) {
		t.Errorf("a folder for trainings: %v", err)
	}
}

// A number of the page follows its file, and a file that does not fit is an error that names
// it.
func TestPageOfChangedFiles(t *testing.T) {
	for name, c := range map[string]struct{ file, old, new, want string }{
		"a number":            {"figure1.csv", "0.11629883210237026", "0.22629883210237026", ""},
		"no study":            {madeFile, "", "", "a folder without study.json has no study"},
		"no CSV":              {"figure9.csv", "", "", "figure9.csv"},
		"other seeds":         {madeFile, `"Seeds": 5`, `"Seeds": 6`, "runs.csv: no training cps-0.9_glyph_0.002_6"},
		"no seeds":            {madeFile, `"Seeds": 5`, `"Seeds": 0`, "-seeds 0 is not in"},
		"an unknown figure":   {madeFile, `"Seeds": 5`, `"Seeds": 5, "Only": ["11"]`, `"11" is none of`},
		"not JSON":            {madeFile, "{", "", madeFile},
		"no column":           {"figure2.csv", "measured level", "level", `figure2.csv: no column "measured level"`},
		"not a number":        {"runs.csv", "0.7858987535620321", "x", `runs.csv, row 2: average is "x"`},
		"a rule is gone":      {"figure8.csv", "Exact 0.7,", "Inexact 0.7,", "figure8.csv: no row with"},
		"an arm is gone":      {"rates.csv", "dpmpp,", "dpmpq,", "rates.csv: no learning rate is chosen for arm dpmpp"},
		"a curve is gone":     {"figure4.csv", "Flow-SDE 0.7,holes,ODE", "Flow-SDE 0.7,holes,OED", "figure4.csv: no row with"},
		"half a row":          {"rates.csv", "cps-0.9,glyph,0.0005,", "cps-0.9,", "rates.csv"},
		"not before training": {"hacking.csv", "taste,0,", "taste,1,", "hacking.csv: no row with"},
	} {
		dir := copyOf(t)
		file := filepath.Join(dir, c.file)
		text := read(t, file)
		var err error
		if c.old == "" {
			err = os.Remove(file)
		} else {
			err = os.WriteFile(file, []byte(strings.ReplaceAll(text, c.old, c.new)), 0o666)
		}
		if err != nil || c.old != "" && !strings.Contains(text, c.old) {
			t.Fatalf("%s: %q is not in %s, %v", name, c.old, c.file, err)
		}
		err = run(t.Context(), options{out: dir, page: true, seeds: 5}, io.Discard, io.Discard)
		if c.want == "" {
			page := ""
			if err == nil {
				page = read(t, filepath.Join(dir, "paper.md"))
			}
			// 0.2263 over 0.0089 is 25.54.
			if !strings.Contains(page, "0.2263 ± 0.0008: 25.54 ± ") {
				t.Errorf("%s: the page does not follow, %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(dir, "paper.md")); err == nil {
			t.Errorf("%s: there is a page", name)
		}
	}
}

// Every file of words belongs to a figure, and the words of a figure cannot name a value
// that they are not given.
func TestWords(t *testing.T) {
	files, err := fs.Glob(text, "text/*.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"text/common.md": true, "text/page.md": true}
	for _, f := range figures {
		known["text/"+f.fileName()+".md"] = true
	}
	if len(files) != len(known) {
		t.Errorf("%d files of words, %d are known", len(files), len(known))
	}
	out := sectionOf(t, samplesFigure)
	if out.say("residual", words{"Samples": 3}); out.err == nil {
		t.Error("a value is missing, and there is no error")
	}
	out = sectionOf(t, samplesFigure)
	if out.judge(agrees, "no such text", nil); out.err == nil || !strings.Contains(out.err.Error(), `no text "no such text"`) {
		t.Errorf("a text that is not there: %v", out.err)
	}
	out = sectionOf(t, samplesFigure)
	if out.judge(agrees, "median", nil); out.err == nil || !strings.Contains(out.err.Error(), `"median" has no line for the evidence`) {
		t.Errorf("a claim without evidence: %v", out.err)
	}
}

// Verdicts with the same words share a line, in the order of the page.
func TestFindingLines(t *testing.T) {
	a, b := sectionOf(t, verifiableFigure), sectionOf(t, preferenceFigure)
	add := func(s *section, o outcome, finding, reward string) {
		s.Verdicts = append(s.Verdicts, verdict{outcome: o, finding: finding, reward: reward, short: "1 ± 2"})
	}
	add(a, agrees, "One holds", "glyph")
	add(a, agrees, "", "glyph")
	add(a, differs, "Another holds", "")
	add(b, differs, "One holds", "taste")
	lines := findingLines([]*section{a, b})
	if len(lines) != 2 || strings.Join(lines[0].Parts, "; ") != "**agrees** with glyph (1 ± 2); **differs** with taste (1 ± 2)" ||
		len(lines[0].Places) != 2 || lines[0].Places[1] != (place{"figure5", "Figure 5"}) ||
		strings.Join(lines[1].Parts, "") != "**differs** (1 ± 2)" || len(lines[1].Places) != 1 {
		t.Errorf("%+v", lines)
	}
}
