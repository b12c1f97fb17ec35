package sampler_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"cps/sampler"
	"cps/schedule"
)

var bg = context.Background()

// startSamples are the rows of start.
var startSamples = []uint64{8, 3, 5}

// start returns a sampler of six steps, a batch, and the trajectory of a window with
// the initial latents.
func start(t testing.TB, storage sampler.Storage, w sampler.Window) (*sampler.Sampler, sampler.Batch, *sampler.Trajectory[[]float32]) {
	t.Helper()
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(6), Rule: sampler.FlowCPS{Eta: 0.6}, Storage: storage})
	b := s.Batch(50, 9, startSamples...)
	run := sampler.NewTrajectory(b, s.Steps(), w)
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	return s, b, run
}

// A run gives the results of stepping by hand. What the run keeps does not change
// them.
func TestRolloutKeeps(t *testing.T) {
	s, b, _ := start(t, sampler.BFloat16, sampler.Window{})
	hand := [][]float32{make([]float32, b.Len())}
	var sums [][]float64
	rows := s.Batch(b.Dim, b.Key, startSamples...)
	sampler.CPU{}.Step(hand[0], nil, nil, rows, nil)
	for i := range s.Steps() {
		v, next, sq := make([]float32, b.Len()), make([]float32, b.Len()), make([]float64, 3)
		if err := testModel(v, hand[i], s.At(i).From.Time); err != nil {
			t.Fatal(err)
		}
		s.SetStep(rows, i)
		sampler.CPU{}.Step(next, hand[i], v, rows, sq)
		hand, sums = append(hand, next), append(sums, sq)
	}

	for _, w := range []sampler.Window{{}, {Start: 0, End: 6}, {Start: 2, End: 4}, {Start: 0, End: 1}, {Start: 5, End: 6}, {Start: 3, End: 3}} {
		s, b, run := start(t, sampler.BFloat16, w)
		before := slices.Clone(b.Rows)
		if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.Rows, before) {
			t.Errorf("%v: Rollout moved the caller's rows", w)
		}
		if w == (sampler.Window{}) {
			w.End = 6
		}
		distinct := map[*float32]bool{}
		for i, x := range run.Latents {
			distinct[&x[0]] = true
			if kept := w.Start < w.End && w.Start <= i && i <= w.End || i == 6; kept && !sameBits(x, hand[i]) {
				t.Errorf("%v: latents %d are not those of stepping by hand", w, i)
			}
		}
		buffers := 0
		if w.Start < w.End {
			buffers = w.End - w.Start + 1
		}
		if buffers < 7 {
			buffers++
		}
		if len(distinct) != buffers {
			t.Errorf("%v: %d buffers, want %d", w, len(distinct), buffers)
		}
		for i, sq := range run.SumSquares {
			if kept := w.Start <= i && i < w.End; kept != (sq != nil) || kept && !sameBits64(sq, sums[i]) {
				t.Errorf("%v: sums of step %d are %v, want %v", w, i, sq, sums[i])
			}
		}
	}
}

// A run may start and end in the middle.
func TestRolloutFromTheMiddle(t *testing.T) {
	s, b, whole := start(t, sampler.Float32, sampler.Window{})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, whole, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	part := sampler.NewTrajectory(b, 3, sampler.Window{})
	part.First = 2
	copy(part.Latents[0], whole.Latents[2])
	var times []float64
	err := sampler.Rollout(bg, sampler.CPU{}, s, b, part, sampler.OneTime(func(v, x []float32, time float64) error {
		times = append(times, time)
		return testModel(v, x, time)
	}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if !sameBits(part.Latents[i], whole.Latents[2+i]) {
			t.Errorf("latents %d differ", 2+i)
		}
	}
	if want := []float64{s.At(2).From.Time, s.At(3).From.Time, s.At(4).From.Time}; !slices.Equal(times, want) {
		t.Errorf("the model is told %v, want %v", times, want)
	}
	if !sameBits64(part.SumSquares[2], whole.SumSquares[4]) {
		t.Error("sums differ")
	}
	if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, part, sampler.OneTime(testModel)); err != nil {
		t.Error(err)
	}
}

