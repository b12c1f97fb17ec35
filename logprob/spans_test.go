package logprob_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/diff/fd"
	"pgregory.net/rapid"

	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// Cut into spans, a sample has the log p, the divergence and the scales that it has whole,
// but for the roundings of sums.
func TestSpansAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(forms).Draw(t, "form")
		spans := rapid.IntRange(1, 5).Draw(t, "spans")
		dim := 8 * spans
		whole := sampler.Batch{Dim: dim}
		var first []int
		for i, a := range steps[:rapid.IntRange(1, len(steps)).Draw(t, "rows")] {
			whole.Rows = append(whole.Rows, sampler.Row{Affine: a, ID: noise.ID{Sample: uint64(i), Step: 3}})
			first = append(first, i*spans)
		}
		cut := whole.Spans(8)
		n := len(whole.Rows)
		sq, each, grad := make([]float64, n), make([]float64, n*spans), make([]float64, n)
		for i := range sq {
			grad[i] = rapid.Float64Range(-3, 3).Draw(t, "grad")
			for k := range spans {
				x := rapid.Float64Range(0, 20).Draw(t, "sum")
				each[i*spans+k] = x
				sq[i] += x
			}
		}
		s := logprob.Spans{Form: f, First: first}
		near := func(name string, got, want float64) {
			// Sums of at most five terms of this size.
			if math.Abs(got-want) > 1e-13*(1+math.Abs(want)) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
		}
		check := func(name string, got, want []float64, err1, err2 error) {
			if err1 != nil || err2 != nil {
				t.Fatalf("%s: %v, %v", name, err1, err2)
			}
			for i := range got {
				near(name, got[i], want[i*len(want)/len(got)])
			}
		}
		got, err := s.LogProb(make([]float64, n), cut, each)
		want, err2 := f.LogProb(make([]float64, n), whole, sq)
		check("LogProb", got, want, err, err2)
		got, err = s.KL(make([]float64, n), cut, each)
		want, err2 = f.KL(make([]float64, n), whole, sq)
		check("KL", got, want, err, err2)
		got, err = s.GradScale(make([]float64, n*spans), cut, grad)
		want, err2 = f.GradScale(make([]float64, n), whole, grad)
		check("Scale", got, want, err, err2)
		got, err = s.GradScaleKL(make([]float64, n*spans), cut, 0.3)
		want, err2 = f.GradScaleKL(make([]float64, n), whole, 0.3)
		check("ScaleKL", got, want, err, err2)
		got, err = s.MeanKL(make([]float64, n), cut, each)
		want, err2 = f.MeanKL(make([]float64, n), whole, sq)
		check("MeanKL", got, want, err, err2)
		got, err = s.GradScaleMeanKL(make([]float64, n*spans), cut, 0.3)
		want, err2 = f.GradScaleMeanKL(make([]float64, n), whole, 0.3)
		check("ScaleMeanKL", got, want, err, err2)
		got, err = s.VelocityKL(make([]float64, n), cut, each)
		want, err2 = f.VelocityKL(make([]float64, n), whole, sq)
		check("VelocityKL", got, want, err, err2)
		got, err = s.GradScaleVelocityKL(make([]float64, n*spans), cut, 0.3)
		want, err2 = f.GradScaleVelocityKL(make([]float64, n), whole, 0.3)
		check("ScaleVelocityKL", got, want, err, err2)
		for k := range n {
			if s.Elements(cut, k) != dim {
				t.Fatalf("%d elements, want %d", s.Elements(cut, k), dim)
			}
		}
	})
}

