package logprob

import (
	"errors"
	"fmt"

	"cps/sampler"
)

// Spans is a [Form] for batches in which a sample is several rows ([sampler.Batch.Spans]).
// First[k] is the first row of the k-th transition; its rows end where the next one's
// begin. The caller says so, for a batch may hold one sample at several steps.
//
// Rows without noise add nothing: neither to log p nor to a divergence nor to the number
// of elements that means are over. So spans may stand still, with the weights {X: 1}, and
// those that have reached the end of their schedule do. A transition of such rows alone
// is ErrNoDensity. A row that draws noise and does not read the model's output is
// ErrNoPolicy, as in Form. The divergence of velocities needs no noise: there the rows that
// add nothing are those that do not read the output.
//
// Methods take a slice with one entry a transition and one with one entry a row, and
// allocate nothing. dst may be the other slice only if every transition is one row. They
// panic if a length is another, or if First does not begin with 0 and rise strictly within
// the rows. On an error dst holds nothing of use. Errors are those of Form.
type Spans struct {
	Form  Form
	First []int
}

const errFirst = "logprob: First does not begin with 0 and rise within the rows"

// check panics unless the lengths and First fit; it is called before all else.
func (s Spans) check(b sampler.Batch, each, rows []float64) {
	if len(each) != len(s.First) {
		panic(fmt.Sprintf("logprob: length %d of a slice is not the number of transitions, %d", len(each), len(s.First)))
	}
	s.checkFirst(b, rows)
}

// checkFirst is check for methods that take nothing with one entry a transition.
func (s Spans) checkFirst(b sampler.Batch, rows []float64) {
	check(b, rows, rows)
	for k, first := range s.First {
		if k == 0 && first != 0 || k > 0 && first <= s.First[k-1] || first >= len(b.Rows) {
			panic(errFirst)
		}
	}
	if len(s.First) == 0 && len(b.Rows) > 0 {
		panic(errFirst)
	}
}

// rows returns the range of rows of transition k.
func (s Spans) rows(b sampler.Batch, k int) (lo, hi int) {
	if k+1 < len(s.First) {
		return s.First[k], s.First[k+1]
	}
	return s.First[k], len(b.Rows)
}

// span returns the deviation of a row, 0 where the row adds nothing.
func span(r sampler.Row) (float64, error) {
	std, err := density(r.Affine)
	if errors.Is(err, ErrNoPolicy) && weight32(r.Eps) == 0 || errors.Is(err, ErrNoDensity) {
		return 0, nil
	}
	return std, err
}

// moves returns whether a row reads the model's output, as 1 or 0.
func moves(r sampler.Row) (float64, error) {
	if weight32(r.V) == 0 {
		return 0, nil
	}
	return 1, nil
}

// A part is what a row has to do with a quantity: 0 where it adds nothing, else the
// deviation or 1.
type part func(sampler.Row) (float64, error)

// Elements returns the number of elements of transition k that draw noise. It is 0 if one
// of its rows is at fault. It panics unless 0 <= k < len(First).
func (s Spans) Elements(b sampler.Batch, k int) int {
	if k < 0 || k >= len(s.First) {
		panic(fmt.Sprintf("logprob: Spans.Elements: transition %d is not in [0, %d)", k, len(s.First)))
	}
	n, _ := s.elements(b, k, span, ErrNoDensity)
	return n
}

// elements returns the number of elements of transition k that add something, and the
// first fault, which is none if there are no such elements.
func (s Spans) elements(b sampler.Batch, k int, of part, none error) (n int, err error) {
	lo, hi := s.rows(b, k)
	for i := lo; i < hi; i++ {
		std, err := of(b.Rows[i])
		if err != nil {
			return 0, fail(err, b.Rows[i], i)
		}
		if std != 0 {
			n += b.Dim
		}
	}
	if n == 0 {
		return 0, fail(none, b.Rows[lo], lo)
	}
	return n, nil
}

// LogProb stores log p of every transition in dst, by the sums of squares sq of its rows,
// and returns dst.
func (s Spans) LogProb(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, span, ErrNoDensity, "sum of squares", func(r sampler.Row, std, x float64) float64 {
		return s.Form.logProb(std, x, b.Dim)
	})
}

// KL stores the divergence of the policies v and ref of every transition in dst, and
// returns it, with the squared distances sq of its rows as [Form.KL] takes them.
func (s Spans) KL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, span, ErrNoDensity, "squared distance", func(r sampler.Row, std, x float64) float64 {
		return s.Form.klWeight(r.Affine, std, 1) * x
	})
}

