package sampler_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// A planned solver has a plan of the test's own.
type planned struct {
	plan  func(points []schedule.Point) []sampler.Move
	facts sampler.Facts
}

func (p *planned) Coeffs(_, to schedule.Point) (sampler.Coeffs, error) {
	return sampler.Coeffs{X0: to.Signal, X1: to.Noise}, nil
}
func (p *planned) Facts() sampler.Facts { return p.facts }
func (p *planned) Plan(points []schedule.Point) ([]sampler.Move, error) {
	return p.plan(points), nil
}

// anyPlan draws a solver of one or two evaluations a step. Its transitions look back at up
// to three evaluations, at x̂0, x̂1, the velocity, or both predictions.
func anyPlan(t *rapid.T) *planned {
	weight := rapid.Map(rapid.IntRange(1, 200), func(i int) float64 { // never 0
		if i > 100 {
			return float64(100-i) / 100
		}
		return float64(i) / 100
	})
	stages := rapid.SliceOfN(rapid.IntRange(1, 2), 16, 16).Draw(t, "evaluations a step")
	kind := rapid.SampledFrom([]string{"x0", "x1", "v", "any"}).Draw(t, "shares")
	still := rapid.Bool().Draw(t, "deterministic steps")
	depth := rapid.IntRange(0, 3).Draw(t, "depth")
	all := rapid.SliceOfN(weight, 32*9, 32*9).Draw(t, "weights")
	return &planned{plan: func(points []schedule.Point) (moves []sampler.Move) {
		for i := range len(points) - 1 {
			for stage := range stages[i%len(stages)] {
				k := len(moves)
				w := all[k%32*9:][:9]
				m := sampler.Move{Step: i, To: points[i+1], Coeffs: sampler.Coeffs{X0: w[0], X1: w[1], Eps: 0.2 + math.Abs(w[2])}}
				if stage+1 < stages[i%len(stages)] {
					m.To = schedule.Level((points[i].Noise + points[i+1].Noise) / 2)
				}
				if still && i%2 == 1 {
					m.Coeffs.Eps = 0
				}
				for back := 1; back <= min(k, depth); back++ {
					q := sampler.Past{Back: back, X0: w[2*back+1], X1: w[2*back+2]}
					switch kind {
					case "x0":
						q.X1 = 0
					case "x1":
						q.X0 = 0
					case "v":
						q.X0 = -q.X1
					}
					m.Past = append(m.Past, q)
				}
				moves = append(moves, m)
			}
		}
		return moves
	}}
}

// anyRun draws a run of a planned solver. All its levels are above 0.
func anyRun(t *rapid.T) sampler.Config {
	n := rapid.IntRange(1, 6).Draw(t, "steps")
	levels := make(schedule.Flow, n+1)
	for i := range levels {
		levels[i] = 0.95 - 0.9*float64(i)/float64(n)
	}
	return sampler.Config{
		Scheduler: levels,
		Rule:      anyPlan(t),
		Storage:   rapid.SampledFrom([]sampler.Storage{sampler.Float32, sampler.BFloat16, sampler.Float16}).Draw(t, "storage"),
	}
}

func newOf(t *rapid.T, c sampler.Config) *sampler.Sampler {
	s, err := sampler.New(c)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}

// rolled returns a rollout of the test model that keeps all latents.
func rolled(t fataler, s *sampler.Sampler, b sampler.Batch) *sampler.Trajectory[[]float32] {
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatalf("%v", err)
	}
	return run
}

// Every transition of any plan is the sum of its Move, in float32.
func TestRolloutTakesThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyRun(t)
		c.Storage = sampler.Float32
		s := newOf(t, c)
		b := s.Batch(12, 9, 4, 5)
		run := rolled(t, s, b)
		points := schedule.Points{}
		for i := range c.Scheduler.Steps() + 1 {
			points = append(points, c.Scheduler.At(i))
		}
		moves, _ := c.Rule.(sampler.Solver).Plan(points)
		if len(moves) != s.Steps() {
			t.Fatalf("%d transitions of %d moves", s.Steps(), len(moves))
		}
		out := make([][]float32, s.Steps())
		for k, m := range moves {
			tr := s.At(k)
			out[k] = make([]float32, b.Len())
			testModel(out[k], run.Latents[k], tr.From.Time)
			eps := make([]float32, b.Len())
			draw := b
			draw.Rows = nil
			for _, r := range b.Rows {
				id := s.Row(r.Sample, k).ID
				if want := uint32(1 + tr.Step + 1<<16*tr.Stage); id.Step != want {
					t.Fatalf("transition %d draws noise step %d, want %d", k, id.Step, want)
				}
				draw.Rows = append(draw.Rows, sampler.Row{Affine: sampler.Affine{Eps: 1}, ID: id})
			}
			sampler.CPU{}.Step(eps, nil, nil, draw, nil)
			for i, got := range run.Latents[k+1] {
				want := m.Coeffs.Eps * float64(eps[i])
				size := 1 + math.Abs(want)
				for _, q := range append([]sampler.Past{{X0: m.Coeffs.X0, X1: m.Coeffs.X1}}, m.Past...) {
					from := s.At(k - q.Back).From
					x, v := float64(run.Latents[k-q.Back][i]), float64(out[k-q.Back][i])
					want += q.X0*(x-from.Noise*v) + q.X1*(x+from.Signal*v)
					size += (math.Abs(q.X0) + math.Abs(q.X1)) * (math.Abs(x) + math.Abs(v))
				}
				if math.Abs(float64(got)-want) > 1e-6*size {
					t.Fatalf("transition %d: %v, the plan says %v", k, got, want)
				}
			}
		}
	})
}

