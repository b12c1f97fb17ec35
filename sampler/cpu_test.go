package sampler_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// Wrong lengths are programming errors. Messages name the wrong one, its length and the right one.
func TestLengthsPanic(t *testing.T) {
	b := sampler.Batch{Dim: 3, Rows: []sampler.Row{
		{Affine: sampler.Affine{X: 1}},
		{Affine: sampler.Affine{V: 1, Eps: 1}},
	}}
	f := func(n int) []float32 { return make([]float32, n) }
	d := func(n int) []float64 { return make([]float64, n) }
	cpu := sampler.CPU{}
	elements := func(name string, n int) string {
		return fmt.Sprintf("sampler: length of %s is %d, not len(Rows)·Dim = 2·3 = 6", name, n)
	}
	rows := func(name string, n int) string {
		return fmt.Sprintf("sampler: length of %s is %d, not the number of rows, 2", name, n)
	}
	input := func(name string, n int) string {
		return fmt.Sprintf("sampler: length of %s is %d, not that of dst, 3", name, n)
	}
	for _, tc := range []struct {
		says string
		call func()
	}{
		{elements("dst", 5), func() { cpu.Step(f(5), f(6), f(6), b, nil) }},
		{elements("dst", 7), func() { cpu.Step(f(7), f(6), f(6), b, nil) }},
		{elements("dst", 9), func() { cpu.Step(f(9), f(9), f(9), b, nil) }},
		{elements("dst", 0), func() { cpu.Step(nil, f(6), f(6), b, nil) }},
		{elements("x", 5), func() { cpu.Step(f(6), f(5), f(6), b, nil) }},
		{elements("x", 0), func() { cpu.Step(f(6), nil, f(6), b, nil) }},
		{elements("v", 7), func() { cpu.Step(f(6), f(6), f(7), b, nil) }},
		{elements("v", 0), func() { cpu.Step(f(6), f(6), nil, b, nil) }},
		{rows("sq", 1), func() { cpu.Step(f(6), f(6), f(6), b, d(1)) }},
		{rows("sq", 0), func() { cpu.Step(f(6), f(6), f(6), b, []float64{}) }},
		{elements("next", 3), func() { cpu.SumSquares(d(2), f(3), f(6), f(6), b) }},
		{elements("x", 3), func() { cpu.SumSquares(d(2), f(6), f(3), f(6), b) }},
		{elements("v", 3), func() { cpu.SumSquares(d(2), f(6), f(6), f(3), b) }},
		{rows("sq", 3), func() { cpu.SumSquares(d(3), f(6), f(6), f(6), b) }},
		{rows("sq", 0), func() { cpu.SumSquares(nil, f(6), f(6), f(6), b) }},
		{elements("next", 3), func() { cpu.Grad(f(6), f(3), f(6), f(6), b, d(2)) }},
		{elements("x", 3), func() { cpu.Grad(f(6), f(6), f(3), f(6), b, d(2)) }},
		{elements("v", 3), func() { cpu.Grad(f(6), f(6), f(6), f(3), b, d(2)) }},
		{elements("dst", 3), func() { cpu.Grad(f(3), f(6), f(6), f(6), b, d(2)) }},
		{elements("dst", 0), func() { cpu.Grad(nil, f(6), f(6), f(6), b, d(2)) }},
		{rows("scale", 1), func() { cpu.Grad(f(6), f(6), f(6), f(6), b, d(1)) }},
		{rows("scale", 0), func() { cpu.Grad(f(6), f(6), f(6), f(6), b, nil) }},
		{input("x", 2), func() { sampler.Apply(f(3), f(2), f(3), f(3), sampler.Affine{X: 1}) }},
		{input("v", 4), func() { sampler.Apply(f(3), f(3), f(4), f(3), sampler.Affine{V: 1}) }},
		{input("eps", 0), func() { sampler.Apply(d(3), d(3), d(3), nil, sampler.Affine{Eps: 1}) }},
		{input("x", 2), func() {
			sampler.ApplyClipped(f(3), f(2), f(3), f(3), sampler.Coeffs{}, 0, schedule.Level(0.5), 1)
		}},
		{input("v", 2), func() {
			sampler.ApplyClipped(f(3), f(3), f(2), f(3), sampler.Coeffs{}, 0, schedule.Level(0.5), 1)
		}},
		{input("eps", 2), func() {
			sampler.ApplyClipped(f(3), f(3), f(3), f(2), sampler.Coeffs{Eps: 1}, 0, schedule.Level(0.5), 1)
		}},
		{"sampler: clipping limit -1 is negative or NaN", func() {
			sampler.ApplyClipped(f(3), f(3), f(3), f(3), sampler.Coeffs{}, 0, schedule.Level(0.5), -1)
		}},
		{"sampler: clipping limit NaN is negative or NaN", func() {
			sampler.ApplyClipped(f(3), f(3), f(3), f(3), sampler.Coeffs{}, 0, schedule.Level(0.5), math.NaN())
		}},
		{"window [-1, 2) is not within the 3 transitions", func() { sampler.NewTrajectory(b, 3, sampler.Window{Start: -1, End: 2}) }},
		{"window [2, 1) is not within the 3 transitions", func() { sampler.NewTrajectory(b, 3, sampler.Window{Start: 2, End: 1}) }},
		{"sampler: NewTrajectory: window [2, 4) is not within the 3 transitions", func() { sampler.NewTrajectory(b, 3, sampler.Window{Start: 2, End: 4}) }},
		{"sampler: lengths of dst and src differ", func() { sampler.Float16.Pack(make([]uint16, 2), f(3)) }},
		{"sampler: lengths of dst and src differ", func() { sampler.BFloat16.Unpack(f(3), make([]uint16, 4)) }},
		{"sampler: only BFloat16 and Float16 have 16-bit words", func() { sampler.Float32.Pack(nil, nil) }},
		{"sampler: only BFloat16 and Float16 have 16-bit words", func() { sampler.Float32.Unpack(nil, nil) }},
		{"sampler: only BFloat16 and Float16 have 16-bit words", func() { sampler.Storage(3).Pack(nil, nil) }},
	} {
		wantPanic(t, tc.says, tc.call)
	}
	reserved := b
	reserved.Rows = []sampler.Row{{ID: noise.ID{Step: math.MaxUint32}}}
	wantPanic(t, "sampler: row 0 (sample 0): noise step 1<<32 - 1 is reserved", func() { cpu.Step(f(3), nil, nil, reserved, nil) })
	reserved.Rows[0].Step = 0
	reserved.Storage = 3
	wantPanic(t, "sampler: storage of a batch is unknown", func() { cpu.Step(f(3), nil, nil, reserved, nil) })
	wantPanic(t, "sampler: storage of a batch is unknown", func() { cpu.SumSquares(d(1), f(3), nil, nil, reserved) })
	wantPanic(t, "sampler: storage of a batch is unknown", func() { cpu.Grad(f(3), f(3), nil, nil, reserved, d(1)) })
	h := make([]uint16, 3)
	for _, tc := range []struct {
		typ, stored sampler.Storage
		says        string
	}{
		{sampler.Float32, sampler.Float32, "sampler: Type of CPU16 is not BFloat16 or Float16"},
		{3, sampler.Float32, "sampler: Type of CPU16 is not BFloat16 or Float16"},
		{sampler.BFloat16, sampler.Float16, "sampler: CPU16 and the batch store different 16-bit types"},
		{sampler.Float16, 3, "sampler: CPU16 and the batch store different 16-bit types"},
	} {
		cpu16, b := sampler.CPU16{Type: tc.typ}, reserved
		b.Storage = tc.stored
		wantPanic(t, tc.says, func() { cpu16.Step(h, nil, nil, b, nil) })
		wantPanic(t, tc.says, func() { cpu16.SumSquares(d(1), h, nil, nil, b) })
		wantPanic(t, tc.says, func() { cpu16.Grad(h, h, nil, nil, b, d(1)) })
	}
	// These do not panic.
	empty := sampler.Batch{Dim: 3}
	cpu.Step(nil, nil, nil, empty, []float64{})
	cpu.SumSquares(nil, nil, nil, nil, empty)
	cpu.Grad(nil, nil, nil, nil, empty, nil)
	if err := cpu.Sync(); err != nil {
		t.Error(err)
	}
}

