// Package golden runs the module against numbers that the published
// implementations of its samplers, losses and schedules computed. Every case of
// every file in testdata is run. Where the module differs, or has nothing to compare
// with, a predicate on the case finds the reason, and the test says it. It holds
// tests only.
//
//	CPS_GOLDEN=DIR go test -count=1 -v -run TestGolden ./internal/golden
//
// judges another folder of the same format, whatever its cases are called; a relative
// DIR counts from the root of the module. -v shows what was not judged and why, and how
// near the errors came to their tolerances. Without -count=1 a result of earlier
// contents of DIR would stand, for go test does not watch files outside the module.
//
// A file is told by its name up to digits: ddim2.json is read as ddim.json is. Files
// that no judge reads are named with the reason. A setting that no judge knows fails
// its case.
package golden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A judge runs all cases of one golden file.
type judge func(t tester, path string)

// judges has one for every kind of file, by the file's name up to digits.
var judges = map[string]judge{
	"advantages":         judgeAdvantages,
	"ddim":               judgeDDIM,
	"grpo_loss":          judgeGRPOLoss,
	"noise_levels":       judgeNoiseLevels,
	"real_model":         judgeTrajectories,
	"rng":                judgeRNG,
	"rollouts_diffusers": judgeRolloutsDiffusers,
	"schedules":          judgeSchedules,
	"solvers_multistep":  judgeSolvers,
	"steps":              judgeSteps,
	"trajectories":       judgeTrajectories,
}

const ours = "testdata"

// folder returns the folder to judge.
func folder() string {
	dir := os.Getenv("CPS_GOLDEN")
	switch {
	case dir == "":
		return ours
	case filepath.IsAbs(dir):
		return dir
	}
	return filepath.Join("..", "..", dir)
}

func TestGolden(t *testing.T) {
	dir := folder()
	judgeFolder(live{t}, dir)
	if dir != ours {
		return
	}
	// What the module ships is complete, and has a judge.
	kinds := map[string]bool{}
	for _, path := range goldenFiles(live{t}, dir) {
		kinds[kindOf(path)] = true
		if judges[kindOf(path)] == nil {
			t.Errorf("no judge reads %s", path)
		}
	}
	for kind := range judges {
		if !kinds[kind] {
			t.Errorf("%s has no file for the judge of %q", dir, kind)
		}
	}
}

// judgeFolder judges every golden file of dir, or says why not.
func judgeFolder(t tester, dir string) {
	judged := false
	for _, path := range goldenFiles(t, dir) {
		t.Run(filepath.Base(path), func(t tester) {
			judge := judges[kindOf(path)]
			if judge == nil {
				t.notJudged(whyNot(path))
			}
			judged = true
			judge(t, path)
		})
	}
	if !judged {
		t.Errorf("%s has no file that a judge reads", dir)
	}
}

func goldenFiles(t tester, dir string) []string {
	t.Helper()
	if _, err := os.ReadDir(dir); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// kindOf returns the name of a file without the digits at its end.
func kindOf(path string) string {
	return strings.TrimRight(strings.TrimSuffix(filepath.Base(path), ".json"), "0123456789")
}

// whyNot says why no judge reads a file, with what the file says of itself.
func whyNot(path string) reason {
	if why, ok := otherFiles[kindOf(path)]; ok {
		return reason(why)
	}
	var head struct{ What string }
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, &head) // what is not JSON has nothing to say
	}
	return reason(fmt.Sprintf("no judge knows %s (%q); known are %s", filepath.Base(path), head.What,
		strings.Join(slices.Sorted(maps.Keys(judges)), ", ")))
}

// load decodes a golden file into dst. testdata/README.md defines the format.
func load(t tester, path string, dst any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var head struct{ Format int }
	if err := json.Unmarshal(b, &head); err != nil || head.Format != 1 {
		t.Fatalf("%s: format %d, want 1: %v", path, head.Format, err)
	}
	if err := json.Unmarshal(b, dst); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// eachCase runs judge on every case of a file, as a test of its own.
func eachCase[T any](t tester, path string, judge func(c T, t tester)) {
	t.Helper()
	var f struct{ Cases []json.RawMessage }
	load(t, path, &f)
	if len(f.Cases) == 0 {
		t.Fatalf("%s has no cases", path)
	}
	for i, raw := range f.Cases {
		t.Run(caseName(raw, i), func(t tester) {
			var c T
			if err := json.Unmarshal(raw, &c); err != nil {
				t.Fatal(err)
			}
			judge(c, t)
		})
	}
}

// caseName returns what to call a case: its id, or what it says of itself.
func caseName(raw json.RawMessage, i int) string {
	var c struct{ ID, Kind, Method, Name, Port string }
	_ = json.Unmarshal(raw, &c) // whoever decodes the case says what is wrong with it
	if c.ID != "" {
		return c.ID
	}
	words := slices.DeleteFunc([]string{c.Kind, c.Method, c.Name, c.Port}, func(s string) bool { return s == "" })
	return fmt.Sprintf("%s/%d", strings.Join(words, "/"), i)
}

// strict decodes settings. One that dst lacks is an error, for it might matter.
func strict(b []byte, dst any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(dst)
}

// arr is a flat list of numbers. It reads a lone number as a list of one, and
// the strings NaN, Infinity and -Infinity as what they say.
type arr []float64

func (a *arr) UnmarshalJSON(b []byte) error {
	*a = (*a)[:0]
	list := strings.Trim(strings.TrimSpace(string(b)), "[]")
	if strings.TrimSpace(list) == "" {
		return nil
	}
	for word := range strings.SplitSeq(list, ",") {
		v, err := strconv.ParseFloat(strings.Trim(word, "\" \t\r\n"), 64)
		if err != nil {
			return err
		}
		*a = append(*a, v)
	}
	return nil
}

// near reports every element where |got-want|/max(1, |want|) is above tol.
// NaN agrees with NaN alone, an infinity with itself alone.
func near(t tester, what string, got, want []float64, tol float64) {
	t.Helper()
	t.judged(len(want))
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	for i, w := range want {
		g := got[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if d := math.Abs(g-w) / max(1, math.Abs(w)); !(d <= tol) || math.IsInf(w, 0) {
			t.Errorf("%s[%d] = %v, want %v: off by %.3g, tolerance %g", what, i, g, w, d, tol)
		}
	}
}
