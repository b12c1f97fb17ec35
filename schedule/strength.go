package schedule

import (
	"errors"
	"fmt"
)

// ErrStrength is the reason when a strength leaves no step to take.
var ErrStrength = errors.New("the strength leaves no step")

// FirstStep returns the step of an n-step schedule at which image-to-image of a
// strength in (0, 1] begins. The run takes the steps from FirstStep to n-1:
//
//	n - n·strength, rounded down
//
// as diffusers' flow pipelines do (StableDiffusion3Img2ImgPipeline.get_timesteps).
// diffusers' pipelines for variance-preserving models round n·strength down instead.
// They take one step less where it is no integer. A strength outside [0, 1], or NaN,
// is ErrRange. A strength that leaves no step is ErrStrength. n below 1 is ErrShort.
func FirstStep(n int, strength float64) (int, error) {
	switch {
	case n < 1:
		return 0, fmt.Errorf("schedule: %d steps: %w", n, ErrShort)
	case !in01(strength):
		return 0, fmt.Errorf("schedule: strength %v: %w", strength, ErrRange)
	}
	first := int(float64(n) - float64(float64(n)*strength))
	if first >= n {
		return 0, fmt.Errorf("schedule: strength %v of %d steps: %w, take a larger one", strength, n, ErrStrength)
	}
	return first, nil
}
