package sampler

import "cps/schedule"

// A Start says what the first latents of a run are made of.
type Start uint8

const (
	// FromNoise: pure noise, whatever the first point allocates. Published pipelines
	// start so at a Signal of up to .08 (leading timesteps, DPM-Solver, UniPC). [New]
	// refuses it where Signal is above .1 on the rectified-flow path and .25 elsewhere:
	// the model is told there that much of the sample is signal.
	FromNoise Start = iota

	// FromData: Signal·x0 + Noise·ε of clean samples x0, as image-to-image and
	// inversion begin.
	FromData

	// FromPart: the last latents of another run, as they are.
	FromPart
)

// String returns the name of the constant.
func (s Start) String() string { return name("Start", s, "FromNoise", "FromData", "FromPart") }

// check reports a start that does not fit the first point, which is that of a step.
func (s Start) check(p schedule.Point, step int) error {
	if s != FromNoise {
		return nil
	}
	limit := .25
	if p.OnFlow() {
		limit = .1
	}
	switch {
	case step > 0:
		return fail(ErrConfig, "Part starts at step %d, where latents are not pure noise: set Start to FromPart, for the latents of the part before, or to FromData", step)
	case p.Signal > limit:
		return fail(ErrConfig, "the first point has signal %v and noise %v, which is not pure noise: set Start to FromData, and begin with clean samples, or to FromPart", p.Signal, p.Noise)
	}
	return nil
}

// weights returns the weights of a first latent at p, with clean samples or the latents of
// another part for x.
func (s Start) weights(p schedule.Point) Affine {
	switch s {
	case FromData:
		return Affine{X: p.Signal, Eps: p.Noise}.round32()
	case FromPart:
		return Affine{X: 1}
	}
	return Affine{Eps: 1}
}
