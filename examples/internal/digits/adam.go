package digits

import "math"

// Adam is the optimizer of Kingma and Ba (arXiv 1412.6980, Algorithm 1). NewAdam makes one.
type Adam struct {
	m, v  []float32
	steps int

	Beta1, Beta2, Epsilon float64
}

// NewAdam returns an optimizer of n weights with the paper's settings: β₁ 0.9, β₂ 0.999 and
// ε 1e-8.
func NewAdam(n int) *Adam {
	return &Adam{
		m: make([]float32, n), v: make([]float32, n),
		Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8,
	}
}

// Step moves params against grad with a learning rate, and clears grad. It panics if a length
// is not the n of NewAdam.
func (o *Adam) Step(params, grad []float32, rate float64) {
	if len(params) != len(o.m) || len(grad) != len(o.m) {
		panic(badLen)
	}
	o.steps++
	// The bias corrections of m and v, moved into rate and epsilon.
	c1 := 1 - power(o.Beta1, o.steps)
	c2 := math.Sqrt(1 - power(o.Beta2, o.steps))
	c := adamStep{
		b1: float32(o.Beta1), a1: float32(1 - o.Beta1),
		b2: float32(o.Beta2), a2: float32(1 - o.Beta2),
		alpha: float32(rate * c2 / c1), eps: float32(o.Epsilon * c2),
	}
	const size = 4096
	parallel(pieces(len(params), size), func(task int) {
		lo := task * size
		hi := min(lo+size, len(params))
		c.move(params[lo:hi], grad[lo:hi], o.m[lo:hi], o.v[lo:hi])
	})
}

// An adamStep has the numbers of one step.
type adamStep struct{ b1, a1, b2, a2, alpha, eps float32 }

func (c adamStep) move(p, g, m, v []float32) {
	for i := vectorAdam(p, g, m, v, c); i < len(p); i++ {
		d := g[i]
		m[i] = float32(c.b1*m[i]) + float32(c.a1*d)
		v[i] = float32(c.b2*v[i]) + float32(c.a2*float32(d*d))
		p[i] -= c.alpha * m[i] / (float32(math.Sqrt(float64(v[i]))) + c.eps)
		g[i] = 0
	}
}

// State returns the moments and the number of steps of o. With the parameters they are all
// that a resumed run needs. The slices are the memory of o, not copies.
func (o *Adam) State() (m, v []float32, steps int) { return o.m, o.v, o.steps }

// Restore copies a state that State returned into o. It panics if a length is not the n of
// NewAdam.
func (o *Adam) Restore(m, v []float32, steps int) {
	if len(m) != len(o.m) || len(v) != len(o.v) {
		panic(badLen)
	}
	copy(o.m, m)
	copy(o.v, v)
	o.steps = steps
}

// power returns b^n by multiplication, with the same bits on every processor.
func power(b float64, n int) float64 {
	p := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p = float64(p * b)
		}
		b = float64(b * b)
	}
	return p
}

// average updates an exponential moving average of params,
//
//	mean = mean + (1-decay)·(params - mean).
func average(mean, params []float32, decay float64) {
	if len(mean) != len(params) {
		panic(badLen)
	}
	w := float32(1 - decay)
	for i, x := range params {
		mean[i] += float32(w * (x - mean[i]))
	}
}

// cosine returns the learning rate of a step in [0, steps). The rate rises linearly to peak
// over the warmup, and then falls to 0 as half a cosine.
func cosine(step, steps, warmup int, peak float64) float64 {
	if step < warmup {
		return peak * float64(step+1) / float64(warmup)
	}
	c, _ := halfTurn(float64(step-warmup) / float64(steps-warmup))
	return peak * (1 + c) / 2
}
