package main

import (
	"math"
	"testing"

	"cps/cuda"
	"cps/sampler"
)

// The samples have the deviation that the weights of the steps imply, to within four
// standard errors of σ/√(2n): once in 16000 keys it is not so, and this key is fixed.
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

func TestRun(t *testing.T) {
	if err := run(0, 2, 100); err != nil {
		t.Error(err)
	}
	if err := run(0, 0, 100); err == nil {
		t.Error("no rows")
	}
}
