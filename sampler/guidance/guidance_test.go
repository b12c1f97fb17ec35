package guidance

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"cps/sampler"

	"pgregory.net/rapid"
)

const dim = 6

// model is v = p0·x + p1·x² + p2·condition + p3·t/1000. Row r has the condition r, and a row
// without its condition has -½.
type model struct {
	p, g  [4]float64
	calls [][]int
}

func condition(r int) float64 {
	if r < 0 {
		return -.5
	}
	return float64(r)
}

func (m *model) Velocity(_ context.Context, c sampler.Call[[]float32]) error {
	m.calls = append(m.calls, slices.Clone(c.Rows))
	for i, r := range c.Rows {
		for k := i * dim; k < (i+1)*dim; k++ {
			x := float64(c.X[k])
			c.V[k] = float32(m.p[0]*x + m.p[1]*x*x + m.p[2]*condition(r)*(1+x) + m.p[3]*c.Times[i]/1000)
		}
	}
	return nil
}

func (m *model) Backward(_ context.Context, c sampler.Call[[]float32], dv []float32) error {
	for i, r := range c.Rows {
		for k := i * dim; k < (i+1)*dim; k++ {
			d, x := float64(dv[k]), float64(c.X[k])
			m.g[0] += d * x
			m.g[1] += d * x * x
			m.g[2] += d * condition(r) * (1 + x)
			m.g[3] += d * c.Times[i] / 1000
		}
	}
	return nil
}

// call draws a Call of some rows.
func call(t *rapid.T) sampler.Call[[]float32] {
	n := rapid.IntRange(1, 5).Draw(t, "rows")
	c := sampler.Call[[]float32]{Dim: dim, V: make([]float32, n*dim)}
	for range n {
		c.Rows = append(c.Rows, rapid.IntRange(-3, 3).Draw(t, "row"))
		c.Times = append(c.Times, rapid.Float64Range(0, 1000).Draw(t, "time"))
	}
	for range n * dim {
		c.X = append(c.X, rapid.Float32Range(-2, 2).Draw(t, "x"))
	}
	return c
}

func settings(t *rapid.T) Guidance {
	g := Guidance{Scale: rapid.Float64Range(-2, 8).Draw(t, "Scale")}
	if rapid.Bool().Draw(t, "interval") {
		g.Low = rapid.Float64Range(0, 500).Draw(t, "Low")
		g.High = rapid.Float64Range(g.Low, 1000).Draw(t, "High")
	}
	if rapid.Bool().Draw(t, "rescaled") {
		g.Rescale = rapid.Float64Range(0, 1).Draw(t, "Rescale")
	}
	return g
}

// The output equals the formula in float64, row by row.
func TestFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, c := settings(t), call(t)
		m := &model{p: [4]float64{.7, .2, -.3, .5}}
		f, err := New(sampler.CPU{}, m.Velocity, g)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Velocity(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		guided := false
		for i, r := range c.Rows {
			one := func(row int) []float64 {
				o := sampler.Call[[]float32]{Dim: dim, V: make([]float32, dim), X: c.X[i*dim:][:dim], Rows: []int{row}, Times: c.Times[i : i+1]}
				(&model{p: m.p}).Velocity(t.Context(), o)
				v := make([]float64, dim)
				for k := range v {
					v[k] = float64(o.V[k])
				}
				return v
			}
			want, cond := one(r), one(r)
			inside := g.Low == 0 && g.High == 0 || g.Low <= c.Times[i] && c.Times[i] <= g.High
			if r >= 0 && inside && g.Scale != 0 && float32(g.Scale) != 1 {
				guided = true
				var cc, gg float64
				u := one(^r)
				for k := range want {
					want[k] = u[k] + g.Scale*(cond[k]-u[k])
					cc += cond[k] * cond[k]
					gg += want[k] * want[k]
				}
				s := g.Rescale*math.Sqrt(cc/gg) + 1 - g.Rescale
				for k := range want {
					want[k] *= s
				}
			}
			for k, w := range want {
				if got := float64(c.V[i*dim+k]); math.Abs(got-w) > 1e-4*max(1, math.Abs(w)) {
					t.Fatalf("row %d, element %d: %v, want %v", r, k, got, w)
				}
			}
		}
		if want := map[bool]int{false: 1, true: 2}[guided]; len(m.calls) != want {
			t.Errorf("%d Calls, want %d", len(m.calls), want)
		}
	})
}

