package logprob_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"cps/logprob"
	"cps/noise"
	"cps/sampler"

	"gonum.org/v1/gonum/diff/fd"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

var forms = []logprob.Form{{}, {Sum: true}, {Gaussian: true}, {Gaussian: true, Sum: true}}

// weight32 is a weight as kernels use it.
func weight32(x float64) float64 { return float64(float32(x)) }

// reduce makes a sum over n elements what f asks for.
func reduce(f logprob.Form, sum float64, n int) float64 {
	if f.Sum {
		return sum
	}
	return sum / float64(n)
}

// A policy is the step of one row in float64, from the definitions: next is a draw
// of the normal law with mean X·x + V·v and standard deviation Eps, element by
// element.
type policy struct {
	a       sampler.Affine
	next, x []float64
}

func (p policy) mean(v []float64, i int) float64 {
	return weight32(p.a.X)*p.x[i] + weight32(p.a.V)*v[i]
}

func (p policy) logProb(f logprob.Form, v []float64) float64 {
	var sum float64
	for i, y := range p.next {
		if f.Gaussian {
			sum += distuv.Normal{Mu: p.mean(v, i), Sigma: weight32(p.a.Eps)}.LogProb(y)
		} else {
			sum -= math.Pow(y-p.mean(v, i), 2)
		}
	}
	return reduce(f, sum, len(v))
}

// kl is the divergence of two normal laws with one standard deviation.
func (p policy) kl(f logprob.Form, v, ref []float64) float64 {
	var sum float64
	for i := range v {
		k := math.Pow(p.mean(v, i)-p.mean(ref, i), 2)
		if f.Gaussian {
			k /= 2 * weight32(p.a.Eps) * weight32(p.a.Eps)
		}
		sum += k
	}
	return reduce(f, sum, len(v))
}

func (p policy) velocityKL(f logprob.Form, v, ref []float64) float64 {
	var sum float64
	for i := range v {
		sum += math.Pow(v[i]-ref[i], 2)
	}
	return reduce(f, sum, len(v))
}

// A fixture is a batch of rows at different steps, as the CPU sees it and in float64.
type fixture struct {
	b               sampler.Batch
	next, x, v, ref []float32
}

func newFixture(dim int, weights ...sampler.Affine) fixture {
	b := sampler.Batch{Dim: dim, Key: 31, Rows: make([]sampler.Row, len(weights))}
	for i, a := range weights {
		b.Rows[i] = sampler.Row{Affine: a, ID: noise.ID{Sample: uint64(40 + i), Step: uint32(i)}}
	}
	draw := func(sample uint64) []float32 {
		x := make([]float32, b.Len())
		noise.Normal(x, 77, noise.ID{Sample: sample}, 0)
		return x
	}
	f := fixture{b: b, next: make([]float32, b.Len()), x: draw(1), v: draw(2), ref: draw(3)}
	old := draw(4) // the policy that made next is not quite v
	for i := range old {
		old[i] = f.v[i] + 0.05*old[i]
	}
	sampler.CPU{}.Step(f.next, f.x, old, b, nil)
	return f
}

// row returns row i in float64.
func (f fixture) row(i int) (p policy, v, ref []float64) {
	wide := func(x []float32) []float64 {
		y := make([]float64, f.b.Dim)
		for j := range y {
			y[j] = float64(x[i*f.b.Dim+j])
		}
		return y
	}
	return policy{f.b.Rows[i].Affine, wide(f.next), wide(f.x)}, wide(f.v), wide(f.ref)
}

// squares and distances are the two statistics.
func (f fixture) squares() []float64 {
	sq := make([]float64, len(f.b.Rows))
	sampler.CPU{}.SumSquares(sq, f.next, f.x, f.v, f.b)
	return sq
}

func (f fixture) distances() []float64 {
	sq := make([]float64, len(f.b.Rows))
	sampler.CPU{}.SumSquares(sq, f.ref, nil, f.v, f.b.WithAffine(sampler.Affine{V: 1}))
	return sq
}

// steps have weights that float32 does not hold, of all signs.
var steps = []sampler.Affine{
	{X: 0.95, V: -0.13, Eps: 0.21},
	{X: 1.02, V: 0.4, Eps: 0.07},
	{V: -0.7, Eps: 1.3},
	{X: 0.6, V: -0.55, Eps: 0.9},
}

