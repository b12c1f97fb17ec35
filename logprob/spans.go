package logprob

import (
	"errors"

	"cps/sampler"
)

// Spans is a [Form] for batches in which a sample is several rows ([sampler.Batch.Spans]).
// First[k] is the first row of the k-th transition. Its rows end where those of the next
// transition begin. The caller sets First, since a batch may hold one sample at several
// steps.
//
// Rows without noise add nothing to log p, to a divergence, or to the number of elements
// of a mean. A span may therefore stand still, with the weights {X: 1}. Spans at the end
// of their schedule do so. A transition of such rows alone is ErrNoDensity. A row that
// draws noise and does not read the model's output is ErrNoPolicy, as in Form.
//
// Methods take a slice of one entry a transition and a slice of one entry a row. They do
// not allocate and are safe for concurrent use. They panic if a slice has another length,
// or unless First begins with 0, rises strictly and stays within the rows. Errors are
// those of Form.
type Spans struct {
	Form  Form
	First []int
}

const errFirst = "logprob: First does not begin with 0 and rise within the rows"

// check panics unless the lengths and First fit. Methods call it first.
func (s Spans) check(b sampler.Batch, each, rows []float64) {
	if len(each) != len(s.First) {
		panic("logprob: length is not the number of transitions")
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

// Elements returns the number of elements of transition k that draw noise. It is 0 if one
// of its rows is at fault.
func (s Spans) Elements(b sampler.Batch, k int) int {
	n, _ := s.elements(b, k)
	return n
}

// elements is Elements with the first fault. Without any such element the fault is
// ErrNoDensity.
func (s Spans) elements(b sampler.Batch, k int) (n int, err error) {
	lo, hi := s.rows(b, k)
	for i := lo; i < hi; i++ {
		std, err := span(b.Rows[i])
		if err != nil {
			return 0, fail(err, b.Rows[i], i)
		}
		if std != 0 {
			n += b.Dim
		}
	}
	if n == 0 {
		return 0, fail(ErrNoDensity, b.Rows[lo], lo)
	}
	return n, nil
}

// LogProb stores log p of every transition in dst and returns dst. sq are the sums of
// squares of the rows.
func (s Spans) LogProb(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, "sum of squares", func(r sampler.Row, std, x float64) float64 {
		return s.Form.logProb(std, x, b.Dim)
	})
}

// KL stores the divergence of the policies v and ref of every transition in dst and
// returns dst. sq are the squared distances of the rows, as in [Form.KL].
func (s Spans) KL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	s.check(b, dst, sq)
	return dst, s.add(dst, b, sq, "squared distance", func(r sampler.Row, std, x float64) float64 {
		return s.Form.klWeight(r.Affine, std, 1) * x
	})
}

// add stores in dst the sum of a quantity over the rows of every transition, as a sum or a
// mean over elements.
func (s Spans) add(dst []float64, b sampler.Batch, sq []float64, what string, of func(r sampler.Row, std, x float64) float64) error {
	for k := range s.First {
		n, err := s.elements(b, k)
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
			if std := weight32(r.Eps); std != 0 {
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
	return dst, s.scales(dst, b, func(k int, r sampler.Row, std, weight float64) float64 {
		return s.Form.scale(grad[k], r.Affine, std, weight)
	})
}

// GradScaleKL converts a weight of KL in the loss into the scales that Device.Grad takes,
// one a row. It stores them in dst and returns dst. A row without noise has scale 0. See
// [Form.GradScaleKL].
func (s Spans) GradScaleKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	s.checkFirst(b, dst)
	return dst, s.scales(dst, b, func(_ int, r sampler.Row, std, w float64) float64 {
		return -2 * weight * s.Form.klWeight(r.Affine, std, w)
	})
}

// scales stores in dst the scale of every row of every transition.
func (s Spans) scales(dst []float64, b sampler.Batch, of func(k int, r sampler.Row, std, weight float64) float64) error {
	for k := range s.First {
		n, err := s.elements(b, k)
		if err != nil {
			return err
		}
		lo, hi := s.rows(b, k)
		for i := lo; i < hi; i++ {
			r := b.Rows[i]
			dst[i] = 0
			if std := weight32(r.Eps); std != 0 {
				dst[i] = of(k, r, std, s.Form.weight(n))
			}
			if err := fits(dst[i]); err != nil {
				return fail(err, r, i)
			}
		}
	}
	return nil
}
