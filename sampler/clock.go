package sampler

import "math"

// A Rounding says what happens to the fraction of a model's time.
type Rounding uint8

const (
	NoRounding   Rounding = iota // the fraction stays
	RoundNearest                 // to the nearest integer, halves to even
	RoundDown                    // to the integer below, as diffusers' UniPC does for Wan
)

// String returns the name of the constant.
func (r Rounding) String() string {
	return name("Rounding", r, "NoRounding", "RoundNearest", "RoundDown")
}

// A Clock says how a model counts time. A run counts from 1, pure noise, to 0, data
// ([schedule.Point].Time). The model is told
//
//	round(Scale·t)  or, Reversed,  round(Scale·(1-t))
//
// Scale 0 means 1, so the zero Clock tells t itself. Clocks are comparable.
//
//   - Flow models of diffusers take Clock{Scale: 1000}.
//   - Models of VP paths with T timesteps take Clock{Scale: T, Rounding: RoundNearest}.
//   - Z-Image, and GoMLX's example, put data at time 1: they are Reversed.
type Clock struct {
	Scale    float64
	Reversed bool
	Rounding Rounding
}

// At returns the model's time for the time t of a run.
func (c Clock) At(t float64) float64 {
	t = float64(c.scale() * t)
	if c.Reversed {
		t = c.scale() - t // 1 - t would lose digits that rounding down needs
	}
	switch c.Rounding {
	case RoundNearest:
		t = math.RoundToEven(t)
	case RoundDown:
		t = math.Trunc(t)
	}
	return t
}

// check returns an error for a clock that no model can use.
func (c Clock) check() error {
	switch {
	case !(c.Scale >= 0) || math.IsInf(c.Scale, 1):
		return fail(ErrConfig, "Scale of Clock is %v, not a finite number ≥ 0: for a model that counts backwards set Reversed", c.Scale)
	case c.Rounding > RoundDown:
		return fail(ErrConfig, "Rounding of Clock is %v, which is none of the constants", c.Rounding)
	case c.Rounding != NoRounding && c.Scale <= 1:
		return fail(ErrConfig, "Clock rounds to integers with Scale %v: every time would be 0 or 1", c.Scale)
	}
	return nil
}
