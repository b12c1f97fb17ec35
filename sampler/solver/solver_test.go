package solver_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cps/internal/rules"
	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// anyPoints draws the points of a run, on the flow path or a variance-preserving path,
// with or without the path's ends.
func anyPoints(t *rapid.T) schedule.Points {
	n := rapid.IntRange(1, 9).Draw(t, "steps")
	gaps := rapid.SliceOfN(rapid.Float64Range(0.01, 1), n+2, n+2).Draw(t, "distances")
	if rapid.Bool().Draw(t, "from pure noise") {
		gaps[0] = 0
	}
	if rapid.Bool().Draw(t, "to data") {
		gaps[n+1] = 0
	}
	at := schedule.Level
	if rapid.Bool().Draw(t, "variance-preserving") {
		at = func(u float64) schedule.Point { return schedule.VPLevel(u, (1-u)*(1+u)) }
	}
	var sum, x float64
	for _, g := range gaps {
		sum += g
	}
	var points schedule.Points
	for _, g := range gaps[:n+1] {
		x += g
		u := 1 - x/sum
		if gaps[n+1] == 0 && len(points) == n {
			u = 0
		}
		points = append(points, at(u))
	}
	return points
}

// plan returns the transitions of a rule, or the error of New.
func plan(r sampler.Rule, points schedule.Points) ([]sampler.Transition, error) {
	s, err := sampler.New(sampler.Config{Scheduler: points, Rule: r, Start: sampler.FromPart})
	if err != nil {
		return nil, err
	}
	var all []sampler.Transition
	for i := range s.Steps() {
		t := s.At(i)
		all = append(all, sampler.Transition{From: t.From, To: t.To, Coeffs: t.Coeffs, Past: t.Past, Affine: t.Affine, Base: t.Base, Keep: t.Keep})
	}
	return all, nil
}

// same fails unless two rules take the same transitions bit for bit.
func same(t *rapid.T, a, b sampler.Rule, points schedule.Points) {
	x, err := plan(a, points)
	y, err2 := plan(b, points)
	if err != nil || err2 != nil {
		t.Fatalf("%v, %v", err, err2)
	}
	if !reflect.DeepEqual(x, y) {
		t.Fatalf("%T%+v: %+v\n%T%+v: %+v", a, a, x, b, b, y)
	}
}

// Order 1 equals a rule of package sampler, and with eta 0 its ODE, bit for bit.
func TestFirstOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := anyPoints(t)
		heun := rapid.Bool().Draw(t, "heun")
		final := solver.Final(rapid.IntRange(0, 2).Draw(t, "final"))
		same(t, solver.DPMPlus{Order: 1, Heun: heun, Final: final}, sampler.FlowODE{}, points)
		same(t, solver.DPM{Order: 1, Heun: heun, Final: final}, sampler.FlowODE{}, points)
		same(t, solver.DPMPlus{Order: 1, Eta: 1, Heun: heun}, sampler.DPMSDEPlus{}, points)
		from, to := points[0], points[1]
		if from.Signal > 0 {
			a, err := solver.DPM{Order: 1, Eta: 1}.Coeffs(from, to)
			b, err2 := sampler.DPMSDE{}.Coeffs(from, to)
			scale := 1e-14 * (1 + math.Abs(b.X1) + b.Eps)
			if err != nil || err2 != nil || a.X0 != b.X0 || math.Abs(a.X1-b.X1) > scale || math.Abs(a.Eps-b.Eps) > scale {
				t.Fatalf("DPM of order 1 with eta 1 %+v, %v; DPMSDE %+v, %v", a, err, b, err2)
			}
		}
		if from.OnFlow() && from.Signal > 0 {
			// e^{-ηh} is the exact solution of g = √(2η·t/(1-t)).
			eta := rapid.Float64Range(0, 3).Draw(t, "eta")
			a, err := solver.DPMPlus{Order: 1, Eta: eta}.Coeffs(from, to)
			b, err2 := sampler.Exact{Diffusion: sampler.Ratio(math.Sqrt(2 * eta))}.Coeffs(from, to)
			if err != nil || err2 != nil || math.Abs(a.X1-b.X1) > 1e-13 || math.Abs(a.Eps-b.Eps) > 1e-13 {
				t.Fatalf("DPMPlus with eta %v %+v, %v; Exact %+v, %v", eta, a, err, b, err2)
			}
		}
	})
}

