package digits

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/diff/fd"
)

// naive computes the perceptron's formula in float64 with package math.
func naive(s shape, params []float32, input []float32) []float64 {
	var h []float64
	for _, x := range input[:s.In] {
		h = append(h, float64(x))
	}
	for l := range s.Depth + 1 {
		in, out := s.layer(l)
		w := s.weights(params, l)
		y := make([]float64, out)
		for j := range y {
			for i := range in {
				y[j] += h[i] * float64(w[i*out+j])
			}
			for i, c := range input[s.In:] {
				y[j] += float64(c) * float64(w[(in+i)*out+j])
			}
			if l < s.Depth {
				y[j] /= 1 + math.Exp(-y[j])
				if l > 0 {
					y[j] += h[j]
				}
			}
		}
		h = y
	}
	return h
}

// randomized returns weights without zero layers.
func randomized(s shape, r *rand.Rand) []float32 {
	params := s.initial(r)
	last := s.weights(params, s.Depth)
	for i := range last {
		last[i] = float32(r.NormFloat64()) / 4
	}
	return params
}

func TestPerceptronFormula(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range []shape{{5, 7, 1, 3, 2}, {4, 6, 3, 5, 1}, {64, 33, 4, 64, 27}} {
		params := randomized(s, r)
		a := newActivations(s, 1, false)
		y := make([]float32, s.Out)
		for range 20 {
			for i := range a.input(0) {
				a.input(0)[i] = float32(r.NormFloat64())
			}
			a.forward(y, params, 0, 1)
			for j, want := range naive(s, params, a.input(0)) {
				// Sums of up to a hundred terms of size 1 in float32, five layers deep:
				// a few 1e-7 each.
				if d := math.Abs(float64(y[j]) - want); d > 5e-6*(1+math.Abs(want)) {
					t.Errorf("%+v: output %d is %v, want %v", s, j, y[j], want)
				}
			}
		}
	}
}

// Layers do not overlap, although the last has another number of weights.
func TestShapeLayersTile(t *testing.T) {
	s := shape{5, 7, 3, 4, 2}
	params := make([]float32, s.size())
	for l := range s.Depth + 1 {
		w := s.weights(params, l)
		for i := range w {
			w[i]++
		}
		if cap(w) != len(w) {
			t.Errorf("layer %d can grow into the next", l)
		}
	}
	for i, x := range params {
		if x != 1 {
			t.Fatalf("weight %d belongs to %v layers", i, x)
		}
	}
}

// The derivative of a weighted sum of the outputs by every weight equals finite differences
// of the float64 formula.
func TestPerceptronGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const rows = 3
	for _, s := range []shape{{5, 7, 1, 3, 2}, {4, 6, 3, 5, 1}} {
		params := randomized(s, r)
		a := newActivations(s, rows, true)
		y, dy := make([]float32, rows*s.Out), make([]float32, rows*s.Out)
		for i := range rows {
			for j := range a.input(i) {
				a.input(i)[j] = float32(r.NormFloat64())
			}
		}
		for i := range dy {
			dy[i] = float32(r.NormFloat64())
		}
		a.prepare(params)
		a.forward(y, params, 0, rows)
		copy(a.delta[s.Depth], dy)
		a.backward(0, rows)
		got := make([]float32, s.size())
		const already = 0.5 // gradients adds to what is there
		for i := range got {
			got[i] = already
		}
		a.gradients(got, rows)

		loss := func(w float64, i int) float64 {
			old := params[i]
			defer func() { params[i] = old }()
			params[i] = float32(w)
			sum := 0.0
			for row := range rows {
				for j, y := range naive(s, params, a.input(row)) {
					sum += y * float64(dy[row*s.Out+j])
				}
			}
			return sum
		}
		for i, w := range params {
			// The weight is float32. The step is a power of two, so the two points are
			// rounded by 2⁻²⁴ at most; divided by the step that is 1e-5. The error of the
			// central formula itself is of the order step² = 6e-5.
			want := fd.Derivative(func(w float64) float64 { return loss(w, i) }, float64(w),
				&fd.Settings{Formula: fd.Central, Step: 1.0 / 128})
			if d := math.Abs(float64(got[i]) - already - want); d > 3e-4*(1+math.Abs(want)) {
				t.Errorf("%+v: derivative by weight %d is %v, want %v", s, i, got[i]-already, want)
			}
		}
	}
}
