package sampler_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// Data of four patterns. Their exact x̂0 is known: it is their mean, weighted by posterior
// probabilities.
const patternDim = 24

var patterns = func() [][]float64 {
	all := make([][]float64, 4)
	for k := range all {
		all[k] = make([]float64, patternDim)
		noise.Normal(all[k], 77, noise.ID{Sample: uint64(k)}, 0)
	}
	return all
}()

// patternData returns n samples of the patterns, times a factor.
func patternData(n int, factor float64) []float32 {
	var data []float32
	for i := range n {
		for _, x := range patterns[i*i%7%4] {
			data = append(data, float32(factor*x))
		}
	}
	return data
}

// A path gives the points of a model by time.
type path func(time float64) schedule.Point

func vpPath(t float64) schedule.Point {
	return schedule.Point{Time: t, Signal: math.Cos(t * math.Pi / 2), Noise: math.Sin(t * math.Pi / 2)}
}

var paths = map[string]path{"flow": schedule.Level, "vp": vpPath}

// points returns the points of ten steps.
func (p path) points() (all schedule.Points) {
	for i := range 11 {
		t := 0.97 - 0.093*float64(i)
		all = append(all, p(t))
	}
	return all
}

// exactModel returns the exact model of the patterns under a convention.
func exactModel(p path, c sampler.Convention) sampler.Model[[]float32] {
	return func(_ context.Context, call sampler.Call[[]float32]) error {
		for at := 0; at < len(call.X); at += patternDim {
			time := call.Times[at/call.Dim]
			if c.Clock.Scale != 0 {
				time /= c.Clock.Scale
			}
			if c.Clock.Reversed {
				time = 1 - time
			}
			point := p(min(max(time, 0.001), 0.999)) // whatever time it is told
			x, v := call.X[at:][:patternDim], call.V[at:][:patternDim]
			x0 := posterior(x, point)
			for i := range v {
				x1 := (float64(x[i]) - point.Signal*x0[i]) / point.Noise
				v[i] = float32(output(c.Prediction, point, x0[i], x1))
			}
		}
		return nil
	}
}

func posterior(x []float32, p schedule.Point) []float64 {
	var weights [4]float64
	least := math.Inf(1)
	for k, pattern := range patterns {
		for i, y := range pattern {
			d := float64(x[i]) - p.Signal*y
			weights[k] += d * d / (2 * p.Noise * p.Noise)
		}
		least = min(least, weights[k])
	}
	mean, total := make([]float64, len(x)), 0.0
	for k, pattern := range patterns {
		w := math.Exp(least - weights[k])
		total += w
		for i, y := range pattern {
			mean[i] += w * y
		}
	}
	for i := range mean {
		mean[i] /= total
	}
	return mean
}

// checkModel calls CheckModel for a model with the configuration c, on n samples times a
// factor.
func checkModel(t testing.TB, p path, c sampler.Convention, n int, factor float64, model sampler.Model[[]float32]) ([]sampler.ConventionLoss, error) {
	t.Helper()
	config := sampler.Config{
		Scheduler: p.points(), Rule: sampler.FlowODE{}, Start: sampler.FromPart,
		Prediction: c.Prediction, Clock: c.Clock,
	}
	s := mustNew(t, config)
	return sampler.CheckModel(bg, sampler.CPU{}, config, s.Batch(patternDim, 5, some(n)...), patternData(n, factor), model)
}

func some(n int) (samples []uint64) {
	for i := range n {
		samples = append(samples, uint64(i))
	}
	return samples
}

// For every convention of a model and every configured one, CheckModel names the model's
// convention.
func TestCheckModelNamesTheConvention(t *testing.T) {
	clocks := []sampler.Clock{{}, {Reversed: true}, {Scale: 1000}, {Scale: 1000, Reversed: true}}
	for name, p := range paths {
		for k, prediction := range predictions {
			for c, clock := range clocks {
				if testing.Short() && c != (k+len(name))%4 {
					continue // one clock for each prediction
				}
				own := sampler.Convention{Prediction: prediction, Clock: clock}
				losses, err := checkModel(t, p, own, 200, 1, exactModel(p, own))
				if err != nil {
					t.Errorf("%s, %v: %v", name, own, err)
				} else if losses[0].Convention != own || losses[0].More != 0 || len(losses) != 20 {
					t.Errorf("%s, %v: losses %+v", name, own, losses)
				}
				wrong := own
				wrong.Clock = clocks[(c+1)%4]
				told := own
				if told.Clock.Scale == 0 {
					told.Clock.Scale = 1 // what errors print; other scales are multiples of it
				}
				losses, err = checkModel(t, p, wrong, 200, 1, exactModel(p, own))
				wantError(t, err, sampler.ErrConvention, wrong.String()+", whose loss", "with "+own.String())
				if got := losses[0].Convention; got != own && got != told {
					t.Errorf("%s, %v: the best is %v", name, own, got)
				}
				wrong = own
				wrong.Prediction = predictions[(k+1)%len(predictions)]
				_, err = checkModel(t, p, wrong, 200, 1, exactModel(p, own))
				wantError(t, err, sampler.ErrConvention, "with "+own.String())
			}
		}
	}
}