// A transition whose spans stand at different steps. One draws noise twice as wide, one
// stands still, and one ends at level 0. log p is that of the moving elements, and its
// gradient equals finite differences.
func TestSpansThatDiffer(t *testing.T) {
	const dim = 4
	b := sampler.Batch{Dim: dim, Rows: []sampler.Row{
		{Affine: sampler.Affine{X: 0.9, V: -0.25, Eps: 0.5}},
		{Affine: sampler.Affine{X: 1}},
		{Affine: sampler.Affine{X: 0.5, V: -0.5, Eps: 0.25}},
		{Affine: sampler.Affine{X: 1, V: -0.125}},
	}}
	x, next := make([]float32, 16), make([]float32, 16)
	v := make([]float64, 16)
	for i := range x {
		x[i], next[i], v[i] = float32(i)/8, float32(i%5)/4, float64(i%3)/2
	}
	squares := func(v []float64) []float64 {
		v32 := make([]float32, 16)
		for i := range v {
			v32[i] = float32(v[i])
		}
		sq := make([]float64, 4)
		sampler.CPU{}.SumSquares(sq, next, x, v32, b)
		return sq
	}
	for _, f := range forms {
		s := logprob.Spans{Form: f, First: []int{0}}
		if n := s.Elements(b, 0); n != 8 {
			t.Fatalf("%d elements draw noise, want 8", n)
		}
		sq := squares(v)
		sq[1], sq[3] = 0, 0.25
		got, err := s.LogProb([]float64{0}, b, sq)
		if err != nil {
			t.Fatal(err)
		}
		want := 0.0
		for _, i := range []int{0, 2} {
			one := sampler.Batch{Dim: dim, Rows: b.Rows[i : i+1]}
			p, err := logprob.Form{Gaussian: f.Gaussian, Sum: true}.LogProb([]float64{0}, one, sq[i:i+1])
			if err != nil {
				t.Fatal(err)
			}
			want += p[0]
		}
		if !f.Sum {
			want /= 8
		}
		if math.Abs(got[0]-want) > 1e-12 {
			t.Errorf("%+v: log p %v, want %v", f, got[0], want)
		}

		scale, err := s.GradScale(make([]float64, 4), b, []float64{1})
		if err != nil || scale[1] != 0 || scale[3] != 0 {
			t.Fatal(scale, err)
		}
		grad := make([]float32, 16)
		v32 := make([]float32, 16)
		for i := range v {
			v32[i] = float32(v[i])
		}
		sampler.CPU{}.Grad(grad, next, x, v32, b, scale)
		// Values are multiples of 1/16 and differences of 1/8, so that float32 is exact and
		// log p, a parabola, has its slope in central differences.
		numeric := fd.Gradient(nil, func(v []float64) float64 {
			p, err := s.LogProb([]float64{0}, b, squares(v))
			if err != nil {
				t.Fatal(err)
			}
			return p[0]
		}, v, &fd.Settings{Formula: fd.Central, Step: 0.125})
		for i := range numeric {
			if math.Abs(numeric[i]-float64(grad[i])) > 1e-5*(1+math.Abs(numeric[i])) {
				t.Errorf("%+v: ∂log p/∂v[%d] is %v, differences say %v", f, i, grad[i], numeric[i])
			}
		}
	}
}

