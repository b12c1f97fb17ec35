package logprob_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// floorRun returns a run of a batch whose model's output is x/2 plus a bias, under the given
// noise.
func floorRun(t *testing.T, storage sampler.Storage, rule sampler.Rule, dim int) (*sampler.Sampler, sampler.Batch, *sampler.Trajectory[[]float32]) {
	t.Helper()
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(4), Rule: rule, Storage: storage})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Batch(dim, 3, 1, 2, 3, 4, 5)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	sampler.CPU{}.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(context.Background(), sampler.CPU{}, s, b, run, half(0)); err != nil {
		t.Fatal(err)
	}
	return s, b, run
}

// half is the model x/2 + bias, with the bias in calls of fewer than five rows alone.
func half(bias float32) sampler.Model[[]float32] {
	return func(_ context.Context, c sampler.Call[[]float32]) error {
		for i, x := range c.X {
			c.V[i] = x / 2
			if len(c.Rows) < 5 {
				c.V[i] += bias
			}
		}
		return nil
	}
}

// If the policy is one function, its ratios have no noise. If the model adds something in other
// batches, NoiseFloor measures it, in every form.
func TestNoiseFloor(t *testing.T) {
	ctx := context.Background()
	s, b, run := floorRun(t, sampler.Float32, sampler.FlowCPS{Eta: 0.5}, 2000)
	for _, f := range forms {
		floors, err := logprob.NoiseFloor(ctx, sampler.CPU{}, f, 1e-6, s, b, run, half(0))
		if err != nil {
			t.Fatal(err)
		}
		if len(floors) != 3 { // the last step draws no noise
			t.Fatalf("%+v", floors)
		}
		for k, x := range floors {
			// 10⁴ elements resolve .02, see Rounding.
			if x.Transition != k || x.Ratio != 0 || x.Typical != 0 || x.Clipped != 0 || !(x.Rounding < 0.02) {
				t.Errorf("%+v: %+v", f, x)
			}
		}

		// In batches of 2 rows, the mean moves by V·bias. Of 5 + 5 + 6 rows, 6 have it.
		const bias = 1e-4
		floors, err = logprob.NoiseFloor(ctx, sampler.CPU{}, f, 1e-9, s, b, run, half(bias), 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range floors {
			moved := s.Batch(b.Dim, 3, 1, 2, 3, 4, 5)
			s.SetStep(moved, x.Transition)
			v, sq := make([]float32, b.Len()), make([]float64, 5)
			for i, x := range run.Latents[x.Transition] {
				v[i] = x/2 + bias
			}
			sampler.CPU{}.SumSquares(sq, run.Latents[x.Transition+1], run.Latents[x.Transition], v, moved)
			was, err1 := f.LogProb(make([]float64, 5), moved, run.SumSquares[x.Transition])
			is, err2 := f.LogProb(make([]float64, 5), moved, sq)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			most, squares, clipped := 0.0, 0.0, 0.0
			for row, times := range []float64{2, 1, 1, 1, 1} { // the last batch takes row 0 again
				d := is[row] - was[row]
				most = max(most, math.Abs(d))
				squares += times * d * d
				if math.Abs(math.Expm1(d)) > 1e-9 {
					clipped += times
				}
			}
			// The log-ratio is a difference here of numbers up to 2000·10.
			tol := 1e-11 * (1 + math.Abs(was[0]))
			if math.Abs(x.Ratio-most) > tol || math.Abs(x.Typical-math.Sqrt(squares/16)) > tol || math.Abs(x.Clipped-clipped/16) > 1e-15 {
				t.Errorf("%+v: %+v, want %v, %v, %v", f, x, most, math.Sqrt(squares/16), clipped/16)
			}
		}
		if text := floors.String(); strings.Count(text, "\n") != 4 || !strings.Contains(text, "37.5 %") {
			t.Errorf("%s", text)
		}
	}
}

// Rounding of a bfloat16 run equals the value computed from the rounding of every element.
func TestNoiseFloorOfStorage(t *testing.T) {
	const dim = 40000
	for _, eta := range []float64{0.01, 0.1} {
		s, b, run := floorRun(t, sampler.BFloat16, sampler.FlowCPS{Eta: eta}, dim)
		floors, err := logprob.NoiseFloor(context.Background(), sampler.CPU{}, logprob.Form{Gaussian: true}, 1e-4, s, b, run, half(0))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range floors {
			a := s.At(x.Transition).Affine
			var squares float64
			eps := make([]float64, dim)
			for row, r := range b.Rows {
				noise.Normal(eps, b.Key, noise.ID{Sample: r.Sample, Step: uint32(x.Transition) + 1}, 0)
				for i, z := range eps {
					y := float64(run.Latents[x.Transition][row*dim+i])
					next := (a.X+a.V/2)*y + a.Eps*z
					d := float64(sampler.BFloat16.Round(float32(next))) - next
					squares += d * d
				}
			}
			want := math.Sqrt(squares/dim/5) / a.Eps
			// N = 2·10⁵ elements: the square is known to 5·2·want/√N of 1, what noise and rounding
			// have in common by chance.
			if d := math.Abs(x.Rounding*x.Rounding - want*want); d > 10*want/math.Sqrt(5*dim) {
				t.Errorf("eta %v: rounding %v, want %v", eta, x.Rounding, want)
			}
			t.Logf("eta %v: %+v, want %v", eta, x, want)
		}
	}
}

func TestNoiseFloorErrors(t *testing.T) {
	ctx := context.Background()
	s, b, run := floorRun(t, sampler.Float32, sampler.FlowCPS{Eta: 0.5}, 8)
	floor := func(clip float64, model sampler.Model[[]float32], sizes ...int) error {
		_, err := logprob.NoiseFloor(ctx, sampler.CPU{}, logprob.Form{}, clip, s, b, run, model, sizes...)
		return err
	}
	for _, clip := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		wantError(t, floor(clip, half(0)), logprob.ErrClip, fmt.Sprintf("clip range %v", clip))
	}
	wantError(t, floor(1e-4, half(0), 0), sampler.ErrConfig, "size 0 of a batch")
	wantError(t, floor(1e-4, nil), sampler.ErrConfig, "model")
	boom := errors.New("boom")
	for calls := range 9 {
		left := calls
		wantError(t, floor(1e-4, func(ctx context.Context, c sampler.Call[[]float32]) error {
			if left--; left < 0 {
				return boom
			}
			return half(0)(ctx, c)
		}), boom, "model at")
	}
	nan := func(at int) sampler.Model[[]float32] {
		return func(ctx context.Context, c sampler.Call[[]float32]) error {
			err := half(0)(ctx, c)
			if len(c.Rows) == at {
				c.V[0] = float32(math.NaN())
			}
			return err
		}
	}
	var e *sampler.NonFiniteError
	if err := floor(1e-4, nan(5)); !errors.As(err, &e) {
		t.Errorf("NaN: %v", err)
	}
	wantError(t, floor(1e-4, nan(1)), logprob.ErrNotFinite, "transition 0", "row 0 (sample 1)")
	run.SumSquares[1][2] = -1
	wantError(t, floor(1e-4, half(0)), logprob.ErrNegative, "transition 1", "row 2 (sample 3)")
	run.SumSquares = [][]float64{nil, nil, nil, make([]float64, 5)}
	wantError(t, floor(1e-4, half(0)), logprob.ErrNoSums)
}