// A replay gives the sums of the rollout bit for bit. The batch is that of the rollout,
// another one, or spans. The window is some transitions alone. The rollout may keep any
// latents.
func TestReplayOfSolvers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newOf(t, anyRun(t))
		b := s.Batch(16, 9, 4, 5, 6)
		if rapid.Bool().Draw(t, "spans") {
			b = b.Spans(rapid.SampledFrom([]int{4, 8}).Draw(t, "length of spans"))
		}
		run := rolled(t, s, b)
		last := *sampler.NewTrajectory(b, s.Steps(), sampler.Window{Start: s.Steps(), End: s.Steps()})
		sampler.CPU{}.Step(last.Latents[0], nil, nil, b, nil)
		if err := sampler.Rollout(bg, sampler.CPU{Workers: 1}, s, b, &last, sampler.OneTime(testModel)); err != nil {
			t.Fatalf("%v", err)
		}
		if !sameBits(last.Latents[s.Steps()], run.Latents[s.Steps()]) {
			t.Fatalf("the run in one buffer ends elsewhere")
		}
		if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel), 2, 5); err != nil {
			t.Fatalf("%v", err)
		}
		// A single transition asks for all evaluations on which it depends.
		k := rapid.IntRange(0, s.Steps()-1).Draw(t, "transition")
		want := run.SumSquares[k]
		run.SumSquares = make([][]float64, s.Steps())
		run.SumSquares[k] = make([]float64, len(b.Rows))
		calls := 0
		model := sampler.OneTime(func(v, x []float32, time float64) error { calls++; return testModel(v, x, time) })
		if err := sampler.Replay(bg, sampler.CPU{}, s, b, run, model); err != nil {
			t.Fatalf("%v", err)
		}
		if !sameBits64(run.SumSquares[k], want) || calls != len(s.Evaluations(k)) {
			t.Fatalf("transition %d alone: sums %v, want %v, by %d evaluations of %v", k, run.SumSquares[k], want, calls, s.Evaluations(k))
		}
	})
}

// words runs the test model on 16-bit words.
func words(t sampler.Storage) sampler.Model[[]uint16] {
	return sampler.OneTime(func(v, x []uint16, time float64) error {
		in, out := make([]float32, len(x)), make([]float32, len(x))
		t.Unpack(in, x)
		testModel(out, in, time)
		t.Pack(v, out)
		return nil
	})
}

// On 16-bit words, whose buffers also round the base, a replay gives the bits of the
// rollout.
func TestReplayOfSolversInWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyRun(t)
		if c.Storage == sampler.Float32 {
			c.Storage = sampler.BFloat16
		}
		s, d := newOf(t, c), sampler.CPU16{Type: c.Storage}
		b := s.Batch(16, 9, 4, 5, 6)
		run := &sampler.Trajectory[[]uint16]{V: make([]uint16, b.Len())}
		for range s.Steps() + 1 {
			run.Latents = append(run.Latents, make([]uint16, b.Len()))
		}
		for range s.Steps() {
			run.SumSquares = append(run.SumSquares, make([]float64, len(b.Rows)))
		}
		d.Step(run.Latents[0], nil, nil, b, nil)
		if err := sampler.Rollout(bg, d, s, b, run, words(c.Storage)); err != nil {
			t.Fatalf("%v", err)
		}
		if err := sampler.CheckOnPolicy(bg, d, s, b, run, words(c.Storage)); err != nil {
			t.Fatalf("%v", err)
		}
		mixedRows(t, d, s, b, run, words(c.Storage))
	})
}

// Rows at different transitions, as in training, have the sums of the rollout.
func TestMixedRowsOfSolvers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newOf(t, anyRun(t))
		b := s.Batch(16, 9, 4, 5, 6)
		mixedRows(t, sampler.CPU{}, s, b, rolled(t, s, b), sampler.OneTime(testModel))
	})
}