// Rounding to storage, at the ends of the types and at ties.
func TestStorageRound(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, tc := range []struct {
		s       sampler.Storage
		x, want float32
	}{
		{sampler.Float32, 0.1, 0.1},
		{sampler.BFloat16, 1 + 0x1p-8, 1}, // a tie, to even
		{sampler.BFloat16, 1 + 0x1.8p-7, 1 + 0x1p-6},
		{sampler.BFloat16, 1 + 0x1.02p-8, 1 + 0x1p-7},
		{sampler.BFloat16, math.MaxFloat32, inf},
		{sampler.BFloat16, -0.1, -0.10009765625},
		{sampler.Float16, 1 + 0x1p-11, 1}, // a tie, to even
		{sampler.Float16, 1 + 0x1.8p-10, 1 + 0x1p-9},
		{sampler.Float16, 65519, 65504},
		{sampler.Float16, 65520, inf},
		{sampler.Float16, -1e6, -inf},
		{sampler.Float16, 0x1p-24, 0x1p-24}, // the smallest
		{sampler.Float16, 0x1p-25, 0},
		{sampler.Float16, 0x1.8p-24, 0x1p-23},
		{sampler.Float16, inf, inf},
	} {
		if got := tc.s.Round(tc.x); got != tc.want {
			t.Errorf("%v rounds %v to %v, want %v", tc.s, tc.x, got, tc.want)
		}
	}
	for _, s := range storages {
		if nan := s.Round(float32(math.NaN())); nan == nan {
			t.Errorf("%v rounds NaN to %v", s, nan)
		}
	}
}

