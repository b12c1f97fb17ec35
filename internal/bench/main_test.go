package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cps/internal/kernel"
)

func TestRun(t *testing.T) {
	o := options{rounds: 2, least: time.Microsecond, quick: true,
		json: filepath.Join(t.TempDir(), "a", "bench.json"), plot: filepath.Join(t.TempDir(), "b", "bench.png")}
	defer kernel.Use(kernel.Implementations()[len(kernel.Implementations())-1])
	if err := run(o, io.Discard); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(o.json)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Results []result }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, name := range kernel.Implementations() {
		for _, pass := range []string{"step", "replay", "gradient", "KL", "base of a solver", "step, spans", "replay, spans", "gradient, spans", "KL, spans", "normal", "step, BFloat16", "replay, Float16", "gradient, BFloat16"} {
			if !slices.ContainsFunc(file.Results, func(r result) bool {
				return r.Pass == pass && r.Implementation == name && r.Elements > 0
			}) {
				t.Errorf("no result of %s, %s", pass, name)
			}
		}
	}
	if _, err := os.Stat(o.plot); err != nil {
		t.Error(err)
	}
}

func TestMedians(t *testing.T) {
	if m := median([]float64{9, 1, 4}); m != 4 {
		t.Errorf("median %v", m)
	}
	if m := median([]float64{9, 1, 4, 2}); m != 3 {
		t.Errorf("median %v", m)
	}
	// The ratio of each round, not the ratio of medians.
	if m := medianRatio([]float64{1, 20, 3}, []float64{2, 10, 1}); m != 2 {
		t.Errorf("ratio %v", m)
	}
}