// Without SumSquares the results are the same, and non-finite values are still
// found.
func TestRolloutWithoutSums(t *testing.T) {
	s, b, whole := start(t, sampler.Float32, sampler.Window{})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, whole, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	_, _, run := start(t, sampler.Float32, sampler.Window{})
	run.SumSquares = nil
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil || !sameBits(run.Latents[6], whole.Latents[6]) {
		t.Error("the run differs", err)
	}
	_, _, run = start(t, sampler.Float32, sampler.Window{})
	run.SumSquares = nil
	wantNonFinite(t, sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(nanAt(s, 4, 120))), 4, 2)
}

// nanAt is the test model with a NaN in one element of the output at one step.
func nanAt(s *sampler.Sampler, step, element int) func(v, x []float32, time float64) error {
	return func(v, x []float32, time float64) error {
		err := testModel(v, x, time)
		if time == s.At(step).From.Time {
			v[element] = float32(math.NaN())
		}
		return err
	}
}

func wantNonFinite(t *testing.T, err error, step, row int) {
	t.Helper()
	var e *sampler.NonFiniteError
	if !errors.As(err, &e) {
		t.Errorf("error %v is no NonFiniteError", err)
		return
	}
	if e.Step != step || e.Row != row || e.Sample != startSamples[row] {
		t.Errorf("error %+v, want step %d, row %d", e, step, row)
	}
	wantError(t, err, e, "step "+show(step), "row "+show(row), "sample "+show(e.Sample))
}

func TestNonFiniteError(t *testing.T) {
	for _, w := range []sampler.Window{{}, {Start: 1, End: 3}, {Start: 6, End: 6}} {
		s, b, run := start(t, sampler.Float32, w)
		wantNonFinite(t, sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(nanAt(s, 3, 50))), 3, 1)
	}
	// NaN in the initial latents.
	s, b, run := start(t, sampler.Float32, sampler.Window{})
	run.Latents[0][149] = float32(math.Inf(1))
	wantNonFinite(t, sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)), 0, 2)

	// The storage type overflows, and not the model: a step of -1/6·v.
	big := func(v, x []float32, time float64) error {
		clear(v)
		if time == s.At(2).From.Time {
			v[77] = -1e6
		}
		return nil
	}
	s, b, run = start(t, sampler.Float16, sampler.Window{})
	wantNonFinite(t, sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(big)), 2, 1)
	s, b, run = start(t, sampler.BFloat16, sampler.Window{})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(big)); err != nil {
		t.Errorf("bfloat16 holds it, but %v", err)
	}

	// Replays find it, too, and name the first step and row among those asked for.
	s, b, run = start(t, sampler.Float32, sampler.Window{})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	wantNonFinite(t, sampler.Replay(bg, sampler.CPU{}, s, b, run, sampler.OneTime(nanAt(s, 5, 149))), 5, 2)
	wantNonFinite(t, sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(nanAt(s, 1, 0))), 1, 0)
}

// A NonFiniteError names the cause where the latents before the step are kept, and the
// possible ones elsewhere.
func TestNonFiniteCause(t *testing.T) {
	const output, first, all = "latents before are finite", "in the first latents", "the model's output there, first latents"
	try := func(model func(v, x []float32, time float64) error, spoil float32, shared bool, want string) {
		t.Helper()
		s, b, run := start(t, sampler.Float32, sampler.Window{})
		run.Latents[0][50] += spoil
		if shared {
			for i := range run.Latents {
				run.Latents[i] = run.Latents[0]
			}
		}
		err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(model))
		var e *sampler.NonFiniteError
		if !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		wantError(t, err, err, want)
	}
	s, b, run := start(t, sampler.Float32, sampler.Window{})
	try(nanAt(s, 0, 50), 0, false, output)
	try(nanAt(s, 3, 50), 0, false, output)
	try(testModel, float32(math.Inf(1)), false, first)
	try(nanAt(s, 3, 50), 0, true, all)
	// Stored latents that were damaged.
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		run.SumSquares[i] = nil // the step into the damaged latents has a sum that is not finite, too
	}
	run.Latents[3][50] = float32(math.NaN())
	err := sampler.Replay(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel))
	wantNonFinite(t, err, 3, 1)
	wantError(t, err, err, "infinity: in the latents before it")
}

