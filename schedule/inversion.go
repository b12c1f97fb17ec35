package schedule

// An Inversion declares that the points of a Scheduler run from data to noise: its
// Noise increases strictly. A run over it finds the noise that a sample came from
// (DDIM inversion, arXiv 2105.05233, Section F; diffusers' invert_sigmas). Only
// deterministic rules can take it.
//
//	schedule.Inversion{Scheduler: schedule.Flow{0, .25, .5, 1}}  a list that rises
//	schedule.Invert(schedule.Linear(10).Shift(3))                a schedule backwards
//
// Such a run starts from data: see sampler.FromData.
type Inversion struct{ Scheduler }

// Invert returns the points of s from the last to the first. Validate refuses the
// Inversion of a nil Scheduler.
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