// With FlowODE inside, an ancestral step equals Flow-CPS, and any rule that preserves
// coefficients, bit for bit.
func TestAncestralOfEuler(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := anyPoints(t)
		eta := rapid.OneOf(rapid.Float64Range(1e-3, 1), rapid.SampledFrom([]float64{0, 0.5, 1})).Draw(t, "eta")
		same(t, solver.Ancestral{Inner: sampler.FlowODE{}, Share: solver.CPS(eta)}, sampler.FlowCPS{Eta: eta}, points)
		for _, f := range rules.All() {
			r := f.At(eta)
			facts := sampler.FactsOf(r)
			if !facts.Preserving || facts.Path == sampler.FlowPath && !points[len(points)-1].OnFlow() {
				continue
			}
			if facts.Path == sampler.FlowPath && !points[0].OnFlow() || facts.Path == sampler.VPPath {
				continue
			}
			if _, err := plan(r, points); err != nil {
				continue // off its path
			}
			same(t, solver.Ancestral{Inner: sampler.FlowODE{}, Share: solver.NoiseOf{Rule: r}}, r, points)
		}
	})
}

// On a path that is neither the flow's nor variance-preserving the level goes down and the
// signal stays, so that what Inner adds beyond its first order is not scaled.
func TestAncestralOnAnyPath(t *testing.T) {
	var points schedule.Points
	for _, u := range []float64{0.9, 0.7, 0.4, 0.2} {
		points = append(points, schedule.Point{Time: u, Signal: 0.8 * (1 - u), Noise: 0.9 * u})
	}
	const share = 0.6
	inner := solver.DPMPlus{Order: 2}
	got, err := solver.Ancestral{Inner: inner, Share: solver.Constant(share)}.Plan(points)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		to := points[i+1]
		down := to
		down.Noise *= math.Sqrt(1 - share*share)
		want, err := inner.Plan(append(slices.Clone(points[:i+1]), down))
		if err != nil {
			t.Fatal(err)
		}
		m, w := got[i], want[i]
		near := func(name string, got, want float64) {
			if math.Abs(got-want) > 1e-14 {
				t.Errorf("step %d: %s %v, want %v", i, name, got, want)
			}
		}
		near("X0", m.Coeffs.X0, w.Coeffs.X0)
		near("X1", m.Coeffs.X1, w.Coeffs.X1)
		near("Eps", m.Coeffs.Eps, share*to.Noise)
		if len(m.Past) != min(i, 1) || len(w.Past) != len(m.Past) {
			t.Fatalf("step %d looks back at %d evaluations, Inner at %d", i, len(m.Past), len(w.Past))
		}
		for k := range m.Past {
			near("share", m.Past[k].X0, w.Past[k].X0)
		}
	}
}

// Called directly, too, rules refuse an eta that is none.
func TestCoeffsRefuse(t *testing.T) {
	from, to := schedule.Level(0.7), schedule.Level(0.4)
	for _, eta := range []float64{-1, math.NaN(), math.Inf(1)} {
		for _, r := range []sampler.Rule{
			solver.DPM{Order: 1, Eta: eta}, solver.DPMPlus{Order: 1, Eta: eta}, solver.DPMPlus{Order: 3, Eta: eta},
			solver.Ancestral{Inner: sampler.FlowODE{}, Share: solver.CPS(eta)},
			solver.Ancestral{Inner: sampler.FlowODE{}, Share: solver.NoiseOf{Rule: sampler.DDIM{Eta: eta}}},
		} {
			if c, err := r.Coeffs(from, to); err == nil {
				t.Errorf("%T%+v: %+v and no error", r, r, c)
			}
		}
	}
	for _, r := range []sampler.Rule{solver.DPM{Order: 2}, solver.DPMPlus{Order: 2}} {
		if _, err := r.Coeffs(to, from); !errors.Is(err, sampler.ErrPath) {
			t.Errorf("%T up the path: %v", r, err)
		}
	}
}

