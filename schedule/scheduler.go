package schedule

import (
	"errors"
	"fmt"
	"reflect"
)

// A Scheduler allocates the coefficients of every point of a run (Definition 1).
// Its methods must return the same values every time, and must be safe for
// concurrent use. Validate lists the other requirements.
type Scheduler interface {
	Steps() int     // N; a run has N+1 points
	At(i int) Point // point i, noisiest first; panics unless 0 <= i <= Steps()
}

// The reasons why Validate refuses a Scheduler. They come wrapped with the place
// and the values; test for them with errors.Is.
var (
	ErrNil   = errors.New("scheduler is nil")
	ErrShort = errors.New("fewer than two points")
	ErrRange = errors.New("coefficient outside [0, 1]")
	ErrOrder = errors.New("noise does not decrease strictly")
	ErrLong  = errors.New("more than 65535 steps")
)

// MaxSteps is the largest number of steps of a run, and of the betas and timesteps
// that this package makes. Samplers name the noise of a step by 16 bits.
const MaxSteps = 1<<16 - 1

// Validate returns the first reason why s is not a schedule, or nil. It serves
// every Scheduler, including the caller's own. A schedule has
//
//   - a value: a nil interface, pointer or func is ErrNil;
//   - at least one step: else ErrShort, which a nil slice is too;
//   - at most MaxSteps steps: else ErrLong;
//   - Noise, Signal and Time in [0, 1] at every point: else ErrRange, which NaN
//     and the infinities are too;
//   - strictly decreasing Noise: else ErrOrder. A repeated level would be a step
//     that does nothing and has no log-probability. A rising list runs from data
//     to noise; declare it as an [Inversion], whose Noise must increase strictly.
//
// A schedule need not begin at pure noise or end at pure data. Signal and Time
// need not be in any order. Validate calls Steps once, and At once for each point
// until the first fault.
func Validate(s Scheduler) error {
	_, err := PointsOf(s)
	return err
}

// PointsOf returns a copy of the points of s, or the error of Validate. It calls
// At once for each point.
func PointsOf(s Scheduler) (Points, error) {
	inverse, rises := s.(Inversion)
	if isNil(s) || rises && isNil(inverse.Scheduler) {
		return nil, fmt.Errorf("schedule: %w", ErrNil)
	}
	n := s.Steps()
	if n < 1 {
		return nil, fmt.Errorf("schedule: Steps is %d: %w", n, ErrShort)
	}
	if n > MaxSteps {
		return nil, fmt.Errorf("schedule: Steps is %d: %w", n, ErrLong)
	}
	points := make(Points, 0, n+1)
	for i := range n + 1 {
		p := s.At(i)
		if err := checkRange(i, p); err != nil {
			return nil, err
		}
		if i > 0 {
			if err := checkOrder(i, points[i-1].Noise, p.Noise, rises); err != nil {
				return nil, err
			}
		}
		points = append(points, p)
	}
	return points, nil
}

func checkOrder(i int, before, noise float64, rises bool) error {
	switch {
	case rises && noise <= before:
		return fmt.Errorf("schedule: level %d (%v) is not above level %d (%v), as in an Inversion: %w",
			i, noise, i-1, before, ErrOrder)
	case !rises && noise > before:
		return fmt.Errorf("schedule: level %d (%v) is not below level %d (%v); a run from data to noise is an Inversion: %w",
			i, noise, i-1, before, ErrOrder)
	case !rises && noise == before:
		return fmt.Errorf("schedule: level %d (%v) is not below level %d (%v): %w",
			i, noise, i-1, before, ErrOrder)
	}
	return nil
}

func checkRange(i int, p Point) error {
	for _, c := range [...]struct {
		name  string
		value float64
	}{{"noise", p.Noise}, {"signal", p.Signal}, {"time", p.Time}} {
		if !in01(c.value) {
			return fmt.Errorf("schedule: level %d: %s is %v: %w", i, c.name, c.value, ErrRange)
		}
	}
	return nil
}

// in01 reports whether x lies in [0, 1]; NaN does not.
func in01(x float64) bool { return 0 <= x && x <= 1 }

func isNil(s Scheduler) bool {
	if s == nil {
		return true
	}
	switch v := reflect.ValueOf(s); v.Kind() {
	case reflect.Pointer, reflect.Func:
		return v.IsNil()
	}
	return false
}