// The gradient goes through both outputs, and through the rescaling: tested against finite
// differences.
func TestBackward(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, c := settings(t), call(t)
		m := &model{p: [4]float64{.7, .2, -.3, .5}}
		f, err := New(sampler.CPU{}, m.Velocity, g)
		if err != nil {
			t.Fatal(err)
		}
		dv := make([]float32, len(c.V))
		for i := range dv {
			dv[i] = 1e-3 * rapid.Float32Range(-1, 1).Draw(t, "dv")
		}
		loss := func() (sum float64) {
			if err := f.Velocity(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			for i, v := range c.V {
				sum += float64(v) * float64(dv[i])
			}
			return sum
		}
		loss()
		for i, s := range f.factor {
			if g.Rescale != 0 && (s > 5 || f.gg[i] < .1) {
				t.Skip("where the guided output is near 0, the loss is not smooth")
			}
		}
		if err := f.Backward(t.Context(), c, dv, m.Backward); err != nil {
			t.Fatal(err)
		}
		at := m.p
		for i := range at {
			h := 1e-2 * at[i]
			m.p = at
			m.p[i] += h
			hi := loss()
			m.p[i] -= 2 * h
			lo := loss()
			want := (hi - lo) / (2 * h)
			// Outputs of up to 10 round to float32 before and after they are mixed. The formula
			// has its own error, too.
			var all float64
			for _, d := range dv {
				all += math.Abs(float64(d))
			}
			tol := 3e-3*math.Abs(want) + 10*0x1p-24*(2+2*math.Abs(g.Scale))*all/math.Abs(h)
			if math.Abs(m.g[i]-want) > tol {
				t.Errorf("%+v: ∂/∂p%d is %v, differences give %v", g, i, m.g[i], want)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	f := (&model{}).Velocity
	for want, g := range map[string]Guidance{
		"Scale NaN": {Scale: math.NaN()}, "Scale +Inf": {Scale: math.Inf(1)}, "Rescale -1": {Rescale: -1}, "Rescale NaN": {Rescale: math.NaN()},
		"[2, 1] is empty": {Low: 2, High: 1},
	} {
		if _, err := New(sampler.CPU{}, f, g); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", g, err)
		}
	}
	if _, err := New[[]float32](sampler.CPU{}, nil, Guidance{}); !errors.Is(err, ErrConfig) {
		t.Errorf("no model: %v", err)
	}
	g, err := New(sampler.CPU{}, f, Guidance{Scale: 2, Rescale: 1}) // whose output is 0
	if err != nil {
		t.Fatal(err)
	}
	c := sampler.Call[[]float32]{Dim: dim, V: make([]float32, dim), X: make([]float32, dim), Rows: []int{1}, Times: []float64{1}}
	if err := g.Velocity(t.Context(), c); !errors.Is(err, ErrRescale) {
		t.Errorf("rescaled 0: %v", err)
	}
}

// A Scale that rounds to 1 in float32 is no guidance: there is one Call forward and one back.
func TestScaleOne(t *testing.T) {
	for _, scale := range []float64{0, 1, 1 + 1e-12} {
		m := &model{p: [4]float64{.7, .2, -.3, .5}}
		g, err := New(sampler.CPU{}, m.Velocity, Guidance{Scale: scale, Rescale: 1})
		if err != nil {
			t.Fatal(err)
		}
		c := sampler.Call[[]float32]{Dim: dim, V: make([]float32, dim), X: make([]float32, dim), Rows: []int{1}, Times: []float64{1}}
		back := 0
		err = errors.Join(g.Velocity(t.Context(), c), g.Backward(t.Context(), c, c.X, func(context.Context, sampler.Call[[]float32], []float32) error {
			back++
			return nil
		}))
		if err != nil || len(m.calls) != 1 || back != 1 {
			t.Errorf("Scale %v: %d Calls, %d back, %v", scale, len(m.calls), back, err)
		}
	}
}

// Calls allocate nothing once memory has grown.
func TestAllocs(t *testing.T) {
	zero := func(context.Context, sampler.Call[[]float32]) error { return nil }
	g, err := New(sampler.CPU{Workers: 1}, zero, Guidance{Scale: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := sampler.Call[[]float32]{Dim: dim, V: make([]float32, 4*dim), X: make([]float32, 4*dim), Rows: []int{1, 2, 3, 4}, Times: make([]float64, 4)}
	back := func(context.Context, sampler.Call[[]float32], []float32) error { return nil }
	once := func() {
		if err := errors.Join(g.Velocity(t.Context(), c), g.Backward(t.Context(), c, c.X, back)); err != nil {
			t.Fatal(err)
		}
	}
	once()
	if n := testing.AllocsPerRun(10, once); n > 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}
