package sampler_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// Types of the caller may return anything, and data may be anything. The result is then an
// error or finite numbers. Only the documented panics occur.

var anyNumber = rapid.OneOf(rapid.Float64Range(-2, 2), rapid.Float64(), rapid.SampledFrom([]float64{0, 1, -1, nan, inf, -inf, 5e-324, 1e-30, 1e30}))

var errAny = errors.New("any")

// A wild type of the caller returns whatever it draws.
type wild struct{ t *rapid.T }

func (w wild) number(label string) float64 { return anyNumber.Draw(w.t, label) }

func (w wild) Coeffs(_, _ schedule.Point) (sampler.Coeffs, error) {
	if rapid.IntRange(0, 9).Draw(w.t, "error") == 0 {
		return sampler.Coeffs{}, errAny
	}
	return sampler.Coeffs{X0: w.number("X0"), X1: w.number("X1"), Eps: w.number("Eps")}, nil
}

func (w wild) G(_, _ float64) float64 { return w.number("g") }

// A wildDescriber also states wild facts.
type wildDescriber struct{ wild }

func (w wildDescriber) Facts() sampler.Facts {
	return sampler.Facts{
		Path:       sampler.Path(rapid.IntRange(0, 4).Draw(w.t, "path")),
		Preserving: rapid.Bool().Draw(w.t, "preserving"), Density: rapid.Bool().Draw(w.t, "density"),
		Evaluations: rapid.IntRange(-1, 2).Draw(w.t, "evaluations"),
	}
}

// A wildDecayer is a Diffusion that may state a wild integral, too.
type wildDecayer struct{ wild }

func (w wildDecayer) Decay(_, _ float64) float64 { return w.number("decay") }
func (w wildDecayer) Drift(_, _ float64) float64 { return w.number("drift") }
func (w wildDecayer) Validate() error {
	if rapid.IntRange(0, 9).Draw(w.t, "valid") == 0 {
		return errAny
	}
	return nil
}

// A wildScheduler returns other points on every call.
type wildScheduler struct{ wild }

func (w wildScheduler) Steps() int { return rapid.IntRange(-1, 6).Draw(w.t, "steps") }

func (w wildScheduler) At(i int) schedule.Point {
	if rapid.Bool().Draw(w.t, "level") {
		return schedule.Level(1 - float64(i)/8)
	}
	return schedule.Point{Time: w.number("time"), Signal: w.number("signal"), Noise: w.number("noise")}
}