func mixedRows[B any](t *rapid.T, d sampler.Memory[B], s *sampler.Sampler, b sampler.Batch, run *sampler.Trajectory[B], model sampler.Model[B]) {
	at := rapid.SliceOfN(rapid.IntRange(0, s.Steps()-1), len(b.Rows), len(b.Rows)).Draw(t, "transitions")
	mixed := b
	mixed.Rows = nil
	for row, k := range at {
		mixed.Rows = append(mixed.Rows, s.Row(b.Rows[row].Sample, k))
	}
	buffer := func() B {
		x, err := d.Like(run.V, b.Len())
		if err != nil {
			t.Fatalf("%v", err)
		}
		return x
	}
	var none B
	copied := sampler.Batch{Dim: b.Dim, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1}}}}
	// The outputs and kept vectors of all evaluations, and for every row those of its own.
	out, kept := make([]B, s.Steps()), map[[2]int]B{}
	h := sampler.History[B]{Device: d, Sampler: s}
	rows := []int{0, 1, 2}
	for k := range out {
		out[k] = buffer()
		c := sampler.Call[B]{Dim: b.Dim, V: out[k], X: run.Latents[k], Rows: rows, Times: []float64{s.Time(k), s.Time(k), s.Time(k)}}
		if err := model(bg, c); err != nil {
			t.Fatalf("%v", err)
		}
		s.SetStep(b, k)
		for i := range s.At(k).Keep {
			kept[[2]int{k, i}] = buffer()
			h.Keep(kept[[2]int{k, i}], i, run.Latents[k], out[k], b)
		}
	}
	gather := func(of func(k int) (B, bool)) B {
		dst := buffer()
		for row, k := range at {
			if x, ok := of(k); ok {
				lo, hi := row*b.Dim, (row+1)*b.Dim
				d.Step(d.Slice(dst, lo, hi), d.Slice(x, lo, hi), none, copied, nil)
			}
		}
		return dst
	}
	x := gather(func(k int) (B, bool) { return run.Latents[k], true })
	next := gather(func(k int) (B, bool) { return run.Latents[k+1], true })
	v := gather(func(k int) (B, bool) { return out[k], true })
	base, sq := buffer(), make([]float64, len(at))
	h.Base(base, x, func(back, i int) B {
		return gather(func(k int) (B, bool) { x, ok := kept[[2]int{k - back, i}]; return x, ok })
	}, mixed)
	d.SumSquares(sq, next, base, v, mixed)
	for row, k := range at {
		if sq[row] != run.SumSquares[k][row] {
			t.Fatalf("row %d at transition %d: sum %v, in the rollout %v", row, k, sq[row], run.SumSquares[k][row])
		}
	}
}

// The exact gradient is the derivative of Σ w·log p by an offset of the velocity, which
// also reaches the outputs of the history. Given the latents, log p is a parabola of the
// offset. So central differences are exact at any distance.
func TestGradientOfSolvers(t *testing.T) {
	form := logprob.Form{Gaussian: true, Sum: true}
	rapid.Check(t, func(t *rapid.T) {
		c := anyRun(t)
		c.Storage = sampler.Float32
		s := newOf(t, c)
		b := s.Batch(8, 9, 4, 5)
		run := rolled(t, s, b)
		for k := range run.SumSquares {
			if !s.At(k).Stochastic() {
				run.SumSquares[k] = nil
			}
		}
		if len(s.Stochastic()) == 0 {
			return
		}
		size := 0.0
		total := func(offset float32) (sum float64) {
			model := sampler.OneTime(func(v, x []float32, time float64) error {
				testModel(v, x, time)
				for i := range v {
					v[i] += offset
				}
				return nil
			})
			if err := sampler.Replay(bg, sampler.CPU{}, s, b, run, model); err != nil {
				t.Fatalf("%v", err)
			}
			for k, sq := range run.SumSquares {
				if sq == nil {
					continue
				}
				lp, err := logprob.OfRun(make([]float64, 2), form, s, b, run, k)
				if err != nil {
					t.Fatalf("%v", err)
				}
				for row, lp := range lp {
					sum += float64(1+k+row) * lp
					size += math.Abs(float64(1+k+row) * lp)
				}
			}
			return sum
		}
		want := (total(0.5) - total(-0.5))
		var got float64
		h := sampler.History[[]float32]{Device: sampler.CPU{}, Sampler: s}
		kept, base := map[[2]int][]float32{}, make([]float32, b.Len())
		dv := make([]float32, b.Len())
		for k := range s.Steps() {
			s.SetStep(b, k)
			x, v := run.Latents[k], make([]float32, b.Len())
			testModel(v, x, s.Time(k))
			for i := range s.At(k).Keep {
				kept[[2]int{k, i}] = make([]float32, b.Len())
				h.Keep(kept[[2]int{k, i}], i, x, v, b)
			}
			if run.SumSquares[k] == nil {
				continue
			}
			h.Base(base, x, func(back, i int) []float32 { return kept[[2]int{k - back, i}] }, b)
			scale, err := form.GradScale(make([]float64, 2), b, []float64{float64(1 + k), float64(2 + k)})
			if err != nil {
				t.Fatalf("%v", err)
			}
			h.Backward(func(int) []float32 { return dv }, run.Latents[k+1], base, v, b, scale)
		}
		for _, g := range dv {
			got += float64(g)
		}
		if math.Abs(got-want) > 2e-5*size+1e-5 {
			t.Fatalf("gradient %v, by differences %v, of terms of %v", got, want, size)
		}
	})
}

