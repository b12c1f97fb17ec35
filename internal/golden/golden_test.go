// Package golden compares the module with numbers that the published implementations of its
// samplers, losses and schedules computed. It has tests only, and runs every case of every file
// in testdata. The module may differ in a case on purpose, or have nothing to compare with it.
// Then a predicate on the numbers of the case finds the reason, and the test prints it.
//
//	CPS_GOLDEN=DIR go test -count=1 -v -run TestGolden ./internal/golden
//
// judges another folder of the same format. The names of its cases do not matter. A relative
// DIR is relative to the root of the module. -v shows which cases were not judged and why, and
// how near errors came to their tolerances. -count=1 is needed because go test does not watch
// files outside the module, and would repeat an earlier result.
//
// The name of a file without the digits at its end says what it has: ddim2.json is read like
// ddim.json. The test names the files that no judge reads, with a reason. A case with a setting
// that no judge knows fails.
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

// judges has a judge for every kind of file. The kind is the name without digits at its end.
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
	// Every file of the module has a judge, and every judge has a file.
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

// judgeFolder judges every golden file of dir. It names the files that no judge reads.
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

// whyNot returns the reason why no judge reads a file, with the file's own description.
func whyNot(path string) reason {
	if why, ok := otherFiles[kindOf(path)]; ok {
		return reason(why)
	}
	var head struct{ What string }
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, &head) // a file that is not JSON has no description
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

// caseName returns a name for a case: its id, or other fields that describe it.
func caseName(raw json.RawMessage, i int) string {
	var c struct{ ID, Kind, Method, Name, Port string }
	_ = json.Unmarshal(raw, &c) // the judge of the case reports the error
	if c.ID != "" {
		return c.ID
	}
	words := slices.DeleteFunc([]string{c.Kind, c.Method, c.Name, c.Port}, func(s string) bool { return s == "" })
	return fmt.Sprintf("%s/%d", strings.Join(words, "/"), i)
}

// strict decodes settings. A setting that dst lacks is an error, since it might matter.
func strict(b []byte, dst any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(dst)
}

// arr is a flat list of numbers. It reads a lone number as a list of one, and the strings NaN,
// Infinity and -Infinity as those values.
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

// near reports every element where |got-want|/max(1, |want|) is above tol. A NaN equals only a
// NaN, and an infinity only itself.
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
