package devicetest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"cps/sampler"
)

// fails is what *testing.T and *rapid.T have in common.
type fails interface {
	Helper()
	Fatalf(format string, args ...any)
}

// border surrounds the elements of a buffer. No test computes this value.
const border = -1.75

// A latent is a buffer with a border, and the values that it should hold.
type latent[B any] struct {
	s      *Subject[B]
	whole  B
	buffer B
	typ    sampler.Storage
	skew   int // elements before the buffer in whole
	want   []float32
}

// maxSkew is more than 16 bytes of 2-byte elements.
const maxSkew = 9

// hold returns a buffer of type t that starts skew elements after an aligned address.
// It holds values rounded to t.
func hold[B any](s *Subject[B], values []float32, t sampler.Storage, skew int) *latent[B] {
	n := len(values)
	l := &latent[B]{s: s, typ: t, skew: skew, want: make([]float32, n)}
	all := make([]float32, skew+n+maxSkew)
	for i := range all {
		all[i] = border
	}
	for i, x := range values {
		l.want[i] = t.Round(x)
	}
	copy(all[skew:], l.want)
	l.whole = s.make(len(all), t)
	s.Upload(l.whole, all)
	l.buffer = s.Device.Slice(l.whole, skew, skew+n)
	return l
}

// make returns a buffer of n elements of type t.
func (s *Subject[B]) make(n int, t sampler.Storage) B {
	b, err := s.Device.Make(n, t)
	if err != nil {
		panic(fmt.Sprintf("memory for %d elements of %v: %v", n, t, err))
	}
	return b
}

// check compares the buffer and its border with the values that they should hold.
func (l *latent[B]) check(t fails, name string) {
	t.Helper()
	all := make([]float32, l.skew+len(l.want)+maxSkew)
	l.s.Download(all, l.whole)
	for i, x := range all {
		k := i - l.skew
		if k < 0 || k >= len(l.want) {
			if x != border {
				t.Fatalf("%s: element %d, outside of the buffer of %d, was set to %v", name, k, len(l.want), x)
			}
			continue
		}
		if !same(x, l.want[k]) {
			t.Fatalf("%s: element %d of %d is %v (%#08x), want %v (%#08x)",
				name, k, len(l.want), x, bits(x), l.want[k], bits(l.want[k]))
		}
	}
}

func checkSums(t fails, name string, got, want []float64) {
	t.Helper()
	for i := range want {
		if !same64(got[i], want[i]) {
			t.Fatalf("%s: sum of row %d is %v, want %v", name, i, got[i], want[i])
		}
	}
}

// random returns n values, some of them 0 or -0. No type overflows or loses them.
func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
		if r.IntN(10) == 0 {
			x[i] = float32(math.Copysign(0, float64(x[i])))
		}
	}
	return x
}
