package sampler_test

import (
	"math"
	"testing"

	"cps/sampler"
	"cps/schedule"

	"pgregory.net/rapid"
)

var predictions = []sampler.Prediction{sampler.PredictVelocity, sampler.PredictNoise, sampler.PredictSample, sampler.PredictV, sampler.PredictReversedVelocity}

// output is what a model predicts, under a convention, for the latent α·x0 +
// σ·x1.
func output(p sampler.Prediction, at schedule.Point, x0, x1 float64) float64 {
	switch p {
	case sampler.PredictVelocity:
		return x1 - x0
	case sampler.PredictNoise:
		return x1
	case sampler.PredictSample:
		return x0
	case sampler.PredictReversedVelocity:
		return x0 - x1
	default:
		return at.Signal*x1 - at.Noise*x0
	}
}

// A step in terms of latent and output equals the step in terms of the sample and
// the noise that they are made of. The weights divide by α, σ, α+σ or α²+σ².
// These are at least 0.02 here, and cancellation costs at most as much again.
func affineIsTheStep(t *rapid.T) {
	unit := rapid.Float64Range(0.02, 1)
	from := schedule.Point{Signal: unit.Draw(t, "signal"), Noise: unit.Draw(t, "noise")}
	w := rapid.Float64Range(-2, 2)
	c := sampler.Coeffs{X0: w.Draw(t, "X0"), X1: w.Draw(t, "X1"), Eps: rapid.Float64Range(0, 2).Draw(t, "Eps")}
	x0, x1, eps := w.Draw(t, "x0"), w.Draw(t, "x1"), w.Draw(t, "ε")
	x := from.Signal*x0 + from.Noise*x1
	want := c.X0*x0 + c.X1*x1 + c.Eps*eps
	for _, p := range predictions {
		a := c.Affine(p, from)
		v := output(p, from, x0, x1)
		got := a.X*x + a.V*v + a.Eps*eps
		if math.Abs(got-want) > 1e-12 {
			t.Fatalf("%v at %+v: %+v as %+v takes (x̂0, x̂1, ε) = (%v, %v, %v) to %v, want %v", p, from, c, a, x0, x1, eps, got, want)
		}
		if step := sampler.Apply(nil1(), []float64{x}, []float64{v}, []float64{eps}, a)[0]; math.Abs(step-want) > 1e-12 {
			t.Fatalf("%v at %+v: Apply takes it to %v, want %v", p, from, step, want)
		}
		// The predictions themselves, too.
		for _, e := range []struct {
			c    sampler.Coeffs
			want float64
		}{{sampler.Coeffs{X0: 1}, x0}, {sampler.Coeffs{X1: 1}, x1}, {sampler.Coeffs{X0: -1, X1: 1}, x1 - x0}} {
			a := e.c.Affine(p, from)
			if got := a.X*x + a.V*v; math.Abs(got-e.want) > 1e-11 || a.Eps != 0 {
				t.Fatalf("%v at %+v: %+v gives %v, want %v", p, from, e.c, got, e.want)
			}
		}
	}
}

func nil1() []float64 { return make([]float64, 1) }

func TestAffine(t *testing.T) { rapid.Check(t, affineIsTheStep) }
func FuzzAffine(f *testing.F) { f.Fuzz(rapid.MakeFuzz(affineIsTheStep)) }

func TestAffineOfUnknownPrediction(t *testing.T) {
	wantPanic(t, "sampler: unknown prediction", func() {
		sampler.Coeffs{}.Affine(sampler.PredictReversedVelocity+1, schedule.Level(0.5))
	})
}

// The weights of a transition are float32 values, the nearest to the exact ones.
func TestTransitionsAreFloat32(t *testing.T) {
	for _, p := range predictions {
		s := mustNew(t, sampler.Config{
			Scheduler:  schedule.Flow{0.93, 0.7, 0.31, 0.1},
			Rule:       sampler.FlowCPS{Eta: 0.6},
			Prediction: p,
		})
		for i := range s.Steps() {
			tr := s.At(i)
			a := tr.Coeffs.Affine(p, tr.From)
			want := sampler.Affine{X: float64(float32(a.X)), V: float64(float32(a.V)), Eps: float64(float32(a.Eps))}
			if tr.Affine != want {
				t.Errorf("%v, step %d: %+v, want %+v", p, i, tr.Affine, want)
			}
			if row := s.Row(7, i); row.Affine != tr.Affine || row.Sample != 7 || row.Step != uint32(i)+1 {
				t.Errorf("step %d: row %+v", i, row)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for want, got := range map[string]any{
		"PredictVelocity": sampler.PredictVelocity, "PredictNoise": sampler.PredictNoise,
		"PredictSample": sampler.PredictSample, "PredictV": sampler.PredictV, "PredictReversedVelocity": sampler.PredictReversedVelocity,
		"Prediction(5)": sampler.PredictReversedVelocity + 1, "FromData": sampler.FromData, "ToPart": sampler.ToPart, "RoundDown": sampler.RoundDown,
		"Float32": sampler.Float32, "BFloat16": sampler.BFloat16, "Float16": sampler.Float16, "Storage(9)": sampler.Storage(9),
	} {
		if show(got) != want {
			t.Errorf("%v is called %v", want, got)
		}
	}
}