func newOfAnything(t *rapid.T) {
	w := wild{t}
	diffusion := rapid.SampledFrom([]sampler.Diffusion{nil, w, wildDecayer{w}, sampler.Ratio(0.5), (*sampler.Ratio)(nil)}).Draw(t, "diffusion")
	rules := []sampler.Rule{
		nil, w, wildDescriber{w}, sampler.FlowCPS{Eta: w.number("eta")}, sampler.FlowSDE{Diffusion: diffusion}, sampler.NoisyODE{Diffusion: diffusion},
		sampler.Exact{Diffusion: diffusion}, sampler.ModifiedSDE{Diffusion: diffusion}, sampler.FlowCPWS{Diffusion: diffusion},
	}
	small := rapid.IntRange(-1, 7)
	c := sampler.Config{
		Scheduler:  rapid.SampledFrom([]schedule.Scheduler{nil, wildScheduler{w}, schedule.Linear(5), schedule.Flow(nil), schedule.Invert(schedule.Linear(4))}).Draw(t, "scheduler"),
		Rule:       rapid.SampledFrom(rules).Draw(t, "rule"),
		Outside:    rapid.SampledFrom(rules).Draw(t, "outside"),
		Window:     sampler.Window{Start: small.Draw(t, "start"), End: small.Draw(t, "end")},
		Part:       sampler.Window{Start: small.Draw(t, "part"), End: small.Draw(t, "part end")},
		Set:        rapid.OneOf(rapid.Just([]int(nil)), rapid.SliceOfN(small, 0, 3)).Draw(t, "set"),
		Start:      sampler.Start(rapid.IntRange(0, 3).Draw(t, "first")),
		Prediction: sampler.Prediction(rapid.IntRange(0, 6).Draw(t, "prediction")),
		Clock:      sampler.Clock{Scale: rapid.OneOf(rapid.Just(0.), anyNumber).Draw(t, "scale"), Reversed: rapid.Bool().Draw(t, "reversed"), Rounding: sampler.Rounding(rapid.IntRange(0, 3).Draw(t, "rounding"))},
		Storage:    sampler.Storage(rapid.IntRange(0, 3).Draw(t, "storage")),
	}
	if rapid.Bool().Draw(t, "plain") {
		c.Window, c.Part, c.Set, c.Clock = sampler.Window{}, sampler.Window{}, nil, sampler.Clock{}
	}
	s, err := sampler.New(c)
	if (s == nil) == (err == nil) {
		t.Fatalf("%v beside error %v", s, err)
	}
	if err != nil {
		return
	}
	for i := range s.Steps() {
		tr := s.At(i)
		for _, x := range []float64{tr.Affine.X, tr.Affine.V, tr.Affine.Eps, s.Time(i), tr.Coeffs.X0, tr.Coeffs.X1, tr.Coeffs.Eps} {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("step %d: %+v, time %v", i, tr, s.Time(i))
			}
		}
		// If the step draws noise, the latents' rounding does not swallow it.
		if eps := tr.Coeffs.Eps; eps != 0 && eps < 0x1p-24*math.Hypot(tr.Coeffs.X0, tr.Coeffs.NoiseLevel()) {
			t.Fatalf("step %d: noise %v is lost", i, eps)
		}
		if (tr.Coeffs.Eps != 0) != tr.Stochastic() {
			t.Fatalf("step %d: %+v", i, tr)
		}
		s.PredictedSample(i)
	}
	s.Audit()
}

func TestNewOfAnything(t *testing.T) { rapid.Check(t, newOfAnything) }
func FuzzNewOfAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(newOfAnything)) }

func matchEtaOfAnything(t *rapid.T) {
	w := wild{t}
	from := rapid.SampledFrom([]schedule.Point{schedule.Level(0.7), schedule.Level(1), {Time: w.number("time"), Signal: w.number("signal"), Noise: w.number("noise")}}).Draw(t, "from")
	to := rapid.SampledFrom([]schedule.Point{schedule.Level(0.3), schedule.Level(0), {Signal: w.number("signal'"), Noise: w.number("noise'")}}).Draw(t, "to")
	if eta, err := sampler.EquivalentEta(w, from, to); err == nil && !(eta >= 0 && eta <= 1) {
		t.Fatalf("equivalent eta %v", eta)
	}
	values := map[float64]sampler.Rule{} // a family is a function
	family := func(eta float64) sampler.Rule {
		r, ok := values[eta]
		if !ok {
			c, err := w.Coeffs(from, to)
			r = ruleFunc(func(_, _ schedule.Point) (sampler.Coeffs, error) { return c, err })
			values[eta] = r
		}
		return r
	}
	if eta, err := sampler.MatchEta(family, w.number("eps"), from, to); err == nil && !(eta >= 0 && eta <= math.MaxFloat64) {
		t.Fatalf("eta %v", eta)
	}
}

func TestMatchEtaOfAnything(t *testing.T) { rapid.Check(t, matchEtaOfAnything) }
func FuzzMatchEtaOfAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(matchEtaOfAnything)) }

// anyModel writes numbers, NaN and errors, and maybe nothing.
func anyModel(t *rapid.T) sampler.Model[[]float32] {
	kind := rapid.IntRange(0, 5).Draw(t, "model")
	if kind == 0 {
		return nil
	}
	return func(_ context.Context, c sampler.Call[[]float32]) error {
		switch kind {
		case 1:
			return errAny
		case 2:
			for i := range c.V {
				c.V[i] = float32(anyNumber.Draw(t, "output"))
			}
			return nil
		case 3:
			return nil
		}
		return testModel(c.V, c.X, c.Times[0])
	}
}

