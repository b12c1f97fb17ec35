package golden

import (
	"errors"
	"math"

	"cps/logprob"
	"cps/sampler"
	"cps/schedule"
)

// flowRule returns the rule that the golden files call name.
func flowRule(t tester, name string, eta float64) sampler.Rule {
	t.Helper()
	switch name {
	case "flow_sde", "ff_flow_sde":
		return sampler.FlowSDE{Diffusion: sampler.Ratio(eta)}
	case "dance_sde", "ff_dance_sde":
		return sampler.FlowSDE{Diffusion: sampler.Constant(eta)}
	case "dance_noise":
		return sampler.NoisyODE{Diffusion: sampler.Constant(eta)}
	case "flow_cps", "ff_cps":
		return sampler.FlowCPS{Eta: eta}
	case "ff_ode":
		return sampler.FlowODE{}
	}
	t.Fatalf("no test runs sampler %q", name)
	return nil
}

// flowForm returns the log p of the sampler's authors. All average over elements. FlowCPS has no
// denominator.
func flowForm(name string) logprob.Form {
	return logprob.Form{Gaussian: name != "flow_cps" && name != "ff_cps"}
}

// A publishedStep is one step of a batch by a published implementation. Arrays are row-major
// [len(rows), dim]. scale and logProb have one number per row.
type publishedStep struct {
	sampler        string
	precision      string
	rows           []sampler.Transition // the library's
	storage        sampler.Storage      // type of prev
	x, v           arr
	noise          arr // nil: prev was given
	prev, mean     arr
	scale, logProb arr
}

func (s publishedStep) check(t tester, w worst) {
	t.Helper()
	if ulp(t, s.precision) == ulp32 {
		s.check32(t, w)
	} else {
		s.check64(t, w)
	}
}

// check64 judges a step that was published in double precision. It uses coefficients that are
// not rounded.
func (s publishedStep) check64(t tester, w worst) {
	t.Helper()
	n := len(s.x) / len(s.rows)
	for i, r := range s.rows {
		row := func(a arr) arr { return a[i*n:][:n] }
		tol := s.tolerance(t, i)
		a := r.Coeffs.Affine(sampler.PredictVelocity, r.From)
		mean := sampler.Apply(make([]float64, n), row(s.x), row(s.v), nil, sampler.Affine{X: a.X, V: a.V})
		w.near(t, s.group(), "mean", mean, row(s.mean), tol)
		s.checkScale(t, w, a.Eps, i)
		if s.noise != nil {
			prev := sampler.Apply(make([]float64, n), row(s.x), row(s.v), row(s.noise), a)
			w.near(t, s.group(), "prev", prev, row(s.prev), tol)
		}
		square := meanSquare(row(s.prev), mean)
		got := -square
		if flowForm(s.sampler).Gaussian {
			got = density(row(s.prev), mean, a.Eps)
		}
		if s.noNoise(i) {
			s.checkNoDensity(t, w, i, square)
			continue
		}
		w.near(t, s.group(), "log p", []float64{got}, s.logProb[i:][:1], s.toleranceLog(t, i, square))
	}
}

// check32 judges a step that was published in single precision. It computes the step as a
// trainer would: with float32 weights, the sums of squares of the CPU device, and log p of
// package logprob.
func (s publishedStep) check32(t tester, w worst) {
	t.Helper()
	n := len(s.x) / len(s.rows)
	x, v, noise, next := float32s(s.x), float32s(s.v), float32s(s.noise), float32s(s.prev)
	b := sampler.Batch{Dim: n, Storage: s.storage, Rows: make([]sampler.Row, len(s.rows))}
	for i, r := range s.rows {
		a := r.Affine
		b.Rows[i].Affine = a
		lo, hi := i*n, (i+1)*n
		tol := s.tolerance(t, i)
		mean := sampler.Apply(make([]float32, n), x[lo:hi], v[lo:hi], nil, sampler.Affine{X: a.X, V: a.V})
		w.near(t, s.group(), "mean", float64s(mean), narrow(s.mean[lo:hi]), tol)
		s.checkScale(t, w, a.Eps, i)
		if s.noise != nil {
			prev := sampler.Apply(make([]float32, n), x[lo:hi], v[lo:hi], noise[lo:hi], a)
			s.checkStored(t, w, prev, next[lo:hi], tol)
		}
	}

	sq := make([]float64, len(s.rows))
	sampler.CPU{}.SumSquares(sq, next, x, v, b)
	form := flowForm(s.sampler)
	for i := range s.rows {
		row, square := b, sq[i]/float64(n)
		row.Rows = b.Rows[i : i+1]
		got, err := form.LogProb(make([]float64, 1), row, sq[i:i+1])
		switch {
		case s.noNoise(i):
			if !errors.Is(err, logprob.ErrNoDensity) {
				t.Errorf("row %d: LogProb = %v, %v, want %v", i, got, err, logprob.ErrNoDensity)
			}
			s.checkNoDensity(t, w, i, square)
		case err != nil:
			t.Errorf("row %d: LogProb: %v", i, err)
		default:
			w.near(t, s.group(), "log p", got, narrow(s.logProb[i:i+1]), s.toleranceLog(t, i, square))
		}
	}
}

