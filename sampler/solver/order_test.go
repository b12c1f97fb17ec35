package solver_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"gonum.org/v1/gonum/stat"

	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// A mixture of isotropic Gaussians, with the exact velocity.
type mixture struct {
	Components, Dim     int
	Weights, Means, Sds []float64
}

// velocity returns E[x1 - x0 | x] at level t.
func (m mixture) velocity(x []float64, t float64) []float64 {
	a := 1 - t
	r := make([]float64, m.Components)
	top := math.Inf(-1)
	for k := range r {
		v := a*a*m.Sds[k]*m.Sds[k] + t*t
		var sq float64
		for i := range x {
			d := x[i] - a*m.Means[k*m.Dim+i]
			sq += d * d
		}
		r[k] = math.Log(m.Weights[k]) - sq/(2*v) - float64(m.Dim)/2*math.Log(v)
		top = max(top, r[k])
	}
	var sum float64
	for k := range r {
		r[k] = math.Exp(r[k] - top)
		sum += r[k]
	}
	v := make([]float64, len(x))
	for i := range v {
		for k := range r {
			q := a*a*m.Sds[k]*m.Sds[k] + t*t
			d := x[i] - a*m.Means[k*m.Dim+i]
			v[i] += r[k] / sum * (t/q*d - m.Means[k*m.Dim+i] - a*m.Sds[k]*m.Sds[k]/q*d)
		}
	}
	return v
}

// solve runs s without noise in float64 from the first latents x. known is an exact
// history: the latents of the first len(known) evaluations.
func solve(s *sampler.Sampler, velocity func(x []float64, t float64) []float64, known ...[]float64) []float64 {
	x := append([][]float64(nil), known...)
	var v [][]float64
	for k := range s.Steps() {
		tr := s.At(k)
		v = append(v, velocity(x[k], tr.From.Noise))
		if k+1 < len(known) {
			continue
		}
		next := make([]float64, len(x[k]))
		for _, q := range append([]sampler.Past{{X0: tr.Coeffs.X0, X1: tr.Coeffs.X1}}, tr.Past...) {
			from := s.At(k - q.Back).From
			for i := range next {
				x, v := x[k-q.Back][i], v[k-q.Back][i]
				next[i] += q.X0*(x-from.Noise*v) + q.X1*(x+from.Signal*v)
			}
		}
		x = append(x, next)
	}
	return x[len(x)-1]
}

// levels are n steps of equal length from noise a to b.
func levels(a, b float64, n int) schedule.Flow {
	f := make(schedule.Flow, n+1)
	for i := range f {
		f[i] = a + (b-a)*float64(i)/float64(n)
	}
	f[n] = b
	return f
}

