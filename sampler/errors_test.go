package sampler_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func show(x any) string { return fmt.Sprint(x) }

// wantError checks that err wraps target and names every culprit.
func wantError(t testing.TB, err, target error, culprits ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that names %q", culprits)
		return
	}
	if !errors.Is(err, target) {
		t.Errorf("error %q does not wrap %q", err, target)
	}
	if strings.Contains(err.Error(), "%!") {
		t.Errorf("error %q is badly formatted", err)
	}
	for _, c := range culprits {
		if !strings.Contains(err.Error(), c) {
			t.Errorf("error %q does not name %q", err, c)
		}
	}
}

// wantPanic checks that f panics with a message that holds the text.
func wantPanic(t testing.TB, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		switch got := recover().(type) {
		case nil:
			t.Errorf("no panic, want %q", text)
		case string:
			if !strings.Contains(got, text) {
				t.Errorf("panic %q does not say %q", got, text)
			}
		default:
			t.Errorf("panic %v, want %q", got, text)
		}
	}()
	f()
}
