package trainer

import (
	"cps/logprob"
	"cps/sampler"
)

// A rival is another policy that the policy of a minibatch is compared with. It has the
// arguments of SumSquares and Grad: the squared distances are those of next and X·x + V·v,
// with the weights of batch and the policy's own outputs v.
type rival[B any] struct {
	next, x  B
	batch    sampler.Batch
	mean     bool // next is a mean, and x is the base of the policy's own mean
	velocity bool // next is an output, and outputs are compared
}

// rival returns the comparison with a policy, given its outputs, one row an evaluation. If
// trained transitions look back, it compares means, since the policies share no base. from
// is the policy's own base, and number says which memory holds the mean.
func (r *Run[B]) rival(b *Minibatch[B], from, outputs B, number int, velocity bool) (rival[B], error) {
	if velocity || !r.looks() {
		var none B
		return rival[B]{b.own(outputs), none, b.distance, false, velocity}, nil
	}
	mean, err := r.mean(b, outputs, number)
	return rival[B]{mean, from, b.Batch, true, false}, err
}

// kl replaces the squared distances in sq by divergences.
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

// gradScale stores in dst the scale with which [Run.add] adds weight·∂KL/∂v.
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

// add adds b.scale times the differences from a rival to ∂loss/∂v. Differences of means go
// to every evaluation that the means depend on.
func (r *Run[B]) add(b *Minibatch[B], v rival[B]) {
	if v.mean {
		b.back.backward(b, v.next, v.x)
		return
	}
	b.m.Grad(b.own(b.DV), v.next, v.x, b.own(b.Call.V), v.batch, b.scale)
}
