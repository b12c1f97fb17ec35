package schedule

// An Inversion declares that the points of a Scheduler run from data to noise: its
// Noise increases strictly. It finds the noise that a sample came from, by the
// deterministic rules alone (DDIM inversion, arXiv 2105.05233, Section F; diffusers'
// invert_sigmas).
//
//	schedule.Inversion{Scheduler: schedule.Flow{0, .25, .5, 1}}  a list that rises
//	schedule.Invert(schedule.Linear(10).Shift(3))                a schedule backwards
//
// A run of it starts from data, see sampler.FromData.
type Inversion struct{ Scheduler }

// Invert returns the points of a schedule from the last to the first. Of a nil
// Scheduler it makes an Inversion that Validate refuses.
func Invert(s Scheduler) Inversion {
	if isNil(s) {
		return Inversion{}
	}
	return Inversion{backwards{s}}
}

type backwards struct{ Scheduler }

func (b backwards) At(i int) Point {
	n := b.Steps()
	checkPoint("Invert", i, n)
	return b.Scheduler.At(n - i)
}
