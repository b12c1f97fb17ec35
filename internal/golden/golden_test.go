// Package golden runs the module against numbers that the published
// implementations of its samplers, losses and schedules computed. Every case of
// every file in testdata is run, or is named beside the reason why the module
// differs. It holds tests only.
//
//	CPS_GOLDEN=DIR go test -count=1 ./internal/golden
//
// runs it on another folder of the same format; a relative DIR counts from the
// root of the module. Without -count=1 a result of earlier contents of DIR would stand,
// for go test does not watch files outside the module.
package golden

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

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

// load decodes a golden file into dst. testdata/README.md defines the format.
func load(t *testing.T, file string, dst any) {
	t.Helper()
	dir := cmp.Or(os.Getenv("CPS_GOLDEN"), "internal/golden/testdata")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", "..", dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	var head struct{ Format int }
	if err := json.Unmarshal(b, &head); err != nil || head.Format != 1 {
		t.Fatalf("%s: format %d, want 1: %v", file, head.Format, err)
	}
	if err := json.Unmarshal(b, dst); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// A checklist holds the cases of a file that no test has run yet.
type checklist map[string]bool

// newChecklist lists the cases of a file. When t ends, those not ticked fail it.
func newChecklist(t *testing.T, file string) checklist {
	t.Helper()
	var f struct{ Cases []struct{ ID string } }
	load(t, file, &f)
	list := checklist{}
	for i, c := range f.Cases {
		if c.ID == "" || list[c.ID] {
			t.Fatalf("%s: case %d has no id of its own: %q", file, i, c.ID)
		}
		list[c.ID] = true
	}
	if len(list) == 0 {
		t.Fatalf("%s has no cases", file)
	}
	t.Cleanup(func() {
		for _, id := range slices.Sorted(maps.Keys(list)) {
			t.Errorf("%s: no test ran case %q", file, id)
		}
	})
	return list
}

// tick takes a case off the list, once. Tick before t.Run, so that a -run
// filter does not look like a case forgotten.
func (c checklist) tick(t *testing.T, id string) {
	t.Helper()
	if !c[id] {
		t.Fatalf("case %q is not on the list, or was run before", id)
	}
	delete(c, id)
}

// near reports every element where |got-want|/max(1, |want|) is above tol.
// NaN agrees with NaN alone, an infinity with itself alone.
func near(t *testing.T, what string, got, want []float64, tol float64) {
	t.Helper()
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