// The forms agree with their definitions, for sums of float32 kernels. Such a sum has
// 17 roundings of 2⁻²⁴ and the cancellation in d. The latter is at most 2⁻²⁴ of
// numbers below 8 in each d, which is 1e-5 of the smallest Eps here.
func TestForms(t *testing.T) {
	fx := newFixture(37, steps...)
	rows := len(steps)
	for _, f := range forms {
		logp, err := f.LogProb(make([]float64, rows), fx.b, fx.squares())
		kl, err2 := f.KL(make([]float64, rows), fx.b, fx.distances())
		vkl, err3 := f.VelocityKL(make([]float64, rows), fx.b, fx.distances())
		if err != nil || err2 != nil || err3 != nil {
			t.Fatal(err, err2, err3)
		}
		for i := range rows {
			p, v, ref := fx.row(i)
			for _, q := range []struct {
				what      string
				got, want float64
			}{
				{"LogProb", logp[i], p.logProb(f, v)},
				{"KL", kl[i], p.kl(f, v, ref)},
				{"VelocityKL", vkl[i], p.velocityKL(f, v, ref)},
			} {
				if math.Abs(q.got-q.want) > 3e-5*math.Abs(q.want)+1e-12 {
					t.Errorf("%+v, row %d: %s is %v, want %v", f, i, q.what, q.got, q.want)
				}
			}
		}
	}
}

// The functions are exact in float64 given the sums: 1e-13 for the logarithm of Eps
// and a handful of roundings, with cancellation between the terms of log p.
func TestFormsOfSums(t *testing.T) { rapid.Check(t, formsOfSums) }

func FuzzFormsOfSums(f *testing.F) { f.Fuzz(rapid.MakeFuzz(formsOfSums)) }

func formsOfSums(t *rapid.T) {
	dim := rapid.IntRange(1, 1<<20).Draw(t, "dim")
	a := sampler.Affine{
		X:   rapid.Float64Range(-2, 2).Draw(t, "X"),
		V:   rapid.Float64Range(-2, -1e-6).Draw(t, "V"), // negative, as towards the data
		Eps: rapid.Float64Range(1e-6, 10).Draw(t, "Eps"),
	}
	sum := rapid.Float64Range(0, 1e9).Draw(t, "sum")
	b := sampler.Batch{Dim: dim, Rows: []sampler.Row{{Affine: a}}}
	n, std, v := float64(dim), weight32(a.Eps), weight32(a.V)
	near := func(what string, f logprob.Form, got []float64, err error, scale float64, terms ...float64) {
		var want, size float64
		for _, x := range terms {
			want += x
			size += math.Abs(x)
		}
		if !f.Sum {
			want, size = want/n, size/n
		}
		if err != nil || !(math.Abs(got[0]-scale*want) <= 1e-13*math.Abs(scale)*size+1e-300) { // below it digits go
			t.Fatalf("%+v: %s of dim %d, %+v, sum %v is %v, %v, want %v", f, what, dim, a, sum, got, err, scale*want)
		}
	}
	dst := make([]float64, 1)
	for _, f := range forms {
		sq := []float64{sum}
		got, err := f.LogProb(dst, b, sq)
		if f.Gaussian {
			near("LogProb", f, got, err, 1, -sum/(2*std*std), -n*math.Log(std), -n*math.Log(math.Sqrt(2*math.Pi)))
		} else {
			near("LogProb", f, got, err, 1, -sum)
		}
		div := 1.0
		if f.Gaussian {
			div = 2 * std * std
		}
		got, err = f.KL(dst, b, sq)
		near("KL", f, got, err, 1, v*v*sum/div)
		got, err = f.VelocityKL(dst, b, sq)
		near("VelocityKL", f, got, err, 1, sum)
		got, err = f.GradScale(dst, b, []float64{-0.7})
		near("Scale", f, got, err, -0.7, 2*v/div)
		got, err = f.GradScaleKL(dst, b, 0.3)
		near("ScaleKL", f, got, err, -0.3, 2*v*v/div)
		got, err = f.GradScaleVelocityKL(dst, b, 0.3)
		near("ScaleVelocityKL", f, got, err, -0.3, 2)
	}
}