// Without noise, an ancestral step equals the step of its ODE solver bit for bit.
func TestShareZero(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := anyPoints(t)
		order := rapid.IntRange(1, 3).Draw(t, "order")
		plus := solver.DPMPlus{Order: order, Heun: rapid.Bool().Draw(t, "heun"), Taylor: rapid.Bool().Draw(t, "taylor"), Final: solver.Final(rapid.IntRange(0, 2).Draw(t, "final"))}
		for _, inner := range []sampler.Rule{plus, solver.DPM(plus), sampler.FlowODE{}} {
			for _, share := range []solver.Share{solver.Constant(0), solver.CPS(0), solver.Exponential(0), solver.Softer(0), solver.Sinusoidal(0), solver.Eps(0), solver.Lorentzian(0), solver.ER4(0), solver.NoiseOf{Rule: sampler.FlowODE{}}} {
				same(t, solver.Ancestral{Inner: inner, Share: share}, inner, points)
			}
		}
	})
}

// An ancestral step is ρ times the step of Inner down to d. On the flow, ρ and d are
// RES4LYF's alpha_ratio and sigma_down. The end of the run stays where it was.
func TestAncestralGoesDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := anyPoints(t)
		f := rapid.Float64Range(0.05, 0.95).Draw(t, "share")
		inner := solver.DPMPlus{Order: rapid.IntRange(1, 3).Draw(t, "order"), Final: solver.Final(rapid.IntRange(0, 2).Draw(t, "final"))}
		got, err := solver.Ancestral{Inner: inner, Share: solver.Constant(f)}.Plan(points)
		if err != nil {
			t.Fatalf("%v", err)
		}
		whole, err := inner.Plan(points)
		if err != nil {
			t.Fatalf("%v", err)
		}
		for i, m := range got {
			if len(m.Past) != len(whole[i].Past) {
				t.Fatalf("step %d looks back at %d evaluations, Inner alone at %d", i, len(m.Past), len(whole[i].Past))
			}
			s := points[i+1].Noise
			if s == 0 {
				if !reflect.DeepEqual(m, whole[i]) {
					t.Fatalf("the step to noise 0 is %+v, not Inner's %+v", m, whole[i])
				}
				continue
			}
			kept := s * math.Sqrt(1-f*f)
			rho := math.Hypot(points[i+1].Signal, kept)
			d := schedule.Point{Signal: points[i+1].Signal / rho, Noise: kept / rho}
			if points[i].OnFlow() && points[i+1].OnFlow() {
				rho = 1 - s + kept
				d = schedule.Level(kept / rho)
			}
			keep := inner
			keep.Final = solver.KeepOrder
			if keep.Order = len(m.Past) + 1; keep.Order == 1 {
				continue // of first order, with known coefficients
			}
			short := append(slices.Clone(points[:i+1]), d)
			want, err := keep.Plan(short)
			if err != nil {
				t.Fatalf("%v", err)
			}
			w := want[i]
			if inner.Order == 3 && len(m.Past) == 1 && i >= 2 {
				continue // lowered at pure noise: Heun's form, which order 2 lacks
			}
			size := 1.0
			for k, q := range m.Past {
				size += math.Abs(q.X0)
				if math.Abs(q.X0-rho*w.Past[k].X0) > 1e-9*size {
					t.Fatalf("step %d: share %+v, want %v of %+v", i, q, rho, w.Past[k])
				}
			}
			if math.Abs(m.Coeffs.X0-rho*w.Coeffs.X0) > 1e-9*size || math.Abs(m.Coeffs.X1-rho*w.Coeffs.X1) > 1e-9 || math.Abs(m.Coeffs.Eps-f*s) > 1e-15 {
				t.Fatalf("step %d: %+v, want %v of %+v", i, m.Coeffs, rho, w.Coeffs)
			}
		}
	})
}

