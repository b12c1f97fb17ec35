package digits

import (
	"math"
	"slices"
	"sync"
)

// Unconditional stands for no class. Its velocity is that of the whole data set, for
// classifier-free guidance.
const Unconditional = Classes

// harmonics is the number of frequencies of the time features.
const harmonics = 8

// A Net is a class-conditional velocity network. Its methods may be called concurrently, unless
// one writes to Params meanwhile.
type Net struct {
	shape
	params []float32
	base   baseline
	spare  sync.Pool // of *Pass, chunk rows each, without backward
}

// A baseline is the exact velocity if all pixels are Gaussian and independent, with the scale
// of what it leaves unexplained. The network learns the rest, which has variance 1. On pixels
// that are the same in all images nothing is left to learn: there the baseline alone removes
// all noise.
//
// It is the preconditioning of Karras et al. (arXiv 2206.00364, Table 1) for the path
// x_t = (1-t)·x0 + t·x1, with moments of each pixel. With y = x - (1-t)·mean and
// q² = (1-t)²·std² + t²:
//
//	input    = y/q
//	velocity = y·(t - (1-t)·std²)/q² - mean + output·std/q
type baseline struct{ mean, std [Dim]float32 }

// minStd is the least std, so that the velocity at t = 0 is finite. Ink has steps of 1/8.
const minStd = 1.0 / 64

func newBaseline(s *Set) (b baseline) {
	mean, variance := s.moments()
	for p := range Dim {
		b.mean[p] = float32(mean[p])
		b.std[p] = float32(max(minStd, math.Sqrt(variance[p])))
	}
	return b
}

// at returns the terms of the baseline for one pixel and time:
//
//	input    = scale·(x - shift)
//	velocity = slope·(x - shift) - mean + gain·output
func (b *baseline) at(p int, t float64) (shift, scale, slope, gain float32) {
	mean, std := float64(b.mean[p]), float64(b.std[p])
	v := float64(std * std)
	r := 1 - t
	q2 := float64(float64(r*r)*v) + float64(t*t)
	q := math.Sqrt(q2)
	return float32(r * mean), float32(1 / q), float32((t - float64(r*v)) / q2), float32(std / q)
}

// netShape returns the shape of a velocity network with depth hidden layers.
func netShape(hidden, depth int) shape {
	return shape{In: Dim, Hidden: hidden, Depth: depth, Out: Dim, Extra: Classes + 1 + 2*harmonics}
}

// Params returns the weights of all layers in one slice. It is the memory of n: what is written
// there counts from the next call on.
func (n *Net) Params() []float32 { return n.params }

// Clone returns a copy that shares nothing with n.
func (n *Net) Clone() *Net {
	return &Net{shape: n.shape, params: slices.Clone(n.params), base: n.base}
}

// Forward stores in dst the velocity x1 - x0 that n predicts for the rows of x at a time in
// [0, 1], where 1 is pure noise. dst and x are row-major [len(classes), Dim] and may be the
// same slice. classes are digits or Unconditional.
//
// The bits of a row depend on that row alone, not on other rows or the number of processors. A
// NaN or an infinity in a row makes that row NaN. Forward runs on the caller's goroutine. Only
// its first calls allocate. It panics if a length, a class or the time is out of range.
func (n *Net) Forward(dst, x []float32, classes []int, time float64) {
	checkRows(dst, x, classes)
	checkTime(time)
	p, _ := n.spare.Get().(*Pass)
	if p == nil {
		p = newPass(n, chunk, false)
	}
	for lo := 0; lo < len(classes); lo += chunk {
		rows := min(chunk, len(classes)-lo)
		for i := range rows {
			p.set(i, x[(lo+i)*Dim:][:Dim], classes[lo+i], time)
		}
		p.run(dst[lo*Dim:], 0, rows)
	}
	n.spare.Put(p)
}

// ForwardParallel does what Forward does, with the same bits, on as many goroutines as there
// are processors.
func (n *Net) ForwardParallel(dst, x []float32, classes []int, time float64) {
	checkRows(dst, x, classes)
	checkTime(time)
	const size = 4 * chunk
	parallel(pieces(len(classes), size), func(task int) {
		lo, hi := task*size, min((task+1)*size, len(classes))
		n.Forward(dst[lo*Dim:hi*Dim], x[lo*Dim:hi*Dim], classes[lo:hi], time)
	})
}

// A Pass is for training. It keeps the numbers of a forward pass that the backward pass needs.
// One goroutine at a time may use it. It uses all processors itself.
type Pass struct {
	net  *Net
	act  *activations
	rows int       // of the last Forward
	bias []float32 // velocity without the network's output, [rows, Dim]
	gain []float32 // factors of the network's output, [rows, Dim]
}

