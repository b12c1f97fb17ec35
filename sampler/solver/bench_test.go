package solver_test

import (
	"testing"

	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// A step without the model: kept vectors, the base, and the step with its noise. The
// bytes are those read and written, 4 for each float32 of every pass.
func BenchmarkStep(b *testing.B) {
	for _, tc := range []struct {
		name string
		rule sampler.Rule
	}{
		{"order=1/noise", solver.DPMPlus{Order: 1, Eta: 1}},
		{"order=2/noise", solver.DPMPlus{Order: 2, Eta: 1}},
		{"order=3/noise", solver.DPMPlus{Order: 3, Eta: 1}},
		{"order=1/ode", solver.DPMPlus{Order: 1}},
		{"order=2/ode", solver.DPMPlus{Order: 2}},
		{"order=3/ode", solver.DPMPlus{Order: 3}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			s := mustNew(b, sampler.Config{Scheduler: schedule.Linear(10).Shift(3), Rule: tc.rule})
			const k, dim = 5, 65536
			h := sampler.History[[]float32]{Device: sampler.CPU{Workers: 1}, Sampler: s}
			batch := s.Batch(dim, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
			var buffers [6][]float32
			for i := range buffers {
				buffers[i] = make([]float32, batch.Len())
				h.Device.Step(buffers[i], nil, nil, batch, nil)
			}
			x, v, next, base, kept := buffers[0], buffers[1], buffers[2], buffers[3], buffers[4:]
			s.SetStep(batch, k)
			passes := 1 + len(s.At(k).Keep) + max(0, len(s.At(k).Base)-1)
			sq := make([]float64, len(batch.Rows))
			back := func(back, _ int) []float32 { return kept[back-1] }
			for b.Loop() {
				from := x
				if s.At(k).Base != nil {
					from = base
					h.Base(base, x, back, batch)
				}
				if len(s.At(k).Keep) > 0 {
					h.Keep(kept[1], 0, x, v, batch)
				}
				h.Device.Step(next, from, v, batch, sq)
			}
			b.ReportMetric(float64(12*passes), "B/elem")
			b.ReportMetric(float64(b.N)*float64(batch.Len())/b.Elapsed().Seconds()/1e9, "Gelem/s")
		})
	}
}