// Shares equal RES4LYF's noise modes.
func TestShares(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		t, s := rapid.Float64Range(0.02, 1).Draw(r, "t"), rapid.Float64Range(0.01, 0.99).Draw(r, "fraction")
		s *= t
		eta := rapid.Float64Range(0, 1).Draw(r, "eta")
		er := func(x float64) float64 { return math.Exp(math.Pow(x, eta)) + 10 }
		for share, f := range map[solver.Share]float64{
			solver.Constant(eta):    eta,
			solver.CPS(eta):         math.Sin(eta * math.Pi / 2),
			solver.Exponential(eta): math.Sqrt(1 - math.Exp(-2*eta*math.Log(t/s))),
			solver.Softer(eta):      1 - math.Sqrt(1-eta*eta*(t*t-s*s)/(t*t)),
			solver.Sinusoidal(eta):  eta * math.Pow(math.Sin(math.Pi*s), 2),
			solver.Eps(eta):         eta * math.Sqrt(s/t*s/t*(t*t-s*s)),
			solver.Lorentzian(eta):  eta * math.Sqrt(1-1/(s*s+1)) / s,
			solver.ER4(eta):         math.Sqrt(1 - math.Pow(er(s)/er(t), 2)),
			solver.NoiseOf{Rule: sampler.FlowCPWS{Diffusion: sampler.Constant(eta)}}: min(eta*math.Sqrt(t-s)/s, 1),
		} {
			kept, fresh, err := share.Split(schedule.Level(t), schedule.Level(s))
			if err != nil || math.Abs(fresh-f*s) > 1e-7*s || math.Abs(math.Hypot(kept, fresh)-s) > 1e-14*s {
				r.Fatalf("%T(%v) of %v → %v: keeps %v, draws %v, want %v: %v", share, share, t, s, kept, fresh, f*s, err)
			}
			if max(fresh, kept) > s*(1+1e-15) {
				r.Fatalf("%T(%v) of %v → %v: %v and %v pass the level", share, share, t, s, kept, fresh)
			}
		}
	})
}

// NoiseOf takes the noise of a rule that does not preserve coefficients, if the level
// allows it.
func TestNoiseOfOthers(t *testing.T) {
	from, to := schedule.Level(0.6), schedule.Level(0.5)
	r := sampler.FlowSDE{Diffusion: sampler.Constant(0.7)}
	c, err := r.Coeffs(from, to)
	if err != nil {
		t.Fatal(err)
	}
	kept, fresh, err := solver.NoiseOf{Rule: r}.Split(from, to)
	if err != nil || fresh != c.Eps || math.Abs(math.Hypot(kept, fresh)-0.5) > 1e-15 {
		t.Errorf("keeps %v, draws %v of %v: %v", kept, fresh, c.Eps, err)
	}
}

// The weights of short and long steps are exact but for a few roundings.
func TestPhi(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.OneOf(rapid.Float64Range(-8, 8), rapid.Map(rapid.Float64Range(-300, 0), func(e float64) float64 { return math.Pow(10, e) })).Draw(t, "x")
		if x == 0 {
			return
		}
		for name, f := range map[string]struct {
			got  float64
			from int
		}{"phi2": {solver.Phi2(x), 2}, "phi3": {solver.Phi3(x), 3}} {
			// Σ (-1)^(k+1) x^k/(k+m-1)!, over k ≥ 1, in 300 bits.
			sum, term := new(big.Float).SetPrec(300), big.NewFloat(1).SetPrec(300)
			for k := 2; k < f.from; k++ {
				term.Quo(term, big.NewFloat(float64(k)))
			}
			for k := 1; k < 90; k++ {
				term.Mul(term, big.NewFloat(-x))
				term.Quo(term, big.NewFloat(float64(k+f.from-1)))
				sum.Sub(sum, term)
			}
			want, _ := sum.Float64()
			if f.from == 3 {
				want = -want
			}
			if math.Abs(f.got-want) > 1e-15*8*math.Abs(want) {
				t.Fatalf("%s(%v) = %v, want %v", name, x, f.got, want)
			}
		}
	})
}

