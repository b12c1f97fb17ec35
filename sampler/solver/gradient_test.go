package solver_test

import (
	"context"
	"math"
	"testing"

	"cps/logprob"
	"cps/noise"
	"cps/sampler"
	"cps/sampler/solver"
)

// A gradients holds the derivative of the expected reward by an offset of the velocity,
// each with its standard error. One is by differences of the reward, one by the exact
// density of the latents, and one takes the outputs of the history as data.
type gradients struct{ differences, exact, frozen, differencesErr, exactErr, frozenErr float64 }

// policyGradients measures gradients on a mixture in one dimension, with the reward
// x + sin 3x, over n runs of seven steps from level .97 to .05.
func policyGradients(t testing.TB, r sampler.Rule, n int) (g gradients) {
	m := mixture{2, 1, []float64{0.4, 0.6}, []float64{-0.6, 1}, []float64{0.3, 0.4}}
	s := mustNew(t, sampler.Config{Scheduler: levels(0.97, 0.05, 7), Rule: r})
	const rows = 1 << 12
	cpu, form := sampler.CPU{}, logprob.Form{Gaussian: true, Sum: true}
	h := sampler.History[[]float32]{Device: cpu, Sampler: s}
	ids := make([]uint64, rows)
	out := make([][]float32, s.Steps()) // outputs of each transition
	kept := make([][]float32, s.Steps())
	for k := range out {
		out[k], kept[k] = make([]float32, rows), make([]float32, rows)
	}
	base, scale := make([]float32, rows), make([]float64, rows)
	all, own := make([]float32, rows), make([]float32, rows) // ∂/∂v, summed over evaluations
	var sums, squares [3]float64
	for first := 0; first < n; first += rows {
		for i := range ids {
			ids[i] = uint64(first + i)
		}
		b := s.Batch(1, noise.Key(17), ids...)
		rewards := func(offset float64) ([]float64, *sampler.Trajectory[[]float32]) {
			model := sampler.OneTime(func(v, x []float32, time float64) error {
				for i := range v {
					v[i] = float32(m.velocity([]float64{float64(x[i])}, time)[0] + offset)
				}
				return nil
			})
			run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
			run.Observe = func(_ context.Context, o sampler.Observation[[]float32]) error {
				copy(out[o.Transition], o.V)
				return nil
			}
			cpu.Step(run.Latents[0], nil, nil, b, nil)
			if err := sampler.Rollout(context.Background(), cpu, s, b, run, model); err != nil {
				t.Fatal(err)
			}
			reward := make([]float64, rows)
			for i, x := range run.Latents[s.Steps()] {
				reward[i] = float64(x) + math.Sin(3*float64(x))
			}
			return reward, run
		}
		const d = 0.02
		up, _ := rewards(d)
		down, _ := rewards(-d)
		reward, run := rewards(0)
		clear(all)
		clear(own)
		var mean float64
		for _, r := range reward {
			mean += r / rows
		}
		for k := range s.Steps() {
			s.SetStep(b, k)
			if len(s.At(k).Keep) > 0 {
				h.Keep(kept[k], 0, run.Latents[k], out[k], b)
			}
			if !s.At(k).Stochastic() {
				continue
			}
			h.Base(base, run.Latents[k], func(back, _ int) []float32 { return kept[k-back] }, b)
			for i := range scale {
				scale[i] = reward[i] - mean
			}
			if _, err := form.GradScale(scale, b, scale); err != nil {
				t.Fatal(err)
			}
			h.Backward(func(int) []float32 { return all }, run.Latents[k+1], base, out[k], b, scale)
			cpu.Grad(own, run.Latents[k+1], base, out[k], b, scale)
		}
		for i := range rows {
			for j, x := range [3]float64{(up[i] - down[i]) / (2 * d), float64(all[i]), float64(own[i])} {
				sums[j] += x
				squares[j] += x * x
			}
		}
	}
	var means, errs [3]float64
	for j := range sums {
		means[j] = sums[j] / float64(n)
		errs[j] = math.Sqrt((squares[j]/float64(n) - means[j]*means[j]) / float64(n))
	}
	return gradients{means[0], means[1], means[2], errs[0], errs[1], errs[2]}
}

// The exact gradient is that of the expected reward. History as data gives another
// gradient.
func TestPolicyGradient(t *testing.T) {
	const n = 1 << 16
	for _, tc := range []struct {
		name string
		rule sampler.Rule
		same bool // of first order, so without history
	}{
		{"Flow-CPS, eta .5", sampler.FlowCPS{Eta: 0.5}, true},
		{"1M SDE, eta 1", solver.DPMPlus{Order: 1, Eta: 1}, true},
		{"2M SDE, eta 1", solver.DPMPlus{Order: 2, Eta: 1}, false},
		{"3M SDE, eta 1", solver.DPMPlus{Order: 3, Eta: 1, Heun: true}, false},
		{"ancestral 2M, share .5", solver.Ancestral{Inner: solver.DPMPlus{Order: 2}, Share: solver.Constant(0.5)}, false},
		{"x̂1 SDE of order 2, eta .5", solver.DPM{Order: 2, Eta: 0.5}, false},
	} {
		g := policyGradients(t, tc.rule, n)
		t.Logf("%-28s differences %.3f(%.0f)  exact %.3f(%.0f)  history as data %.3f(%.0f)", tc.name,
			g.differences, 1000*g.differencesErr, g.exact, 1000*g.exactErr, g.frozen, 1000*g.frozenErr)
		if d, e := math.Abs(g.exact-g.differences), math.Hypot(g.exactErr, g.differencesErr); d > 5*e || e > 0.05*math.Abs(g.differences)+0.02 {
			t.Errorf("%s: gradient %.4f, by differences %.4f, standard error %.4f", tc.name, g.exact, g.differences, e)
		}
		if off := math.Abs(g.frozen-g.differences) > 5*math.Hypot(g.frozenErr, g.differencesErr); off == tc.same {
			t.Errorf("%s: history as data gives %.4f, differences %.4f", tc.name, g.frozen, g.differences)
		}
	}
}
