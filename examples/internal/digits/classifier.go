package digits

import (
	"math"
	"slices"
	"sync"
)

// A Classifier tells which digit an image shows. Its methods may be called
// concurrently.
type Classifier struct {
	shape
	params []float32
	spare  sync.Pool // of *reading
}

// A reading is the memory to classify chunk images.
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

// Probabilities stores in dst, row-major [rows, Classes], the probability of every
// digit for rows of x, row-major [rows, Dim], and returns dst. Pixels beyond
// [-1, 1] are read as they are. A row with a NaN has NaN probabilities.
// It does not allocate, apart from its first calls, and panics if a length is
// wrong.
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

// Classify stores in dst the most probable digit of every row of x, row-major
// [len(dst), Dim], and returns dst. A row with a NaN gets -1, which is no digit.
func (c *Classifier) Classify(dst []int, x []float32) []int {
	if len(x) != len(dst)*Dim {
		panic(badLen)
	}
	p := c.Probabilities(make([]float64, len(dst)*Classes), x)
	for i := range dst {
		row := p[i*Classes:][:Classes]
		best := slices.Max(row) // a NaN if there is one
		dst[i] = slices.Index(row, best)
	}
	return dst
}

// show makes the image x a row of input.
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

// crossEntropy returns -log p of the label and stores its derivative by the
// logits in delta.
func crossEntropy(delta, logits []float32, label int) float64 {
	var p [Classes]float64
	softmax(p[:], logits)
	for k := range delta {
		delta[k] = float32(p[k])
	}
	delta[label]--
	return -math.Log(p[label])
}
