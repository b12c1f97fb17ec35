package main

import (
	"io"
	"math"
	"strings"
	"testing"

	"cps/cuda"
	"cps/sampler"
)

// The samples have the standard deviation that the formula gives, to within four standard
// errors σ/√(2n). One key in 16000 fails; this key is fixed.
func TestDeviation(t *testing.T) {
	const rows, dim = 4, 1 << 14
	r, err := sample(host(), rows, dim)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.deviation-r.expected) > 4*r.expected/math.Sqrt(2*rows*dim) {
		t.Errorf("deviation %v, want %v", r.deviation, r.expected)
	}
}

// Every device has the same digest.
func TestSameDigest(t *testing.T) {
	want, err := sample(host(), 3, 2000)
	if err != nil {
		t.Fatal(err)
	}
	one := host()
	one.Device = sampler.CPU{Workers: 1}
	got, err := sample(one, 3, 2000)
	if err != nil {
		t.Fatal(err)
	}
	if got.digest() != want.digest() {
		t.Errorf("one worker: digest %s, want %s", got.digest(), want.digest())
	}
	gpu, err := cuda.Open(0)
	if err != nil {
		t.Skip(err)
	}
	defer gpu.Close()
	if got, err = sample(device(gpu), 3, 2000); err != nil {
		t.Fatal(err)
	}
	if got.digest() != want.digest() {
		t.Errorf("GPU: digest %s, want %s", got.digest(), want.digest())
	}
}

// The program says what it did. A wrong flag gives an error with its name.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out, 0, 2, 100); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Drew 2 samples of 100 elements on ", "FlowCPS, η = 0.7, 20 steps", "standard deviation 0.", "Every device prints the same one."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("printed\n%swithout %q", &out, want)
		}
	}
	for flag, c := range map[string][2]int{"-rows 0": {0, 100}, "-dim -1": {2, -1}} {
		if err := run(io.Discard, 0, c[0], c[1]); err == nil || !strings.Contains(err.Error(), flag+" is not positive") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