// The mistakes that every other check passes: data minus noise, and models told 1 - t or
// 1000t.
func TestCheckModelFindsReportedMistakes(t *testing.T) {
	flow := paths["flow"]
	plain := sampler.Convention{}
	for _, tc := range []struct{ model, want sampler.Convention }{
		{sampler.Convention{Prediction: sampler.PredictReversedVelocity}, sampler.Convention{Prediction: sampler.PredictReversedVelocity}},
		{sampler.Convention{Clock: sampler.Clock{Reversed: true}}, sampler.Convention{Clock: sampler.Clock{Reversed: true}}},
		{sampler.Convention{Clock: sampler.Clock{Scale: 1000}}, sampler.Convention{Clock: sampler.Clock{Scale: 1000}}},
		{
			sampler.Convention{Prediction: sampler.PredictReversedVelocity, Clock: sampler.Clock{Reversed: true}},
			sampler.Convention{Prediction: sampler.PredictReversedVelocity, Clock: sampler.Clock{Reversed: true}},
		},
	} {
		_, err := checkModel(t, flow, plain, 48, 1, exactModel(flow, tc.model))
		wantError(t, err, sampler.ErrConvention, "PredictVelocity with Clock{Scale: 1}, whose loss", "with "+tc.want.String(), "±")
	}
}

// CheckModel finds data that are too wide or too narrow. It names the factor to within a
// fifth, which an estimate between powers of 1.5 reaches.
func TestCheckModelFindsTheScale(t *testing.T) {
	for name, p := range paths {
		c := sampler.Convention{}
		for _, factor := range []float64{10, 1 / 0.18215, 3, 1 / 3., 0.18215, 0.1} {
			_, err := checkModel(t, p, c, 64, factor, exactModel(p, c))
			wide, by := "wide", factor
			if factor < 1 {
				wide, by = "narrow", 1/factor
			}
			wantError(t, err, sampler.ErrScale, "times as "+wide, "autoencoder")
			var got float64
			if err != nil {
				fmt.Sscanf(err.Error(), "sampler: the clean samples are about %g times", &got)
			}
			t.Logf("%s: %v: %v", name, factor, err)
			if got < by/1.25 || got > by*1.25 {
				t.Errorf("%s: a factor of %v is said to be %v", name, by, got)
			}
		}
		for _, factor := range []float64{0.9, 1.1} {
			if _, err := checkModel(t, p, c, 64, factor, exactModel(p, c)); err != nil {
				t.Errorf("%s: a factor of %v: %v", name, factor, err)
			}
		}
	}
}

