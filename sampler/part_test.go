package sampler_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// walk returns the latents of a run of c. It starts from the first latents x, or from
// noise or data as c.Start says.
func walk(t fataler, c sampler.Config, dim int, x []float32, samples ...uint64) *sampler.Trajectory[[]float32] {
	s, err := sampler.New(c)
	if err != nil {
		t.Fatalf("%v", err)
	}
	b := s.Batch(dim, 5, samples...)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	sampler.CPU{}.Step(run.Latents[0], x, nil, b, nil)
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatalf("%v", err)
	}
	return run
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// A run cut into parts anywhere equals the whole run bit for bit.
func TestPartsAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 9).Draw(t, "steps")
		c := sampler.Config{
			Scheduler: schedule.Linear(n).Shift(3),
			Rule:      rapid.SampledFrom([]sampler.Rule{sampler.FlowCPS{Eta: 0.7}, sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}, sampler.DDIM{Eta: 1}}).Draw(t, "rule"),
			Storage:   rapid.SampledFrom([]sampler.Storage{sampler.Float32, sampler.BFloat16, sampler.Float16}).Draw(t, "storage"),
		}
		whole := walk(t, c, 40, nil, 3, 9)
		var x []float32
		for at := 0; at < n; {
			end := rapid.IntRange(at+1, n).Draw(t, "end")
			part := c
			part.Part = sampler.Window{Start: at, End: end}
			if at > 0 {
				part.Start = sampler.FromPart
			}
			run := walk(t, part, 40, x, 3, 9)
			for i, x := range run.Latents {
				if !sameBits(x, whole.Latents[at+i]) {
					t.Fatalf("part [%d, %d): latents %d differ from the whole's", at, end, at+i)
				}
			}
			for i, sq := range run.SumSquares {
				if !sameBits64(sq, whole.SumSquares[at+i]) {
					t.Fatalf("part [%d, %d): sums %d differ from the whole's", at, end, at+i)
				}
			}
			x, at = run.Latents[end-at], end
		}
	})
}

// spread returns the root mean square of x.
func spread(x []float32) float64 {
	var s float64
	for _, x := range x {
		s += float64(x) * float64(x)
	}
	return math.Sqrt(s / float64(len(x)))
}

// Two parts under one key draw different noise. Data are N(0, 1), so the exact
// velocity is linear in x. Linear(20) is cut at 10, with FlowSDE and Ratio(0.7). If
// the second part drew the noise of the first one again, the deviation would be 1.282.
// The run without a cut leaves 0.988. Both are by the exact recursion. Over 4·2¹⁶
// elements the error of the deviation is 1/√(2n) = .0014; the test allows 5 of these.
func TestPartsDrawTheirOwnNoise(t *testing.T) {
	velocity := func(v, x []float32, time float64) error {
		q2 := (1-time)*(1-time) + time*time
		for i := range v {
			v[i] = float32((2*time - 1) / q2 * float64(x[i]))
		}
		return nil
	}
	const dim = 1 << 16
	var x []float32
	for _, part := range []sampler.Window{{Start: 0, End: 10}, {Start: 10, End: 20}} {
		start := sampler.FromNoise
		if part.Start > 0 {
			start = sampler.FromPart
		}
		s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(20), Rule: sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}, Part: part, Start: start})
		b := s.Batch(dim, 1, 0, 1, 2, 3)
		run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
		sampler.CPU{}.Step(run.Latents[0], x, nil, b, nil)
		if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(velocity)); err != nil {
			t.Fatal(err)
		}
		x = run.Latents[10]
	}
	if got := spread(x); math.Abs(got-0.988) > 5*0.0014 {
		t.Errorf("deviation %.4f, want .988", got)
	}
}

// From data, the first latents are Signal·x0 + Noise·ε. At level 0.6 of x0 = 0 their
// deviation is .6; that of plain noise is 1. 2¹⁸ elements resolve .6/√(2·2¹⁸) = .0008.
func TestStartFromData(t *testing.T) {
	levels := schedule.Linear(20)[8:]
	s := mustNew(t, sampler.Config{Scheduler: levels, Rule: sampler.FlowODE{}, Start: sampler.FromData})
	const dim = 1 << 18
	b := s.Batch(dim, 3, 7)
	clean, x := make([]float32, dim), make([]float32, dim)
	sampler.CPU{}.Step(x, clean, nil, b, nil)
	if got := spread(x); math.Abs(got-0.6) > 5*0.0008 {
		t.Errorf("deviation %.4f, want .6", got)
	}
	// This is the formula, element by element.
	eps := make([]float32, dim)
	noise.Normal(eps, 3, noise.ID{Sample: 7}, 0)
	for i := range clean {
		clean[i] = float32(i%7) - 3
	}
	sampler.CPU{}.Step(x, clean, nil, b, nil)
	want := sampler.Apply(make([]float32, dim), clean, nil, eps, sampler.Affine{X: float64(float32(1 - levels[0])), Eps: float64(float32(levels[0]))})
	if !sameBits(x, want) {
		t.Error("not Signal·x0 + Noise·ε")
	}
}