// Audit agrees with the noise that a run leaves, computed from its whole covariance.
func TestAuditOfSolvers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newOf(t, anyRun(t))
		ones := [][]float64{make([]float64, s.Steps()+1)} // x̂1 of every evaluation, in terms of the noise drawn
		ones[0][0] = 1
		for k, a := range s.Audit() {
			tr := s.At(k)
			left := make([]float64, s.Steps()+1)
			signal := 0.0
			for _, q := range append([]sampler.Past{{X0: tr.Coeffs.X0, X1: tr.Coeffs.X1}}, tr.Past...) {
				signal += q.X0
				for i, x := range ones[k-q.Back] {
					left[i] += q.X1 * x
				}
			}
			left[k+1] = tr.Coeffs.Eps
			var sq float64
			for _, x := range left {
				sq += x * x
			}
			noise := math.Sqrt(sq)
			if math.Abs(a.Signal-signal) > 1e-12 || math.Abs(a.Level-noise) > 1e-7 {
				t.Fatalf("transition %d leaves %v and %v, Audit says %v and %v", k, signal, noise, a.Signal, a.Level)
			}
			for i := range left {
				left[i] /= max(noise, 1e-300)
			}
			ones = append(ones, left)
		}
	})
}

// No transition looks beyond the edge of a window, of a run of steps in a set, or of a
// part.
func TestHistoryEndsAtEdges(t *testing.T) {
	three := solver.DPMPlus{Order: 3, Eta: 1}
	for name, tc := range map[string]struct {
		c      sampler.Config
		starts []int // steps that start afresh
	}{
		"whole":  {sampler.Config{Rule: three}, []int{0}},
		"window": {sampler.Config{Rule: three, Window: sampler.Window{Start: 3, End: 6}, Outside: solver.DPMPlus{Order: 3}}, []int{0, 3, 6}},
		"set":    {sampler.Config{Rule: three, Set: []int{1, 2, 4}, Outside: solver.DPMPlus{Order: 3}}, []int{0, 1, 3, 4, 5}},
		"part":   {sampler.Config{Rule: three, Part: sampler.Window{Start: 2, End: 8}, Start: sampler.FromPart}, []int{2}},
	} {
		tc.c.Scheduler = schedule.Linear(10)[1:] // from .9 on: 9 steps
		if tc.c.Start == sampler.FromNoise {
			tc.c.Start = sampler.FromData
		}
		s := mustNew(t, tc.c)
		start := 0
		for i := range s.Steps() {
			tr := s.At(i)
			if slices.Contains(tc.starts, tr.Step) {
				start = tr.Step
			}
			want := min(tr.Step-start, 2)
			if tr.To.Noise == 0 {
				want = 0
			}
			if len(tr.Past) != want || (tr.Base == nil) != (want == 0) {
				t.Errorf("%s: step %d looks back at %d evaluations, want %d", name, tr.Step, len(tr.Past), want)
			}
		}
	}
}

// A step with a deterministic stage draws noise but has no density, and its error says so.
func TestDeterministicStages(t *testing.T) {
	stages := func(eps ...float64) *planned {
		return &planned{facts: sampler.Facts{Name: "Stages"}, plan: func(points []schedule.Point) (moves []sampler.Move) {
			for i := range len(points) - 1 {
				for _, e := range eps {
					moves = append(moves, sampler.Move{Step: i, To: points[i+1], Coeffs: sampler.Coeffs{X0: 0.5, X1: 0.2, Eps: e}})
				}
			}
			return moves
		}}
	}
	for _, tc := range []struct {
		eps        []float64
		stochastic []int
	}{
		{[]float64{0.1}, []int{0, 1}},
		{[]float64{0.1, 0.2}, []int{0, 1, 2, 3}},
		{[]float64{0, 0.2}, nil},
		{[]float64{0.2, 0}, nil},
		{[]float64{0, 0}, nil},
	} {
		s := mustNew(t, sampler.Config{Scheduler: schedule.Flow{1, 0.6, 0.3}, End: sampler.ToPart, Rule: stages(tc.eps...)})
		if got := s.Stochastic(); !slices.Equal(got, tc.stochastic) {
			t.Errorf("Eps %v: transitions %v have a density, want %v", tc.eps, got, tc.stochastic)
		}
		if w := s.Transitions(sampler.Window{Start: 1, End: 2}); w != (sampler.Window{Start: len(tc.eps), End: 2 * len(tc.eps)}) {
			t.Errorf("step 1 has the transitions %v", w)
		}
		b := s.Batch(4, 1, 0)
		run := rolled(t, s, b)
		for k := range s.Steps() {
			err := s.At(k).Density()
			if slices.Contains(tc.stochastic, k) {
				if err != nil {
					t.Errorf("Eps %v: transition %d: %v", tc.eps, k, err)
				}
				continue
			}
			if tc.eps[k%len(tc.eps)] != 0 {
				wantError(t, err, sampler.ErrDensity, "Stages", fmt.Sprintf("step %d", k/2), "stage without noise")
			} else {
				wantError(t, err, sampler.ErrDensity, "draws no noise")
			}
			_, err = logprob.OfRun(make([]float64, 1), logprob.Form{}, s, b, run, k)
			wantError(t, err, logprob.ErrNoDensity)
		}
		if len(tc.stochastic) == 0 {
			_, err := sampler.New(sampler.Config{Scheduler: schedule.Flow{1, 0.6, 0.3}, End: sampler.ToPart, Rule: stages(tc.eps...), Set: []int{0}})
			wantError(t, err, sampler.ErrConfig, "none can be trained")
		}
	}
}

