package digits

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"cps/noise"
)

// A TrainConfig has the settings of Train. A zero field stands for the default in brackets.
// The committed weights are those of the zero TrainConfig.
type TrainConfig struct {
	Seed uint64 // of all random numbers

	Hidden int     // width of the velocity network [256]
	Depth  int     // number of its hidden layers [3]
	Batch  int     // images in a step [128]
	Steps  int     // optimizer steps of the velocity network [10000]
	Rate   float64 // highest learning rate [2e-3]
	Drop   float64 // probability that a class is replaced by Unconditional, in [0, 1] [0.1]; negative: 0
	Decay  float64 // of the moving average that becomes the weights, in [0, 1) [0.999]

	ClassifierSteps int // optimizer steps of the classifier, of 64 images each [4000]
}

func (c TrainConfig) withDefaults() (TrainConfig, error) {
	set := func(p *int, value int) {
		if *p == 0 {
			*p = value
		}
	}
	setf := func(p *float64, value float64) {
		if *p == 0 {
			*p = value
		}
	}
	set(&c.Hidden, 256)
	set(&c.Depth, 3)
	set(&c.Batch, 128)
	set(&c.Steps, 10000)
	set(&c.ClassifierSteps, 4000)
	setf(&c.Rate, 2e-3)
	setf(&c.Drop, 0.1)
	setf(&c.Decay, 0.999)
	c.Drop = max(c.Drop, 0)
	switch {
	case c.Hidden < 1 || c.Hidden > maxHidden:
		return c, fmt.Errorf("digits: Hidden %d is not in [1, %d]", c.Hidden, maxHidden)
	case c.Depth < 1 || c.Depth > maxDepth:
		return c, fmt.Errorf("digits: Depth %d is not in [1, %d]", c.Depth, maxDepth)
	case c.Batch < 1:
		return c, fmt.Errorf("digits: Batch %d is not positive", c.Batch)
	case c.Steps < 1:
		return c, fmt.Errorf("digits: Steps %d is not positive", c.Steps)
	case c.ClassifierSteps < 1:
		return c, fmt.Errorf("digits: ClassifierSteps %d is not positive", c.ClassifierSteps)
	case !(c.Rate > 0 && c.Rate < math.Inf(1)):
		return c, fmt.Errorf("digits: Rate %v is not positive and finite", c.Rate)
	case !(c.Drop <= 1):
		return c, fmt.Errorf("digits: Drop %v is not in [0, 1]", c.Drop)
	case !(c.Decay >= 0 && c.Decay < 1):
		return c, fmt.Errorf("digits: Decay %v is not in [0, 1)", c.Decay)
	}
	return c, nil
}

// warmup is the part of the steps in which the learning rate rises.
const warmup = 0.02

// Train trains the velocity network on all images, and the classifier on the train part of
// their split. The weights are rounded to the type in which Save stores them.
//
// The result depends on the config and the architecture alone. It has the same bits for any
// number of processors. Train uses all of them.
//
// After every step Train calls progress, unless it is nil. Its arguments are the steps done and
// the steps in all, both networks together, and the mean loss of the step's batch. Train
// returns the error of ctx when ctx is done, and an error when a loss is not finite.
func Train(ctx context.Context, c TrainConfig, progress func(step, of int, loss float64)) (*Net, *Classifier, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	data, err := Load()
	if err != nil {
		return nil, nil, err
	}
	total := c.Steps + c.ClassifierSteps
	report := func(done int, loss float64) error {
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return fmt.Errorf("digits: the loss of step %d is %v", done, loss)
		}
		if progress != nil {
			progress(done, total, loss)
		}
		return ctx.Err()
	}
	train, _ := data.Split()
	classifier, err := trainClassifier(c, train, report)
	if err != nil {
		return nil, nil, err
	}
	net, err := trainVelocity(c, data, func(done int, loss float64) error {
		return report(c.ClassifierSteps+done, loss)
	})
	if err != nil {
		return nil, nil, err
	}
	return net, classifier, nil
}