// From data, a part starts at the level of its own first step.
func TestPartStartsFromData(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowODE{}, Part: sampler.Window{Start: 4, End: 10}, Start: sampler.FromData})
	want := sampler.Affine{X: float64(float32(0.4)), Eps: float64(float32(0.6))}
	for _, r := range s.Batch(4, 3, 7, 8).Rows {
		if r.Affine != want {
			t.Errorf("the first latents have the weights %+v, want %+v", r.Affine, want)
		}
	}
}

// Pure noise may start a run where published pipelines start so, and not at a larger
// signal.
func TestStartFromNoise(t *testing.T) {
	for _, tc := range []struct {
		first schedule.Point
		ok    bool
	}{
		{schedule.Level(1), true},
		{schedule.Level(0.92), true},
		{schedule.Level(0.9000001), true},
		{schedule.Level(0.89), false},
		{schedule.VPLevel(1, 0.236*0.236), true}, // DDIM with few leading steps
		{schedule.VPLevel(1, 0.2499*0.2499), true},
		{schedule.VPLevel(1, 0.251*0.251), false},
	} {
		points := schedule.Points{tc.first, {Time: 0, Signal: 1, Noise: 0}}
		s, err := sampler.New(sampler.Config{Scheduler: points, Rule: sampler.DDIM{}})
		if (err == nil) != tc.ok {
			t.Errorf("%+v: error %v", tc.first, err)
		}
		if err == nil {
			if row := s.Batch(4, 1, 2).Rows[0]; row != sampler.InitialRow(2) {
				t.Errorf("%+v: the first row is %+v, want plain noise", tc.first, row)
			}
		}
	}
}

// A schedule without its final 0 is refused, unless the noise is little or meant.
func TestEndOfSchedule(t *testing.T) {
	flow := schedule.FlowOf([]float64{1, .7, .3})
	rising := schedule.Inversion{Scheduler: schedule.Flow{0, .3, .7, 1}}
	ddim := schedule.Points{schedule.VPLevel(.999, .0047), schedule.VPLevel(.5, .3), schedule.VPLevel(0, .99915)} // Stable Diffusion, set_alpha_to_one False
	part := sampler.Window{Start: 0, End: 1}
	for _, tc := range []struct {
		what     string
		c        sampler.Config
		culprits []string // none: accepted
	}{
		{"no final 0", sampler.Config{Scheduler: flow}, []string{"last point has signal 0.7 and noise 0.3", "Flow.ToZero", "End to ToPart"}},
		{"no final 0, from data", sampler.Config{Scheduler: flow[1:], Start: sampler.FromData}, []string{"noise 0.3"}},
		{"no final 0, the last part", sampler.Config{Scheduler: flow, Start: sampler.FromData, Part: sampler.Window{Start: 1, End: 2}}, []string{"noise 0.3"}},
		{"appended", sampler.Config{Scheduler: flow.ToZero()}, nil},
		{"meant", sampler.Config{Scheduler: flow, End: sampler.ToPart}, nil},
		{"another part follows", sampler.Config{Scheduler: flow, Part: part}, nil},
		{"of parts", sampler.Config{Scheduler: flow, Start: sampler.FromPart}, nil},
		{"inversion", sampler.Config{Scheduler: rising, Start: sampler.FromData}, nil},
		{"published", sampler.Config{Scheduler: ddim}, nil},
		{"little noise", sampler.Config{Scheduler: schedule.Flow{1, .5, .1}}, nil},
		{"more noise", sampler.Config{Scheduler: schedule.Flow{1, .5, .101}}, []string{"noise 0.101"}},
		{"no constant", sampler.Config{Scheduler: flow, End: 2}, []string{"field End is End(2)"}},
	} {
		tc.c.Rule = sampler.FlowODE{}
		_, err := sampler.New(tc.c)
		if tc.culprits != nil {
			wantError(t, err, sampler.ErrConfig, append(tc.culprits, "sampler: ")...)
		} else if err != nil {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
}

// A transition counts the scheduler's steps; its index is the part's own.
func TestPartCounts(t *testing.T) {
	s := mustNew(t, sampler.Config{
		Scheduler: schedule.Linear(10), Rule: sampler.FlowCPS{Eta: 0.5}, Start: sampler.FromPart,
		Window: sampler.Window{Start: 5, End: 10}, Part: sampler.Window{Start: 4, End: 10},
	})
	if s.Steps() != 6 || s.At(0).Step != 4 || s.At(5).Step != 9 || s.At(0).From.Noise != 0.6 {
		t.Errorf("%d steps from %+v", s.Steps(), s.At(0))
	}
	if got := s.Row(8, 2); got.Step != 7 || got.Sample != 8 {
		t.Errorf("transition 2 draws noise step %d, want 7", got.Step)
	}
	if got := s.Stochastic(); len(got) != 4 || got[0] != 1 || got[3] != 4 { // step 9 goes to level 0
		t.Errorf("stochastic: %v", got)
	}
	// A window in another part is no mistake.
	mustNew(t, sampler.Config{
		Scheduler: schedule.Linear(10), Rule: sampler.FlowCPS{Eta: 0.5},
		Window: sampler.Window{Start: 5, End: 10}, Part: sampler.Window{Start: 0, End: 5},
	})
	// An error names the step of the whole run.
	nan := func(v, x []float32, time float64) error { v[0] = float32(math.NaN()); return nil }
	b := s.Batch(4, 1, 0)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(nan))
	wantError(t, err, err, "step 4")
}