// MeanKL is [Spans.KL] by the means of the policies, for transitions that look back, with
// the squared distances sq of the means of its rows as [Form.MeanKL] takes them.
func (s Spans) MeanKL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, span, ErrNoDensity, "squared distance", func(_ sampler.Row, std, x float64) float64 {
		return s.Form.klWeight(sampler.Affine{V: 1}, std, 1) * x
	})
}

// VelocityKL stores the divergence in velocity of every transition in dst, as
// [Form.VelocityKL] has it, and returns it. It is the mean, or the sum, over the elements
// of the rows that read the model's output. A transition without such rows is ErrNoPolicy.
func (s Spans) VelocityKL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, moves, ErrNoPolicy, "squared distance", func(_ sampler.Row, _, x float64) float64 {
		return x
	})
}

// add stores in dst what the parts of every transition add, weighted as the form says.
func (s Spans) add(dst []float64, b sampler.Batch, sq []float64, p part, none error, what string, of func(r sampler.Row, std, x float64) float64) error {
	for k := range s.First {
		n, err := s.elements(b, k, p, none)
		if err != nil {
			return err
		}
		lo, hi := s.rows(b, k)
		var total float64
		for i := lo; i < hi; i++ {
			r := b.Rows[i]
			if err := sum(what, sq[i]); err != nil {
				return fail(err, r, i)
			}
			if std, _ := p(r); std != 0 {
				total += of(r, std, sq[i])
			}
		}
		dst[k] = total * s.Form.weight(n)
		if err := finite("the transition's total", dst[k]); err != nil {
			return fail(err, b.Rows[lo], lo)
		}
	}
	return nil
}

// GradScale stores in dst, one entry a row, what makes Device.Grad add grad·∂log p/∂v, with one
// grad a transition, and returns dst. It is 0 for rows without noise.
func (s Spans) GradScale(dst []float64, b sampler.Batch, grad []float64) ([]float64, error) {
	s.check(b, grad, dst)
	return dst, s.scales(dst, b, span, ErrNoDensity, func(k int, r sampler.Row, std, weight float64) float64 {
		return s.Form.scale(grad[k], r.Affine, std, weight)
	})
}

// GradScaleKL stores in dst, one entry a row, what makes Device.Grad add weight·∂KL/∂v, as
// [Form.GradScaleKL] does, and returns dst. It is 0 for rows without noise.
func (s Spans) GradScaleKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	s.checkFirst(b, dst)
	return dst, s.scales(dst, b, span, ErrNoDensity, func(_ int, r sampler.Row, std, w float64) float64 {
		return -2 * weight * s.Form.klWeight(r.Affine, std, w)
	})
}

// GradScaleMeanKL stores in dst, one entry a row, what makes Device.Grad and
// [sampler.History.Backward] add weight·∂KL/∂v, as [Form.GradScaleMeanKL] does, and returns
// dst. It is 0 for rows without noise.
func (s Spans) GradScaleMeanKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	s.checkFirst(b, dst)
	return dst, s.scales(dst, b, span, ErrNoDensity, func(_ int, r sampler.Row, std, w float64) float64 {
		return s.Form.meanScale(weight, r.Affine, std, w)
	})
}

// GradScaleVelocityKL is [Spans.GradScaleKL] for VelocityKL, as [Form.GradScaleVelocityKL]
// has it. It is 0 for rows that do not read the model's output.
func (s Spans) GradScaleVelocityKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	s.checkFirst(b, dst)
	return dst, s.scales(dst, b, moves, ErrNoPolicy, func(_ int, _ sampler.Row, _, w float64) float64 {
		return -2 * weight * w
	})
}

// scales stores in dst the scale of every row of every transition.
func (s Spans) scales(dst []float64, b sampler.Batch, p part, none error, of func(k int, r sampler.Row, std, weight float64) float64) error {
	for k := range s.First {
		n, err := s.elements(b, k, p, none)
		if err != nil {
			return err
		}
		lo, hi := s.rows(b, k)
		for i := lo; i < hi; i++ {
			r := b.Rows[i]
			dst[i] = 0
			if std, _ := p(r); std != 0 {
				dst[i] = of(k, r, std, s.Form.weight(n))
			}
			if err := fits(dst[i]); err != nil {
				return fail(err, r, i)
			}
		}
	}
	return nil
}