// A model's error ends the run and names the step. What was done stays.
func TestModelError(t *testing.T) {
	s, b, whole := start(t, sampler.Float32, sampler.Window{})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, whole, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("out of memory")
	for fail := range s.Steps() {
		_, _, run := start(t, sampler.Float32, sampler.Window{})
		calls := 0
		err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(func(v, x []float32, time float64) error {
			if calls++; calls > fail {
				return boom
			}
			return testModel(v, x, time)
		}))
		wantError(t, err, boom, "sampler: model at step "+show(fail), "time "+show(s.At(fail).From.Time), "out of memory")
		if calls != fail+1 {
			t.Errorf("the model is called %d times, it fails at %d", calls, fail+1)
		}
		for i := range run.Latents {
			if i <= fail && !sameBits(run.Latents[i], whole.Latents[i]) {
				t.Errorf("failing at step %d: latents %d are lost", fail, i)
			}
			if i > fail && slices.ContainsFunc(run.Latents[i], func(x float32) bool { return x != 0 }) {
				t.Errorf("failing at step %d: latents %d are written", fail, i)
			}
		}
	}
}

// A done context ends the run between steps.
func TestCancellation(t *testing.T) {
	for _, after := range []int{0, 1, 3} {
		s, b, run := start(t, sampler.Float32, sampler.Window{})
		ctx, cancel := context.WithCancel(bg)
		calls := 0
		model := func(v, x []float32, time float64) error {
			if calls++; calls == after {
				cancel() // during the call: the step itself is still taken
			}
			return testModel(v, x, time)
		}
		if after == 0 {
			cancel()
		}
		err := sampler.Rollout(ctx, sampler.CPU{}, s, b, run, sampler.OneTime(model))
		wantError(t, err, context.Canceled, "sampler: stopped before step "+show(after))
		if calls != after {
			t.Errorf("the model is called %d times, want %d", calls, after)
		}
		for i := range run.Latents {
			written := slices.ContainsFunc(run.Latents[i], func(x float32) bool { return x != 0 })
			if written != (i <= after) {
				t.Errorf("stopped before step %d: latents %d written: %v", after, i, written)
			}
		}
		calls = 0
		wantError(t, sampler.Replay(ctx, sampler.CPU{}, s, b, run, sampler.OneTime(model)), context.Canceled, "before step 0")
		if calls != 0 {
			t.Error("Replay calls the model though the context is done")
		}
		cancel()
	}
	ctx, cancel := context.WithCancelCause(bg)
	cancel(errors.New("enough"))
	s, b, run := start(t, sampler.Float32, sampler.Window{})
	wantError(t, sampler.Rollout(ctx, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)), context.Canceled)
}

// Trajectories that do not fit are errors, not panics. Nothing is called.
func TestBadTrajectory(t *testing.T) {
	never := func(v, x []float32, time float64) error { panic("called") }
	for name, tc := range map[string]struct {
		spoil    func(*sampler.Trajectory[[]float32])
		culprits []string
	}{
		"no latents":     {func(t *sampler.Trajectory[[]float32]) { t.Latents = nil }, []string{"Latents has 0 entries"}},
		"one point":      {func(t *sampler.Trajectory[[]float32]) { t.Latents = t.Latents[:1] }, []string{"Latents has 1 entries"}},
		"negative first": {func(t *sampler.Trajectory[[]float32]) { t.First = -1 }, []string{"6 transitions from -1", "the 6"}},
		"latest":         {func(t *sampler.Trajectory[[]float32]) { t.First = math.MaxInt }, []string{"from " + show(math.MaxInt) + " on"}},
		"output latents": {func(t *sampler.Trajectory[[]float32]) { t.V = t.Latents[3] }, []string{"Latents[3] and V share memory"}},
		"output in part": {func(t *sampler.Trajectory[[]float32]) {
			both := make([]float32, 299)
			t.Latents[3], t.V = both[149:], both[:150]
		}, []string{"Latents[3] and V share memory"}},
		"latents in part": {func(t *sampler.Trajectory[[]float32]) {
			both := make([]float32, 151)
			t.Latents[3], t.Latents[4] = both[1:], both[:150]
		}, []string{"Latents[3] and Latents[4] overlap in part"}},
		"too late":  {func(t *sampler.Trajectory[[]float32]) { t.First = 1 }, []string{"6 transitions from 1 on", "the 6"}},
		"too long":  {func(t *sampler.Trajectory[[]float32]) { t.Latents = append(t.Latents, nil) }, []string{"7 transitions from 0"}},
		"few sums":  {func(t *sampler.Trajectory[[]float32]) { t.SumSquares = t.SumSquares[:5] }, []string{"SumSquares has 5 entries for 6"}},
		"many sums": {func(t *sampler.Trajectory[[]float32]) { t.SumSquares = append(t.SumSquares, nil) }, []string{"SumSquares has 7 entries for 6"}},
		"latents":   {func(t *sampler.Trajectory[[]float32]) { t.Latents[2] = t.Latents[2][1:] }, []string{"Latents[2] has 149 elements for 3 rows of 50"}},
		"output":    {func(t *sampler.Trajectory[[]float32]) { t.V = nil }, []string{"V has 0 elements for 3 rows of 50"}},
		"rows":      {func(t *sampler.Trajectory[[]float32]) { t.SumSquares[3] = make([]float64, 2) }, []string{"SumSquares[3] has 2 entries for 3 rows"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, b, run := start(t, sampler.Float32, sampler.Window{})
			tc.spoil(run)
			wantError(t, sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(never)), sampler.ErrTrajectory, tc.culprits...)
			wantError(t, sampler.Replay(bg, sampler.CPU{}, s, b, run, sampler.OneTime(never)), sampler.ErrTrajectory, tc.culprits...)
			wantError(t, sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(never)), sampler.ErrTrajectory, tc.culprits...)
		})
	}
	// A check without sums to compare is an error.
	s, b, run := start(t, sampler.Float32, sampler.Window{Start: 2, End: 2})
	for _, squares := range [][][]float64{nil, {}, run.SumSquares} {
		run.SumSquares = squares
		wantError(t, sampler.Replay(bg, sampler.CPU{}, s, b, run, sampler.OneTime(never)), sampler.ErrTrajectory, "nothing to replay")
		wantError(t, sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(never)), sampler.ErrTrajectory, "nothing to replay")
	}
}