func rolloutOfAnything(t *rapid.T) {
	s, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(3), Rule: sampler.FlowCPS{Eta: 0.5},
		Storage: sampler.Storage(rapid.IntRange(0, 2).Draw(t, "storage")),
	})
	if err != nil {
		t.Fatal(err)
	}
	dim := rapid.IntRange(1, 9).Draw(t, "dim")
	b := sampler.Batch{Dim: dim, Key: 3, Storage: sampler.Storage(rapid.IntRange(0, 2).Draw(t, "batch's storage"))}
	if rapid.Bool().Draw(t, "fits") {
		b = s.Batch(dim, 3)
	}
	for range rapid.IntRange(0, 3).Draw(t, "rows") {
		b.Rows = append(b.Rows, sampler.InitialRow(rapid.Uint64().Draw(t, "sample")))
	}
	var buffers [][]float32
	buffer := func() []float32 {
		if len(buffers) > 0 && rapid.IntRange(0, 4).Draw(t, "again") == 0 {
			x := rapid.SampledFrom(buffers).Draw(t, "which")
			return x[min(len(x), rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "from")):]
		}
		n := dim * len(b.Rows)
		if rapid.IntRange(0, 19).Draw(t, "other length") == 0 {
			n = rapid.IntRange(0, 30).Draw(t, "length")
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rapid.OneOf(rapid.Float64Range(-2, 2), rapid.Float64Range(-2, 2), anyNumber).Draw(t, "latent"))
		}
		buffers = append(buffers, x)
		return x
	}
	run := &sampler.Trajectory[[]float32]{V: buffer(), First: rapid.SampledFrom([]int{0, 0, 0, 1, 2, -1, 3, math.MaxInt, math.MinInt}).Draw(t, "first")}
	for range rapid.IntRange(0, 5).Draw(t, "latents") {
		run.Latents = append(run.Latents, buffer())
	}
	for range rapid.SampledFrom([]int{0, len(run.Latents) - 1, len(run.Latents) - 1, 1}).Draw(t, "sums") {
		var sq []float64
		if rapid.IntRange(0, 3).Draw(t, "wanted") > 0 {
			sq = make([]float64, rapid.SampledFrom([]int{len(b.Rows), len(b.Rows), len(b.Rows), 0, 2}).Draw(t, "sums' length"))
		}
		run.SumSquares = append(run.SumSquares, sq)
	}
	if rapid.IntRange(0, 9).Draw(t, "observed") == 0 {
		run.Observe = func(context.Context, sampler.Observation[[]float32]) error { return errAny }
	}
	model := anyModel(t)
	err = sampler.Rollout(bg, sampler.CPU{}, s, b, run, model)
	if err == nil {
		last := run.Latents[len(run.Latents)-1]
		for i, x := range last {
			if x != b.Storage.Round(x) || math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				t.Fatalf("element %d of the last latents is %v", i, x)
			}
		}
	}
	for _, sq := range run.SumSquares {
		for _, x := range sq {
			if err == nil && !(x >= 0 && x <= math.MaxFloat64) {
				t.Fatalf("a sum of squares is %v", x)
			}
		}
	}
	sizes := rapid.SliceOfN(rapid.IntRange(-1, 5), 0, 2).Draw(t, "sizes")
	check := sampler.CheckOnPolicy(bg, sampler.CPU{}, s, b, run, model, sizes...)
	if err != nil && check == nil && !errors.Is(err, errAny) {
		var e *sampler.NonFiniteError
		if !errors.As(err, &e) { // latents that others overwrote may hide it
			t.Fatalf("on policy, though the rollout gave %v", err)
		}
	}
}

func TestRolloutOfAnything(t *testing.T) { rapid.Check(t, rolloutOfAnything) }
func FuzzRolloutOfAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(rolloutOfAnything)) }