// NewPass returns a Pass for batches of up to rows rows through n.
func NewPass(n *Net, rows int) *Pass { return newPass(n, rows, true) }

func newPass(n *Net, rows int, backward bool) *Pass {
	return &Pass{
		net:  n,
		act:  newActivations(n.shape, rows, backward),
		bias: make([]float32, rows*Dim),
		gain: make([]float32, rows*Dim),
	}
}

// Rows returns the greatest number of rows of a batch.
func (p *Pass) Rows() int { return len(p.bias) / Dim }

// Forward does what Net.Forward does, with the same bits, with a time for every row. It panics
// if there are more rows than p.Rows().
func (p *Pass) Forward(dst, x []float32, classes []int, times []float64) {
	checkRows(dst, x, classes)
	if len(times) != len(classes) {
		panic(badTimes)
	}
	if len(classes)*Dim > len(p.bias) {
		panic(badBatch)
	}
	for _, t := range times {
		checkTime(t)
	}
	p.rows = len(classes)
	parallel(pieces(p.rows, chunk), func(task int) {
		lo, hi := task*chunk, min((task+1)*chunk, p.rows)
		for i := lo; i < hi; i++ {
			p.set(i, x[i*Dim:][:Dim], classes[i], times[i])
		}
		p.run(dst, lo, hi)
	})
}

// Backward adds the derivative of a loss by every weight to grad, which is as long as Params.
// dv is the derivative of the loss by the velocities of the last Forward, row-major
// [rows, Dim]. The weights must not have changed in between. Rows are summed in their order.
func (p *Pass) Backward(grad, dv []float32) {
	if len(grad) != len(p.net.params) {
		panic(badGrad)
	}
	if len(dv) != p.rows*Dim {
		panic(badLen)
	}
	p.act.prepare(p.net.params)
	out := p.act.delta[p.act.Depth]
	parallel(pieces(p.rows, chunk), func(task int) {
		lo, hi := task*chunk, min((task+1)*chunk, p.rows)
		for i := lo * Dim; i < hi*Dim; i++ {
			out[i] = p.gain[i] * dv[i]
		}
		p.act.backward(lo, hi)
	})
	p.act.gradients(grad, p.rows)
}

// set fills the input of row i with x, class and t.
func (p *Pass) set(i int, x []float32, class int, t float64) {
	row := p.act.input(i)
	bias, gain := p.bias[i*Dim:][:Dim], p.gain[i*Dim:][:Dim]
	for j, x := range x {
		shift, scale, slope, g := p.net.base.at(j, t)
		row[j] = float32(x-shift) * scale
		bias[j] = float32(float32(x-shift)*slope) - p.net.base.mean[j]
		gain[j] = g
	}
	condition(row[Dim:], class, t)
}

// condition stores the network's inputs besides the latent: the class, as one of eleven
// columns, and
//
//	cos(k·π·t), sin(k·π·t)   for k = 1 … 8.
func condition(dst []float32, class int, t float64) {
	clear(dst[:Classes+1])
	dst[class] = 1
	dst = dst[Classes+1:]
	c, s := halfTurn(t)
	x, y := c, s
	for k := range harmonics {
		dst[2*k], dst[2*k+1] = float32(x), float32(y)
		x, y = float64(x*c)-float64(y*s), float64(x*s)+float64(y*c)
	}
}

// run computes rows lo to hi. Their inputs must be set.
func (p *Pass) run(dst []float32, lo, hi int) {
	p.act.forward(dst, p.net.params, lo, hi)
	for i := lo * Dim; i < hi*Dim; i++ {
		dst[i] = float32(dst[i]*p.gain[i]) + p.bias[i]
	}
}

const (
	badLen   = "digits: bad length of slice"
	badClass = "digits: class is not in [0, 10]"
	badDigit = "digits: class is not in [0, 9]"
	badTime  = "digits: time is not in [0, 1]"
	badTimes = "digits: number of times is not that of classes"
	badBatch = "digits: batch is larger than the pass"
	badGrad  = "digits: gradient has not the length of the weights"
)

func checkRows(dst, x []float32, classes []int) {
	if len(x) != len(classes)*Dim || len(dst) != len(x) {
		panic(badLen)
	}
	for _, c := range classes {
		if c < 0 || c > Unconditional {
			panic(badClass)
		}
	}
}

func checkTime(t float64) {
	if !(0 <= t && t <= 1) {
		panic(badTime)
	}
}
