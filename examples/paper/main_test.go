package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary stand in for the command.
func TestMain(m *testing.M) {
	if os.Getenv("PAPER_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command returns the program as a process that has not started.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, args...)
	c.Env = append(os.Environ(), "PAPER_MAIN=1")
	return c
}

// A mistake on the command line gives one line that names it, and status 2.
func TestWrongFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-seeds 0", "-seeds 0 is not in [1, 1000]"},
		{"-seeds 1001", "-seeds 1001 is not in [1, 1000]"},
		{"-only 1,11", `-only "11" is none of 1, 2, 3`},
		{"-only=", `-only "" is none of 1, 2, 3`}, // as of a variable that is not set
		{"-colour", "flag provided but not defined: -colour"},
		{"seven", `unexpected argument "seven"`},
		{"-page -quick", "-page takes what -quick says from"},
		{"-page -seeds 5", "-page takes what -seeds says from"},
	} {
		cmd := command(t, append([]string{"-out", t.TempDir()}, strings.Fields(c.args)...)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if status := cmd.ProcessState.ExitCode(); status != 2 || stdout.Len() != 0 || !strings.Contains(stderr.String(), c.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: status %d, stdout %q, stderr %q; want status 2 and one line with %q", c.args, status, &stdout, &stderr, c.want)
		}
	}
	var help bytes.Buffer
	if _, err := parse([]string{"-h"}, &help); err == nil || !strings.Contains(help.String(), "-seeds") {
		t.Errorf("help: %v\n%s", err, &help)
	}
}

// headers are the columns of all CSV files.
var headers = map[string]string{
	"figure1.csv":     "rule,residual,standard error,ratio to the ODE,median,samples",
	"figure2.csv":     "rule,step,schedule,analytic level,measured level,standard error",
	"figure3.csv":     "rule,from,to,eta,predicted noise,new noise,level,schedule",
	"figure4.csv":     "arm,reward,kind,iteration,mean,std,seeds",
	"figure5.csv":     "arm,reward,kind,iteration,mean,std,seeds",
	"figure6.csv":     "arm,reward,kind,iteration,mean,std,seeds",
	"figure7.csv":     "arm,reward,kind,iteration,mean,std,seeds",
	"figure8.csv":     "rule,step,schedule,analytic level,measured level,standard error",
	"figure9.csv":     "rule,eta,residual,standard error",
	"figure10.csv":    "arm,reward,kind,iteration,mean,std,seeds",
	"table1.csv":      armHeader,
	"table2.csv":      armHeader,
	"table3.csv":      armHeader,
	"table4.csv":      "trained,arm,class,class std,class seeds,holes,holes std,holes seeds,glyph,glyph std,glyph seeds,taste,taste std,taste seeds",
	"table5.csv":      armHeader,
	"exploration.csv": "arm,reward,kind,iteration,mean,std,seeds,sum of Eps²",
	"diversity.csv":   "arm,reward,iteration,reward by the ODE,diversity,diversity std,seeds",
	"gap.csv":         "reward,arm,by the rule,by the rule std,by the rule seeds,by the ODE,by the ODE std,by the ODE seeds,gap,gap std,gap seeds",
	"hacking.csv":     "arm,reward,iteration,reward by the ODE,accuracy,accuracy std,diversity,seeds,class,holes,distance to the data",
	"rates.csv":       "arm,reward,learning rate,score,score std,collapsed,chosen",
	"runs.csv":        "training,iterations,average,end,end by the rule,accuracy,diversity,diversity before,residual,distance to the data,greatest |ratio - 1| on policy,diverged,collapsed,class,holes,glyph,taste",
}

const armHeader = "reward,arm,learning rate,\"ODE, end\",\"ODE, end std\",\"ODE, end seeds\",\"ODE, average\",\"ODE, average std\",\"ODE, average seeds\"," +
	"\"rule, end\",\"rule, end std\",\"rule, end seeds\",accuracy,accuracy std,accuracy seeds,diversity,diversity std,diversity seeds,residual,residual std,residual seeds,collapsed"