// No stage of the last step of the longest schedule draws the reserved noise step.
func TestMostStages(t *testing.T) {
	config := func(stages int) sampler.Config {
		return sampler.Config{
			Scheduler: schedule.Linear(65535),
			Part:      sampler.Window{Start: 65534, End: 65535},
			Start:     sampler.FromPart,
			Rule: &planned{facts: sampler.Facts{Name: "Stages"}, plan: func(points []schedule.Point) (moves []sampler.Move) {
				m := sampler.Move{To: points[1], Coeffs: sampler.Coeffs{X0: 1, Eps: 0.1}}
				return slices.Repeat([]sampler.Move{m}, stages)
			}},
		}
	}
	s := mustNew(t, config(65535))
	b := s.Batch(4, 1, 0)
	s.SetStep(b, s.Steps()-1)
	if got := b.Rows[0].Step; got != 65535+65534<<16 {
		t.Errorf("the last stage draws the noise of step %d", got)
	}
	x := make([]float32, 4)
	sampler.CPU{}.Step(x, x, x, b, nil)
	h := sampler.History[[]float32]{Device: sampler.CPU{}, Sampler: s}
	h.Base(x, x, nil, b) // panics if it does not find the transition
	_, err := sampler.New(config(65536))
	wantError(t, err, sampler.ErrConfig, "step 65534", "more than 65535 evaluations")
}

// Steps of another part have no transitions, wherever that part is. A trajectory with
// their window keeps the last latents alone.
func TestTransitionsOfParts(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowCPS{Eta: 0.5}, Part: sampler.Window{Start: 4, End: 8}, Start: sampler.FromPart})
	for _, tc := range []struct{ steps, want sampler.Window }{
		{sampler.Window{}, sampler.Window{End: 4}},
		{sampler.Window{End: 10}, sampler.Window{End: 4}},
		{sampler.Window{Start: 2, End: 5}, sampler.Window{End: 1}},
		{sampler.Window{Start: 5, End: 7}, sampler.Window{Start: 1, End: 3}},
		{sampler.Window{Start: 7, End: 10}, sampler.Window{Start: 3, End: 4}},
		{sampler.Window{End: 4}, sampler.Window{Start: 4, End: 4}},
		{sampler.Window{Start: 1, End: 3}, sampler.Window{Start: 4, End: 4}},
		{sampler.Window{Start: 8, End: 10}, sampler.Window{Start: 4, End: 4}},
		{sampler.Window{Start: 6, End: 6}, sampler.Window{Start: 4, End: 4}},
	} {
		got := s.Transitions(tc.steps)
		if got != tc.want {
			t.Errorf("the steps %v have the transitions %v, want %v", tc.steps, got, tc.want)
		}
		kept := 0
		for _, sq := range sampler.NewTrajectory(s.Batch(4, 1, 0), s.Steps(), got).SumSquares {
			if sq != nil {
				kept++
			}
		}
		if kept != tc.want.End-tc.want.Start {
			t.Errorf("the steps %v: %d transitions are kept", tc.steps, kept)
		}
	}
	wantPanic(t, "window [5, 2) ends before it starts", func() { s.Transitions(sampler.Window{Start: 5, End: 2}) })
}

