package sampler

import "cps/schedule"

// An End says what the last latents of a run are.
type End uint8

const (
	// ToData: samples, whatever little noise the last point leaves. Published schedules
	// end so at a Noise of up to .03 (DDIM without set_alpha_to_one). [New] refuses it
	// where Noise is above .1 after the last step of the scheduler: a list of levels
	// often lacks its final 0. A Part that ends before that step, a run from FromPart,
	// and a schedule.Inversion are not checked.
	ToData End = iota

	// ToPart: latents that keep noise, for another run.
	ToPart
)

// String returns the name of the constant.
func (e End) String() string { return name("End", e, "ToData", "ToPart") }

// check returns an error if the end does not fit the last of the points of a part, which
// takes the steps up to end.
func (e End) check(s Start, points schedule.Points, end int) error {
	last := len(points) - 1
	p := points[last]
	if e == ToPart || s == FromPart || end < last || p.Noise > points[0].Noise || p.Noise <= .1+1e-9 {
		return nil
	}
	return fail(ErrConfig, "the last point has signal %v and noise %v, so samples would stay noisy: append level 0 (Flow.ToZero), or set End to ToPart if another run goes on from there", p.Signal, p.Noise)
}