func TestApplyClipped(t *testing.T) {
	from := schedule.Level(0.6)
	c := sampler.Coeffs{X0: 0.5, X1: 0.3, Eps: 0.4}
	x0 := []float64{-3, -1.01, -1, 0, 0.7, 1, 2}
	x1 := []float64{0.5, -1, 2, 0, 1, -2, 0.25}
	ε := []float64{1, 2, -1, 0, 0.5, 0.25, -2}
	for _, p := range predictions {
		x, v, want := make([]float64, len(x0)), make([]float64, len(x0)), make([]float64, len(x0))
		for i := range x0 {
			x[i] = from.Signal*x0[i] + from.Noise*x1[i]
			v[i] = output(p, from, x0[i], x1[i])
			want[i] = c.X0*min(max(x0[i], -1), 1) + c.X1*x1[i] + c.Eps*ε[i]
		}
		got := sampler.ApplyClipped(make([]float64, len(x0)), x, v, ε, c, p, from, 1)
		free := sampler.ApplyClipped(make([]float64, len(x0)), x, v, ε, c, p, from, math.Inf(1))
		affine := sampler.Apply(make([]float64, len(x0)), x, v, ε, c.Affine(p, from))
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-14 {
				t.Errorf("%v: x̂0 %v goes to %v, want %v", p, x0[i], got[i], want[i])
			}
			if math.Abs(free[i]-affine[i]) > 1e-14 {
				t.Errorf("%v: unlimited, x̂0 %v goes to %v, want %v", p, x0[i], free[i], affine[i])
			}
		}
		if bad := sampler.ApplyClipped([]float64{0}, []float64{math.NaN()}, []float64{0}, []float64{0}, c, p, from, 1); !math.IsNaN(bad[0]) {
			t.Errorf("%v: clipping hides a NaN: %v", p, bad)
		}
	}
	// without noise, eps may be nil
	c.Eps = 0
	sampler.ApplyClipped(make([]float32, 1), []float32{1}, []float32{1}, nil, c, sampler.PredictVelocity, from, 1)
}

