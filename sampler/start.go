package sampler

import "cps/schedule"

// A Start says how the first latents of a run are made.
type Start uint8

const (
	// FromNoise: pure noise, whatever the first point allocates. Published pipelines start
	// so at a Signal of up to .08 (leading timesteps, DPM-Solver, UniPC). [New] refuses it
	// where Signal is above .1 on the rectified-flow path, or above .25 elsewhere. There
	// the model expects a sample that is partly signal.
	FromNoise Start = iota

	// FromData: Signal·x0 + Noise·ε of clean samples x0. Image-to-image and inversion
	// start so.
	FromData

	// FromPart: the last latents of another run, as they are.
	FromPart
)

// String returns the name of the constant.
func (s Start) String() string { return name("Start", s, "FromNoise", "FromData", "FromPart") }

// check returns an error if the start does not fit p, the first point of the given step.
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
		return fail(ErrConfig, "Part starts at step %d, where latents are not pure noise: set Start to FromPart and bring the latents of the part before, or to FromData and bring clean samples", step)
	case p.Signal > limit:
		return fail(ErrConfig, "the first point has signal %v and noise %v, which is not pure noise: set Start to FromData and bring clean samples, or to FromPart and bring latents", p.Signal, p.Noise)
	}
	return nil
}

// weights returns the weights that make a first latent at p. x holds clean samples, or the
// latents of another part.
func (s Start) weights(p schedule.Point) Affine {
	switch s {
	case FromData:
		return Affine{X: p.Signal, Eps: p.Noise}.round32()
	case FromPart:
		return Affine{X: 1}
	}
	return Affine{Eps: 1}
}
