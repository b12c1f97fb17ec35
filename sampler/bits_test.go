package sampler_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"cps/noise"
	"cps/sampler"
	"cps/schedule"
)

// testModel is a velocity whose float32 operations are not fused, so it is the same
// everywhere. Fusing would show with factors such as 0.55; with 0.5 it would not.
func testModel(v, x []float32, time float64) error {
	c := float32(0.37 * time)
	for i, x := range x {
		v[i] = float32(0.55*x) - c
	}
	return nil
}

// bitRules cover every shape of a step: all three terms, no noise, no latent.
var bitRules = []struct {
	name string
	rule sampler.Rule
}{
	{"FlowODE", sampler.FlowODE{}},
	{"FlowSDE", sampler.FlowSDE{Diffusion: sampler.Ratio(0.7)}},
	{"FlowCPS", sampler.FlowCPS{Eta: 0.55}},
	{"Exact", sampler.Exact{Diffusion: sampler.Constant(0.7)}},
	{"Renoise", sampler.Renoise{}},
}

var storages = []sampler.Storage{sampler.Float32, sampler.BFloat16, sampler.Float16}

// bits writes the bytes of float32 and float64 slices to a hash.
type bits struct {
	h interface{ Write([]byte) (int, error) }
}

func (b bits) add(x []float32) {
	p := make([]byte, 0, 4*len(x))
	for _, x := range x {
		p = binary.LittleEndian.AppendUint32(p, math.Float32bits(x))
	}
	b.h.Write(p)
}

func (b bits) add64(x []float64) {
	p := make([]byte, 0, 8*len(x))
	for _, x := range x {
		p = binary.LittleEndian.AppendUint64(p, math.Float64bits(x))
	}
	b.h.Write(p)
}

// TestFrozenWeights finds a difference between architectures in float64 functions,
// which is allowed. TestFrozenBits cannot pass with such a difference. So a failure
// of TestFrozenBits alone is one of the kernels.
func TestFrozenWeights(t *testing.T) {
	h := sha256.New()
	for _, r := range bitRules {
		s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(4).Shift(3), Rule: r.rule})
		for i := range s.Steps() {
			a := s.At(i).Affine
			bits{h}.add([]float32{float32(a.X), float32(a.V), float32(a.Eps)})
		}
	}
	const want = "998c8f9c7e1997ba9356b8016ddf571e208c51528f1c000fbd4a55dccd4bcbad"
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("sha256 of the weights is %s, want %s", got, want)
	}
}

// The latents and sums of rollouts are frozen forever: the initial noise, and then
// four steps of three samples. Every architecture, device and version gives these.
func TestFrozenBits(t *testing.T) {
	want := map[string]string{
		"FlowODE, Float32":  "0675b7c59d6c0cfd893fbac18c3c1b9bee8089e85e36ae108478ede9ad8ac4c8",
		"FlowODE, BFloat16": "945a394cab745f7829aa451b3cb442b54c29082bdf617ae8c229543ba244af87",
		"FlowODE, Float16":  "9985294dbe36b35ee0b00145a697f260179d672e76a9aabd0a2eadc3a757102c",
		"FlowSDE, Float32":  "0df7a5f64f6d2e3917af1935d904896e4f9aff39394997df767034a275e050b7",
		"FlowSDE, BFloat16": "56fce85156935a2913fc23185f3765e4cc1536cb059aaa98b415aa74dd8b190c",
		"FlowSDE, Float16":  "a898ded3eb03fd72a0256c300938a386794b076c56471bfc62841a1cc9bd71f6",
		"FlowCPS, Float32":  "eb49262359c72e00160c3e6ac3861fb0ca4e7bf794792693148d20fea8711d7d",
		"FlowCPS, BFloat16": "4e31cec8f3cdda6a76f3637ab027578a2c7f72a6a820720a7a08ec16a9f36af6",
		"FlowCPS, Float16":  "94423d0eec2581c771611e25ab394cae8fb25c966707bee08664a2b3d3039e8d",
		"Exact, Float32":    "3575eab9c9ce0b5ffdbffbb9b37d1e09a5d33441662edc9848720dfe54c03f74",
		"Exact, BFloat16":   "a37053ff5b50c5dea61df0e747e8cd5d105cef4c3d75c0434d5a648ca078e8a0",
		"Exact, Float16":    "12df47cc47701e44fbaa0afd0e3cb1ad9e8331de510b21e115446a88badf07f9",
		"Renoise, Float32":  "1bbf23aa8e9702f18a14149fd95a6428370969d80a3bc761206da7e354a24695",
		"Renoise, BFloat16": "9c1efd78ffa32054e33fbe815d4e2c71d147aba9c18227d9ad3e16fb2f4f3346",
		"Renoise, Float16":  "82c4670df0bafb36e3ca99bbc16c5090661c9f7693c0a351e5d47a5ad266fbd1",
	}
	for _, r := range bitRules {
		for _, storage := range storages {
			h := sha256.New()
			for _, dim := range []int{1, 7, 31, 32, 33, 1023, 1024, 1025, 20000} {
				s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(4).Shift(3), Rule: r.rule, Storage: storage})
				b := s.Batch(dim, 0x0123456789abcdef, 0, 5, 1<<40)
				run := rollout(t, s, b, sampler.CPU{})
				for _, x := range run.Latents {
					bits{h}.add(x)
				}
				for _, sq := range run.SumSquares {
					bits{h}.add64(sq)
				}
			}
			name := fmt.Sprintf("%v, %v", r.name, storage)
			if got := fmt.Sprintf("%x", h.Sum(nil)); got != want[name] {
				t.Errorf("%v: sha256 is %v, want %v", name, got, want[name])
			}
		}
	}
}

