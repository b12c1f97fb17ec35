package golden

import (
	"testing"

	"cps/sampler"
	"cps/schedule"
)

// The noise that published samplers leave (Eq. 11, Figures 2 and 8).
func TestNoiseLevels(t *testing.T) {
	const file = "noise_levels.json"
	var f struct {
		Cases []struct {
			ID, Sampler string
			Eta         float64
			Sigmas      arr
			Level       arr `json:"noise_level"`
			Ideal       arr
			Accumulated arr `json:"accumulated_error"`
		}
	}
	load(t, file, &f)
	list := newChecklist(t, file)
	w := newWorst(t)
	for _, c := range f.Cases {
		list.tick(t, c.ID)
		t.Run(c.ID, func(t *testing.T) {
			s, err := sampler.New(sampler.Config{
				Scheduler: schedule.Flow(c.Sigmas),
				Rule:      flowRule(t, c.Sampler, c.Eta),
			})
			if err != nil {
				t.Fatal(err)
			}
			var level, ideal []float64
			var accumulated, squares float64
			for _, a := range s.Audit() {
				level, ideal = append(level, a.Level), append(ideal, a.Ideal)
				accumulated = a.Accumulated
				squares += a.Level * a.Level
			}
			// Some ten roundings, in terms not above 1, seldom add up to two.
			const u = 0x1p-53
			w.near(t, c.Sampler, "level", level, c.Level, 4*u)
			w.near(t, c.Sampler, "ideal", ideal, c.Ideal, 0)
			// Upstream subtracts squares, of which each is off by up to four
			// roundings; the root halves the relative error of their sum.
			w.scaled(t, c.Sampler, "accumulated", []float64{accumulated}, c.Accumulated,
				4*u*squares/(2*accumulated*accumulated))
		})
	}
}
