package golden

import (
	"context"
	"encoding/json"
	"math"
	"slices"

	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// A solverRun is a run of solvers_multistep.json: a chain of transitions with one
// evaluation each. Arrays are row-major. X is [evals+1, batch, dim], V and Grad are
// [evals, batch, dim], and the log-probabilities are [evals, batch].
type solverRun struct {
	Sampler           string
	Params            json.RawMessage
	Precision, Model  string
	Evals, Batch, Dim int
	Sigmas, T         arr
	X, V, Noise       arr
	NoiseEval         []int `json:"noise_eval"`
	Eps               arr   `json:"d_eps"`
	LogProb           arr   `json:"d_log_prob"`
	LogProb2          arr   `json:"d_log_prob2"` // of the outputs 0.9 v + 0.05
	Grad              arr   `json:"d_grad"`      // of Σ w·log p by all outputs
	LogProbMean       arr   `json:"log_prob_mean"`
}

// lackSolver lists the samplers of the file for which the module has no rule.
var lackSolver = []string{"lms", "lms_ve", "deis", "deis_logrho", "ipndm", "ipndm_v", "res_multistep", "dpmpp_2m_logsigma", "gradient_estimation"}

// wrongThird says that upstream's SDE of order 3 has the weight of D₂ too small by 1.
type wrongThird bool

func judgeSolvers(t tester, path string) {
	w := worst{}
	defer w.log(t)
	eachCase(t, path, func(c solverRun, t tester) { c.run(t, w) })
}

// rule returns the rule of a case.
func (c solverRun) rule(t tester) (sampler.Rule, wrongThird) {
	t.Helper()
	settings := func(dst any) {
		if err := strict(c.Params, dst); err != nil {
			t.Fatalf("settings of %s: %v", c.Sampler, err)
		}
	}
	kind := func(s string) (heun bool) {
		if s != "midpoint" && s != "heun" {
			t.Fatalf("no judge knows the solver type %q", s)
		}
		return s == "heun"
	}
	steps := len(c.Sigmas) - 1
	switch c.Sampler {
	case "dpm_multistep":
		var p struct {
			Algorithm, Type string
			Order           int
			Lower           bool `json:"lower_order_final"`
			Euler           bool `json:"euler_at_final"`
		}
		settings(&p)
		r := solver.DPMPlus{Order: p.Order, Heun: kind(p.Type)}
		switch {
		case p.Lower && steps < 15:
			r.Final = solver.LowerOrder
		case p.Euler:
			r.Final = solver.EulerFinal
		}
		switch p.Algorithm {
		case "dpmsolver++":
			return r, false
		case "sde-dpmsolver++":
			r.Eta = 1
			return r, p.Order == 3
		case "dpmsolver":
			return solver.DPM(r), false
		case "sde-dpmsolver":
			r.Eta = 1
			return solver.DPM(r), false
		}
		t.Fatalf("no judge knows algorithm %q", p.Algorithm)
	case "mixgrpo":
		var p struct {
			Algorithm, Type string
			Order           int
		}
		settings(&p)
		if p.Algorithm != "dpmsolver++" {
			t.Fatalf("no judge knows algorithm %q", p.Algorithm)
		}
		r := solver.DPMPlus{Order: p.Order, Eta: 1, Heun: kind(p.Type), Final: solver.LowerOrder}
		if steps >= 15 {
			r.Final = solver.EulerFinal
		}
		return r, p.Order == 3
	case "dpmpp_2m_sde":
		var p struct {
			Type       string
			Eta, Shift float64
		}
		settings(&p)
		return solver.DPMPlus{Order: 2, Eta: p.Eta, Heun: kind(p.Type)}, false
	case "dpmpp_3m_sde":
		var p struct{ Eta, Shift float64 }
		settings(&p)
		return solver.DPMPlus{Order: 3, Eta: p.Eta, Heun: true}, false
	case "dpmpp_2m":
		settings(&struct{}{})
		return solver.DPMPlus{Order: 2}, false
	case "euler_ancestral_rf":
		var p struct{ Eta, Shift float64 }
		settings(&p)
		return solver.Ancestral{Inner: sampler.FlowODE{}, Share: solver.NoiseOf{Rule: sampler.Ancestral{Eta: p.Eta}}}, false
	case "er_sde":
		var p struct {
			Shift         float64
			Order, Points int
		}
		settings(&p)
		if p.Order == 1 {
			return sampler.ERSDE{}, false
		}
		t.notJudged(noSolver)
	}
	if !slices.Contains(lackSolver, c.Sampler) {
		t.Fatalf("no judge knows the sampler %q", c.Sampler)
	}
	t.notJudged(noSolver)
	return nil, false
}

func (c solverRun) run(t tester, w worst) {
	rule, wrong := c.rule(t)
	levels := append(schedule.Flow(nil), c.Sigmas...)
	levels[0] = c.T[0] // ComfyUI moves the first
	s, err := sampler.New(sampler.Config{Scheduler: levels, Rule: rule, Start: sampler.FromPart})
	if err != nil {
		t.Fatal(err)
	}
	n := c.Batch * c.Dim
	if s.Steps() != c.Evals || len(c.X) != (c.Evals+1)*n || len(c.V) != c.Evals*n || c.Precision != "f64" {
		t.Fatalf("%d transitions, %d latents and %d outputs of %s for %d evaluations of %d", s.Steps(), len(c.X), len(c.V), c.Precision, c.Evals, n)
	}
	var eps []float64
	for k := range c.Evals {
		tr := s.At(k)
		w.near(t, c.Sampler, "time", []float64{tr.From.Noise}, c.T[k:k+1], 1e-12)
		eps = append(eps, tr.Coeffs.Eps)
		w.near(t, c.Sampler, "next", c.next(s, k, c.V, c.noise(k), wrong), c.X[(k+1)*n:][:n], 1e-12)
	}
	if wrong {
		t.differs(signOfThird)
	}
	if c.Eps == nil {
		return
	}
	w.near(t, c.Sampler, "eps", eps, c.Eps, 1e-12)
	c.densities(t, w, s, wrong)
	if !wrong {
		c.replay(t, w, s)
	}
}

// noise returns the draw after evaluation k, or nil.
func (c solverRun) noise(k int) []float64 {
	if i := slices.Index(c.NoiseEval, k); i >= 0 {
		return c.Noise[i*c.Batch*c.Dim:][:c.Batch*c.Dim]
	}
	return nil
}

// shares returns the shares of the evaluations 0, 1, … back in transition k, in terms of
// the predictions.
func (c solverRun) shares(s *sampler.Sampler, k int, wrong wrongThird) []sampler.Past {
	tr := s.At(k)
	all := []sampler.Past{{X0: tr.Coeffs.X0, X1: tr.Coeffs.X1}}
	all = append(all, tr.Past...)
	if wrong && len(tr.Past) == 2 { // less α'·D₂
		rise := func(i int) float64 {
			p := func(q schedule.Point) float64 { return math.Log(q.Signal / q.Noise) }
			return p(s.At(i).To) - p(s.At(i).From)
		}
		r, q := rise(k-1)/rise(k), rise(k-2)/rise(k)
		a, b := 1/(r*(r+q)), 1/(q*(r+q))
		for i, d := range []float64{a, -(a + b), b} {
			all[i].X0 -= tr.To.Signal * d
		}
	}
	return all
}

// next returns the latents after transition k, given the latents of the case and the
// outputs v.
func (c solverRun) next(s *sampler.Sampler, k int, v, noise []float64, wrong wrongThird) []float64 {
	n := c.Batch * c.Dim
	next := make([]float64, n)
	for _, q := range c.shares(s, k, wrong) {
		from := s.At(k - q.Back).From
		x, v := c.X[(k-q.Back)*n:][:n], v[(k-q.Back)*n:][:n]
		for i := range next {
			next[i] += q.X0*(x[i]-from.Noise*v[i]) + q.X1*(x[i]+from.Signal*v[i])
		}
	}
	if eps := s.At(k).Coeffs.Eps; noise != nil && eps != 0 {
		for i := range next {
			next[i] += eps * noise[i]
		}
	}
	return next
}

// other returns the outputs of the other policy.
func (c solverRun) other() arr {
	v := slices.Clone(c.V)
	for i := range v {
		v[i] = 0.9*v[i] + 0.05
	}
	return v
}

// weight returns the weight of log p of transition k and a row, in the sum whose gradient
// is taken.
func weight(k, row int) float64 { return 1 + 0.25*float64(k) - 0.5*float64(row) }

// densities checks log-probabilities and gradients in float64.
func (c solverRun) densities(t tester, w worst, s *sampler.Sampler, wrong wrongThird) {
	n := c.Batch * c.Dim
	grad := make([]float64, c.Evals*n)
	for policy, v := range []arr{c.V, c.other()} {
		want := [2]arr{c.LogProb, c.LogProb2}[policy]
		got := make([]float64, 0, len(want))
		for k := range c.Evals {
			tr, eps := s.At(k), s.At(k).Coeffs.Eps
			mean := c.next(s, k, v, nil, wrong)
			for row := range c.Batch {
				if !tr.Stochastic() {
					got = append(got, math.NaN())
					continue
				}
				x, m := c.X[(k+1)*n+row*c.Dim:][:c.Dim], mean[row*c.Dim:][:c.Dim]
				got = append(got, density(x, m, eps)*float64(c.Dim))
				if policy != 0 {
					continue
				}
				for _, q := range c.shares(s, k, wrong) {
					from := s.At(k - q.Back).From
					for i := range x {
						share := q.X1*from.Signal - q.X0*from.Noise
						grad[(k-q.Back)*n+row*c.Dim+i] += weight(k, row) * share * (x[i] - m[i]) / (eps * eps)
					}
				}
			}
		}
		w.near(t, c.Sampler, "log p", got, want, 1e-8)
		if policy == 0 && c.LogProbMean != nil {
			for i, want := range c.LogProbMean {
				if got := got[i] / float64(c.Dim); !math.IsNaN(want) && !math.IsInf(want, 0) {
					w.near(t, c.Sampler, "mean log p", []float64{got}, []float64{want}, 1e-8)
				}
			}
		}
	}
	w.scaled(t, c.Sampler, "gradient", grad, c.Grad, 1e-8)
}

// replay checks log-probabilities and gradients as trainers compute them, in float32.
func (c solverRun) replay(t tester, w worst, s *sampler.Sampler) {
	cpu, form := sampler.CPU{}, logprob.Form{Gaussian: true, Sum: true}
	n := c.Batch * c.Dim
	ids := make([]uint64, c.Batch)
	for i := range ids {
		ids[i] = uint64(i)
	}
	b := s.Batch(c.Dim, noise.Key(1), ids...)
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	for k := range run.Latents {
		run.Latents[k] = float32s(c.X[k*n:][:n])
	}
	for k := range run.SumSquares {
		if !s.At(k).Stochastic() {
			run.SumSquares[k] = nil
		}
	}
	for policy, v := range []arr{c.V, c.other()} {
		model := sampler.OneTime(func(dst, _ []float32, time float64) error {
			k := slices.IndexFunc(c.T, func(t float64) bool { return math.Abs(t-time) < 1e-12 })
			copy(dst, float32s(v[k*n:][:n]))
			return nil
		})
		if err := sampler.Replay(context.Background(), cpu, s, b, run, model); err != nil {
			t.Fatal(err)
		}
		got := make([]float64, c.Evals*c.Batch)
		for k := range c.Evals {
			of := got[k*c.Batch:][:c.Batch]
			if run.SumSquares[k] == nil {
				for i := range of {
					of[i] = math.NaN()
				}
			} else if _, err := logprob.OfRun(of, form, s, b, run, k); err != nil {
				t.Fatal(err)
			}
		}
		w.near(t, c.Sampler, "log p of the replay", got, [2]arr{c.LogProb, c.LogProb2}[policy], 2e-4)
	}
	grad := make([]float32, c.Evals*n)
	h := sampler.History[[]float32]{Device: cpu, Sampler: s}
	base, kept := make([]float32, n), map[[2]int][]float32{}
	for k := range c.Evals {
		s.SetStep(b, k)
		x, v := run.Latents[k], float32s(c.V[k*n:][:n])
		for i := range s.At(k).Keep {
			kept[[2]int{k, i}] = make([]float32, n)
			h.Keep(kept[[2]int{k, i}], i, x, v, b)
		}
		if run.SumSquares[k] == nil {
			continue
		}
		h.Base(base, x, func(back, i int) []float32 { return kept[[2]int{k - back, i}] }, b)
		scale := make([]float64, c.Batch)
		for row := range scale {
			scale[row] = weight(k, row)
		}
		if _, err := form.GradScale(scale, b, scale); err != nil {
			t.Fatal(err)
		}
		h.Backward(func(back int) []float32 { return grad[(k-back)*n:][:n] }, run.Latents[k+1], base, v, b, scale)
	}
	w.scaled(t, c.Sampler, "gradient of the replay", float64s(grad), c.Grad, 1e-4)
}