// Spans that stand still or draw no noise add nothing to a divergence of means, and to that
// of velocities only those that do not read the output: known answers, by hand.
func TestSpansDivergences(t *testing.T) {
	b := sampler.Batch{Dim: 4, Rows: []sampler.Row{
		{Affine: sampler.Affine{X: 1, V: -0.25, Eps: 0.5}},
		{Affine: sampler.Affine{X: 1}},          // stands still
		{Affine: sampler.Affine{X: 1, V: -0.5}}, // draws no noise
		{Affine: sampler.Affine{X: 1, V: 2, Eps: 2}},
	}}
	sq := []float64{3, 5, 7, 16}
	for _, tc := range []struct {
		f              logprob.Form
		mean, velocity float64
		meanScale      [4]float64 // for weight 1
	}{
		// 3/(2·¼) + 16/(2·4) over 8 elements, and 3 + 7 + 16 over 12; -V/Eps².
		{logprob.Form{Gaussian: true, Sum: true}, 8, 26, [4]float64{1, 0, 0, -0.5}},
		{logprob.Form{Gaussian: true}, 1, 26. / 12, [4]float64{1. / 8, 0, 0, -0.5 / 8}},
		{logprob.Form{Sum: true}, 19, 26, [4]float64{0.5, 0, 0, -4}}, // -2V
		{logprob.Form{}, 19. / 8, 26. / 12, [4]float64{0.5 / 8, 0, 0, -0.5}},
	} {
		s := logprob.Spans{Form: tc.f, First: []int{0}}
		near := func(name string, got, want float64, err error) {
			if err != nil || math.Abs(got-want) > 1e-15*math.Abs(want) {
				t.Errorf("%+v: %s %v, want %v, %v", tc.f, name, got, want, err)
			}
		}
		got, err := s.MeanKL([]float64{0}, b, sq)
		near("MeanKL", got[0], tc.mean, err)
		got, err = s.VelocityKL([]float64{0}, b, sq)
		near("VelocityKL", got[0], tc.velocity, err)
		got, err = s.GradScaleMeanKL(make([]float64, 4), b, 1)
		for i, want := range tc.meanScale {
			near(fmt.Sprint("GradScaleMeanKL of row ", i), got[i], want, err)
		}
		got, err = s.GradScaleVelocityKL(make([]float64, 4), b, 3)
		for i, want := range []float64{-6, 0, -6, -6} {
			if !tc.f.Sum {
				want /= 12
			}
			near(fmt.Sprint("GradScaleVelocityKL of row ", i), got[i], want, err)
		}
		if n := testing.AllocsPerRun(10, func() { s.MeanKL(got[:1], b, sq); s.VelocityKL(got[:1], b, sq) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	s := logprob.Spans{First: []int{0, 1}}
	still := sampler.Batch{Dim: 4, Rows: b.Rows[:2]}
	_, err := s.VelocityKL(make([]float64, 2), still, sq[:2])
	wantError(t, err, logprob.ErrNoPolicy, "row 1")
	_, err = s.GradScaleVelocityKL(make([]float64, 2), still, 1)
	wantError(t, err, logprob.ErrNoPolicy, "row 1")
	sq[0] = math.MaxFloat64
	for _, f := range []logprob.Form{{Gaussian: true, Sum: true}} {
		_, err = logprob.Spans{Form: f, First: []int{0}}.MeanKL([]float64{0}, b, sq)
		wantError(t, err, logprob.ErrNotFinite, "row 0")
		_, err = f.MeanKL([]float64{0}, sampler.Batch{Dim: 4, Rows: b.Rows[:1]}, sq[:1])
		wantError(t, err, logprob.ErrNotFinite, "row 0")
	}
	for _, k := range []int{-1, 2} {
		func() {
			defer func() {
				if got, want := recover(), fmt.Sprintf("logprob: Spans.Elements: transition %d is not in [0, 2)", k); got != want {
					t.Errorf("panic %v, want %q", got, want)
				}
			}()
			s.Elements(b, k)
		}()
	}
}

func TestSpansErrors(t *testing.T) {
	noisy, still := sampler.Row{Affine: steps[0]}, sampler.Row{Affine: sampler.Affine{X: 1}, ID: noise.ID{Sample: 9}}
	blind := sampler.Row{Affine: sampler.Affine{X: 1, Eps: 1}, ID: noise.ID{Sample: 7}}
	for _, tc := range []struct {
		rows  []sampler.Row
		first []int
		sq    []float64
		want  error
		name  string
	}{
		{[]sampler.Row{noisy, still, still, still}, []int{0, 2}, []float64{1, 0, 0, 0}, logprob.ErrNoDensity, "row 2 (sample 9)"},
		{[]sampler.Row{noisy, blind}, []int{0}, []float64{1, 1}, logprob.ErrNoPolicy, "row 1 (sample 7)"},
		{[]sampler.Row{noisy, still}, []int{0}, []float64{1, math.NaN()}, logprob.ErrNotFinite, "row 1 (sample 9)"},
		{[]sampler.Row{noisy, still}, []int{0}, []float64{-1, 0}, logprob.ErrNegative, "row 0"},
	} {
		b := sampler.Batch{Dim: 4, Rows: tc.rows}
		s := logprob.Spans{First: tc.first}
		dst := make([]float64, len(tc.first))
		_, err := s.LogProb(dst, b, tc.sq)
		wantError(t, err, tc.want, tc.name)
		_, err = s.KL(dst, b, tc.sq)
		wantError(t, err, tc.want, tc.name)
		_, err = s.MeanKL(dst, b, tc.sq)
		wantError(t, err, tc.want, tc.name)
		if tc.want == logprob.ErrNoDensity || tc.want == logprob.ErrNoPolicy {
			_, err = s.GradScale(make([]float64, len(tc.rows)), b, make([]float64, len(tc.first)))
			wantError(t, err, tc.want, tc.name)
			_, err = s.GradScaleKL(make([]float64, len(tc.rows)), b, 1)
			wantError(t, err, tc.want, tc.name)
			_, err = s.GradScaleMeanKL(make([]float64, len(tc.rows)), b, 1)
			wantError(t, err, tc.want, tc.name)
		}
	}
	b := sampler.Batch{Dim: 4, Rows: []sampler.Row{noisy, noisy, noisy}}
	two, rows := make([]float64, 2), make([]float64, 3)
	for method, call := range map[string]func(s logprob.Spans){
		"LogProb":    func(s logprob.Spans) { s.LogProb(two, b, rows) },
		"KL":         func(s logprob.Spans) { s.KL(two, b, rows) },
		"MeanKL":     func(s logprob.Spans) { s.MeanKL(two, b, rows) },
		"VelocityKL": func(s logprob.Spans) { s.VelocityKL(two, b, rows) },
		"GradScale":  func(s logprob.Spans) { s.GradScale(rows, b, two) },
	} {
		func() {
			defer func() {
				if got := recover(); got != "logprob: length 2 of a slice is not the number of transitions, 3" {
					t.Errorf("%s: panic %v", method, got)
				}
			}()
			call(logprob.Spans{First: []int{0, 1, 2}})
		}()
	}
	for name, first := range map[string][]int{"none": {}, "late": {1}, "twice": {0, 1, 1}, "back": {0, 2, 1}, "beyond": {0, 3}} {
		s := logprob.Spans{First: first}
		each, rows := make([]float64, len(first)), make([]float64, 3)
		for method, call := range map[string]func(){
			"LogProb":     func() { s.LogProb(each, b, rows) },
			"KL":          func() { s.KL(each, b, rows) },
			"GradScale":   func() { s.GradScale(rows, b, each) },
			"GradScaleKL": func() { s.GradScaleKL(rows, b, 1) },
			"MeanKL":      func() { s.MeanKL(each, b, rows) },
			"VelocityKL":  func() { s.VelocityKL(each, b, rows) },

			"GradScaleMeanKL":     func() { s.GradScaleMeanKL(rows, b, 1) },
			"GradScaleVelocityKL": func() { s.GradScaleVelocityKL(rows, b, 1) },
		} {
			t.Run(name+"/"+method, func(t *testing.T) {
				defer func() {
					if got := recover(); got != "logprob: First does not begin with 0 and rise within the rows" {
						t.Errorf("panic %v", got)
					}
				}()
				call()
			})
		}
	}
}

// pure is a rule whose steps draw noise and do not read the model's output.
type pure struct{}

func (pure) Coeffs(_, to schedule.Point) (sampler.Coeffs, error) {
	return sampler.Coeffs{Eps: 1}, nil
}

// A step that draws noise and does not read the model's output is no policy.
func TestOfRunWithoutOutput(t *testing.T) {
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(3), Rule: pure{}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Stochastic(); len(got) != 0 {
		t.Errorf("trains %v", got)
	}
	_, err = sampler.New(sampler.Config{Scheduler: schedule.Linear(3), Rule: pure{}, Set: []int{1}})
	wantError(t, err, sampler.ErrConfig, "no step of Set [1] has a density, so none can be trained: step 1 draws noise, but does not read")
	if s.At(1).Stochastic() {
		t.Error("transition 1 carries a policy gradient")
	}
	wantError(t, s.At(1).Density(), sampler.ErrDensity, "step 1", "does not read the model's output")
	b := s.Batch(6, 1, 3)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	_, err = logprob.OfRun([]float64{0}, logprob.Form{}, s, b, run, 1)
	wantError(t, err, logprob.ErrNoDensity, "transition 1", "does not read the model's output")
	wantError(t, err, sampler.ErrDensity)
}

// OfRun takes the sums and the weights of the transition itself, wherever the batch
// stands.
func TestOfRun(t *testing.T) {
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(5), Rule: sampler.FlowCPS{Eta: 0.6}})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Batch(6, 1, 3, 4)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	run.SumSquares[1] = nil
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(context.Background(), sampler.CPU{}, s, b, run, sampler.OneTime(bias(0.1))); err != nil {
		t.Fatal(err)
	}
	for _, f := range forms {
		for _, i := range []int{0, 2, 3} {
			got, err := logprob.OfRun(make([]float64, 2), f, s, b, run, i)
			if err != nil {
				t.Fatal(err)
			}
			moved := s.Batch(6, 1, 3, 4)
			s.SetStep(moved, i)
			want, err := f.LogProb(make([]float64, 2), moved, run.SumSquares[i])
			if err != nil || got[0] != want[0] || got[1] != want[1] {
				t.Errorf("%+v, transition %d: %v, want %v, %v", f, i, got, want, err)
			}
		}
	}
	for i, want := range map[int]error{1: logprob.ErrNoSums, -1: sampler.ErrConfig, 5: sampler.ErrConfig, 4: logprob.ErrNoDensity} {
		_, err := logprob.OfRun(make([]float64, 2), logprob.Form{}, s, b, run, i)
		wantError(t, err, want, fmt.Sprint("transition ", i))
	}
	none := *run
	none.SumSquares = nil
	_, err = logprob.OfRun(make([]float64, 2), logprob.Form{}, s, b, &none, 0)
	wantError(t, err, logprob.ErrNoSums, "set Trajectory.SumSquares")
	_, err = logprob.OfRun[[]float32](make([]float64, 2), logprob.Form{}, s, b, nil, 0)
	wantError(t, err, sampler.ErrConfig, "nil")
	_, err = logprob.OfRun(make([]float64, 2), logprob.Form{}, nil, b, run, 0)
	wantError(t, err, sampler.ErrConfig, "nil")
	run.SumSquares[2][1] = math.Inf(1)
	_, err = logprob.OfRun(make([]float64, 2), logprob.Form{}, s, b, run, 2)
	wantError(t, err, logprob.ErrNotFinite, "row 1 (sample 4)")
	if n := testing.AllocsPerRun(10, func() { logprob.OfRun(run.SumSquares[3], logprob.Form{}, s, b, run, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Impossible rows and sums are errors, also where a formula would give a number.
func TestNonsense(t *testing.T) {
	for _, tc := range []struct {
		a    sampler.Affine
		sq   float64
		want error
	}{
		{sampler.Affine{X: math.NaN(), V: 1, Eps: 1}, 1, logprob.ErrNotFinite},
		{sampler.Affine{X: 1, V: math.Inf(1), Eps: 1}, 1, logprob.ErrNotFinite},
		{sampler.Affine{X: 1, V: 1, Eps: math.NaN()}, 1, logprob.ErrNotFinite},
		{sampler.Affine{X: 1, V: 1, Eps: 1e39}, 1, logprob.ErrNotFinite}, // in float32
		{sampler.Affine{X: 1, V: 1, Eps: -1}, 1, logprob.ErrNegative},
		{sampler.Affine{X: 1, V: 1, Eps: 1}, -1e-9, logprob.ErrNegative},
	} {
		b := sampler.Batch{Dim: 4, Rows: []sampler.Row{{Affine: tc.a, ID: noise.ID{Sample: 6}}}}
		for _, f := range forms {
			_, err := f.LogProb([]float64{0}, b, []float64{tc.sq})
			wantError(t, err, tc.want, "row 0 (sample 6)")
			_, err = f.KL([]float64{0}, b, []float64{tc.sq})
			wantError(t, err, tc.want, "row 0 (sample 6)")
		}
	}
	// Finite sums whose log p or divergence is not.
	b := sampler.Batch{Dim: 1, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1, V: 2, Eps: 0x1p-30}, ID: noise.ID{Sample: 6}}}}
	for _, f := range forms {
		_, err := f.KL([]float64{0}, b, []float64{1e308})
		wantError(t, err, logprob.ErrNotFinite, "row 0 (sample 6)", "divergence")
		_, err = logprob.Spans{Form: f, First: []int{0}}.KL([]float64{0}, b, []float64{1e308})
		wantError(t, err, logprob.ErrNotFinite, "row 0 (sample 6)")
		if _, err = f.LogProb([]float64{0}, b, []float64{1e300}); f.Gaussian {
			wantError(t, err, logprob.ErrNotFinite, "row 0 (sample 6)", "log p")
		} else if err != nil {
			t.Error(err)
		}
	}
	for _, dim := range []int{0, -3} {
		func() {
			defer func() {
				if got := recover(); got != "logprob: Dim of the batch is not positive" {
					t.Errorf("Dim %d: panic %v", dim, got)
				}
			}()
			logprob.Form{}.LogProb([]float64{0}, sampler.Batch{Dim: dim, Rows: make([]sampler.Row, 1)}, []float64{1})
		}()
	}
}
