package golden

import (
	"errors"
	"math"

	"cps/sampler"
	"cps/schedule"
)

// A noiseLevelsCase has the noise that a published sampler leaves (Eq. 11, Figures 2
// and 8).
type noiseLevelsCase struct {
	Sampler     string
	Eta         float64
	Sigmas      arr
	Level       arr `json:"noise_level"`
	Ideal       arr
	Accumulated arr `json:"accumulated_error"`
}

func judgeNoiseLevels(t tester, path string) {
	w := worst{}
	defer w.log(t)
	eachCase(t, path, func(c noiseLevelsCase, t tester) { c.run(t, w) })
}

func (c noiseLevelsCase) run(t tester, w worst) {
	var level, ideal []float64
	var accumulated, squares float64
	rule := flowRule(t, c.Sampler, c.Eta)
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Flow(c.Sigmas), Rule: rule})
	switch {
	case errors.Is(err, sampler.ErrLost):
		// New makes no sampler of the rule, but the rule has the level all the same.
		t.differs(noiseLost)
		var sum float64
		for i, to := range c.Sigmas[1:] {
			step, err := rule.Coeffs(schedule.Level(c.Sigmas[i]), schedule.Level(to))
			if err != nil {
				t.Fatal(err)
			}
			n := step.NoiseLevel()
			level, ideal = append(level, n), append(ideal, to)
			squares += n * n
			sum += (n - to) * (n + to)
			accumulated = math.Copysign(math.Sqrt(math.Abs(sum)), sum)
		}
	case err != nil:
		t.Fatal(err)
	default:
		for _, a := range s.Audit() {
			level, ideal = append(level, a.Level), append(ideal, a.Ideal)
			accumulated = a.Accumulated
			squares += a.Level * a.Level
		}
	}
	// About ten roundings of terms up to 1 rarely add up to two roundings.
	const u = 0x1p-53
	w.near(t, c.Sampler, "level", level, c.Level, 4*u)
	w.near(t, c.Sampler, "ideal", ideal, c.Ideal, 0)
	// Upstream subtracts squares, each of which is off by up to four roundings. Then it
	// takes the root of the sum, which is NaN if the roundings are larger than the sum.
	if len(c.Accumulated) != 1 {
		t.Fatalf("%d accumulated errors, want 1", len(c.Accumulated))
	}
	want := c.Accumulated[0] * c.Accumulated[0]
	if silent(c.Accumulated) {
		t.differs(noExcess)
		want = 0
	}
	// The excess comes from noise, which is rounded ten times, and is summed n times.
	share := accumulated * accumulated / squares
	tol := max(4*u, (10+float64(len(level))/3)*u*share)
	w.near(t, c.Sampler, "accumulated²", []float64{share}, []float64{want / squares}, tol)
}
