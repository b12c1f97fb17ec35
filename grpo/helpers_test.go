package grpo

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// eps is the spacing of float64 at 1.
const eps = 0x1p-52

var (
	nan = math.NaN()
	inf = math.Inf(1)
)

// tb is what *testing.T and *rapid.T share.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// near reports elements further than tol from what is wanted; NaN is further than
// any tol.
func near(t tb, what string, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tol) {
			t.Errorf("%s[%d] = %v, want %v to %g", what, i, got[i], want[i], tol)
		}
	}
}

// same reports elements whose bits differ.
func same(t tb, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
			t.Errorf("%s[%d] = %v, want %v to the bit", what, i, got[i], want[i])
		}
	}
}

func must[T any](v T, err error) func(t tb) T {
	return func(t tb) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%v", err)
		}
		return v
	}
}

// wantError checks the kind and the whole text of an error, since a message must
// name the culprit.
func wantError(t *testing.T, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || err.Error() != text {
		t.Errorf("error is %q, want %q (%v)", err, text, kind)
	}
	if strings.Count(text, "grpo:") != 1 {
		t.Errorf("%q does not say once where it comes from", text)
	}
}

func wantPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != want {
			t.Errorf("panic is %v, want %q", got, want)
		}
	}()
	f()
}

func wantNoAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(10, f); n != 0 {
		t.Errorf("%s: %v allocations", what, n)
	}
}

// some draws a list of n numbers, some of which are alike.
func some(t *rapid.T, label string, n int, lo, hi float64) []float64 {
	number := rapid.OneOf(
		rapid.Float64Range(lo, hi),
		rapid.SampledFrom([]float64{lo, (lo + hi) / 2, lo + 0.3*(hi-lo), hi}))
	return rapid.SliceOfN(number, n, n).Draw(t, label)
}