// New refuses an invalid plan, and names the step and the solver.
func TestBadPlans(t *testing.T) {
	points := schedule.Flow{1, 0.6, 0.3}
	good := func() []sampler.Move {
		return []sampler.Move{
			{Step: 0, To: schedule.Level(0.6), Coeffs: sampler.Coeffs{X0: 0.4, X1: 0.6}},
			{Step: 1, To: schedule.Level(0.3), Coeffs: sampler.Coeffs{X0: 0.7, X1: 0.3}, Past: []sampler.Past{{Back: 1, X0: 0.1}}},
		}
	}
	for name, tc := range map[string]struct {
		spoil    func(m []sampler.Move) []sampler.Move
		kind     error
		culprits []string
		facts    sampler.Facts
	}{
		"too short":     {func(m []sampler.Move) []sampler.Move { return m[:1] }, sampler.ErrConfig, []string{"plan of 1 moves"}, sampler.Facts{}},
		"empty":         {func(m []sampler.Move) []sampler.Move { return nil }, sampler.ErrConfig, []string{"plan of 0 moves"}, sampler.Facts{}},
		"too long":      {func(m []sampler.Move) []sampler.Move { m[1].Step = 2; return m }, sampler.ErrConfig, []string{"move 1", "step 2"}, sampler.Facts{}},
		"backwards":     {func(m []sampler.Move) []sampler.Move { m[0], m[1] = m[1], m[0]; return m }, sampler.ErrConfig, []string{"move 0"}, sampler.Facts{}},
		"elsewhere":     {func(m []sampler.Move) []sampler.Move { m[0].To.Noise = 0.5; return m }, sampler.ErrConfig, []string{"move 1"}, sampler.Facts{}},
		"not the end":   {func(m []sampler.Move) []sampler.Move { m[1].To.Noise = 0.2; return m }, sampler.ErrConfig, []string{"does not end"}, sampler.Facts{}},
		"too far":       {func(m []sampler.Move) []sampler.Move { m[1].Past[0].Back = 2; return m }, sampler.ErrConfig, []string{"evaluation -1"}, sampler.Facts{}},
		"itself":        {func(m []sampler.Move) []sampler.Move { m[1].Past[0].Back = 0; return m }, sampler.ErrConfig, []string{"move 1", "evaluation 1"}, sampler.Facts{}},
		"twice":         {func(m []sampler.Move) []sampler.Move { m[1].Past = append(m[1].Past, m[1].Past...); return m }, sampler.ErrConfig, []string{"order of Back"}, sampler.Facts{}},
		"NaN":           {func(m []sampler.Move) []sampler.Move { m[1].Past[0].X1 = nan; return m }, sampler.ErrSingular, []string{"NaN"}, sampler.Facts{}},
		"infinite":      {func(m []sampler.Move) []sampler.Move { m[1].Coeffs.X0 = inf; return m }, sampler.ErrSingular, []string{"Inf"}, sampler.Facts{}},
		"beyond":        {func(m []sampler.Move) []sampler.Move { m[1].Past[0].X0 = 1e300; return m }, sampler.ErrSingular, []string{"step 1", "beyond float32"}, sampler.Facts{}},
		"negative":      {func(m []sampler.Move) []sampler.Move { m[1].Coeffs.Eps = -1; return m }, sampler.ErrSingular, []string{"Eps"}, sampler.Facts{}},
		"not preserved": {func(m []sampler.Move) []sampler.Move { return m }, sampler.ErrFacts, []string{"step 1", "preserves coefficients", "0.7"}, sampler.Facts{Preserving: true}},
		"other path":    {func(m []sampler.Move) []sampler.Move { return m }, sampler.ErrPath, []string{"step 0", "variance-preserving"}, sampler.Facts{Path: sampler.VPPath}},
	} {
		tc.facts.Name = "Bad"
		r := &planned{facts: tc.facts, plan: func([]schedule.Point) []sampler.Move { return tc.spoil(good()) }}
		_, err := sampler.New(sampler.Config{Scheduler: points, Rule: r, End: sampler.ToPart})
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		wantError(t, err, tc.kind, append(tc.culprits, "sampler: step ", "Bad: ")...)
	}
	if _, err := sampler.New(sampler.Config{Scheduler: points, End: sampler.ToPart, Rule: &planned{plan: func([]schedule.Point) []sampler.Move { return good() }}}); err != nil {
		t.Errorf("a good plan: %v", err)
	}
	noisy := &planned{facts: sampler.Facts{Name: "Noisy"}, plan: func(p []schedule.Point) []sampler.Move {
		return []sampler.Move{{To: p[1], Coeffs: sampler.Coeffs{X0: 0.5, X1: 0.2, Eps: 0.1}}}
	}}
	_, err := sampler.New(sampler.Config{Scheduler: schedule.Inversion{Scheduler: schedule.Flow{0.3, 0.6}}, Rule: noisy, Start: sampler.FromData})
	wantError(t, err, sampler.ErrPath, "Noisy", "inversion is deterministic")
}

// onlyDevice is a device that cannot make memory.
type onlyDevice struct{ sampler.Device[[]float32] }