// noisy is an Inner that draws noise, and twice is one that evaluates the model twice.
type noisy struct{ sampler.FlowODE }

func (noisy) Coeffs(_, to schedule.Point) (sampler.Coeffs, error) {
	return sampler.Coeffs{X0: to.Signal, Eps: to.Noise}, nil
}

type twice struct{ sampler.FlowODE }

func (twice) Plan(points []schedule.Point) (moves []sampler.Move, err error) {
	for i := range len(points) - 1 {
		m := sampler.Move{Step: i, To: points[i+1], Coeffs: sampler.Coeffs{X0: points[i+1].Signal, X1: points[i+1].Noise}}
		moves = append(moves, m, m)
	}
	return moves, nil
}

// broken is a share whose parts do not add up to the level.
type broken struct{}

func (broken) Split(_, to schedule.Point) (kept, fresh float64, err error) {
	return to.Noise, to.Noise, nil
}

// Bad settings are errors of New. They name the solver, the parameter and the step.
func TestErrors(t *testing.T) {
	ode := sampler.FlowODE{}
	for _, tc := range []struct {
		rule     sampler.Rule
		kind     error
		culprits string
	}{
		{solver.DPMPlus{}, sampler.ErrConfig, "step 0|DPMPlus: order 0"},
		{solver.DPMPlus{Order: 4}, sampler.ErrConfig, "DPMPlus: order 4"},
		{solver.DPM{Order: -1}, sampler.ErrConfig, "DPM: order -1"},
		{solver.DPMPlus{Order: 2, Final: 3}, sampler.ErrConfig, "DPMPlus: Final(3)"},
		{solver.DPMPlus{Order: 2, Eta: -1}, sampler.ErrEta, "DPMPlus: eta -1"},
		{solver.DPMPlus{Order: 2, Eta: math.NaN()}, sampler.ErrEta, "DPMPlus: eta NaN"},
		{solver.DPM{Order: 2, Eta: math.Inf(1)}, sampler.ErrEta, "DPM: eta +Inf"},
		{solver.DPM{Order: 2, Eta: 1}, sampler.ErrSingular, "DPM: |signal"},
		{solver.Ancestral{Inner: ode}, sampler.ErrConfig, "Ancestral: fields Inner|Share"},
		{solver.Ancestral{Share: solver.Constant(0.5)}, sampler.ErrConfig, "Ancestral: fields Inner (<nil>)"},
		{solver.Ancestral{Inner: noisy{}, Share: solver.Constant(0.5)}, sampler.ErrConfig, "Ancestral|noisy|noise of its own"},
		{solver.Ancestral{Inner: twice{}, Share: solver.Constant(0.5)}, sampler.ErrConfig, "Ancestral|twice|8 times in 4 steps"},
		{solver.Ancestral{Inner: solver.DPMPlus{Order: 2, Eta: 1}, Share: solver.Constant(0.5)}, sampler.ErrConfig, "DPMPlus|noise of its own"},
		{solver.Ancestral{Inner: solver.DPMPlus{Order: 7}, Share: solver.Constant(0.5)}, sampler.ErrConfig, "Ancestral: step 0, from noise 1|DPMPlus: order 7"},
		{solver.Ancestral{Inner: ode, Share: broken{}}, sampler.ErrConfig, "broken keeps the noise 0.75 and draws 0.75"},
		{solver.Ancestral{Inner: ode, Share: solver.Constant(1.5)}, sampler.ErrEta, "Constant: share 1.5"},
		{solver.Ancestral{Inner: ode, Share: solver.Constant(math.NaN())}, sampler.ErrEta, "Constant: share NaN"},
		{solver.Ancestral{Inner: ode, Share: solver.CPS(2)}, sampler.ErrEta, "FlowCPS: eta 2"},
		{solver.Ancestral{Inner: ode, Share: solver.Exponential(-1)}, sampler.ErrEta, "Exponential: eta -1"},
		{solver.Ancestral{Inner: ode, Share: solver.Softer(2)}, sampler.ErrEta, "Softer: eta 2"},
		{solver.Ancestral{Inner: ode, Share: solver.Sinusoidal(2)}, sampler.ErrEta, "Sinusoidal: eta 2"},
		{solver.Ancestral{Inner: ode, Share: solver.Eps(2)}, sampler.ErrEta, "Eps: eta 2"},
		{solver.Ancestral{Inner: ode, Share: solver.Lorentzian(2)}, sampler.ErrEta, "Lorentzian: eta 2"},
		{solver.Ancestral{Inner: ode, Share: solver.ER4(math.Inf(1))}, sampler.ErrEta, "ER4: eta +Inf"},
		{solver.Ancestral{Inner: ode, Share: solver.NoiseOf{}}, sampler.ErrConfig, "NoiseOf: the rule is nil"},
		{solver.Ancestral{Inner: ode, Share: solver.NoiseOf{Rule: sampler.DDIM{Eta: 3}}}, sampler.ErrEta, "NoiseOf: DDIM: eta 3"},
		{solver.Ancestral{Inner: ode, Share: solver.NoiseOf{Rule: sampler.NoisyODE{Diffusion: sampler.Constant(9)}}}, sampler.ErrNoEta, "NoiseOf: NoisyODE injects 4.5 into the level 0.75"},
	} {
		_, err := sampler.New(sampler.Config{Scheduler: schedule.Linear(4), Rule: tc.rule})
		if !errors.Is(err, tc.kind) {
			t.Errorf("%T%+v: error %v, want one of the kind %v", tc.rule, tc.rule, err, tc.kind)
			continue
		}
		for _, c := range append(strings.Split(tc.culprits, "|"), "sampler: step ") {
			if strings.Contains(err.Error(), "%!") {
				t.Errorf("error %q is badly formatted", err)
			}
			if !strings.Contains(err.Error(), c) {
				t.Errorf("%T%+v: error %q does not name %q", tc.rule, tc.rule, err, c)
			}
		}
	}
	for _, r := range []sampler.Rule{solver.DPMPlus{Order: 2}, solver.DPM{Order: 2}} {
		_, err := sampler.New(sampler.Config{Scheduler: schedule.Invert(schedule.Linear(4)), Rule: r, Start: sampler.FromData})
		if !errors.Is(err, sampler.ErrPath) {
			t.Errorf("%T from data to noise: %v", r, err)
		}
	}
	if got := fmt.Sprint(solver.KeepOrder, solver.LowerOrder, solver.EulerFinal, solver.Final(7)); got != "KeepOrder LowerOrder EulerFinal Final(7)" {
		t.Error(got)
	}
}