// Latents and an output side by side in one array do not overlap.
func TestNeighbours(t *testing.T) {
	s, b, run := start(t, sampler.Float32, sampler.Window{})
	all := make([]float32, 8*150)
	for i := range run.Latents {
		copy(all[i*150:], run.Latents[i])
		run.Latents[i] = all[i*150:][:150:150]
	}
	run.V = all[7*150:]
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Error(err)
	}
}

// It is an error if there is nothing to run, or nothing to run it with.
func TestNothingToRun(t *testing.T) {
	s, b, run := start(t, sampler.Float32, sampler.Window{})
	var d sampler.Memory[[]float32] = sampler.CPU{}
	none := b
	none.Rows = nil
	for name, err := range map[string]error{
		"sampler":    sampler.Rollout(bg, d, nil, b, run, sampler.OneTime(testModel)),
		"trajectory": sampler.Rollout(bg, d, s, b, nil, sampler.OneTime(testModel)),
		"device":     sampler.Rollout(bg, nil, s, b, run, sampler.OneTime(testModel)),
		"model":      sampler.Rollout(bg, d, s, b, run, nil),
	} {
		wantError(t, err, sampler.ErrConfig, name, "nil")
	}
	wantError(t, sampler.Rollout(bg, d, s, none, run, sampler.OneTime(testModel)), sampler.ErrTrajectory, "no rows")
	wantError(t, sampler.Replay(bg, d, s, b, run, nil), sampler.ErrConfig, "model")
	wantError(t, sampler.CheckOnPolicy(bg, d, nil, b, run, sampler.OneTime(testModel)), sampler.ErrConfig, "sampler")
	wantError(t, sampler.Replay(bg, d, s, b, nil, sampler.OneTime(testModel)), sampler.ErrConfig, "trajectory")
	wantError(t, sampler.CheckOnPolicy(bg, d, s, b, nil, sampler.OneTime(testModel)), sampler.ErrConfig, "trajectory")
}