// If a trajectory lacks something for transitions that look back, the error says what to
// do.
func TestTrajectoriesOfSolvers(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(6), Rule: solver.DPMPlus{Order: 3, Eta: 1}})
	b := s.Batch(8, 1, 0, 1)
	if s.Depth() != 2 || s.Vectors() != 1 || s.Scratch() != 3 {
		t.Fatalf("depth %d, %d vectors, %d buffers", s.Depth(), s.Vectors(), s.Scratch())
	}
	model := sampler.OneTime(testModel)
	whole := rolled(t, s, b)
	mine := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	device := onlyDevice{sampler.CPU{}}
	device.Step(mine.Latents[0], nil, nil, b, nil)
	wantError(t, sampler.Rollout(bg, device, s, b, mine, model), sampler.ErrTrajectory, "Scratch", "3 buffers")
	for range 3 {
		mine.Scratch = append(mine.Scratch, make([]float32, b.Len()))
	}
	if err := sampler.Rollout(bg, device, s, b, mine, model); err != nil {
		t.Fatal(err)
	}
	if !sameBits(mine.Latents[6], whole.Latents[6]) {
		t.Error("the caller's own memory gives other bits")
	}
	spoilt := func(f func(t *sampler.Trajectory[[]float32])) error {
		c := *mine
		c.Scratch, c.Latents = slices.Clone(mine.Scratch), slices.Clone(mine.Latents)
		f(&c)
		return sampler.Replay(bg, device, s, b, &c, model)
	}
	for _, tc := range []struct {
		f        func(t *sampler.Trajectory[[]float32])
		culprits []string
	}{
		{func(t *sampler.Trajectory[[]float32]) { t.Scratch = t.Scratch[:2] }, []string{"Scratch has 2 buffers", "needs 3"}},
		{func(t *sampler.Trajectory[[]float32]) { t.Scratch[1] = make([]float32, 3) }, []string{"Scratch[1]", "3 elements"}},
		{func(t *sampler.Trajectory[[]float32]) { t.Scratch[1] = t.Scratch[0] }, []string{"Scratch[0] and Scratch[1]"}},
		{func(t *sampler.Trajectory[[]float32]) { t.Scratch[2] = t.V }, []string{"Scratch[2] and V"}},
		{func(t *sampler.Trajectory[[]float32]) { t.Scratch[2] = t.Latents[4] }, []string{"Latents[4] and Scratch[2]"}},
		{func(t *sampler.Trajectory[[]float32]) { t.Latents[2] = t.Latents[5] }, []string{"Latents[2] and Latents[5]", "transition 2"}},
		{func(t *sampler.Trajectory[[]float32]) {
			t.First, t.Latents, t.SumSquares = 3, t.Latents[3:], t.SumSquares[3:]
		}, []string{"transition 3 looks back", "before the trajectory"}},
	} {
		wantError(t, spoilt(tc.f), sampler.ErrTrajectory, tc.culprits...)
	}
	// A trajectory from the middle serves the transitions whose history it contains.
	if err := spoilt(func(t *sampler.Trajectory[[]float32]) {
		t.First, t.Latents, t.SumSquares = 1, t.Latents[1:], [][]float64{nil, nil, make([]float64, 2), nil, nil}
	}); err != nil {
		t.Errorf("transition 3 with its history: %v", err)
	}
	// CheckOnPolicy finds a policy whose outputs differ in the history.
	off := sampler.OneTime(func(v, x []float32, time float64) error {
		testModel(v, x, time)
		if time == 1-1./6 {
			v[0]++
		}
		return nil
	})
	whole.SumSquares[1] = nil // without its own transition, only those that look back at it are left
	wantError(t, sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, whole, off), sampler.ErrOffPolicy, "step 2, row 0")
}

// Rows that wait, or that stand at no transition, look back at nothing.
func TestStandingRowsOfSolvers(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(6), Rule: solver.DPMPlus{Order: 2, Eta: 1}})
	b := s.Batch(4, 1, 0, 1, 2)
	s.SetStep(b, 3)
	b.Rows[1].Affine = sampler.Affine{X: 1}
	b.Rows[2] = sampler.InitialRow(2)
	h := sampler.History[[]float32]{Device: sampler.CPU{}, Sampler: s}
	x, v := normal(12, 1), normal(12, 2)
	kept, base := make([]float32, 12), make([]float32, 12)
	h.Keep(kept, 0, x, v, b)
	for i, k := range kept {
		if (k != 0) != (i < 4) {
			t.Errorf("kept of row %d: %v", i/4, k)
		}
	}
	h.Base(base, x, func(int, int) []float32 { return v }, b)
	if !sameBits(base[4:], x[4:]) || sameBits(base[:4], x[:4]) {
		t.Error("the base of a row that stands still is not its latents")
	}
	dv := [2][]float32{make([]float32, 12), make([]float32, 12)}
	h.Backward(func(back int) []float32 { return dv[back] }, v, base, x, b, []float64{1, 0, 0})
	if dv[1][0] == 0 || dv[1][4] != 0 || dv[1][8] != 0 {
		t.Errorf("gradients of the history: %v", dv[1])
	}
	b.Rows[0].Step = 40
	wantPanic(t, "stands at no transition", func() { h.Base(base, x, func(int, int) []float32 { return v }, b) })
	b.Rows[0].Step = 3 + 1<<16
	wantPanic(t, "stands at no transition", func() { h.Base(base, x, func(int, int) []float32 { return v }, b) })
}