// The order falls at the end if the Final says so, and always at pure noise and at data.
func TestFinal(t *testing.T) {
	for _, tc := range []struct {
		final  solver.Final
		levels schedule.Flow
		want   []int // how many evaluations a step looks back at
	}{
		{solver.KeepOrder, levels(0.9, 0.1, 6), []int{0, 1, 2, 2, 2, 2}},
		{solver.LowerOrder, levels(0.9, 0.1, 6), []int{0, 1, 2, 2, 1, 0}},
		{solver.EulerFinal, levels(0.9, 0.1, 6), []int{0, 1, 2, 2, 2, 0}},
		{solver.KeepOrder, levels(1, 0, 6), []int{0, 0, 1, 2, 2, 0}},
		{solver.LowerOrder, levels(1, 0, 6), []int{0, 0, 1, 2, 1, 0}},
		{solver.KeepOrder, levels(1, 0, 1), []int{0}},
		{solver.LowerOrder, levels(0.9, 0.1, 2), []int{0, 0}},
	} {
		for _, r := range []sampler.Solver{solver.DPMPlus{Order: 3, Final: tc.final}, solver.DPM{Order: 3, Final: tc.final}} {
			s := mustNew(t, sampler.Config{Scheduler: tc.levels, Rule: r, Start: sampler.FromPart})
			var got []int
			for i := range s.Steps() {
				got = append(got, len(s.At(i).Past))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%T with %v: looks back at %v, want %v", r, tc.final, got, tc.want)
			}
		}
	}
}