// The predicted noise fits the latent and the clipped sample.
func TestApplyClippedOutput(t *testing.T) {
	from, to := schedule.Level(0.5), schedule.Level(0.4)
	c, err := sampler.FlowODE{}.Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	// x̂0 = 2 + .5·2 = 3, clipped to 1; the noise is (2 - .5)/.5 = 3, and .6·1 + .4·3 = 1.8.
	// With the noise of the unclipped sample, 2 - .5·2 = 1, it is 1.
	x, v := []float64{2}, []float64{-2}
	if got := sampler.ApplyClippedOutput([]float64{0}, x, v, nil, c, sampler.PredictVelocity, from, 1); math.Abs(got[0]-1.8) > 1e-15 {
		t.Errorf("got %v, want 1.8", got)
	}
	if got := sampler.ApplyClipped([]float64{0}, x, v, nil, c, sampler.PredictVelocity, from, 1); math.Abs(got[0]-1) > 1e-15 {
		t.Errorf("got %v, want 1", got)
	}
	from = schedule.Level(0.6)
	c = sampler.Coeffs{X0: 0.5, X1: 0.3, Eps: 0.4}
	for _, p := range predictions {
		for _, x0 := range []float64{-3, -1, 0.7, 1, 2} {
			const x1, ε = 0.5, -1.25
			x, v := from.Signal*x0+from.Noise*x1, output(p, from, x0, x1)
			clipped := min(max(x0, -1), 1)
			want := c.X0*clipped + c.X1*(x-from.Signal*clipped)/from.Noise + c.Eps*ε
			got := sampler.ApplyClippedOutput([]float64{0}, []float64{x}, []float64{v}, []float64{ε}, c, p, from, 1)
			if math.Abs(got[0]-want) > 1e-14 {
				t.Errorf("%v: x̂0 %v goes to %v, want %v", p, x0, got[0], want)
			}
		}
		if bad := sampler.ApplyClippedOutput([]float64{0}, []float64{math.NaN()}, []float64{0}, []float64{0}, c, p, from, 1); !math.IsNaN(bad[0]) {
			t.Errorf("%v: clipping hides a NaN: %v", p, bad)
		}
	}
	// At level 1 the latent is pure noise.
	if got := sampler.ApplyClippedOutput([]float64{0}, []float64{3}, []float64{-9}, []float64{0}, c, sampler.PredictVelocity, schedule.Level(1), 1); math.Abs(got[0]-(0.5+0.9)) > 1e-15 {
		t.Errorf("at level 1: %v", got)
	}
	wantPanic(t, "holds no noise", func() {
		sampler.ApplyClippedOutput([]float64{0}, []float64{0}, []float64{0}, []float64{0}, c, sampler.PredictVelocity, schedule.Level(0), 1)
	})
	wantPanic(t, "limit NaN is negative or NaN", func() {
		sampler.ApplyClippedOutput([]float64{0}, []float64{0}, []float64{0}, []float64{0}, c, sampler.PredictVelocity, from, math.NaN())
	})
	wantPanic(t, "length of v is 0, not that of dst, 1", func() {
		sampler.ApplyClippedOutput([]float64{0}, []float64{0}, nil, []float64{0}, c, sampler.PredictVelocity, from, 1)
	})
}

