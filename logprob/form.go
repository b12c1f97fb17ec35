package logprob

import (
	"errors"
	"fmt"
	"math"

	"cps/sampler"
)

// Errors of this package. They come wrapped, with the row and its sample where one is at fault.
var (
	ErrNoDensity = errors.New("a step without noise has no density")
	ErrNoPolicy  = errors.New("the row does not read the model's output, so it is no transition: put the batch at one with Sampler.SetStep")
	ErrNotFinite = errors.New("not a finite number")
	ErrNegative  = errors.New("below 0")
	ErrNoSums    = errors.New("the run keeps no sums of squares of the transition")
	ErrClip      = errors.New("the clip range is not above 0 and finite")
)

// A Form says what is meant by log p. The zero Form is the paper's choice: without
// denominator (Eq. 15), mean over elements.
//
// The published trainers take means of densities (Form{Gaussian: true}); the
// probability of the paper's Eq. 14 is Form{Gaussian: true, Sum: true}. A ratio's
// clip range means something else in each, see package grpo for the factors.
//
// All methods take one entry a row, allocate nothing, allow dst to be the other
// slice, and panic if a length is not the number of rows or b.Dim is not positive. On an
// error dst holds nothing of use. Rows that are spans of samples belong to [Spans].
type Form struct {
	Gaussian bool // the density (Eq. 14)
	Sum      bool // over elements, not their mean
}

// LogProb stores log p of every row in dst and returns it, where b stands at the
// transition whose sums of squares sq are ([sampler.Sampler.SetStep]): other sums give a
// plausible number that is wrong. For a run's own transitions, [OfRun] takes care of that.
// The error names the first row that is at no transition (ErrNoPolicy), whose step draws
// no noise (ErrNoDensity), whose sum, weights or log p are not finite (ErrNotFinite), or whose
// sum or noise is below 0 (ErrNegative). Without denominator a value would exist for the
// first two, but none to train on.
func (f Form) LogProb(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	check(b, dst, sq)
	for i, r := range b.Rows {
		std, err := density(r.Affine)
		if err == nil {
			err = sum("sum of squares", sq[i])
		}
		if err == nil {
			dst[i] = f.logProb(std, sq[i], b.Dim) * f.weight(b.Dim)
			err = finite("log p", dst[i])
		}
		if err != nil {
			return dst, fail(err, r, i)
		}
	}
	return dst, nil
}

// GradScale stores in dst, and returns, what makes Device.Grad add grad·∂log p/∂v of every row to its
// destination:
//
//	grad·V/Eps²  (Gaussian)  or  grad·2V,  divided by Dim unless Sum
//
// Call Grad with the batch and the buffers of SumSquares. Grad rounds the scale to
// float32; the error names the first row whose scale is not finite there. Its other
// errors are those of LogProb.
func (f Form) GradScale(dst []float64, b sampler.Batch, grad []float64) ([]float64, error) {
	check(b, dst, grad)
	for i, r := range b.Rows {
		std, err := density(r.Affine)
		if err == nil {
			dst[i] = f.scale(grad[i], r.Affine, std, f.weight(b.Dim))
			err = fits(dst[i])
		}
		if err != nil {
			return dst, fail(err, r, i)
		}
	}
	return dst, nil
}

