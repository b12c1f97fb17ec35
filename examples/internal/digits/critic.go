package digits

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"cps/noise"
)

// A Critic scores how good an image of a digit is. It is a preference model, as PickScore and
// HPS are for pictures, and like them it is sensitive to noise. It was trained on pairs of
// damaged images with Bradley and Terry's model. Its methods may be called concurrently.
type Critic struct {
	shape
	params []float32
	spare  sync.Pool // of *opinion
}

// An opinion is the memory for chunk images.
type opinion struct {
	act    *activations
	scores [chunk]float32
}

// criticShape returns the shape of a critic. Its condition is the class and a 1.
func criticShape(hidden, depth int) shape {
	return shape{In: Dim, Hidden: hidden, Depth: depth, Out: 1, Extra: Classes + 1}
}

// Scores stores in dst the score of every row of x as an image of its class, and returns dst.
// x is row-major [len(classes), Dim]. The mean score is 1 for the images of the data set and 0
// for pure noise. Pixels beyond [-1, 1] are cut off. A row with a NaN has the score NaN. Only
// the first calls allocate. It panics if a length or a class is wrong.
func (c *Critic) Scores(dst []float64, x []float32, classes []int) []float64 {
	if len(x) != len(classes)*Dim || len(dst) != len(classes) {
		panic(badLen)
	}
	o, _ := c.spare.Get().(*opinion)
	if o == nil {
		o = &opinion{act: newActivations(c.shape, chunk, false)}
	}
	for lo := 0; lo < len(classes); lo += chunk {
		n := min(chunk, len(classes)-lo)
		for i := range n {
			look(o.act.input(i), x[(lo+i)*Dim:][:Dim], classes[lo+i])
		}
		o.act.forward(o.scores[:], c.params, 0, n)
		for i, s := range o.scores[:n] {
			dst[lo+i] = float64(s)
		}
	}
	c.spare.Put(o)
	return dst
}

// look fills a row of input from the image x of a class.
func look(row, x []float32, class int) {
	if class < 0 || class >= Classes {
		panic(badDigit)
	}
	for i, v := range x {
		row[i] = max(-1, min(1, v)) // a NaN stays a NaN
	}
	clear(row[Dim:])
	row[Dim+class], row[Dim+Classes] = 1, 1
}

const criticSteps = 4000