// rollout runs the test model through a whole run.
func rollout(t testing.TB, s *sampler.Sampler, b sampler.Batch, cpu sampler.CPU) *sampler.Trajectory[[]float32] {
	t.Helper()
	run := sampler.NewTrajectory(b, s.Steps(), sampler.Window{})
	cpu.Step(run.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(context.Background(), cpu, s, b, run, sampler.OneTime(testModel)); err != nil {
		t.Fatal(err)
	}
	return run
}

// sameBits reports whether x and y are the same float32s bit for bit.
func sameBits(x, y []float32) bool {
	return slices.EqualFunc(x, y, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

func sameBits64(x, y []float64) bool {
	return slices.EqualFunc(x, y, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
}

// normal returns n draws of a stream for tests.
func normal(n int, sample uint64) []float32 {
	x := make([]float32, n)
	noise.Normal(x, 0x5eed, noise.ID{Sample: sample}, 0)
	return x
}

// weights are steps of every shape, with various signs and sizes.
var weights = []sampler.Affine{
	{X: 0.55, V: -0.37, Eps: 0.41},
	{X: 0.91, V: -0.13},
	{V: 1},
	{X: -1.3, Eps: 0.2},
	{V: 0.77, Eps: 1.9},
	{Eps: 1},
	{},
	{X: 1, V: 1e-3, Eps: 1e-4},
}

// mixed returns a batch whose rows stand at different steps and whose samples are
// not consecutive.
func mixed(dim, rows int, storage sampler.Storage) sampler.Batch {
	b := sampler.Batch{Dim: dim, Key: 0xc0ffee, Storage: storage, Rows: make([]sampler.Row, rows)}
	for i := range b.Rows {
		b.Rows[i] = sampler.Row{
			Affine: weights[(i/3+i/7)%len(weights)], // often equal to the weights of the row before
			ID:     noise.ID{Sample: uint64(i*i + 3), Step: uint32(i % 5)},
		}
	}
	return b
}

// results holds what all methods give for a batch.
type results struct {
	next, grad    []float32
	sq, sqAgain   []float64
	x, v          []float32
	scale         []float64
	nextUnsquared []float32
}

func execute(cpu sampler.CPU, b sampler.Batch) results {
	n, rows := b.Len(), len(b.Rows)
	r := results{
		next: make([]float32, n), grad: normal(n, 3), sq: make([]float64, rows), sqAgain: make([]float64, rows),
		x: normal(n, 1), v: normal(n, 2), scale: make([]float64, rows), nextUnsquared: make([]float32, n),
	}
	for i := range r.scale {
		r.scale[i] = 0.3 - float64(i)*0.07
	}
	cpu.Step(r.next, r.x, r.v, b, r.sq)
	cpu.Step(r.nextUnsquared, r.x, r.v, b, nil)
	cpu.SumSquares(r.sqAgain, r.next, r.x, r.v, b)
	cpu.Grad(r.grad, r.next, r.x, r.v, b, r.scale)
	return r
}

// Neither the number of workers nor the other rows change a bit. Rows are shorter
// and longer than a block of 1024 and a piece of 16 blocks. There are fewer and more
// rows than workers, and enough elements for workers to be used.
func TestBitsOfWorkersAndRows(t *testing.T) {
	for _, shape := range [][2]int{ // dim, rows
		{1, 40000}, {7, 5001}, {33, 1500}, {64, 700}, {256, 150}, {257, 70}, {1024, 40}, {1025, 37}, {16383, 3}, {16384, 3}, {16385, 5}, {20000, 8}, {100001, 1},
	} {
		dim, rows := shape[0], shape[1]
		for _, storage := range storages {
			b := mixed(dim, rows, storage)
			want := execute(sampler.CPU{Workers: 1}, b)
			if !sameBits64(want.sq, want.sqAgain) || !sameBits(want.next, want.nextUnsquared) {
				t.Errorf("dim %d, %v: Step and SumSquares differ", dim, storage)
			}
			for _, workers := range []int{2, 3, 8} {
				got := execute(sampler.CPU{Workers: workers}, b)
				if !sameBits(got.next, want.next) || !sameBits(got.grad, want.grad) ||
					!sameBits64(got.sq, want.sq) || !sameBits64(got.sqAgain, want.sq) || !sameBits(got.nextUnsquared, want.next) {
					t.Errorf("dim %d, %d rows, %v: %d workers change bits", dim, rows, storage, workers)
				}
			}
			for i := 0; i < rows; i += 1 + rows/11 {
				one := b
				one.Rows = b.Rows[i : i+1]
				next, sq, grad := make([]float32, dim), make([]float64, 1), normal(b.Len(), 3)[i*dim:][:dim]
				x, v := want.x[i*dim:][:dim], want.v[i*dim:][:dim]
				sampler.CPU{}.Step(next, x, v, one, sq)
				sampler.CPU{}.Grad(grad, next, x, v, one, want.scale[i:][:1])
				if !sameBits(next, want.next[i*dim:][:dim]) || sq[0] != want.sq[i] || !sameBits(grad, want.grad[i*dim:][:dim]) {
					t.Errorf("dim %d, %v: row %d alone differs from row %d of %d", dim, storage, i, i, rows)
				}
			}
		}
	}
}

// In float64, the sums are sums of squares, and the rest is what the documentation
// says. A lane adds 8 squares, and 7 levels follow: 15 roundings of 2⁻²⁴. d and its
// square take 2 more.
func TestStepIsItsFormula(t *testing.T) {
	for _, storage := range storages {
		for _, dim := range []int{1, 31, 33, 1024, 2500} {
			b := mixed(dim, 16, storage)
			r := execute(sampler.CPU{}, b)
			for i, row := range b.Rows {
				ε := make([]float32, dim)
				noise.Normal(ε, b.Key, row.ID, 0)
				var sum float64
				grad := normal(b.Len(), 3)
				for j := range dim {
					k := i*dim + j
					x, v := float64(r.x[k]), float64(r.v[k])
					mean := float64(float32(row.X))*x + float64(float32(row.V))*v
					want := mean + float64(float32(row.Eps))*float64(ε[j])
					// Each of five operations rounds numbers below 16, by 2⁻²⁴ of
					// their size. Storage keeps 8 or 11 bits, or steps of 2⁻²⁵ below
					// 2⁻¹⁴.
					tol := 5 * 16 * 0x1p-24
					tol += math.Abs(want) * map[sampler.Storage]float64{sampler.BFloat16: 0x1p-8, sampler.Float16: 0x1p-11}[storage]
					if math.Abs(float64(r.next[k])-want) > tol {
						t.Fatalf("%v, row %d %+v: element %d is %v, want %v", storage, i, row.Affine, j, r.next[k], want)
					}
					if r.next[k] != storage.Round(r.next[k]) {
						t.Fatalf("%v: %v is no value of the type", storage, r.next[k])
					}
					m := float32(float32(row.X)*r.x[k]) + float32(float32(row.V)*r.v[k])
					d := float64(r.next[k] - m)
					sum += d * d
					if g := float64(grad[k]) + r.scale[i]*d; math.Abs(float64(r.grad[k])-g) > 1e-5 {
						t.Fatalf("row %d: gradient %v, want %v", i, r.grad[k], g)
					}
				}
				if !closeTo(r.sq[i], sum, 17*0x1p-24) {
					t.Errorf("%v, dim %d, row %d: sum of squares %v, want %v", storage, dim, i, r.sq[i], sum)
				}
			}
		}
	}
}

// Replay of unchanged latents gives the sums of the rollout, so that the ratio of
// probabilities is exactly 1, in every storage type.
func TestBitsOfReplay(t *testing.T) {
	for _, r := range bitRules {
		for _, storage := range storages {
			s := mustNew(t, sampler.Config{Scheduler: schedule.Linear(5), Rule: r.rule, Storage: storage})
			b := s.Batch(1500, 11, 4, 2, 0)
			run := rollout(t, s, b, sampler.CPU{})
			old := make([][]float64, len(run.SumSquares))
			for i := range old {
				old[i] = slices.Clone(run.SumSquares[i])
				clear(run.SumSquares[i])
			}
			if err := sampler.Replay(context.Background(), sampler.CPU{}, s, b, run, sampler.OneTime(testModel)); err != nil {
				t.Fatal(err)
			}
			for i := range old {
				if !sameBits64(old[i], run.SumSquares[i]) {
					t.Errorf("%v, %v, step %d: rollout %v, replay %v", r.name, storage, i, old[i], run.SumSquares[i])
				}
			}
			// through 16-bit words and back
			if storage != sampler.Float32 {
				words := make([]uint16, b.Len())
				again := make([]float32, b.Len())
				for i, x := range run.Latents {
					storage.Pack(words, x)
					storage.Unpack(again, words)
					if !sameBits(x, again) {
						t.Errorf("%v: latents %d do not survive Pack and Unpack", storage, i)
					}
				}
			}
		}
	}
}

// Apply with the draws of package noise equals CPU.Step bit for bit.
func TestBitsOfApply(t *testing.T) {
	for _, dim := range []int{1, 33, 1025, 20000} {
		b := mixed(dim, len(weights), sampler.Float32)
		r := execute(sampler.CPU{}, b)
		for i, row := range b.Rows {
			ε := make([]float32, dim)
			noise.Normal(ε, b.Key, row.ID, 0)
			got := sampler.Apply(make([]float32, dim), r.x[i*dim:][:dim], r.v[i*dim:][:dim], ε, row.Affine)
			if !sameBits(got, r.next[i*dim:][:dim]) {
				t.Errorf("dim %d, %+v: Apply differs from Step", dim, row.Affine)
			}
		}
	}
}

// dst may be an input, in every method.
func TestBitsOfAliases(t *testing.T) {
	for _, dim := range []int{7, 64, 300, 1024, 1500} {
		b := mixed(dim, 75, sampler.BFloat16)
		want := execute(sampler.CPU{Workers: 1}, b)
		for name, alias := range map[string]func() (got []float32, sq []float64){
			"dst is x": func() ([]float32, []float64) {
				x, sq := slices.Clone(want.x), make([]float64, len(b.Rows))
				sampler.CPU{}.Step(x, x, want.v, b, sq)
				return x, sq
			},
			"dst is v": func() ([]float32, []float64) {
				v, sq := slices.Clone(want.v), make([]float64, len(b.Rows))
				sampler.CPU{}.Step(v, want.x, v, b, sq)
				return v, sq
			},
		} {
			if got, sq := alias(); !sameBits(got, want.next) || !sameBits64(sq, want.sq) {
				t.Errorf("dim %d: %s changes bits", dim, name)
			}
		}
	}
	a := sampler.Affine{X: 0.55, V: -0.37, Eps: 0.41}
	x, v, ε := normal(500, 1), normal(500, 2), normal(500, 3)
	apply := sampler.Apply(make([]float32, 500), x, v, ε, a)
	for i := range 3 {
		in := [][]float32{slices.Clone(x), slices.Clone(v), slices.Clone(ε)}
		if got := sampler.Apply(in[i], in[0], in[1], in[2], a); !sameBits(got, apply) || &got[0] != &in[i][0] {
			t.Errorf("Apply into input %d changes bits", i)
		}
	}
	c, from := sampler.Coeffs{X0: 0.4, X1: 0.5, Eps: 0.2}, schedule.Level(0.7)
	clipped := sampler.ApplyClipped(make([]float32, 500), x, v, ε, c, sampler.PredictVelocity, from, 0.8)
	for i := range 3 {
		in := [][]float32{slices.Clone(x), slices.Clone(v), slices.Clone(ε)}
		if got := sampler.ApplyClipped(in[i], in[0], in[1], in[2], c, sampler.PredictVelocity, from, 0.8); !sameBits(got, clipped) {
			t.Errorf("ApplyClipped into input %d changes bits", i)
		}
	}
}

// A weight of 0 reads nothing: neither the input's NaN nor its length matters.
func TestBitsOfAbsentTerms(t *testing.T) {
	n := 40
	bad := make([]float32, n)
	for i := range bad {
		bad[i] = float32(math.NaN())
	}
	x := normal(n, 1)
	one := func(a sampler.Affine) sampler.Batch {
		return sampler.Batch{Dim: n, Rows: []sampler.Row{{Affine: a}}}
	}
	for _, in := range [][]float32{bad, nil, make([]float32, 3)} {
		sq, got := make([]float64, 1), make([]float32, n)
		sampler.CPU{}.Step(got, x, in, one(sampler.Affine{X: 2}), sq)
		if got[3] != 2*x[3] || sq[0] != 0 {
			t.Errorf("v with weight 0 is read: %v, %v", got[3], sq)
		}
		sampler.CPU{}.Step(got, in, x, one(sampler.Affine{V: 2}), sq)
		if got[3] != 2*x[3] || sq[0] != 0 {
			t.Errorf("x with weight 0 is read: %v, %v", got[3], sq)
		}
		sampler.CPU{}.SumSquares(sq, x, in, in, one(sampler.Affine{}))
		if !(sq[0] > 1) {
			t.Errorf("inputs with weight 0 are read: %v", sq)
		}
		grad := make([]float32, n)
		sampler.CPU{}.Grad(grad, x, in, in, one(sampler.Affine{}), []float64{2})
		if grad[3] != 2*x[3] {
			t.Errorf("inputs with weight 0 are read: %v", grad[3])
		}
		if got := sampler.Apply(make([]float32, n), in, x, in, sampler.Affine{V: 2}); got[3] != 2*x[3] {
			t.Errorf("Apply reads inputs with weight 0: %v", got[3])
		}
	}
	// A weight too small for float32 is 0 as well.
	got := make([]float32, n)
	sampler.Apply(got, nil, x, nil, sampler.Affine{X: 1e-60, V: 2})
	if got[3] != 2*x[3] {
		t.Errorf("Apply with a weight below float32: %v", got[3])
	}
}

// A squared distance and guidance are batches with other weights.
func TestWith(t *testing.T) {
	const dim, w = 700, 4.5
	b := mixed(dim, 5, sampler.Float16)
	n := b.Len()
	uncond, cond := normal(n, 1), normal(n, 2)

	guided := make([]float32, n)
	sampler.CPU{}.Step(guided, uncond, cond, b.WithAffine(sampler.Affine{X: 1 - w, V: w}), nil)
	for i := range guided {
		// three roundings of numbers below 2⁵
		if want := float64(uncond[i]) + w*(float64(cond[i])-float64(uncond[i])); math.Abs(float64(guided[i])-want) > 3*0x1p-20 {
			t.Fatalf("guidance of %v and %v is %v, want %v", uncond[i], cond[i], guided[i], want)
		}
	}
	sq := make([]float64, 5)
	sampler.CPU{}.SumSquares(sq, uncond, nil, cond, b.WithAffine(sampler.Affine{V: 1}))
	for i := range sq {
		var want float64
		for j := range dim {
			d := float64(uncond[i*dim+j]) - float64(cond[i*dim+j])
			want += d * d
		}
		if !closeTo(sq[i], want, 17*0x1p-24) {
			t.Errorf("row %d: squared distance %v, want %v", i, sq[i], want)
		}
	}
}

// NaN and infinity in what a row reads show in its sum, and in no other sum.
func TestNonFiniteShows(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for _, at := range []int{0, 31, 32, 1023, 1024, 1999} {
			for input := range 3 {
				b := sampler.Batch{Dim: 2000, Rows: make([]sampler.Row, 3)}
				for i := range b.Rows {
					b.Rows[i] = sampler.Row{Affine: weights[0], ID: noise.ID{Sample: uint64(i)}}
				}
				in := [3][]float32{normal(6000, 1), normal(6000, 2), normal(6000, 3)}
				in[input][2000+at] = bad
				sq := make([]float64, 3)
				sampler.CPU{}.SumSquares(sq, in[0], in[1], in[2], b)
				if finite(sq[1]) || !finite(sq[0]) || !finite(sq[2]) {
					t.Fatalf("%v in input %d at %d: SumSquares gives %v", bad, input, at, sq)
				}
				if input == 0 {
					continue
				}
				sampler.CPU{}.Step(in[0], in[1], in[2], b, sq)
				if finite(sq[1]) || !finite(sq[0]) || !finite(sq[2]) {
					t.Fatalf("%v in input %d at %d: Step gives %v", bad, input, at, sq)
				}
			}
		}
	}
	// Values beyond the largest float16.
	b := sampler.Batch{Dim: 4, Storage: sampler.Float16, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1}}}}
	next, sq := make([]float32, 4), make([]float64, 1)
	sampler.CPU{}.Step(next, []float32{1, 2, 65519, 3}, nil, b, sq)
	if !finite(sq[0]) || next[2] != 65504 {
		t.Errorf("65519 rounds to %v with sum %v", next[2], sq)
	}
	sampler.CPU{}.Step(next, []float32{1, 2, 65520, 3}, nil, b, sq)
	if finite(sq[0]) {
		t.Errorf("overflow of float16 gives the sum %v", sq)
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