// A panic names the first row at fault, wherever it is. A call of few rows has written nothing.
func TestPanicsOfRows(t *testing.T) {
	const dim = 64
	reserved := sampler.Row{ID: noise.ID{Sample: 7, Step: math.MaxUint32}}
	beyond := sampler.Row{ID: noise.ID{Sample: 7}, Block: math.MaxUint32 - 14}
	for rows, nothing := range map[int]bool{256: true, 1000: false, 20000: false} { // whether nothing may be written
		for _, fault := range []struct {
			row  int
			says string
			of   sampler.Row
		}{
			{0, "noise step 1<<32 - 1 is reserved", reserved},
			{rows - 1, "noise step 1<<32 - 1 is reserved", reserved},
			{rows / 2, "of 64 elements from block 4294967281 on, ends beyond the 2³⁴", beyond},
		} {
			b := sampler.Batch{Dim: dim, Rows: make([]sampler.Row, rows)}
			for i := range b.Rows {
				b.Rows[i].Affine = sampler.Affine{X: 1, V: 1, Eps: 1}
			}
			fault.of.Affine = sampler.Affine{X: 1}
			b.Rows[fault.row] = fault.of
			b.Rows[rows-1].Step = math.MaxUint32 // a later fault, which another goroutine may find first
			in, out := normal(b.Len(), 1), make([]float32, b.Len())
			words, to := make([]uint16, b.Len()), make([]uint16, b.Len())
			sampler.Float16.Pack(words, in)
			sq, ones := make([]float64, rows), slices.Repeat([]float64{1}, rows)
			says := fmt.Sprintf("sampler: row %d (sample 7)", fault.row)
			for _, workers := range []int{1, 2} {
				cpu, cpu16 := sampler.CPU{Workers: workers}, sampler.CPU16{Type: sampler.Float16, Workers: workers}
				for _, call := range []func(){
					func() { cpu.Step(out, in, in, b, sq) },
					func() { cpu.SumSquares(sq, in, in, in, b) },
					func() { cpu.Grad(out, in, in, in, b, ones) },
					func() { cpu16.Step(to, words, words, b, sq) },
					func() { cpu16.SumSquares(sq, words, words, words, b) },
					func() { cpu16.Grad(to, words, words, words, b, ones) },
				} {
					wantPanic(t, says, call)
					wantPanic(t, fault.says, call)
				}
			}
			wrote := slices.IndexFunc(out, func(x float32) bool { return x != 0 }) >= 0 ||
				slices.IndexFunc(to, func(x uint16) bool { return x != 0 }) >= 0 ||
				slices.IndexFunc(sq, func(x float64) bool { return x != 0 }) >= 0
			if wrote && nothing {
				t.Errorf("%s: some rows were written", says)
			}
		}
	}
}

// An input that only the last row reads must be there. A call after such a panic is as good as
// one before it.
func TestPanicsOfInputs(t *testing.T) {
	for _, shape := range [][2]int{{256, 64}, {20000, 64}, {40, 40000}} {
		rows, dim := shape[0], shape[1]
		b := sampler.Batch{Dim: dim, Rows: make([]sampler.Row, rows)}
		b.Rows[rows-1].Affine = sampler.Affine{X: 1, V: 1}
		in, out, sq := normal(b.Len(), 1), make([]float32, b.Len()), make([]float64, rows)
		for i := range sq {
			sq[i] = -1
		}
		for _, workers := range []int{1, 2} {
			cpu := sampler.CPU{Workers: workers}
			lengths := fmt.Sprintf("not len(Rows)·Dim = %d·%d = %d", rows, dim, b.Len())
			wantPanic(t, "sampler: length of x is 0, "+lengths, func() { cpu.SumSquares(sq, out, nil, in, b) })
			wantPanic(t, "sampler: length of v is 1, "+lengths, func() { cpu.SumSquares(sq, out, in, in[:1], b) })
			if sq[rows-1] != -1 {
				t.Errorf("%d rows: the sum of the row at fault was written", rows)
			}
		}
		want := make([]float64, rows)
		sampler.CPU{Workers: 1}.SumSquares(want, out, in, in, b)
		sampler.CPU{Workers: 2}.SumSquares(sq, out, in, in, b)
		if !slices.Equal(sq, want) {
			t.Errorf("%d rows: sums after a panic differ from those of another call", rows)
		}
	}
}