func checkModelOfAnything(t *rapid.T) {
	c := sampler.Config{
		Scheduler: rapid.SampledFrom([]schedule.Scheduler{schedule.Linear(4), schedule.Linear(1), nil, schedule.Flow{0.5, 0.4}, schedule.Points{vpPath(0.9), vpPath(0.3)}}).Draw(t, "scheduler"),
		Rule:      sampler.FlowODE{}, Start: sampler.FromData, End: sampler.End(rapid.IntRange(0, 2).Draw(t, "end")),
		Prediction: sampler.Prediction(rapid.IntRange(0, 5).Draw(t, "prediction")),
		Clock:      sampler.Clock{Scale: rapid.SampledFrom([]float64{0, 1, 1000, 1e300, 1e-300, nan}).Draw(t, "scale"), Reversed: rapid.Bool().Draw(t, "reversed"), Rounding: sampler.Rounding(rapid.IntRange(0, 3).Draw(t, "rounding"))},
	}
	b := sampler.Batch{Dim: 2, Key: 1}
	for range rapid.SampledFrom([]int{0, 1, 15, 16, 17, 20}).Draw(t, "rows") {
		b.Rows = append(b.Rows, sampler.Row{ID: noise.ID{Sample: rapid.Uint64Range(0, 40).Draw(t, "sample")}, Block: rapid.Uint32Range(0, 1).Draw(t, "block")})
	}
	clean := make([]float32, max(0, 2*len(b.Rows)+rapid.SampledFrom([]int{0, 0, 0, 0, -1, 1}).Draw(t, "more")))
	constant := rapid.IntRange(0, 3).Draw(t, "constant") == 0
	for i := range clean {
		if !constant {
			clean[i] = float32(rapid.OneOf(rapid.Float64Range(-2, 2), rapid.Float64Range(-2, 2), anyNumber).Draw(t, "data"))
		}
	}
	losses, err := sampler.CheckModel(bg, sampler.CPU{}, c, b, clean, anyModel(t))
	if err == nil && len(losses) == 0 {
		t.Fatal("neither error nor losses")
	}
	for _, l := range losses {
		for _, x := range []float64{l.Loss, l.More, l.StdErr} {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("%+v", l)
			}
		}
	}
}

func TestCheckModelOfAnything(t *testing.T) { rapid.Check(t, checkModelOfAnything) }
func FuzzCheckModelOfAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkModelOfAnything)) }

func applyClippedOfAnything(t *rapid.T) {
	w := wild{t}
	from := schedule.Point{Signal: w.number("signal"), Noise: w.number("noise")}
	limit := w.number("limit")
	c := sampler.Coeffs{X0: w.number("X0"), X1: w.number("X1"), Eps: w.number("Eps")}
	n := rapid.IntRange(0, 3).Draw(t, "n")
	x, v, ε := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range x {
		x[i], v[i], ε[i] = w.number("x"), w.number("v"), w.number("ε")
	}
	p := predictions[rapid.IntRange(0, len(predictions)-1).Draw(t, "prediction")]
	panics := func(apply func()) (got any) {
		defer func() { got = recover() }()
		apply()
		return nil
	}
	dst := make([]float64, n)
	got := panics(func() { sampler.ApplyClipped(dst, x, v, ε, c, p, from, limit) })
	if (got != nil) != !(limit >= 0) {
		t.Fatalf("limit %v: panic %v", limit, got)
	}
	got = panics(func() { sampler.ApplyClippedOutput(dst, x, v, ε, c, p, from, limit) })
	if (got != nil) != (!(limit >= 0) || from.Noise == 0) {
		t.Fatalf("limit %v, noise %v: panic %v", limit, from.Noise, got)
	}
}

func TestApplyClippedOfAnything(t *testing.T) { rapid.Check(t, applyClippedOfAnything) }
func FuzzApplyClippedOfAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(applyClippedOfAnything)) }