// Replay evaluates the transitions that have an entry. It calls the model for no
// other transition.
func TestReplayOfWindow(t *testing.T) {
	s, b, run := start(t, sampler.Float16, sampler.Window{Start: 2, End: 4})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	want := [][]float64{nil, nil, slices.Clone(run.SumSquares[2]), slices.Clone(run.SumSquares[3]), nil, nil}
	clear(run.SumSquares[2])
	clear(run.SumSquares[3])
	var times []float64
	err := sampler.Replay(bg, sampler.CPU{}, s, b, run, sampler.OneTime(func(v, x []float32, time float64) error {
		times = append(times, time)
		return testModel(v, x, time)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(times, []float64{s.At(2).From.Time, s.At(3).From.Time}) {
		t.Errorf("the model is called at %v", times)
	}
	for i := range want {
		if !sameBits64(want[i], run.SumSquares[i]) {
			t.Errorf("step %d: %v, want %v", i, run.SumSquares[i], want[i])
		}
	}
	if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Error(err)
	}
}

// CheckOnPolicy names the place where a model did not make the trajectory, even if
// only one bit differs. It leaves the sums alone.
func TestCheckOnPolicy(t *testing.T) {
	s, b, run := start(t, sampler.Float32, sampler.Window{})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Error(err)
	}
	sums := slices.Clone(run.SumSquares[4])
	err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(func(v, x []float32, time float64) error {
		err := testModel(v, x, time)
		if time == s.At(4).From.Time {
			v[110] += 1e-3
		}
		return err
	}))
	wantError(t, err, sampler.ErrOffPolicy, "step 4", "row 2", "policy", show(sums[2]))
	if !sameBits64(sums, run.SumSquares[4]) {
		t.Error("CheckOnPolicy changes the sums")
	}
	// Another rule.
	other := mustNew(t, sampler.Config{Scheduler: schedule.Linear(6), Rule: sampler.FlowCPS{Eta: 0.7}})
	if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, other, b, run, sampler.OneTime(testModel)); !errors.Is(err, sampler.ErrOffPolicy) {
		t.Errorf("another eta: %v", err)
	}
	stopped, stop := context.WithCancel(bg)
	stop()
	if err := sampler.CheckOnPolicy(stopped, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); !errors.Is(err, context.Canceled) || errors.Is(err, sampler.ErrOffPolicy) {
		t.Errorf("stopped: %v", err)
	}
}

// In training, rows of one batch stand at different steps. The sums are those of the
// rollout.
func TestMixedSteps(t *testing.T) {
	s, b, run := start(t, sampler.BFloat16, sampler.Window{})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	picks := []struct{ row, step int }{{2, 4}, {0, 0}, {1, 5}, {0, 3}, {2, 0}}
	samples := []uint64{8, 3, 5}
	mixed := sampler.Batch{Dim: b.Dim, Key: b.Key, Storage: b.Storage}
	var next, x, v []float32
	for _, p := range picks {
		mixed.Rows = append(mixed.Rows, s.Row(samples[p.row], p.step))
		part := func(i int) []float32 { return run.Latents[i][p.row*b.Dim:][:b.Dim] }
		next, x = append(next, part(p.step+1)...), append(x, part(p.step)...)
		out := make([]float32, b.Dim)
		testModel(out, part(p.step), s.At(p.step).From.Time)
		v = append(v, out...)
	}
	sq := make([]float64, len(picks))
	sampler.CPU{}.SumSquares(sq, next, x, v, mixed)
	again := make([]float32, len(next))
	sampler.CPU{}.Step(again, x, v, mixed, nil)
	if !sameBits(again, next) {
		t.Error("the mixed batch does not repeat the rollout")
	}
	for i, p := range picks {
		if want := run.SumSquares[p.step][p.row]; sq[i] != want {
			t.Errorf("row %d at step %d: %v, want %v", p.row, p.step, sq[i], want)
		}
	}
}

// A model is told the time of its points. On some paths that is not their noise.
func TestModelIsToldTheTime(t *testing.T) {
	points := schedule.Points{schedule.VPLevel(0.9, 0.1), schedule.VPLevel(0.5, 0.4), schedule.VPLevel(0.2, 0.9)}
	s := mustNew(t, sampler.Config{Scheduler: points, Rule: sampler.DDIM{Eta: 0.5}, Prediction: sampler.PredictV, Start: sampler.FromPart})
	b := s.Batch(4, 1, 0)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	clear(run.Latents[0])
	var times []float64
	model := func(v, x []float32, time float64) error {
		times = append(times, time)
		clear(v)
		return nil
	}
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(model)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(times, []float64{0.9, 0.5}) {
		t.Errorf("told %v", times)
	}
}

// A trajectory may be a part of a run. Errors count by the whole run. CheckOnPolicy
// tells apart sums that differ in the last bit.
func TestPartOfRun(t *testing.T) {
	s, b, whole := start(t, sampler.Float32, sampler.Window{})
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, whole, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	part := &sampler.Trajectory[[]float32]{First: 3, Latents: whole.Latents[3:], V: whole.V, SumSquares: whole.SumSquares[3:]}
	if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, part, sampler.OneTime(testModel)); err != nil {
		t.Error(err)
	}
	wantNonFinite(t, sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, part, sampler.OneTime(nanAt(s, 4, 60))), 4, 1)
	part.SumSquares[1][2] = math.Nextafter(part.SumSquares[1][2], 1e9)
	err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, part, sampler.OneTime(testModel))
	if err == nil || !strings.Contains(err.Error(), "step 4, row 2 (sample 5)") {
		t.Errorf("got %v", err)
	}
}

