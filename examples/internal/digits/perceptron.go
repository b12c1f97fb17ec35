package digits

import (
	"math"
	"math/rand/v2"
)

// A shape is the size of a multilayer perceptron with residual hidden layers.
// Layer 0 leads from In to Hidden columns. The other hidden layers, Depth in all, lead from
// Hidden to Hidden, and the last layer to Out:
//
//	h₀ = silu([x c]·W₀)
//	hₗ = hₗ₋₁ + silu([hₗ₋₁ c]·Wₗ)
//	y  = [h c]·W
//
// The condition c has Extra columns that every layer gets besides x. One of its columns, or
// the sum of some, is always 1, so its weights are the bias.
type shape struct{ In, Hidden, Depth, Out, Extra int }

// layer returns the number of input columns of layer l, without the condition, and the number
// of its output columns.
func (s shape) layer(l int) (in, out int) {
	in, out = s.Hidden, s.Hidden
	if l == 0 {
		in = s.In
	}
	if l == s.Depth {
		out = s.Out
	}
	return in, out
}

// size returns the number of weights.
func (s shape) size() int {
	n := 0
	for l := range s.Depth + 1 {
		in, out := s.layer(l)
		n += (in + s.Extra) * out
	}
	return n
}

// weights returns layer l of params, row-major [in+Extra, out].
func (s shape) weights(params []float32, l int) []float32 {
	at := 0
	for i := range l {
		in, out := s.layer(i)
		at += (in + s.Extra) * out
	}
	in, out := s.layer(l)
	return params[at:][: (in+s.Extra)*out : (in+s.Extra)*out]
}

// initial returns weights for the start of a training. They are uniform with variance 1/rows
// in the hidden layers, and zero in the last layer.
func (s shape) initial(r *rand.Rand) []float32 {
	params := make([]float32, s.size())
	for l := range s.Depth {
		in, _ := s.layer(l)
		scale := float32(math.Sqrt(3 / float64(in+s.Extra)))
		w := s.weights(params, l)
		for i := range w {
			w[i] = float32(2*r.Float32()-1) * scale
		}
	}
	return params
}

// chunk is the number of rows of a batch that one task takes through all layers.
const chunk = 16

// activations hold what the forward pass computes and the backward pass needs.
type activations struct {
	shape
	in      [][]float32 // input of every layer, condition included, [rows, in+Extra]
	sums    []float32   // scratch, [rows, Hidden]
	slope   [][]float32 // derivative of every hidden layer's silu, [rows, Hidden]
	noSlope []float32   // scratch for slope without a backward pass
	delta   [][]float32 // derivative of the loss by every layer's sums, [rows, out]
	turn    [][]float32 // weights without condition, transposed, [out, in]
	tasks   []gradient  // parts of the gradient of the weights
}

// A gradient is the task of rows lo to hi of a layer's weights.
type gradient struct{ layer, lo, hi int }

// newActivations allocates memory for batches of up to rows rows, and for the backward pass if
// backward is true.
func newActivations(s shape, rows int, backward bool) *activations {
	a := &activations{shape: s, sums: make([]float32, rows*s.Hidden)}
	if !backward {
		a.noSlope = make([]float32, s.Hidden)
	}
	for l := range s.Depth + 1 {
		in, out := s.layer(l)
		a.in = append(a.in, make([]float32, rows*(in+s.Extra)))
		if !backward {
			continue
		}
		a.slope = append(a.slope, make([]float32, rows*out))
		a.delta = append(a.delta, make([]float32, rows*out))
		a.turn = append(a.turn, make([]float32, in*out))
		for lo := 0; lo < in+s.Extra; lo += chunk {
			a.tasks = append(a.tasks, gradient{l, lo, min(lo+chunk, in+s.Extra)})
		}
	}
	return a
}

// input returns row i of the first layer's input, for the caller to fill. It has In columns,
// and then the condition.
func (a *activations) input(i int) []float32 {
	n := a.In + a.Extra
	return a.in[0][i*n:][:n:n]
}

// forward computes rows lo to hi and stores their outputs in y, row-major [rows, Out].
func (a *activations) forward(y, params []float32, lo, hi int) {
	for l := range a.Depth {
		in, out := a.layer(l)
		in += a.Extra
		sums := a.sums[lo*out : hi*out]
		clear(sums)
		mul(sums, a.in[l][lo*in:hi*in], a.weights(params, l), hi-lo, in, out)
		for i := lo; i < hi; i++ {
			h := a.in[l+1][i*(out+a.Extra):][:out+a.Extra]
			slope := a.noSlope
			if a.slope != nil {
				slope = a.slope[l][i*out:]
			}
			siluTo(h, slope, a.sums[i*out:][:out])
			if l > 0 {
				for j, x := range a.in[l][i*in:][:out] {
					h[j] += x
				}
			}
			copy(h[out:], a.input(i)[a.In:])
		}
	}
	in, out := a.layer(a.Depth)
	in += a.Extra
	clear(y[lo*out : hi*out])
	mul(y[lo*out:hi*out], a.in[a.Depth][lo*in:hi*in], a.weights(params, a.Depth), hi-lo, in, out)
}

// prepare makes backward and gradients use the weights params.
func (a *activations) prepare(params []float32) {
	parallel(a.Depth, func(l int) {
		in, out := a.layer(l + 1)
		transpose(a.turn[l+1], a.weights(params, l+1)[:in*out], in, out)
	})
}

// backward computes the deltas of the hidden layers for rows lo to hi. The caller fills those
// of the last layer, a.delta[a.Depth], before.
func (a *activations) backward(lo, hi int) {
	up := a.sums[lo*a.Hidden : hi*a.Hidden] // derivative of the loss by h, layer by layer
	clear(up)
	for l := a.Depth; l > 0; l-- {
		in, out := a.layer(l)
		// Below a residual layer h reaches y in two ways, so up keeps the sum.
		mul(up, a.delta[l][lo*out:hi*out], a.turn[l], hi-lo, out, in)
		delta := a.delta[l-1][lo*in : hi*in]
		for j, s := range a.slope[l-1][lo*in : hi*in] {
			delta[j] = s * up[j]
		}
	}
}

// gradients adds the derivatives of the loss by all weights to grad, which is as long as
// params. The deltas of the batch's rows must be computed before.
func (a *activations) gradients(grad []float32, rows int) {
	parallel(len(a.tasks), func(t int) {
		g := a.tasks[t]
		in, out := a.layer(g.layer)
		mulT(a.weights(grad, g.layer), a.in[g.layer], a.delta[g.layer], rows, in+a.Extra, out, g.lo, g.hi)
	})
}