// One CPU serves any number of goroutines.
func TestConcurrentUse(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(3), Rule: sampler.FlowCPS{Eta: 0.5}})
	cpu := sampler.CPU{Workers: 3}
	var wait sync.WaitGroup
	runs := make([]*sampler.Trajectory[[]float32], 8)
	for i := range runs {
		wait.Go(func() {
			b := s.Batch(20001, 5, 1, 2)
			runs[i] = rollout(t, s, b, cpu)
		})
	}
	wait.Wait()
	for i, run := range runs {
		if !sameBits(run.Latents[3], runs[0].Latents[3]) || !sameBits64(run.SumSquares[1], runs[0].SumSquares[1]) {
			t.Errorf("run %d differs", i)
		}
	}
}

// The hot path allocates nothing once pooled memory exists. AllocsPerRun drops fractions, so
// it ignores a pool that the collector empties.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: 0.5}, Storage: sampler.BFloat16})
	for _, shape := range [][2]int{{64, 100}, {64, 1000}, {70000, 2}} {
		b := s.Batch(shape[0], 1, make([]uint64, shape[1])...)
		s.SetStep(b, 1)
		x, v, next := normal(b.Len(), 1), normal(b.Len(), 2), make([]float32, b.Len())
		words := make([]uint16, b.Len())
		sq, scale := make([]float64, shape[1]), make([]float64, shape[1])
		for _, workers := range []int{1, 2} {
			cpu, cpu16 := sampler.CPU{Workers: workers}, sampler.CPU16{Type: sampler.BFloat16, Workers: workers}
			for name, call := range map[string]func(){
				"Step":    func() { cpu.Step(next, x, v, b, sq) },
				"Squares": func() { cpu.SumSquares(sq, next, x, v, b) },
				"Grad":    func() { cpu.Grad(v, next, x, v, b, scale) },
				"Step16":  func() { cpu16.Step(words, words, words, b, sq) },
				"Sums16":  func() { cpu16.SumSquares(sq, words, words, words, b) },
				"Grad16":  func() { cpu16.Grad(words, words, words, words, b, scale) },
				"Move":    func() { s.SetStep(b, 2) },
				"Row":     func() { b.Rows[0] = s.Row(3, 1) },
				"At":      func() { _ = s.At(3).Stochastic() },
				"Apply":   func() { sampler.Apply(next, x, v, nil, sampler.Affine{X: 1, V: 2}) },
			} {
				if n := testing.AllocsPerRun(20, call); n != 0 {
					t.Errorf("%s with %d workers on %d×%d: %v allocations", name, workers, shape[1], shape[0], n)
				}
			}
		}
	}
}

// benchmark runs a method on the shapes of image latents and of small problems.
func benchmark(b *testing.B, call func(cpu sampler.CPU, next, x, v []float32, batch sampler.Batch, sums []float64)) {
	for _, shape := range [][2]int{{16, 65536}, {10000, 64}} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%dx%d/workers=%d", shape[0], shape[1], workers), func(b *testing.B) {
				batch := sampler.Batch{Dim: shape[1], Rows: make([]sampler.Row, shape[0])}
				for i := range batch.Rows {
					batch.Rows[i] = sampler.Row{Affine: weights[0], ID: noise.ID{Sample: uint64(i), Step: 1}}
				}
				next, x, v := normal(batch.Len(), 1), normal(batch.Len(), 2), normal(batch.Len(), 3)
				sums := make([]float64, shape[0])
				for b.Loop() {
					call(sampler.CPU{Workers: workers}, next, x, v, batch, sums)
				}
				b.ReportMetric(float64(batch.Len())*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
			})
		}
	}
}

func BenchmarkStep(b *testing.B) {
	benchmark(b, func(cpu sampler.CPU, next, x, v []float32, batch sampler.Batch, sums []float64) {
		cpu.Step(next, x, v, batch, sums)
	})
}

func BenchmarkSquares(b *testing.B) {
	benchmark(b, func(cpu sampler.CPU, next, x, v []float32, batch sampler.Batch, sums []float64) {
		cpu.SumSquares(sums, next, x, v, batch)
	})
}

func BenchmarkGrad(b *testing.B) {
	benchmark(b, func(cpu sampler.CPU, next, x, v []float32, batch sampler.Batch, sums []float64) {
		cpu.Grad(v, next, x, v, batch, sums)
	})
}