// A batch with another storage type than the run's is an error: its replay would
// give other sums.
func TestStorageOfBatch(t *testing.T) {
	s, b, run := start(t, sampler.BFloat16, sampler.Window{})
	b.Storage = sampler.Float32
	wantError(t, sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)), sampler.ErrTrajectory, "Float32", "BFloat16")
}

// Latents that share a buffer are lost, so a replay cannot evaluate them.
func TestReplayOfSharedLatents(t *testing.T) {
	s, b, run := start(t, sampler.Float32, sampler.Window{Start: 6, End: 6})
	run.SumSquares[4] = make([]float64, len(b.Rows))
	wantError(t, sampler.Replay(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)), sampler.ErrTrajectory, "Latents[4]", "Latents[5]", "transition 4")
}

// Replays ask the model about the transitions that are wanted alone, in every batch: the
// others may be such as a model refuses.
func TestReplaysAskWhatIsWanted(t *testing.T) {
	s, b, run := start(t, sampler.Float32, sampler.Window{Start: 2, End: 4})
	model := sampler.OneTime(testModel)
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, model); err != nil {
		t.Fatal(err)
	}
	asked := map[float64]int{}
	count := func(ctx context.Context, c sampler.Call[[]float32]) error {
		asked[c.Times[0]] += len(c.Rows)
		return model(ctx, c)
	}
	if err := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, count, 1); err != nil {
		t.Fatal(err)
	}
	n := 3 * len(b.Rows) // together, in reverse, and one by one
	if len(asked) != 2 || asked[s.Time(2)] != n || asked[s.Time(3)] != n {
		t.Errorf("asked at %v, want %d rows each at %v and %v", asked, n, s.Time(2), s.Time(3))
	}
}

// Rows that name one sample are one sample, whatever stands between them.
func TestRowsOfOneSample(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: 0.5}})
	b := s.Batch(70, 1, 7, 3, 7, 7)
	run := rollout(t, s, b, sampler.CPU{})
	for k, x := range run.Latents {
		for _, row := range []int{2, 3} {
			if !sameBits(x[:70], x[row*70:][:70]) || k < 4 && run.SumSquares[k][0] != run.SumSquares[k][row] {
				t.Errorf("latents %d: rows 0 and %d differ", k, row)
			}
		}
		if sameBits(x[:70], x[70:140]) {
			t.Errorf("latents %d: two samples are equal", k)
		}
	}
}

// Errors show what was forgotten: first latents that nobody made, a model that
// writes nothing, and a check of transitions that draw no noise.
func TestForgotten(t *testing.T) {
	s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: 0.5}})
	b := s.Batch(3, 1, 7)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	var e *sampler.NonFiniteError
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); !errors.As(err, &e) || e.Step != 0 {
		t.Errorf("no first latents: %v", err)
	}
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	run.V[0] = float32(math.NaN())
	silent := func(v, x []float32, time float64) error { return nil }
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(silent)); !errors.As(err, &e) || e.Step != 0 {
		t.Errorf("a model that writes nothing: %v", err)
	}
	run = sampler.NewTrajectory(b, s.Steps(), sampler.Window{Start: 3, End: 4}) // to level 0
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	wantError(t, sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, sampler.OneTime(testModel)), sampler.ErrTrajectory, "no transition that draws noise")
}

// A device with one type of latents refuses a run of another type.
func TestDeviceOfAnotherType(t *testing.T) {
	cpu := sampler.CPU16{Type: sampler.BFloat16}
	for _, storage := range []sampler.Storage{sampler.Float32, sampler.Float16} {
		s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(4), Rule: sampler.FlowCPS{Eta: 0.5}, Storage: storage})
		b := s.Batch(3, 1, 7)
		x := make([]uint16, 3)
		run := &sampler.Trajectory[[]uint16]{Latents: [][]uint16{x, x}, V: make([]uint16, 3)}
		err := sampler.Rollout(bg, cpu, s, b, run, func(context.Context, sampler.Call[[]uint16]) error { return nil })
		wantError(t, err, sampler.ErrConfig, "BFloat16", storage.String(), "Storage of the Config")
	}
}
