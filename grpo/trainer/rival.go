package trainer

import (
	"cps/logprob"
	"cps/sampler"
)

// A rival is what the policy of a minibatch is compared with, in the form of SumSquares and
// Grad: the squared distances from it are those of next and X·x + V·v, with the weights of
// batch and the policy's own outputs v.
type rival[B any] struct {
	next, x  B
	batch    sampler.Batch
	mean     bool // next is a mean, and x the base of the policy's own
	velocity bool // next is an output, and outputs are what is compared
}

// rival returns the comparison with a policy by its outputs, a row an evaluation. Where
// trained transitions look back, their means are compared: the policies share no base.
// from is the policy's own, and number the memory of the mean.
func (r *Run[B]) rival(b *Minibatch[B], from, outputs B, number int, velocity bool) (rival[B], error) {
	if velocity || !r.looks() {
		var none B
		return rival[B]{b.own(outputs), none, b.distance, false, velocity}, nil
	}
	mean, err := r.mean(b, outputs, number)
	return rival[B]{mean, from, b.Batch, true, false}, err
}

// kl makes divergences of the squared distances in sq.
func (v rival[B]) kl(f logprob.Form, sq []float64, b sampler.Batch) error {
	measure := logprob.Form.KL
	switch {
	case v.velocity:
		measure = logprob.Form.VelocityKL
	case v.mean:
		measure = logprob.Form.MeanKL
	}
	_, err := measure(f, sq, b, sq)
	return err
}

// gradScale stores what makes [Run.add] add weight·∂KL/∂v.
func (v rival[B]) gradScale(f logprob.Form, dst []float64, b sampler.Batch, weight float64) error {
	scale := logprob.Form.GradScaleKL
	switch {
	case v.velocity:
		scale = logprob.Form.GradScaleVelocityKL
	case v.mean:
		scale = logprob.Form.GradScaleMeanKL
	}
	_, err := scale(f, dst, b, weight)
	return err
}

// add adds b.scale times the differences from a rival to ∂loss/∂v, of means to that of every
// evaluation that they depend on.
func (r *Run[B]) add(b *Minibatch[B], v rival[B]) {
	if v.mean {
		b.back.backward(b, v.next, v.x)
		return
	}
	b.m.Grad(b.own(b.DV), v.next, v.x, b.own(b.Call.V), v.batch, b.scale)
}