// CheckModel says so when the data do not tell.
func TestCheckModelUndecided(t *testing.T) {
	flow := paths["flow"]
	plain := sampler.Convention{}
	fill := func(of func(c sampler.Call[[]float32], i int) float32) sampler.Model[[]float32] {
		return func(_ context.Context, c sampler.Call[[]float32]) error {
			for i := range c.V {
				c.V[i] = of(c, i)
			}
			return nil
		}
	}
	for name, model := range map[string]sampler.Model[[]float32]{
		"input":  fill(func(c sampler.Call[[]float32], i int) float32 { return -2 * c.X[len(c.X)-1-i] }),
		"random": fill(func(c sampler.Call[[]float32], i int) float32 { return float32(math.Sin(float64(i*i%101) * 7)) }),
	} {
		losses, err := checkModel(t, flow, plain, 64, 1, model)
		wantError(t, err, sampler.ErrUndecided, "no convention fits")
		if len(losses) == 0 {
			t.Errorf("%s: no losses", name)
		}
	}
	_, err := checkModel(t, flow, plain, 64, 1, fill(func(c sampler.Call[[]float32], i int) float32 { return 0.01 * c.X[i] }))
	wantError(t, err, sampler.ErrUndecided, "hardly more than 0", "trained")
	// Twenty samples do not show the clock of a model whose x̂0 hardly depends on it. 200
	// samples do.
	own := sampler.Convention{Prediction: sampler.PredictSample}
	_, err = checkModel(t, flow, own, 20, 1, exactModel(flow, own))
	wantError(t, err, sampler.ErrUndecided, "PredictSample with Clock{Scale: 1, Reversed: true}", "more samples")
	if _, err := checkModel(t, flow, own, 200, 1, exactModel(flow, own)); err != nil {
		t.Error(err)
	}
	// A model with an error follows no other convention, and knows no other data.
	for _, tc := range []struct {
		factor, from float64 // of x̂0, above a level
		want         string
	}{{0.7, 0, "no convention fits"}, {2, 0.55, "fits them no better"}} {
		_, err = checkModel(t, flow, plain, 64, 1, func(_ context.Context, c sampler.Call[[]float32]) error {
			for at := 0; at < len(c.X); at += patternDim {
				p := schedule.Level(min(max(c.Times[0], 0.001), 0.999))
				for i, x0 := range posterior(c.X[at:][:patternDim], p) {
					if p.Noise > tc.from {
						x0 *= tc.factor
					}
					c.V[at+i] = float32((float64(c.X[at+i])-p.Signal*x0)/p.Noise - x0)
				}
			}
			return nil
		})
		wantError(t, err, sampler.ErrUndecided, tc.want)
	}
	// Points of little noise do not show the scale either.
	config := sampler.Config{Scheduler: schedule.Flow{0.39, 0.3, 0.2, 0.1, 0}, Rule: sampler.FlowODE{}, Start: sampler.FromData}
	s := mustNew(t, config)
	_, err = sampler.CheckModel(bg, sampler.CPU{}, config, s.Batch(patternDim, 5, some(64)...), patternData(64, 1), exactModel(flow, plain))
	wantError(t, err, sampler.ErrUndecided, "no point of the schedule has as much noise as signal")
}