// OfRun stores in dst, and returns, log p of every row of b at transition i of a run, by
// the sums of squares that the run keeps. Of the rows of b only the samples are read; they
// need not stand at the transition. It panics if dst has not one entry a row. A
// transition that the run does not have, or keeps no sums of, is ErrNoSums, and so are a
// nil sampler and a nil run. One without a density ([sampler.Transition.Density]), whether
// it draws noise or not, is ErrNoDensity; other errors are those of [Form.LogProb].
func OfRun[B any](dst []float64, f Form, s *sampler.Sampler, b sampler.Batch, run *sampler.Trajectory[B], i int) ([]float64, error) {
	check(b, dst, dst)
	if s == nil || run == nil {
		return dst, fmt.Errorf("logprob: the sampler or the run is nil: %w", ErrNoSums)
	}
	k := i - run.First
	if i < 0 || i >= s.Steps() || k < 0 || k >= len(run.SumSquares) || run.SumSquares[k] == nil {
		return dst, fmt.Errorf("logprob: transition %d: %w", i, ErrNoSums)
	}
	sq := run.SumSquares[k]
	check(b, dst, sq)
	t := s.At(i)
	if err := t.Density(); err != nil {
		return dst, fmt.Errorf("logprob: transition %d: %w: %w", i, ErrNoDensity, err)
	}
	std, err := density(t.Affine)
	if err != nil {
		return dst, fmt.Errorf("logprob: transition %d: %w", i, err)
	}
	for row, r := range b.Rows {
		err := sum("sum of squares", sq[row])
		if err == nil {
			dst[row] = f.logProb(std, sq[row], b.Dim) * f.weight(b.Dim)
			err = finite("log p", dst[row])
		}
		if err != nil {
			return dst, fail(err, r, row)
		}
	}
	return dst, nil
}

// logProb returns log p of n elements, summed over them.
func (f Form) logProb(std, sq float64, n int) float64 {
	if !f.Gaussian {
		return -sq
	}
	return -sq/(2*std*std) - float64(n)*math.Log(std) - float64(n)*(math.Log(2*math.Pi)/2)
}

// scale returns the factor of next - X·x - V·v in grad·∂log p/∂v, where log p has a weight.
func (f Form) scale(grad float64, a sampler.Affine, std, weight float64) float64 {
	g := 2 * grad * weight32(a.V) * weight
	if f.Gaussian {
		g /= 2 * std * std
	}
	return g
}

// weight is what the sum over n elements is multiplied by.
func (f Form) weight(n int) float64 {
	if f.Sum {
		return 1
	}
	return 1 / float64(n)
}

// density returns the standard deviation of a step that must have a density.
func density(a sampler.Affine) (float64, error) {
	std, err := deviation(a)
	if err != nil {
		return 0, err
	}
	if weight32(a.V) == 0 {
		return 0, ErrNoPolicy
	}
	if std == 0 {
		return 0, ErrNoDensity
	}
	return std, nil
}

// deviation returns the standard deviation of a step, which may be 0.
func deviation(a sampler.Affine) (float64, error) {
	for _, w := range [...]float64{a.X, a.V, a.Eps} {
		if err := finite("weight in float32", weight32(w)); err != nil {
			return 0, err
		}
	}
	if a.Eps < 0 {
		return 0, fmt.Errorf("weight %v of the noise: %w", a.Eps, ErrNegative)
	}
	return weight32(a.Eps), nil
}

// weight32 returns a weight as the kernels use it.
func weight32(x float64) float64 { return float64(float32(x)) }

// sum returns an error unless x can be a sum of squares.
func sum(what string, x float64) error {
	if x < 0 {
		return fmt.Errorf("%s %v: %w", what, x, ErrNegative)
	}
	return finite(what, x)
}

// fits returns an error unless Grad can take the scale x.
func fits(x float64) error { return finite("scale in float32", weight32(x)) }

func finite(what string, x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("%s %v: %w", what, x, ErrNotFinite)
	}
	return nil
}

// fail returns err with the row that is at fault.
func fail(err error, r sampler.Row, i int) error {
	return fmt.Errorf("logprob: row %d (sample %d): %w", i, r.Sample, err)
}

func check(b sampler.Batch, x, y []float64) {
	if b.Dim < 1 {
		panic("logprob: Dim of the batch is not positive")
	}
	if len(x) != len(b.Rows) || len(y) != len(b.Rows) {
		panicLengths(len(x), len(y), len(b.Rows))
	}
}

// panicLengths is apart, so that check takes no time for the words.
//
//go:noinline
func panicLengths(x, y, rows int) {
	n := x
	if n == rows {
		n = y
	}
	panic(fmt.Sprintf("logprob: length %d of a slice is not the number of rows, %d", n, rows))
}