// Grad with a scale equals the gradient by v, by finite differences of the float64
// policy. All functions are quadratic in v, so central differences have no error but
// rounding, 1e-16·|f|/step. Grad works on float32: d has an error of a few 2⁻²⁴ of
// numbers below 8. The scale and the product have an error of 2⁻²⁴ each. A gradient
// is therefore good to 1e-6·|scale|.
func TestGradients(t *testing.T) {
	const dim = 9
	fx := newFixture(dim, steps...)
	rows := len(steps)
	loss := []float64{0.8, -1.5, 2, 0.1} // ∂loss/∂log p of every row
	const weight = 0.4
	settings := &fd.Settings{Formula: fd.Central, Step: 1e-3}
	for _, f := range forms {
		logScale, err := f.GradScale(make([]float64, rows), fx.b, loss)
		klScale, err2 := f.GradScaleKL(make([]float64, rows), fx.b, weight)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		vklScale, err := f.GradScaleVelocityKL(make([]float64, rows), fx.b, weight)
		if err != nil {
			t.Fatal(err)
		}
		one := fx.b.WithAffine(sampler.Affine{V: 1})
		for _, g := range []struct {
			what     string
			scale    []float64
			grad     func(dst []float32, scale []float64)
			function func(p policy, row int, v, ref []float64) float64
		}{
			{"LogProb", logScale,
				func(dst []float32, scale []float64) { sampler.CPU{}.Grad(dst, fx.next, fx.x, fx.v, fx.b, scale) },
				func(p policy, row int, v, _ []float64) float64 { return loss[row] * p.logProb(f, v) }},
			{"KL", klScale,
				func(dst []float32, scale []float64) { sampler.CPU{}.Grad(dst, fx.ref, nil, fx.v, one, scale) },
				func(p policy, _ int, v, ref []float64) float64 { return weight * p.kl(f, v, ref) }},
			{"VelocityKL", vklScale,
				func(dst []float32, scale []float64) { sampler.CPU{}.Grad(dst, fx.ref, nil, fx.v, one, scale) },
				func(p policy, _ int, v, ref []float64) float64 { return weight * p.velocityKL(f, v, ref) }},
		} {
			got := make([]float32, fx.b.Len())
			g.grad(got, g.scale)
			for i := range rows {
				p, v, ref := fx.row(i)
				want := fd.Gradient(nil, func(v []float64) float64 { return g.function(p, i, v, ref) }, v, settings)
				largest := 0.0
				for j, w := range want {
					largest = max(largest, math.Abs(w))
					tol := 1e-6*math.Abs(g.scale[i]) + 1e-12*math.Abs(g.function(p, i, v, ref))/settings.Step
					if got := float64(got[i*dim+j]); math.Abs(got-w) > tol {
						t.Errorf("%+v: ∂%s/∂v of row %d, element %d is %v, want %v ± %v", f, g.what, i, j, got, w, tol)
					}
				}
				if largest < 1e-3 {
					t.Errorf("%+v: ∂%s/∂v of row %d is at most %v: nothing is tested", f, g.what, i, largest)
				}
			}
		}
	}
}

