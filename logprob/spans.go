package logprob

import (
	"errors"
	"fmt"

	"cps/sampler"
)

// Spans is a [Form] for batches in which a sample is several rows ([sampler.Batch.Spans]).
// First[k] is the first row of the k-th transition. Its rows end where those of the next
// transition begin. The caller sets First, since a batch may hold one sample at several
// steps.
//
// Rows without noise add nothing to log p, to a divergence, or to the number of elements of
// a mean. A span may therefore stand still, with the weights {X: 1}. Spans at the end of
// their schedule do so. A transition of such rows alone is ErrNoDensity. A row that draws
// noise and does not read the model's output is ErrNoPolicy, as in Form. VelocityKL needs
// no noise. In it, rows that do not read the model's output add nothing.
//
// Methods take a slice of one entry a transition and a slice of one entry a row. dst may be
// the other slice only if every transition is one row. Methods do not allocate and are safe
// for concurrent use. They panic if a slice has another length, or unless First begins with
// 0, rises strictly and stays within the rows. After an error the contents of dst are
// unspecified. Errors are those of Form.
type Spans struct {
	Form  Form
	First []int
}

const errFirst = "logprob: First does not begin with 0 and rise within the rows"

// check panics unless the lengths and First fit. Methods call it first.
func (s Spans) check(b sampler.Batch, each, rows []float64) {
	if len(each) != len(s.First) {
		panic(fmt.Sprintf("logprob: length %d of a slice is not the number of transitions, %d", len(each), len(s.First)))
	}
	s.checkFirst(b, rows)
}

// checkFirst is check for methods without a slice of one entry a transition.
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

// moves returns 1 if a row reads the model's output, and 0 otherwise.
func moves(r sampler.Row) (float64, error) {
	if weight32(r.V) == 0 {
		return 0, nil
	}
	return 1, nil
}

// A part returns 0 for a row that adds nothing to a quantity, and its deviation or 1
// otherwise.
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
// first fault. Without any such element the fault is none.
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

// LogProb stores log p of every transition in dst and returns dst. sq are the sums of
// squares of the rows.
func (s Spans) LogProb(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, span, ErrNoDensity, "sum of squares", func(r sampler.Row, std, x float64) float64 {
		return s.Form.logProb(std, x, b.Dim)
	})
}

// KL stores the divergence of the policies v and ref of every transition in dst and
// returns dst. sq are the squared distances of the rows, as in [Form.KL].
func (s Spans) KL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, span, ErrNoDensity, "squared distance", func(r sampler.Row, std, x float64) float64 {
		return s.Form.klWeight(r.Affine, std, 1) * x
	})
}

// MeanKL is [Spans.KL] for transitions that look back. It takes the squared distances sq of
// the rows' means, as in [Form.MeanKL].
func (s Spans) MeanKL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, span, ErrNoDensity, "squared distance", func(_ sampler.Row, std, x float64) float64 {
		return s.Form.klWeight(sampler.Affine{V: 1}, std, 1) * x
	})
}

// VelocityKL stores the squared distance of velocities of every transition in dst, and
// returns dst. sq are as in [Form.VelocityKL]. The mean, or the sum, is over the elements
// of the rows that read the model's output. A transition without such rows is ErrNoPolicy.
func (s Spans) VelocityKL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, moves, ErrNoPolicy, "squared distance", func(_ sampler.Row, _, x float64) float64 {
		return x
	})
}

// add stores in dst the sum of a quantity over the rows of every transition, as a sum or a
// mean over elements.
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

// GradScale converts grad = ∂loss/∂log p, one entry a transition, into the scales that
// Device.Grad takes, one a row. It stores them in dst and returns dst. A row without noise
// has scale 0. See [Form.GradScale].
func (s Spans) GradScale(dst []float64, b sampler.Batch, grad []float64) ([]float64, error) {
	s.check(b, grad, dst)
	return dst, s.scales(dst, b, span, ErrNoDensity, func(k int, r sampler.Row, std, weight float64) float64 {
		return s.Form.scale(grad[k], r.Affine, std, weight)
	})
}

// GradScaleKL converts a weight of KL in the loss into the scales that Device.Grad takes,
// one a row. It stores them in dst and returns dst. A row without noise has scale 0. See
// [Form.GradScaleKL].
func (s Spans) GradScaleKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	s.checkFirst(b, dst)
	return dst, s.scales(dst, b, span, ErrNoDensity, func(_ int, r sampler.Row, std, w float64) float64 {
		return -2 * weight * s.Form.klWeight(r.Affine, std, w)
	})
}

// GradScaleMeanKL converts a weight of MeanKL in the loss into the scales that Device.Grad
// and [sampler.History.Backward] take, one a row. It stores them in dst and returns dst. A
// row without noise has scale 0. See [Form.GradScaleMeanKL].
func (s Spans) GradScaleMeanKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	s.checkFirst(b, dst)
	return dst, s.scales(dst, b, span, ErrNoDensity, func(_ int, r sampler.Row, std, w float64) float64 {
		return s.Form.meanScale(weight, r.Affine, std, w)
	})
}

// GradScaleVelocityKL is [Spans.GradScaleKL] for VelocityKL. A row that does not read the
// model's output has scale 0. See [Form.GradScaleVelocityKL].
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
