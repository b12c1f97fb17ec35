package digits

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/diff/fd"
	"pgregory.net/rapid"
)

func committed(t testing.TB) (*Net, *Classifier) {
	t.Helper()
	n, err := Velocity()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Judge()
	if err != nil {
		t.Fatal(err)
	}
	return n, c
}

func data(t testing.TB) *Set {
	t.Helper()
	s, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// normals returns rows of pure noise and their classes, all eleven in turn.
func normals(rows int, seed uint64) (x []float32, classes []int) {
	r := rand.New(rand.NewPCG(seed, 0))
	x, classes = make([]float32, rows*Dim), make([]int, rows)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for i := range classes {
		classes[i] = i % (Unconditional + 1)
	}
	return x, classes
}

// tiny returns a small network without zero layers.
func tiny(t testing.TB) *Net {
	s := netShape(9, 2)
	return &Net{shape: s, params: randomized(s, rand.New(rand.NewPCG(3, 3))), base: newBaseline(data(t))}
}

// For independent Gaussian pixels the baseline without a network is the exact velocity.
// E[x1 - x0 | x_t] has slope Cov(x1 - x0, x_t)/Var(x_t), and the remainder has variance gain².
func TestBaselineIsConditionalMean(t *testing.T) {
	b := newBaseline(data(t))
	for p := range Dim {
		for i := range 101 {
			u := float64(i) / 100
			mean, std := float64(b.mean[p]), float64(b.std[p])
			varX := (1-u)*(1-u)*std*std + u*u
			cov := u - (1-u)*std*std
			shift, scale, slope, gain := b.at(p, u)
			left := 1 + std*std - cov*cov/varX
			for _, c := range []struct {
				name            string
				got             float32
				want, tolerance float64
			}{
				// Rounding to float32 is 6e-8. The remaining variance is a difference of
				// terms up to 1/varX ≤ 4096 times as large.
				{"shift", shift, (1 - u) * mean, 1e-7},
				{"scale", scale, 1 / math.Sqrt(varX), 1e-7},
				{"slope", slope, cov / varX, 1e-7},
				{"gain", gain, math.Sqrt(max(left, 0)), 1e-6},
			} {
				if d := math.Abs(float64(c.got) - c.want); d > c.tolerance*(1+math.Abs(c.want)) {
					t.Fatalf("pixel %d, time %v: %s is %v, want %v", p, u, c.name, c.got, c.want)
				}
			}
		}
	}
}

func TestForwardFormula(t *testing.T) {
	n := tiny(t)
	x, classes := normals(11, 4)
	for _, u := range []float64{0, 0.3, 1} {
		got := make([]float32, len(x))
		n.Forward(got, x, classes, u)
		for i, class := range classes {
			input := make([]float32, Dim+n.Extra)
			for p := range Dim {
				shift, scale, _, _ := n.base.at(p, u)
				input[p] = (x[i*Dim+p] - shift) * scale
			}
			input[Dim+class] = 1
			for k := range harmonics {
				s, c := math.Sincos(float64(k+1) * math.Pi * u)
				input[Dim+Classes+1+2*k], input[Dim+Classes+2+2*k] = float32(c), float32(s)
			}
			for p, f := range naive(n.shape, n.params, input) {
				shift, _, slope, gain := n.base.at(p, u)
				want := float64(slope)*float64(x[i*Dim+p]-shift) - float64(n.base.mean[p]) + f*float64(gain)
				// float32 sums of about a hundred terms of size 1.
				if d := math.Abs(float64(got[i*Dim+p]) - want); d > 1e-5*(1+math.Abs(want)) {
					t.Fatalf("time %v, row %d, pixel %d: %v, want %v", u, i, p, got[i*Dim+p], want)
				}
			}
		}
	}
}

// The bits of a row depend on the row alone: not on its batch, aliasing or processors, and not
// on whether a Pass or the Net computes them.
func TestForwardBits(t *testing.T) {
	n, _ := committed(t)
	const rows = 45
	x, classes := normals(rows, 5)
	alone := make([]float32, rows*Dim)
	for i := range rows {
		n.Forward(alone[i*Dim:][:Dim], x[i*Dim:][:Dim], classes[i:i+1], 0.7)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	rapid.Check(t, func(t *rapid.T) {
		lo := rapid.IntRange(0, rows).Draw(t, "lo")
		hi := rapid.IntRange(lo, rows).Draw(t, "hi")
		runtime.GOMAXPROCS(rapid.SampledFrom([]int{1, 2, 8}).Draw(t, "processors"))
		want := alone[lo*Dim : hi*Dim]
		dst := slices.Clone(x[lo*Dim : hi*Dim])
		n.Forward(dst, dst, classes[lo:hi], 0.7)
		if !slices.Equal(dst, want) {
			t.Fatal("Net.Forward, in place, differs from single rows")
		}
		p := NewPass(n, hi-lo)
		p.Forward(dst, x[lo*Dim:hi*Dim], classes[lo:hi], slices.Repeat([]float64{0.7}, hi-lo))
		if !slices.Equal(dst, want) {
			t.Fatal("Pass.Forward differs from single rows")
		}
	})
}

func TestForwardDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools")
	}
	n, _ := committed(t)
	x, classes := normals(40, 6)
	v := make([]float32, len(x))
	if a := testing.AllocsPerRun(20, func() { n.Forward(v, x, classes, 0.5) }); a >= 1 {
		t.Errorf("%v allocations", a)
	}
}