// Grad adds, so that the gradients of several terms of a loss go to one buffer.
func TestGradientsAdd(t *testing.T) {
	fx := newFixture(5, steps...)
	f := logprob.Form{Gaussian: true}
	rows := len(steps)
	a, b := make([]float32, fx.b.Len()), make([]float32, fx.b.Len())
	scale, err := f.GradScale(make([]float64, rows), fx.b, []float64{1, 1, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	sampler.CPU{}.Grad(a, fx.next, fx.x, fx.v, fx.b, scale)
	both := append([]float32(nil), a...)
	scale, err = f.GradScaleKL(scale, fx.b, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	one := fx.b.WithAffine(sampler.Affine{V: 1})
	sampler.CPU{}.Grad(b, fx.ref, nil, fx.v, one, scale)
	sampler.CPU{}.Grad(both, fx.ref, nil, fx.v, one, scale)
	for i := range both {
		if both[i] != a[i]+b[i] {
			t.Fatalf("element %d: %v and %v add up to %v", i, a[i], b[i], both[i])
		}
	}
}

// Where the policy has not changed, every ratio is exactly 1 and the divergence from
// itself exactly 0, in all forms and storage types.
func TestOnPolicy(t *testing.T) {
	for _, storage := range []sampler.Storage{sampler.Float32, sampler.BFloat16, sampler.Float16} {
		fx := newFixture(1500, steps...)
		fx.b.Storage = storage
		rollout := make([]float64, len(steps))
		sampler.CPU{}.Step(fx.next, fx.x, fx.v, fx.b, rollout)
		replay := fx.squares()
		copy(fx.ref, fx.v)
		for _, f := range forms {
			old, err := f.LogProb(make([]float64, len(steps)), fx.b, rollout)
			now, err2 := f.LogProb(make([]float64, len(steps)), fx.b, replay)
			kl, err3 := f.KL(make([]float64, len(steps)), fx.b, fx.distances())
			if err != nil || err2 != nil || err3 != nil {
				t.Fatal(err, err2, err3)
			}
			for i := range old {
				if ratio := math.Exp(now[i] - old[i]); ratio != 1 || kl[i] != 0 {
					t.Errorf("%v, %+v, row %d: ratio %v, KL %v", storage, f, i, ratio, kl[i])
				}
			}
		}
	}
}

// dst may be the other slice, and nothing is allocated.
func TestAliasesAndAllocations(t *testing.T) {
	fx := newFixture(11, steps...)
	sq := fx.squares()
	for _, f := range forms {
		for name, call := range map[string]func(dst, in []float64) ([]float64, error){
			"LogProb":     func(dst, in []float64) ([]float64, error) { return f.LogProb(dst, fx.b, in) },
			"KL":          func(dst, in []float64) ([]float64, error) { return f.KL(dst, fx.b, in) },
			"VelocityKL":  func(dst, in []float64) ([]float64, error) { return f.VelocityKL(dst, fx.b, in) },
			"GradScale":   func(dst, in []float64) ([]float64, error) { return f.GradScale(dst, fx.b, in) },
			"GradScaleKL": func(dst, _ []float64) ([]float64, error) { return f.GradScaleKL(dst, fx.b, 2) },
			"GradScaleVelocityKL": func(dst, _ []float64) ([]float64, error) {
				return f.GradScaleVelocityKL(dst, fx.b, 2)
			},
		} {
			dst := make([]float64, len(sq))
			want, err := call(dst, sq)
			if err != nil || &want[0] != &dst[0] {
				t.Errorf("%s does not return dst: %v", name, err)
			}
			same := append([]float64(nil), sq...)
			got, err := call(same, same)
			for i := range want {
				if err != nil || got[i] != want[i] {
					t.Errorf("%+v: %s in place gives %v, want %v", f, name, got, want)
					break
				}
			}
			if n := testing.AllocsPerRun(10, func() { call(dst, sq) }); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}

func wantError(t *testing.T, err, target error, culprits ...string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error %v, want %v", err, target)
		return
	}
	if strings.Contains(err.Error(), "%!") {
		t.Errorf("error %q is badly formatted", err)
	}
	for _, c := range culprits {
		if !strings.Contains(err.Error(), c) {
			t.Errorf("error %q does not name %q", err, c)
		}
	}
}

// A step without noise has no density. It is an error, where a formula would give
// NaN, an infinity or a number that is no log-probability. VelocityKL exists without
// noise.
func TestNoDensity(t *testing.T) {
	for _, eps := range []float64{0, 1e-60} { // which is 0 in float32
		b := sampler.Batch{Dim: 4, Rows: []sampler.Row{
			{Affine: sampler.Affine{X: 1, V: 1, Eps: 1}},
			{Affine: sampler.Affine{X: 1, V: 1, Eps: eps}, ID: noise.ID{Sample: 99}},
		}}
		one := []float64{1, 1}
		dst := make([]float64, 2)
		for _, f := range forms {
			_, err1 := f.LogProb(dst, b, one)
			_, err2 := f.GradScale(dst, b, one)
			_, err3 := f.KL(dst, b, one)
			_, err4 := f.GradScaleKL(dst, b, 1)
			for _, err := range []error{err1, err2, err3, err4} {
				wantError(t, err, logprob.ErrNoDensity, "logprob: row 1", "sample 99")
			}
			if _, err := f.VelocityKL(dst, b, one); err != nil {
				t.Errorf("%+v: VelocityKL needs no density, but %v", f, err)
			}
		}
	}
}

// The rows of the initial latents, of guidance and of distances are no transitions.
func TestNoPolicy(t *testing.T) {
	for _, row := range []sampler.Row{
		sampler.InitialRow(99),
		{Affine: sampler.Affine{X: 1, Eps: 1}, ID: noise.ID{Sample: 99}},
		{Affine: sampler.Affine{X: 1, V: 1e-60, Eps: 1}, ID: noise.ID{Sample: 99}}, // 0 in float32
	} {
		b := sampler.Batch{Dim: 4, Rows: []sampler.Row{{Affine: steps[0]}, row}}
		one, dst := []float64{1, 1}, make([]float64, 2)
		for _, f := range forms {
			_, err1 := f.LogProb(dst, b, one)
			_, err2 := f.GradScale(dst, b, one)
			_, err3 := f.KL(dst, b, one)
			_, err4 := f.GradScaleKL(dst, b, 1)
			for _, err := range []error{err1, err2, err3, err4} {
				wantError(t, err, logprob.ErrNoPolicy, "logprob: row 1 (sample 99)")
			}
		}
	}
}

func TestNotFinite(t *testing.T) {
	b := sampler.Batch{Dim: 4, Rows: make([]sampler.Row, 3)}
	for i := range b.Rows {
		b.Rows[i].Affine = steps[0]
	}
	for text, bad := range map[string]float64{"NaN": math.NaN(), "Inf": math.Inf(1)} {
		dst, sq := make([]float64, 3), []float64{1, 2, bad}
		for _, f := range forms {
			_, err1 := f.LogProb(dst, b, sq)
			_, err2 := f.KL(dst, b, sq)
			_, err3 := f.VelocityKL(dst, b, sq)
			for _, err := range []error{err1, err2, err3} {
				wantError(t, err, logprob.ErrNotFinite, "logprob: row 2", text)
			}
			_, err := f.GradScale(dst, b, sq)
			wantError(t, err, logprob.ErrNotFinite, "logprob: row 2", text)
			_, err = f.GradScaleKL(dst, b, bad)
			wantError(t, err, logprob.ErrNotFinite, "logprob: row 0")
			_, err = f.GradScaleVelocityKL(dst, b, bad)
			wantError(t, err, logprob.ErrNotFinite, "logprob: row 0")
		}
	}
	// Grad rounds scales to float32, which this one is beyond.
	b.Rows[1].Eps = 1e-21
	_, err := logprob.Form{Gaussian: true}.GradScale(make([]float64, 3), b, []float64{1, 1, 1})
	wantError(t, err, logprob.ErrNotFinite, "logprob: row 1", "scale", "Inf")
	_, err = logprob.Form{Gaussian: true}.GradScaleKL(make([]float64, 3), b, 1)
	wantError(t, err, logprob.ErrNotFinite, "logprob: row 1", "scale", "Inf")
}

func TestLengthsPanic(t *testing.T) {
	b := sampler.Batch{Dim: 4, Rows: make([]sampler.Row, 2)}
	for i := range b.Rows {
		b.Rows[i].Affine = steps[0]
	}
	d := func(n int) []float64 { return make([]float64, n) }
	var f logprob.Form
	for name, tc := range map[string]struct {
		call   func()
		length int
	}{
		"LogProb dst":         {func() { f.LogProb(d(1), b, d(2)) }, 1},
		"LogProb sq":          {func() { f.LogProb(d(2), b, d(3)) }, 3},
		"LogProb nil":         {func() { f.LogProb(nil, b, d(2)) }, 0},
		"GradScale dst":       {func() { f.GradScale(d(3), b, d(2)) }, 3},
		"GradScale grad":      {func() { f.GradScale(d(2), b, d(1)) }, 1},
		"KL dst":              {func() { f.KL(d(1), b, d(2)) }, 1},
		"KL sq":               {func() { f.KL(d(2), b, nil) }, 0},
		"GradScaleKL":         {func() { f.GradScaleKL(d(1), b, 1) }, 1},
		"VelocityKL dst":      {func() { f.VelocityKL(d(1), b, d(2)) }, 1},
		"VelocityKL sq":       {func() { f.VelocityKL(d(2), b, d(1)) }, 1},
		"GradScaleVelocityKL": {func() { f.GradScaleVelocityKL(d(3), b, 1) }, 3},
	} {
		func() {
			defer func() {
				if got, want := recover(), fmt.Sprintf("logprob: length %d of a slice is not the number of rows, 2", tc.length); got != want {
					t.Errorf("%s: panic %v, want %q", name, got, want)
				}
			}()
			tc.call()
		}()
	}
}
