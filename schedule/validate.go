package schedule

import (
	"errors"
	"fmt"
	"reflect"
)

// The reasons why a Scheduler is not a schedule. Validate wraps them with the
// place and the values; test for them with errors.Is.
var (
	ErrNil   = errors.New("scheduler is nil")
	ErrShort = errors.New("fewer than two points")
	ErrRange = errors.New("coefficient outside [0, 1]")
	ErrOrder = errors.New("noise does not decrease strictly")
)

// A Scheduler allocates the coefficients of every point of a run (Definition
// 1). Its methods are pure: they return the same every time and may be called
// by several goroutines at once.
type Scheduler interface {
	Steps() int     // N; a run has N+1 points
	At(i int) Point // panics unless 0 <= i <= Steps()
}

// Validate reports the first reason why s is not a schedule, or nil. It serves
// every Scheduler, the caller's own too.
func Validate(s Scheduler) error {
	if s == nil {
		return fmt.Errorf("schedule: %w", ErrNil)
	}
	if v := reflect.ValueOf(s); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("schedule: %T: %w", s, ErrNil)
	}
	n := s.Steps()
	if n < 1 {
		return fmt.Errorf("schedule: %w: Steps is %d", ErrShort, n)
	}
	var last Point
	for i := range n + 1 {
		p := s.At(i)
		if err := inRange(i, p); err != nil {
			return err
		}
		if i > 0 && !(p.Noise < last.Noise) {
			return fmt.Errorf("schedule: level %d (%v) is not below level %d (%v): %w", i, p.Noise, i-1, last.Noise, ErrOrder)
		}
		last = p
	}
	return nil
}

func inRange(i int, p Point) error {
	for _, c := range [...]struct {
		name  string
		value float64
	}{{"noise", p.Noise}, {"signal", p.Signal}, {"time", p.Time}} {
		if !(c.value >= 0 && c.value <= 1) { // NaN too
			return fmt.Errorf("schedule: level %d: %s is %v: %w", i, c.name, c.value, ErrRange)
		}
	}
	return nil
}