// Base allocates nothing.
func TestHistoryAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector drops pooled memory")
	}
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(6), Rule: solver.DPMPlus{Order: 3, Eta: 1}})
	b := s.Batch(64, 1, 0, 1, 2)
	s.SetStep(b, 3)
	h := sampler.History[[]float32]{Device: sampler.CPU{Workers: 1}, Sampler: s}
	x, v, base := normal(192, 1), normal(192, 2), make([]float32, 192)
	kept := [3][]float32{nil, normal(192, 3), normal(192, 4)}
	back := func(back, _ int) []float32 { return kept[back] }
	dv := func(back int) []float32 { return kept[max(back, 1)] }
	scale := make([]float64, 3)
	call := func() {
		h.Keep(base, 0, x, v, b)
		h.Base(base, x, back, b)
		h.Mean(base, base, v, b)
		h.Backward(dv, x, base, v, b, scale)
	}
	call()
	if n := testing.AllocsPerRun(20, call); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The divergence of two policies is that of their means, whose bases differ. Its gradient
// reaches the history. Central differences are exact, since it is a parabola.
func TestMeanKLOfSolvers(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(6), Rule: solver.DPMPlus{Order: 3, Eta: 1}})
	const k = 3
	b := s.Batch(8, noise.Key(3), 0, 1)
	run := rolled(t, s, b)
	h := sampler.History[[]float32]{Device: sampler.CPU{}, Sampler: s}
	// of returns the base and the output of transition k under a policy.
	of := func(offset float32) (base, v []float32) {
		kept := map[int][]float32{}
		for j := k - 2; j <= k; j++ {
			v = make([]float32, b.Len())
			testModel(v, run.Latents[j], s.Time(j))
			for i := range v {
				v[i] += offset * float32(i%3)
			}
			s.SetStep(b, j)
			kept[j] = make([]float32, b.Len())
			h.Keep(kept[j], 0, run.Latents[j], v, b)
		}
		base = make([]float32, b.Len())
		h.Base(base, run.Latents[k], func(back, _ int) []float32 { return kept[k-back] }, b)
		return base, v
	}
	ref := make([]float32, b.Len())
	base, v := of(0)
	h.Mean(ref, base, v, b)
	for _, form := range []logprob.Form{{Gaussian: true, Sum: true}, {Gaussian: true}, {}, {Sum: true}} {
		kl := func(offset float32) (sum float64) {
			base, v := of(offset)
			sq := make([]float64, 2)
			sampler.CPU{}.SumSquares(sq, ref, base, v, b)
			got, err := form.MeanKL(sq, b, sq)
			if err != nil {
				t.Fatal(err)
			}
			return got[0] + got[1]
		}
		want := (kl(1.5) - kl(0.5))
		base, v := of(1)
		dv := [3][]float32{make([]float32, 16), make([]float32, 16), make([]float32, 16)}
		scale, err := form.GradScaleMeanKL(make([]float64, 2), b, 1)
		if err != nil {
			t.Fatal(err)
		}
		h.Backward(func(back int) []float32 { return dv[back] }, ref, base, v, b, scale)
		var got float64
		for _, dv := range dv {
			for i, g := range dv {
				got += float64(g) * float64(i%3)
			}
		}
		if math.Abs(got-want) > 1e-5*math.Abs(want) {
			t.Errorf("%+v: gradient %v, by differences %v", form, got, want)
		}
		// With the same history it is the divergence of the outputs.
		s.SetStep(b, 0)
		sq := []float64{2, 3}
		share := s.At(0).Affine.V
		mean, err := form.MeanKL(make([]float64, 2), b, []float64{2 * share * share, 3 * share * share})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := form.KL(sq, b, sq); err != nil || !closeTo(mean[0], out[0], 1e-12) || !closeTo(mean[1], out[1], 1e-12) {
			t.Errorf("%+v: MeanKL %v, KL %v, %v", form, mean, out, err)
		}
		s.SetStep(b, k)
	}
}

// Rollouts of solvers stop on an error, and Observe sees every evaluation with its latents
// and output.
func TestObserveSolvers(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(6), Rule: solver.DPMPlus{Order: 2, Eta: 1}})
	b := s.Batch(8, 1, 0, 1)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	seen := 0
	run.Observe = func(_ context.Context, o sampler.Observation[[]float32]) error {
		v := make([]float32, len(o.X))
		testModel(v, o.X, s.Time(o.Transition))
		if !sameBits(v, o.V) || !sameBits(o.X, run.Latents[seen]) {
			t.Errorf("transition %d: other latents or outputs are observed", seen)
		}
		seen++
		return nil
	}
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil || seen != 6 {
		t.Errorf("%d observed, %v", seen, err)
	}
}