func TestForwardKeepsNaNInItsRow(t *testing.T) {
	n, _ := committed(t)
	x, classes := normals(3, 7)
	want, got := make([]float32, len(x)), make([]float32, len(x))
	n.Forward(want, x, classes, 0.5)
	x[Dim+5] = float32(math.NaN())
	n.Forward(got, x, classes, 0.5)
	for i := range got {
		if bad := i/Dim == 1; bad != (got[i] != got[i]) || !bad && got[i] != want[i] {
			t.Fatalf("row %d, pixel %d: %v, without the NaN %v", i/Dim, i%Dim, got[i], want[i])
		}
	}
}

func TestForwardConcurrent(t *testing.T) {
	n, _ := committed(t)
	x, classes := normals(20, 8)
	want := make([]float32, len(x))
	n.Forward(want, x, classes, 0.4)
	parallel(16, func(int) {
		got := make([]float32, len(x))
		n.Forward(got, x, classes, 0.4)
		if !slices.Equal(got, want) {
			t.Error("concurrent calls disturb each other")
		}
	})
}

// Backward equals finite differences of Forward, through the baseline.
func TestPassGradient(t *testing.T) {
	n := tiny(t)
	const rows = 5
	x, classes := normals(rows, 9)
	times := []float64{1, 0.8, 0.5, 0.2, 0}
	dv, _ := normals(rows, 10)
	v := make([]float32, rows*Dim)
	p := NewPass(n, rows+3)
	grad := make([]float32, len(n.Params()))
	p.Forward(v, x, classes, times)
	p.Backward(grad, dv)
	r := rand.New(rand.NewPCG(11, 0))
	for range 150 {
		i := r.IntN(len(grad))
		w := n.params[i]
		want := fd.Derivative(func(w float64) float64 {
			n.params[i] = float32(w)
			p.Forward(v, x, classes, times)
			sum := 0.0
			for j := range v {
				sum += float64(v[j]) * float64(dv[j])
			}
			return sum
		}, float64(w), &fd.Settings{Formula: fd.Central, Step: 1.0 / 64})
		n.params[i] = w
		// 320 float32 outputs rounded by 1e-7, over a step of 1/32, give 1e-4. The error of
		// the central formula itself is of the order step² = 2.4e-4.
		if d := math.Abs(float64(grad[i]) - want); d > 2e-3*(1+math.Abs(want)) {
			t.Errorf("derivative by weight %d is %v, want %v", i, grad[i], want)
		}
	}
}