// noNoise reports whether upstream's row i drew no noise. Such a row has no density.
func (s publishedStep) noNoise(i int) bool { return s.scale[i] == 0 }

// checkNoDensity judges row i, which has no noise. Upstream's log p without denominator is minus
// the mean square. Its log p with denominator must be NaN or 0.
func (s publishedStep) checkNoDensity(t tester, w worst, i int, square float64) {
	t.Helper()
	t.differs(noDensity)
	if s.rows[i].Stochastic() {
		t.Errorf("row %d draws noise, and upstream's does not", i)
	}
	p := s.logProb[i : i+1]
	switch {
	case !flowForm(s.sampler).Gaussian:
		w.near(t, s.group(), "log p", []float64{-square}, p, s.toleranceLog(t, i, square))
	case !silent(p) && p[0] != 0:
		t.Errorf("row %d: upstream has log p %v without noise; only NaN and 0 are no densities", i, p[0])
	}
}

// checkScale compares the factor of the noise of row i. Upstream rounds g up to four times, and
// then Δ, its root, and the product.
func (s publishedStep) checkScale(t tester, w worst, eps float64, i int) {
	t.Helper()
	want := s.scale[i : i+1]
	if s.precision == "f32" {
		want = narrow(want)
	}
	w.scaled(t, s.group(), "scale", []float64{eps}, want, 6*ulp(t, s.precision))
}

// checkStored compares the float32 prev with the value that upstream stored.
func (s publishedStep) checkStored(t tester, w worst, prev, stored []float32, tol float64) {
	t.Helper()
	if s.storage == sampler.Float32 {
		w.near(t, s.group(), "prev", float64s(prev), float64s(stored), tol)
		return
	}
	// Rounding to 8 or 11 bits hides an error, or enlarges it to a whole unit at a
	// boundary. Therefore some value within tol must round to the stored one.
	got := make([]float64, len(prev))
	for i, p := range prev {
		δ := float32(tol * max(1, math.Abs(float64(p))))
		got[i] = float64(s.storage.Round(p))
		if y := stored[i]; s.storage.Round(p-δ) <= y && y <= s.storage.Round(p+δ) {
			got[i] = float64(y)
		}
	}
	w.near(t, s.group(), "prev stored", got, float64s(stored), 0)
}

// tolerance bounds the error of the mean of row i and of numbers computed from it. Upstream and
// the library round about ten times each. That rarely adds up to two roundings of the largest
// term, and here never to four. Terms are as large as the largest input, times
//
//   - the drift that Flow-SDE adds, g²Δ/(2t);
//   - the drift of DanceGRPO's code, which subtracts nearly equal numbers and divides by t²
//     where the library divides by t;
//   - s²/X1 for Flow-CPS, whose code has √(s² - Eps²) where the library has a cosine.
func (s publishedStep) tolerance(t tester, i int) float64 {
	t.Helper()
	n := len(s.x) / len(s.rows)
	r := s.rows[i]
	drift := r.Coeffs.Eps * r.Coeffs.Eps / (2 * r.From.Noise) // g²Δ/(2t)
	size := max(1, largest(s.x[i*n:][:n], s.v[i*n:][:n]))
	switch s.sampler {
	case "flow_sde", "ff_flow_sde":
		size *= 1 + drift
	case "dance_sde", "ff_dance_sde":
		size *= 1 + drift/r.From.Noise
	case "flow_cps", "ff_cps":
		if c := r.Coeffs; c.X1 > 0 { // at η = 1 both are exact
			size *= 1 + r.To.Noise*r.To.Noise/c.X1
		}
	}
	return 4 * ulp(t, s.precision) * size
}

// toleranceLog bounds the error of log p of row i, given its mean square. It is the error of the
// mean, for a density in units of the standard deviation.
func (s publishedStep) toleranceLog(t tester, i int, square float64) float64 {
	t.Helper()
	u := ulp(t, s.precision)
	if !flowForm(s.sampler).Gaussian {
		return 2*math.Sqrt(square)*s.tolerance(t, i) + u
	}
	std := s.rows[i].Coeffs.Eps
	z := math.Sqrt(square) / std
	return z*s.tolerance(t, i)/std + 8*u*(1+z*z)
}

func (s publishedStep) group() string { return s.sampler + " " + s.precision }

// oneStep returns the step between two levels as New makes it.
func oneStep(t tester, r sampler.Rule, from, to float64) sampler.Transition {
	t.Helper()
	s, err := sampler.New(sampler.Config{Scheduler: schedule.Flow{from, to}, Rule: r, Start: sampler.FromPart})
	if err != nil {
		t.Fatal(err)
	}
	return s.At(0)
}