func mustNew(t testing.TB, c sampler.Config) *sampler.Sampler {
	t.Helper()
	s, err := sampler.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// slope returns the order of convergence, given the errors at some numbers of steps.
func slope(n []int, err []float64) float64 {
	x, y := make([]float64, len(n)), make([]float64, len(n))
	for i := range n {
		x[i], y[i] = math.Log(float64(n[i])), math.Log(err[i])
	}
	_, b := stat.LinearRegression(x, y, nil, false)
	return -b
}

// ownOrder measures the order of a solver from its own start, on a mixture in two
// dimensions. It compares with solutions of an integrator of order 8.
func ownOrder(t *testing.T, r sampler.Rule) float64 {
	data, err := os.ReadFile("testdata/exact.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Gmm   mixture
		Cases []struct {
			ID   string
			Dim  int
			T, X []float64
		}
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	count := []int{40, 80, 160, 320}
	worst := make([]float64, len(count))
	for _, c := range f.Cases {
		if c.T[0] == 1 { // from level 1 the first evaluation is no history
			continue
		}
		end := len(c.T) - 1
		for c.T[end] < 0.1 {
			end--
		}
		for i, n := range count {
			s := mustNew(t, sampler.Config{Scheduler: levels(c.T[0], c.T[end], n), Rule: r, Start: sampler.FromPart})
			got := solve(s, f.Gmm.velocity, c.X[:c.Dim])
			for k, x := range got {
				worst[i] = max(worst[i], math.Abs(x-c.X[end*c.Dim+k]))
			}
		}
	}
	return slope(count, worst)
}

// historyOrder measures the order of a solver that begins with exact earlier evaluations,
// on a mixture in one dimension. There the flow carries every quantile of the law along. So
// solutions are exact at all times.
func historyOrder(t *testing.T, r sampler.Rule) float64 {
	m := mixture{2, 1, []float64{0.4, 0.6}, []float64{-0.6, 1}, []float64{0.5, 0.7}}
	count := []int{160, 320, 640, 1280}
	worst := make([]float64, len(count))
	for i, n := range count {
		f := levels(0.9, 0.1, n)
		s := mustNew(t, sampler.Config{Scheduler: f, Rule: r, Start: sampler.FromPart})
		for _, p := range []float64{0.1, 0.35, 0.8} {
			exact := func(t float64) []float64 { return []float64{m.quantile(p, t)} }
			got := solve(s, m.velocity, exact(f[0]), exact(f[1]), exact(f[2]))
			worst[i] = max(worst[i], math.Abs(got[0]-exact(0.1)[0]))
		}
	}
	return slope(count, worst)
}

// quantile returns the quantile p of a mixture in one dimension at level t, by bisection.
func (m mixture) quantile(p, t float64) float64 {
	lo, hi := -10.0, 10.0
	for {
		x := (lo + hi) / 2
		if x <= lo || x >= hi {
			return x
		}
		var cdf float64
		for k, w := range m.Weights {
			cdf += w * math.Erfc(-(x-(1-t)*m.Means[k])/math.Hypot((1-t)*m.Sds[k], t)/math.Sqrt2) / 2
		}
		if cdf < p {
			lo = x
		} else {
			hi = x
		}
	}
}

// lawOrder measures the order of the variance of Gaussian data. It also returns the
// relative error at the end.
func lawOrder(t *testing.T, r sampler.Rule) (order, last float64) {
	const sd = 0.5
	variance := func(t float64) float64 { return (1-t)*(1-t)*sd*sd + t*t }
	count := []int{512, 1024, 2048}
	if _, ok := r.(solver.Ancestral); ok { // its time grows with the square
		count = []int{64, 128, 256, 512}
	}
	err := make([]float64, len(count))
	for i, n := range count {
		s := mustNew(t, sampler.Config{Scheduler: levels(0.95, 0.2, n), Rule: r, Start: sampler.FromPart})
		// The covariance of the latents 0, 1, 2 and 3 evaluations back.
		var c [4][4]float64
		c[0][0] = variance(0.95)
		for k := range s.Steps() {
			tr := s.At(k)
			var w [4]float64
			for _, q := range append([]sampler.Past{{X0: tr.Coeffs.X0, X1: tr.Coeffs.X1}}, tr.Past...) {
				from := s.At(k - q.Back).From
				a, t := from.Signal, from.Noise
				w[q.Back] += (q.X0*a*sd*sd + q.X1*t) / variance(t) // E[x0|x] = a·sd²/var·x, E[x1|x] = t/var·x
			}
			var next [4][4]float64
			for j := range 3 {
				for l := range 3 {
					next[j+1][l+1] = c[j][l]
				}
				for l, w := range w {
					next[0][j+1] += w * c[l][j]
				}
				next[j+1][0] = next[0][j+1]
			}
			next[0][0] = tr.Coeffs.Eps * tr.Coeffs.Eps
			for j := range w {
				for l := range w {
					next[0][0] += w[j] * w[l] * c[j][l]
				}
			}
			c = next
		}
		err[i] = math.Abs(c[0][0]/variance(0.2) - 1)
	}
	return slope(count, err), err[len(err)-1]
}

// solvers returns one solver of every kind in the package.
func solvers() (all []sampler.Rule) {
	for order := 1; order <= 3; order++ {
		for _, eta := range []float64{0, 0.5, 1} {
			for _, heun := range []bool{false, true} {
				for _, taylor := range []bool{false, true} {
					if heun && order != 2 || taylor && order != 3 {
						continue
					}
					r := solver.DPMPlus{Order: order, Eta: eta, Heun: heun, Taylor: taylor}
					all = append(all, r, solver.DPM(r))
				}
			}
		}
	}
	for _, share := range []solver.Share{
		solver.Constant(0.5), solver.CPS(0.5), solver.Exponential(1), solver.Softer(1), solver.Sinusoidal(0.5), solver.Eps(1),
		solver.Lorentzian(0.5), solver.ER4(0.3), solver.NoiseOf{Rule: sampler.DPMSDEPlus{}}, solver.NoiseOf{Rule: sampler.FlowCPS{Eta: 0.5}},
	} {
		for _, inner := range []sampler.Rule{sampler.FlowODE{}, solver.DPMPlus{Order: 2}, solver.DPM{Order: 2}} {
			all = append(all, solver.Ancestral{Inner: inner, Share: share})
		}
	}
	return all
}

// Measurements of every solver agree with its facts.
func TestFacts(t *testing.T) {
	for _, r := range solvers() {
		f := sampler.FactsOf(r)
		name := fmt.Sprintf("%T%+v", r, r)
		doc := f.Source != "" && f.Evaluations == 1 && f.HistoryOrder >= f.Order && f.Path == sampler.AnyPath
		if !doc {
			t.Errorf("%s: facts %+v", name, f)
		}
		// Density and preservation also hold where history begins late and the run ends at
		// 0.
		kept, noisy := true, false
		for _, c := range []schedule.Scheduler{schedule.Linear(7).Shift(3)[1:], levels(0.97, 0.05, 5), vp(6)} {
			s := mustNew(t, sampler.Config{Scheduler: c, Rule: r, Start: sampler.FromPart})
			if s.Steps() != c.Steps() {
				t.Errorf("%s: %d evaluations in %d steps", name, s.Steps(), c.Steps())
			}
			noisy = noisy || len(s.Stochastic()) > 0
			for _, a := range s.Audit() {
				kept = kept && math.Abs(a.Excess) < 1e-12 && math.Abs(a.Signal-a.To.Signal) < 1e-12
			}
		}
		if kept != f.Preserving || noisy != f.Density {
			t.Errorf("%s: preserves %v, draws noise %v, the facts are %+v", name, kept, noisy, f)
		}
		if !f.Density {
			own, history := ownOrder(t, r), historyOrder(t, r)
			t.Logf("%-70s order %.2f, with exact history %.2f", name, own, history)
			if math.Abs(own-float64(f.Order)) > 0.25 || math.Abs(history-float64(f.HistoryOrder)) > 0.2 {
				t.Errorf("%s: orders %.2f and %.2f, the facts say %d and %d", name, own, history, f.Order, f.HistoryOrder)
			}
			continue
		}
		order, last := lawOrder(t, r)
		t.Logf("%-70s order of the variance %.2f, %.1e left", name, order, last)
		switch {
		case f.Order == 0 && !(last > 0.01): // also NaN
			if !math.IsNaN(last) {
				t.Errorf("%s: order 0, but %.1e is left", name, last)
			}
		case f.Order > 0 && math.Abs(order-float64(f.Order)) > 0.2:
			t.Errorf("%s: order %.2f, the facts say %d", name, order, f.Order)
		}
	}
}

// vp is a variance-preserving run that ends at noise 0.
func vp(n int) schedule.Points {
	var p schedule.Points
	for i := range n + 1 {
		p = append(p, schedule.VPLevel(1-float64(i)/float64(n), math.Pow(float64(i)/float64(n)*0.98+0.02, 1.5)))
	}
	return p
}