// Gradients add up. Two halves of a batch add the same terms as the batch.
func TestBackwardAdds(t *testing.T) {
	n := tiny(t)
	x, classes := normals(20, 12)
	times := slices.Repeat([]float64{0.6}, 20)
	dv, _ := normals(20, 13)
	v := make([]float32, len(x))
	whole, parts := make([]float32, len(n.params)), make([]float32, len(n.params))
	p := NewPass(n, 20)
	p.Forward(v, x, classes, times)
	p.Backward(whole, dv)
	for _, r := range [][2]int{{0, 7}, {7, 20}} {
		lo, hi := r[0], r[1]
		p.Forward(v[lo*Dim:hi*Dim], x[lo*Dim:hi*Dim], classes[lo:hi], times[lo:hi])
		p.Backward(parts, dv[lo*Dim:hi*Dim])
	}
	// Both add the terms in the same order.
	if !slices.Equal(whole, parts) {
		t.Error("two parts of a batch do not give the gradient of the batch")
	}
}

func TestCloneIsIndependent(t *testing.T) {
	n := tiny(t)
	c := n.Clone()
	x, classes := normals(2, 14)
	before, after := make([]float32, len(x)), make([]float32, len(x))
	n.Forward(before, x, classes, 0.5)
	clear(c.Params())
	n.Forward(after, x, classes, 0.5)
	if !slices.Equal(before, after) {
		t.Error("a change of the clone changed the network")
	}
	c.Forward(after, x, classes, 0.5)
	if slices.Equal(before, after) {
		t.Error("a change of Params does not count")
	}
}

func TestPanics(t *testing.T) {
	n := tiny(t)
	p := NewPass(n, 2)
	x, classes := normals(3, 15)
	grad := make([]float32, len(n.params))
	p.Forward(x[:2*Dim], x[:2*Dim], classes[:2], []float64{0, 1})
	for _, c := range []struct {
		want string
		f    func()
	}{
		{badLen, func() { n.Forward(x[:Dim], x, classes, 0.5) }},
		{badLen, func() { n.Forward(x[1:], x[1:], classes, 0.5) }},
		{badLen, func() { n.Forward(x, x, classes[:2], 0.5) }},
		{badClass, func() { n.Forward(x, x, []int{0, 11, 0}, 0.5) }},
		{badClass, func() { n.Forward(x, x, []int{0, -1, 0}, 0.5) }},
		{badTime, func() { n.Forward(x, x, classes, 1.01) }},
		{badTime, func() { n.Forward(x, x, classes, -0.01) }},
		{badTime, func() { n.Forward(x, x, classes, math.NaN()) }},
		{badTime, func() { p.Forward(x[:Dim], x[:Dim], classes[:1], []float64{2}) }},
		{badTimes, func() { p.Forward(x[:Dim], x[:Dim], classes[:1], nil) }},
		{badBatch, func() { p.Forward(x, x, classes, []float64{0, 0, 0}) }},
		{badGrad, func() { p.Backward(grad[1:], x[:2*Dim]) }},
		{badLen, func() { p.Backward(grad, x) }},
		{badLen, func() { NewAdam(2).Step(grad, grad, 1) }},
		{badLen, func() { average(grad, grad[1:], 0.9) }},
		{badLen, func() { new(Classifier).Probabilities(nil, x[1:]) }},
		{badLen, func() { new(Classifier).Classify(nil, x) }},
		{badLen, func() { Background{}.Residual(x[1:]) }},
		{badLen, func() { Diversity(x[1:]) }},
		{badLen, func() { Novelty(x, x[1:]) }},
	} {
		func() {
			defer func() {
				if got := recover(); got != c.want {
					t.Errorf("panic %v, want %q", got, c.want)
				}
			}()
			c.f()
		}()
	}
}

func BenchmarkForward(b *testing.B) {
	n, _ := committed(b)
	x, classes := normals(64, 16)
	v := make([]float32, len(x))
	for b.Loop() {
		n.Forward(v, x, classes, 0.5)
	}
	b.ReportMetric(float64(b.N*64)/b.Elapsed().Seconds(), "rows/s")
}
