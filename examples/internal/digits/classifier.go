package digits

import (
	"math"
	"slices"
	"sync"
)

// A Classifier recognises the digit of an image. Its methods may be called concurrently.
type Classifier struct {
	shape
	params []float32
	spare  sync.Pool // of *reading
}

// A reading is the memory for chunk images.
type reading struct {
	act    *activations
	logits [chunk * Classes]float32
}

// classifierShape returns the shape of a classifier with one hidden layer. Its
// condition is a single 1.
func classifierShape(hidden int) shape {
	return shape{In: Dim, Hidden: hidden, Depth: 1, Out: Classes, Extra: 1}
}

// Clone returns a copy that shares nothing with c.
func (c *Classifier) Clone() *Classifier {
	return &Classifier{shape: c.shape, params: slices.Clone(c.params)}
}

// Probabilities stores in dst the probability of every digit for each row of x, and returns
// dst. dst is row-major [rows, Classes], and x is row-major [rows, Dim]. Pixels beyond [-1, 1]
// are not cut off. A row with a NaN gets NaN probabilities. Only the first calls allocate. It
// panics if a length is wrong.
func (c *Classifier) Probabilities(dst []float64, x []float32) []float64 {
	rows := len(x) / Dim
	if len(x) != rows*Dim || len(dst) != rows*Classes {
		panic(badLen)
	}
	r, _ := c.spare.Get().(*reading)
	if r == nil {
		r = &reading{act: newActivations(c.shape, chunk, false)}
	}
	for lo := 0; lo < rows; lo += chunk {
		n := min(chunk, rows-lo)
		for i := range n {
			show(r.act.input(i), x[(lo+i)*Dim:][:Dim])
		}
		r.act.forward(r.logits[:], c.params, 0, n)
		for i := range n {
			softmax(dst[(lo+i)*Classes:][:Classes], r.logits[i*Classes:][:Classes])
		}
	}
	c.spare.Put(r)
	return dst
}

// Classify stores in dst the most probable digit of every row of x, and returns dst. x is
// row-major [len(dst), Dim]. A row with a NaN gets -1.
func (c *Classifier) Classify(dst []int, x []float32) []int {
	if len(x) != len(dst)*Dim {
		panic(badLen)
	}
	p := c.Probabilities(make([]float64, len(dst)*Classes), x)
	for i := range dst {
		row := p[i*Classes:][:Classes]
		best := slices.Max(row) // NaN if the row has one
		dst[i] = slices.Index(row, best)
	}
	return dst
}

// show fills a row of input from the image x.
func show(row, x []float32) {
	copy(row, x)
	row[Dim] = 1
}

// softmax stores e^logits in dst, scaled to the sum 1.
func softmax(dst []float64, logits []float32) {
	top, sum := slices.Max(logits), 0.0
	for k, z := range logits {
		dst[k] = float64(exp(z - top))
		sum += dst[k]
	}
	for k := range dst {
		dst[k] /= sum
	}
}

// crossEntropy returns -log p of the label, and stores its derivative by the logits in delta.
func crossEntropy(delta, logits []float32, label int) float64 {
	var p [Classes]float64
	softmax(p[:], logits)
	for k := range delta {
		delta[k] = float32(p[k])
	}
	delta[label]--
	return -math.Log(p[label])
}