// A quick run makes every figure, its picture and its data, and a page whose links all lead
// somewhere. The same page is made again from the files.
func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("short trainings")
	}
	dir := t.TempDir()
	o, err := parse([]string{"-quick", "-commit", "1234567", "-out", dir}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "19 figures and tables") {
		t.Errorf("printed\n%s", &out)
	}
	for name, header := range headers {
		text := read(t, filepath.Join(dir, name))
		if first, _, _ := strings.Cut(text, "\n"); first != header {
			t.Errorf("%s begins with\n%s\nwant\n%s", name, first, header)
		}
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll() // all rows as long as the first
		if err != nil || len(rows) < 2 {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
		if strings.Contains(text, "NaN") {
			t.Errorf("%s has a NaN", name)
		}
	}
	page := read(t, filepath.Join(dir, "paper.md"))
	for _, want := range []string{"go run ./examples/paper -quick -seeds 2", "quick run", "**yes**: At η 0.9 Flow-SDE leaves at least 1.4 times", "**fact**: On policy every ratio is exactly 1", "10. This library takes less than 5 %", "of commit 1234567"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "%!") {
		t.Error("the page has a NaN, or a number that is not formatted")
	}
	linked := map[string]bool{}
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(page, -1) {
		linked[m[1]] = true
		text := read(t, filepath.Join(dir, m[1]))
		if strings.HasSuffix(m[1], ".png") {
			if _, err := png.Decode(strings.NewReader(text)); err != nil {
				t.Errorf("%s: %v", m[1], err)
			}
		}
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(page, `<a id="`+m[1]+`">`) {
			t.Errorf("the link to #%s leads nowhere", m[1])
		}
	}
	if len(linked) != len(headers)+len(figures) {
		t.Errorf("%d files are linked, there are %d", len(linked), len(headers)+len(figures))
	}
	o.page = true
	if err := run(t.Context(), o, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if again := read(t, filepath.Join(dir, "paper.md")); again != page {
		t.Error("the page made again from the files is another one")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "runs", "*.checkpoint")); len(left) > 0 {
		t.Errorf("%d checkpoints are left", len(left))
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// One process is killed on the way, another is interrupted, and a third makes the page. Its
// files have the bytes of an uninterrupted run.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("six processes of seconds")
	}
	args := func(dir string) []string { return []string{"-quick", "-only", "5,hacking", "-out", dir} }
	whole, parts := t.TempDir(), t.TempDir()
	if out, err := command(t, args(whole)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := findings(t, whole)
	for k, sig := range []os.Signal{os.Kill, os.Interrupt} {
		c := command(t, args(parts)...)
		var out bytes.Buffer
		c.Stdout = &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Wait() }()
		had := len(findings(t, parts))
		for len(findings(t, parts)) < had+2 {
			select {
			case err := <-done:
				t.Fatalf("it ended too early: %v", err)
			case <-time.After(time.Millisecond):
			}
		}
		c.Process.Signal(sig)
		if err := <-done; (err == nil) != (k == 1) || strings.Contains(out.String(), "keeps what was done") != (k == 1) {
			t.Fatalf("after %v: %v, printed %q", sig, err, &out)
		}
		if n := len(findings(t, parts)); n >= len(all) {
			t.Skip("it had done everything before it was stopped") // on a machine that stood still
		}
	}
	if out, err := command(t, args(parts)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"figure5.csv", "figure5.png", "hacking.csv", "hacking.png", "runs.csv", "rates.csv"} {
		if read(t, filepath.Join(whole, name)) != read(t, filepath.Join(parts, name)) {
			t.Errorf("%s is another one", name)
		}
	}
	if got := findings(t, parts); !slices.Equal(got, all) {
		t.Errorf("trainings %q, want %q", got, all)
	}
}

// findings returns the names of the files of trainings that are done.
func findings(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "runs", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return each(files, filepath.Base)
}
