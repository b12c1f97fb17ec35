package grpo

import (
	"errors"
	"fmt"
)

// Reasons why data and settings are refused. Errors of this package wrap one of
// these and name the sample, the group or the field.
var (
	ErrEmpty     = errors.New("empty")
	ErrSize      = errors.New("groups do not divide the samples")
	ErrNotFinite = errors.New("not a finite number")
	ErrOverflow  = errors.New("overflows float64")
	ErrSetting   = errors.New("setting out of range")
	ErrWindow    = errors.New("no such window of steps")
)

const (
	panicGroups  = "grpo: Groups was made for another number of samples"
	panicWeights = "grpo: number of weights and of rewards do not match"
	panicAlias   = "grpo: dst is one of the rewards"
)

// checkLength panics with both names and lengths unless n is the length want.
func checkLength(name string, n int, of string, want int) {
	if n != want {
		wrongLength(name, n, of, want)
	}
}

func wrongLength(name string, n int, of string, want int) {
	panic(fmt.Sprintf("grpo: length of %s is %d, not that of %s, %d", name, n, of, want))
}

func wrap(err error) error { return fmt.Errorf("grpo: %w", err) }