// trainVelocity minimizes the rectified-flow loss (arXiv 2209.03003)
//
//	‖v(x_t, class, t) - (x1 - x0)‖²/Dim,  x_t = (1-t)·x0 + t·x1,
//
// over images x0, noise x1 and t uniform in [0, 1].
func trainVelocity(c TrainConfig, data *Set, report func(done int, loss float64) error) (*Net, error) {
	s := netShape(c.Hidden, c.Depth)
	n := &Net{shape: s, params: s.initial(rand.New(rand.NewPCG(c.Seed, 0))), base: newBaseline(data)}
	var (
		mean    = slices.Clone(n.params)
		pass    = NewPass(n, c.Batch)
		adam    = NewAdam(len(n.params))
		grad    = make([]float32, len(n.params))
		x       = make([]float32, c.Batch*Dim)
		v       = make([]float32, c.Batch*Dim)
		target  = make([]float32, c.Batch*Dim)
		classes = make([]int, c.Batch)
		times   = make([]float64, c.Batch)
		losses  = make([]float64, c.Batch)
		key     = noise.Key(c.Seed).Derive(0) // not the key of samples
	)
	for step := range c.Steps {
		parallel(pieces(c.Batch, chunk), func(task int) {
			for i := task * chunk; i < min((task+1)*chunk, c.Batch); i++ {
				// Each row of a step has its own sample number, with two streams.
				id := noise.ID{Sample: uint64(step)*uint64(c.Batch) + uint64(i)}
				var u [3]uint32
				noise.Uint32s(u[:], key, id, 0)
				image := int(uint64(u[0]) * uint64(data.Len()) >> 32)
				classes[i] = data.Labels[image]
				if float64(u[1])*0x1p-32 < c.Drop {
					classes[i] = Unconditional
				}
				// The times are stratified: each part of [0, 1] has one.
				times[i] = (float64(i) + float64(u[2])*0x1p-32) / float64(c.Batch)
				id.Step = 1
				x1 := target[i*Dim:][:Dim]
				noise.Normal(x1, key, id, 0)
				t, r := float32(times[i]), float32(1-times[i])
				for p, x0 := range data.Image(image) {
					x[i*Dim+p] = float32(r*x0) + float32(t*x1[p])
					x1[p] -= x0
				}
			}
		})
		pass.Forward(v, x, classes, times)
		scale := 2 / float32(c.Batch*Dim)
		parallel(pieces(c.Batch, chunk), func(task int) {
			for i := task * chunk; i < min((task+1)*chunk, c.Batch); i++ {
				losses[i] = 0
				for p := i * Dim; p < (i+1)*Dim; p++ {
					d := v[p] - target[p]
					losses[i] += float64(d * d)
					v[p] = scale * d
				}
			}
		})
		pass.Backward(grad, v)
		adam.Step(n.params, grad, cosine(step, c.Steps, int(warmup*float64(c.Steps)), c.Rate))
		// The average starts late enough to forget the initial weights.
		average(mean, n.params, min(c.Decay, float64(step)/float64(step+10)))
		loss := 0.0
		for _, l := range losses {
			loss += l
		}
		if err := report(step+1, loss/float64(c.Batch*Dim)); err != nil {
			return nil, err
		}
	}
	n.params = mean
	return n, round(n.params)
}

// trainClassifier minimizes the cross entropy. It adds a little noise to the images, so that
// the classifier judges the digit and not the quality of the picture.
func trainClassifier(c TrainConfig, data *Set, report func(done int, loss float64) error) (*Classifier, error) {
	const batch, rate, decay, blur = 64, 2e-3, 0.995, 0.2
	s := classifierShape(64)
	r := rand.New(rand.NewPCG(c.Seed, 1))
	var (
		params = s.initial(r)
		mean   = slices.Clone(params)
		act    = newActivations(s, batch, true)
		adam   = NewAdam(len(params))
		grad   = make([]float32, len(params))
		logits = make([]float32, batch*Classes)
		labels [batch]int
		key    = noise.Key(c.Seed).Derive(1)
	)
	for step := range c.ClassifierSteps {
		for i := range batch {
			image := r.IntN(data.Len())
			labels[i] = data.Labels[image]
			var e [Dim]float32
			noise.Normal(e[:], key, noise.ID{Sample: uint64(step)*batch + uint64(i)}, 0)
			for p, x := range data.Image(image) {
				e[p] = x + float32(blur*e[p])
			}
			show(act.input(i), e[:])
		}
		parallel(batch/chunk, func(task int) {
			act.forward(logits, params, task*chunk, (task+1)*chunk)
		})
		loss := 0.0
		delta := act.delta[act.Depth]
		for i, label := range labels {
			d := delta[i*Classes:][:Classes]
			loss += crossEntropy(d, logits[i*Classes:][:Classes], label)
			for k := range d {
				d[k] /= batch
			}
		}
		act.prepare(params)
		parallel(batch/chunk, func(task int) { act.backward(task*chunk, (task+1)*chunk) })
		act.gradients(grad, batch)
		adam.Step(params, grad, cosine(step, c.ClassifierSteps, int(warmup*float64(c.ClassifierSteps)), rate))
		average(mean, params, min(decay, float64(step)/float64(step+10)))
		if err := report(step+1, loss/batch); err != nil {
			return nil, err
		}
	}
	return &Classifier{shape: s, params: mean}, round(mean)
}
