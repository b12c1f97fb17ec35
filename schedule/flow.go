package schedule

// Flow lists rectified-flow levels t, noisiest first. At level t Signal is 1-t,
// and Noise and Time are t. Flow is a Scheduler. A literal is as good as a
// constructor. Validate refuses the nil Flow.
//
// Methods return new levels and leave f alone. Constructors and methods never
// panic, whatever numbers they get. An n below 1 or above MaxSteps gives no
// levels. Other numbers that make no sense give levels that are NaN, out of
// range or out of order, and Validate names the first of these.
type Flow []float64

// count reports whether n levels, betas or timesteps may be made.
func count(n int) bool { return 1 <= n && n <= MaxSteps }

// Steps returns len(f) - 1, which is -1 for an empty list.
func (f Flow) Steps() int { return len(f) - 1 }

// At returns Level(f[i]). It panics unless 0 <= i <= Steps().
func (f Flow) At(i int) Point {
	checkPoint("Flow", i, f.Steps())
	return Level(f[i])
}

// Linear returns the levels 1, 1-1/n, …, 1/n, 0 of n steps. It is the base of
// most schedules: FLUX.1 schnell samples on Linear(4), and published trainers
// on Linear(n).Shift(s).
func Linear(n int) Flow {
	if !count(n) {
		return nil
	}
	f := make(Flow, n+1)
	for i := range f {
		f[i] = float64(n-i) / float64(n)
	}
	return f
}

// FlowOf returns a copy of levels computed elsewhere. A float32 keeps its value,
// not its decimal: float32(0.1) becomes 0.10000000149011612.
func FlowOf[T ~float32 | ~float64](levels []T) Flow {
	f := make(Flow, len(levels))
	for i, t := range levels {
		f[i] = float64(t)
	}
	return f
}

// ToZero returns f with a final level 0 appended, unless f ends in 0. Lists of
// custom sigmas or timesteps usually lack this 0.
func (f Flow) ToZero() Flow {
	g := make(Flow, len(f), len(f)+1)
	copy(g, f)
	if len(f) > 0 && f[len(f)-1] == 0 {
		return g
	}
	return append(g, 0)
}