// A model that ignores time follows every clock.
func TestCheckModelOfBlindModel(t *testing.T) {
	blind := func(ctx context.Context, c sampler.Call[[]float32]) error {
		for at := 0; at < len(c.X); at += patternDim {
			x0 := posterior(c.X[at:][:patternDim], schedule.Level(0.5))
			for i, x := range x0 {
				c.V[at+i] = float32(x)
			}
		}
		return nil
	}
	for _, clock := range []sampler.Clock{{}, {Reversed: true}, {Scale: 1000, Rounding: sampler.RoundNearest}} {
		c := sampler.Convention{Prediction: sampler.PredictSample, Clock: clock}
		if _, err := checkModel(t, paths["flow"], c, 200, 1, blind); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// The exact model of data from N(0, 1) is recognised, although its output is a multiple of
// the latent.
func TestCheckModelOfGaussians(t *testing.T) {
	const dim, n = 64, 64
	data := make([]float32, dim*n)
	noise.Normal(data, 4, noise.ID{Sample: 1}, 0)
	config := sampler.Config{Scheduler: schedule.Linear(10), Rule: sampler.FlowODE{}}
	s := mustNew(t, config)
	model := sampler.OneTime(func(v, x []float32, t float64) error {
		for i := range v {
			v[i] = float32((2*t-1)/((1-t)*(1-t)+t*t)) * x[i]
		}
		return nil
	})
	if _, err := sampler.CheckModel(bg, sampler.CPU{}, config, s.Batch(dim, 5, some(n)...), data, model); err != nil {
		t.Error(err)
	}
	config.Prediction = sampler.PredictReversedVelocity
	// v = -c(t)·x for one time is c(1-t)·x for the other, so both conventions fit.
	_, err := sampler.CheckModel(bg, sampler.CPU{}, config, s.Batch(dim, 5, some(n)...), data, model)
	wantError(t, err, sampler.ErrConvention, "PredictReversedVelocity")
}

// A model in closed form has hardly any output at times a thousand times too large. That is
// no reason to call it untrained, or to take those times for its own.
func TestCheckModelThatFadesAtOtherTimes(t *testing.T) {
	flow, plain := paths["flow"], sampler.Convention{}
	exact := exactModel(flow, plain)
	fading := func(gain float32) sampler.Model[[]float32] {
		return func(ctx context.Context, c sampler.Call[[]float32]) error {
			if c.Times[0] > 1 {
				clear(c.V)
				return nil
			}
			err := exact(ctx, c)
			for i := range c.V {
				c.V[i] *= gain
			}
			return err
		}
	}
	thousand := sampler.Convention{Clock: sampler.Clock{Scale: 1000}}
	_, err := checkModel(t, flow, thousand, 200, 1, fading(1))
	wantError(t, err, sampler.ErrConvention, thousand.String()+", whose loss", "with PredictVelocity with Clock{Scale: 1}")
	if _, err := checkModel(t, flow, plain, 200, 1, fading(1)); err != nil {
		t.Error(err)
	}
	_, err = checkModel(t, flow, plain, 200, 1, fading(2)) // fits no convention: twice the velocity
	if err == nil || strings.Contains(err.Error(), "Scale: 1000") {
		t.Errorf("twice the velocity: %v", err)
	}
}

// The memory chooses storage and buffers, and gets its buffers back.
func TestCheckModelOnOtherMemory(t *testing.T) {
	flow, plain := paths["flow"], sampler.Convention{}
	config := sampler.Config{Scheduler: flow.points(), Rule: sampler.FlowODE{}, Storage: sampler.BFloat16, Start: sampler.FromPart}
	s := mustNew(t, config)
	const n = 48
	m := &countingMemory{CPU16: sampler.CPU16{Type: sampler.BFloat16}}
	data := make([]uint16, n*patternDim)
	sampler.BFloat16.Pack(data, patternData(n, 1))
	right := exactModel(flow, plain)
	model := func(ctx context.Context, c sampler.Call[[]uint16]) error {
		x, v := make([]float32, len(c.X)), make([]float32, len(c.X))
		sampler.BFloat16.Unpack(x, c.X)
		err := right(ctx, sampler.Call[[]float32]{Dim: c.Dim, V: v, X: x, Rows: c.Rows, Times: c.Times})
		sampler.BFloat16.Pack(c.V, v)
		return err
	}
	b := s.Batch(patternDim, 5, some(n)...)
	if _, err := sampler.CheckModel(bg, m, config, b, data, model); err != nil {
		t.Error(err)
	}
	config.Clock.Reversed = true
	_, err := sampler.CheckModel(bg, m, config, b, data, model)
	wantError(t, err, sampler.ErrConvention, "with PredictVelocity with Clock{Scale: 1}")
	if m.made == 0 || m.made != m.freed {
		t.Errorf("%d buffers made, %d freed", m.made, m.freed)
	}
	for fail := 1; fail <= 3; fail++ {
		m := &countingMemory{CPU16: m.CPU16, fail: fail}
		_, err := sampler.CheckModel(bg, m, config, b, data, model)
		wantError(t, err, errNoMemory, "sampler: memory for CheckModel")
		if m.made != m.freed {
			t.Errorf("%d buffers made, %d freed", m.made, m.freed)
		}
	}
}

type countingMemory struct {
	sampler.CPU16
	made, freed, fail int
}

var errNoMemory = errors.New("no memory")

func (m *countingMemory) Like(b []uint16, n int) ([]uint16, error) {
	if m.made+1 == m.fail {
		return nil, errNoMemory
	}
	m.made++
	return m.CPU16.Like(b, n)
}

func (m *countingMemory) Free(b []uint16) error {
	m.freed++
	return m.CPU16.Free(b)
}

// Spans of a sample count as one sample and stay together.
func TestCheckModelOfSpans(t *testing.T) {
	flow, plain := paths["flow"], sampler.Convention{}
	config := sampler.Config{Scheduler: flow.points(), Rule: sampler.FlowODE{}, Start: sampler.FromPart}
	s := mustNew(t, config)
	const n = 48
	b := s.Batch(patternDim, 5, some(n)...)
	whole, err := sampler.CheckModel(bg, sampler.CPU{}, config, b, patternData(n, 1), exactModel(flow, plain))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	spans, err := sampler.CheckModel(bg, sampler.CPU{}, config, b.Spans(8), patternData(n, 1), func(ctx context.Context, c sampler.Call[[]float32]) error {
		if c.Dim != 8 || len(c.Rows) != 3*n {
			t.Errorf("asked about %d rows of %d", len(c.Rows), c.Dim)
		}
		rows = len(c.Rows)
		return exactModel(flow, plain)(ctx, c)
	})
	if err != nil || rows == 0 {
		t.Fatal(err)
	}
	for k := range whole { // the same draws, summed in other orders
		if whole[k].Convention != spans[k].Convention || !closeTo(whole[k].Loss, spans[k].Loss, 1e-5) || math.Abs(whole[k].StdErr-spans[k].StdErr) > 1e-5*whole[k].Loss {
			t.Errorf("%+v, in spans %+v", whole[k], spans[k])
		}
	}
	_, err = sampler.CheckModel(bg, sampler.CPU{}, config, s.Batch(patternDim, 5, some(8)...).Spans(8), patternData(8, 1), exactModel(flow, plain))
	wantError(t, err, sampler.ErrConfig, "16 samples", "has 8")
}

// Whatever stops the check is an error, also a NaN.
func TestCheckModelErrors(t *testing.T) {
	flow, plain := paths["flow"], sampler.Convention{}
	config := sampler.Config{Scheduler: flow.points(), Rule: sampler.FlowODE{}, Start: sampler.FromPart}
	s := mustNew(t, config)
	const n = 16
	b, data, right := s.Batch(patternDim, 5, some(n)...), patternData(n, 1), exactModel(flow, plain)
	check := func(m sampler.Memory[[]float32], c sampler.Config, clean []float32, model sampler.Model[[]float32]) error {
		_, err := sampler.CheckModel(bg, m, c, b, clean, model)
		return err
	}
	wantError(t, check(nil, config, data, right), sampler.ErrConfig, "memory is nil")
	wantError(t, check(sampler.CPU{}, config, data, nil), sampler.ErrConfig, "model is nil")
	wantError(t, check(sampler.CPU{}, config, data[1:], right), sampler.ErrConfig, "383 elements", "16 rows of 24")
	wantError(t, check(sampler.CPU{}, sampler.Config{Rule: sampler.FlowODE{}}, data, right), sampler.ErrConfig, "Scheduler")
	short := config
	short.Scheduler = schedule.Linear(2)
	wantError(t, check(sampler.CPU{}, short, data, right), sampler.ErrConfig, "no point", "more steps")

	boom := errors.New("out of memory")
	wantError(t, check(sampler.CPU{}, config, data, func(context.Context, sampler.Call[[]float32]) error { return boom }), boom, "model at step 1 (time 0.87")
	// A model may refuse other clocks.
	refused := 0
	err := check(sampler.CPU{}, config, data, func(ctx context.Context, c sampler.Call[[]float32]) error {
		if c.Times[0] > 1 {
			refused++
			return boom
		}
		return right(ctx, c)
	})
	if err != nil && !errors.Is(err, sampler.ErrUndecided) || refused == 0 {
		t.Errorf("refused %d times: %v", refused, err)
	}
	bad := data[3*patternDim]
	nan := func(ctx context.Context, c sampler.Call[[]float32]) error {
		err := right(ctx, c)
		c.V[3*patternDim+5] = float32(math.NaN())
		return err
	}
	var e *sampler.NonFiniteError
	if err := check(sampler.CPU{}, config, data, nan); !errors.As(err, &e) || e.Row != 3 || e.Sample != 3 || e.Step != 1 {
		t.Errorf("NaN: %v", err)
	}
	data[3*patternDim] = float32(math.Inf(1))
	if err := check(sampler.CPU{}, config, data, right); !errors.As(err, &e) {
		t.Errorf("infinite data: %v", err)
	}
	data[3*patternDim] = bad

	// When the context is done, the check ends before the next call, wherever that is.
	for after := 1; ; after++ {
		ctx, cancel := context.WithCancel(bg)
		calls := 0
		_, err := sampler.CheckModel(ctx, sampler.CPU{}, config, b, data, func(ctx context.Context, c sampler.Call[[]float32]) error {
			if calls++; calls == after {
				cancel()
			}
			return right(ctx, c)
		})
		cancel()
		if calls < after {
			if calls < 30 {
				t.Errorf("only %d calls", calls)
			}
			break
		}
		if errors.Is(err, context.Canceled) && calls == after {
			continue
		}
		if _, whole := sampler.CheckModel(bg, sampler.CPU{}, config, b, data, right); calls > after || fmt.Sprint(err) != fmt.Sprint(whole) { // it was the last call
			t.Errorf("done after call %d: %d calls, %v", after, calls, err)
		}
	}
}