// TrainCritic trains a critic on the train part of the data set. It damages two images of one
// digit, each in its own way: with noise, or into a shape that no digit has. The image that
// stays nearer to its original should get the higher score:
//
//	loss = -log σ(score of the nearer - score of the other)
//
// steps = 0 means 4000. The committed critic has seed 0 and 4000 steps; 400 give a rough one.
// Weights are rounded to the type in which Save stores them. Processors, progress and ctx are
// as in Train.
func TrainCritic(ctx context.Context, seed uint64, steps int, progress func(step, of int, loss float64)) (*Critic, error) {
	const pairs, rate, decay = 64, 2e-3, 0.995
	if steps == 0 {
		steps = criticSteps
	}
	if steps < 0 {
		return nil, fmt.Errorf("digits: Steps %d is not positive", steps)
	}
	all, err := Load()
	if err != nil {
		return nil, err
	}
	data, _ := all.Split()
	s := criticShape(64, 2)
	r := rand.New(rand.NewPCG(seed, 2))
	var (
		params = s.initial(r)
		mean   = slices.Clone(params)
		act    = newActivations(s, 2*pairs, true)
		adam   = NewAdam(len(params))
		grad   = make([]float32, len(params))
		scores = make([]float32, 2*pairs)
		far    [2 * pairs]float64
		d      = damager{data: data, rand: r, key: noise.Key(seed).Derive(2)}
	)
	for step := range steps {
		for i := range far {
			var class int
			if i%2 == 0 {
				class = r.IntN(Classes)
			} else {
				class = d.class // the class of the pair's other image
			}
			far[i] = d.next(class)
			look(act.input(i), d.image[:], class)
		}
		parallel(2*pairs/chunk, func(task int) {
			act.forward(scores, params, task*chunk, (task+1)*chunk)
		})
		loss := 0.0
		delta := act.delta[act.Depth]
		for i := 0; i < 2*pairs; i += 2 {
			near, other := i, i+1
			if far[near] > far[other] {
				near, other = other, near
			}
			l, slope := surprise(scores[near] - scores[other])
			loss += l
			delta[near], delta[other] = slope/pairs, -slope/pairs
		}
		act.prepare(params)
		parallel(2*pairs/chunk, func(task int) { act.backward(task*chunk, (task+1)*chunk) })
		act.gradients(grad, 2*pairs)
		adam.Step(params, grad, cosine(step, steps, int(warmup*float64(steps)), rate))
		average(mean, params, min(decay, float64(step)/float64(step+10)))
		if progress != nil {
			progress(step+1, steps, loss/pairs)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	c := &Critic{shape: s, params: mean}
	if err := c.calibrate(all, d.key.Derive(0)); err != nil {
		return nil, err
	}
	return c, round(c.params)
}

// surprise returns -log σ(z) = log(1 + e^-z) and its derivative, -σ(-z).
func surprise(z float32) (loss float64, slope float32) {
	e := exp(-z)
	return math.Log1p(float64(e)), -e / (1 + e)
}

// calibrate scales and shifts the scores of c so that images have mean 1 and noise has mean 0.
// Scores are linear in the last layer, whose column of ones is the added constant.
func (c *Critic) calibrate(data *Set, key noise.Key) error {
	average := func(x []float32) float64 {
		sum := 0.0
		for _, s := range c.Scores(make([]float64, data.Len()), x, data.Labels) {
			sum += s
		}
		return sum / float64(data.Len())
	}
	x := make([]float32, len(data.Pixels))
	noise.Normal(x, key, noise.ID{}, 0)
	real, none := average(data.Pixels), average(x)
	if !(real > none) {
		return fmt.Errorf("digits: the critic scores noise %v, which is not below images, %v", none, real)
	}
	w := c.weights(c.params, c.Depth)
	w[len(w)-1] -= float32(none)
	for i := range w {
		w[i] /= float32(real - none)
	}
	return nil
}

// A damager makes damaged images.
type damager struct {
	data  *Set
	rand  *rand.Rand
	key   noise.Key
	drawn uint64

	class int
	image [Dim]float32
}

// next stores a damaged image of a class in d.image. It returns the distance from the original:
// the root mean square over pixels.
func (d *damager) next(class int) float64 {
	d.class = class
	real := d.pick(class)
	x := &d.image
	copy(x[:], real)
	// Half of the images are malformed, most are noisy, and one in sixteen is undamaged.
	switch kind := d.rand.IntN(10); kind {
	case 0: // a mixture with another image
		w := float32(0.5 * d.rand.Float64())
		for p, y := range d.pick(d.rand.IntN(Classes)) {
			x[p] += float32(w * (y - x[p]))
		}
	case 1: // faint
		w := float32(0.7 * d.rand.Float64())
		for p := range x {
			x[p] -= float32(w * (x[p] + 1))
		}
	case 2: // smeared along rows
		w := float32(0.5 * d.rand.Float64())
		for p := Dim - 1; p > 0; p-- {
			x[p] += float32(w * (x[p-1] - x[p]))
		}
	case 3: // broken: the rows below one are moved by a pixel
		first := Side * (1 + d.rand.IntN(Side-1))
		for p := Dim - 1; p > first; p-- {
			x[p] = x[p-1]
		}
	case 4: // another digit
		copy(x[:], d.pick((class+1+d.rand.IntN(Classes-1))%Classes))
	}
	if d.rand.IntN(8) > 0 {
		// Noise from hardly visible to overwhelming, uniform in its logarithm.
		const lo, ratio = -3.912023005428146, 3.6888794541139363 // ln 0.02 and ln 40
		sigma := exp(float32(lo + float64(d.rand.Float64()*ratio)))
		var e [Dim]float32
		noise.Normal(e[:], d.key, noise.ID{Sample: d.drawn}, 0)
		d.drawn++
		for p := range x {
			x[p] += float32(sigma * e[p])
		}
	}
	sum := 0.0
	for p := range x {
		x[p] = max(-1, min(1, x[p]))
		diff := float64(x[p] - real[p])
		sum += float64(diff * diff)
	}
	return math.Sqrt(sum / Dim)
}

// pick returns a random image of a class.
func (d *damager) pick(class int) []float32 {
	for {
		if i := d.rand.IntN(d.data.Len()); d.data.Labels[i] == class {
			return d.data.Image(i)
		}
	}
}
