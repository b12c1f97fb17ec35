package logprob

import (
	"errors"
	"fmt"
	"math"

	"cps/sampler"
)

// Errors of this package. They come wrapped, with the row and its sample.
var (
	ErrNoDensity = errors.New("a step without noise has no density")
	ErrNoPolicy  = errors.New("the row does not read the model's output, so it is no transition; move the batch to one")
	ErrNotFinite = errors.New("not a finite number")
)

// A Form says what is meant by log p. The zero Form is the paper's choice: without
// denominator (Eq. 15), mean over elements.
//
// The published trainers take means of densities (Form{Gaussian: true}); the
// probability of the paper's Eq. 14 is Form{Gaussian: true, Sum: true}. A ratio's
// clip range means something else in each, see package grpo for the factors.
//
// All methods take one entry a row, allocate nothing, allow dst to be the other
// slice, and panic if a length is not the number of rows. On an error dst holds
// nothing of use.
type Form struct {
	Gaussian bool // the density (Eq. 14)
	Sum      bool // over elements, not their mean
}

// LogProb stores log p of every row in dst and returns it. The sums of squares sq
// are from Step or Squares with b, at the transition that made them
// ([sampler.Sampler.Move]). The error names the first row that is at no transition
// (ErrNoPolicy), whose step draws no noise (ErrNoDensity), or whose sum is not finite
// (ErrNotFinite). Without denominator a value would exist for the first two, but none
// to train on.
func (f Form) LogProb(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	check(b, dst, sq)
	for i, r := range b.Rows {
		std, err := density(r, i)
		if err == nil {
			err = finite("sum of squares", sq[i], r, i)
		}
		if err != nil {
			return dst, err
		}
		p := -sq[i]
		if f.Gaussian {
			n := float64(b.Dim)
			p = -sq[i]/(2*std*std) - n*math.Log(std) - n*(math.Log(2*math.Pi)/2)
		}
		dst[i] = p * f.weight(b)
	}
	return dst, nil
}

// Scale stores in dst, and returns, what makes Device.Grad add grad·∂log p/∂v of every row to its
// destination:
//
//	grad·V/Eps²  (Gaussian)  or  grad·2V,  divided by Dim unless Sum
//
// Call Grad with the batch and the buffers of Squares. Grad rounds the scale to
// float32; the error names the first row whose scale is not finite there. Its other
// errors are those of LogProb.
func (f Form) Scale(dst []float64, b sampler.Batch, grad []float64) ([]float64, error) {
	check(b, dst, grad)
	for i, r := range b.Rows {
		std, err := density(r, i)
		if err != nil {
			return dst, err
		}
		g := 2 * grad[i] * weight32(r.V) * f.weight(b)
		if f.Gaussian {
			g /= 2 * std * std
		}
		if err := finite("scale in float32", weight32(g), r, i); err != nil {
			return dst, err
		}
		dst[i] = g
	}
	return dst, nil
}

// density returns the standard deviation of a row that must have a density.
func density(r sampler.Row, i int) (float64, error) {
	std := weight32(r.Eps)
	if weight32(r.V) == 0 {
		return 0, fail(ErrNoPolicy, r, i)
	}
	if std == 0 {
		return 0, fail(ErrNoDensity, r, i)
	}
	return std, nil
}

// weight is what the sum over elements is multiplied by.
func (f Form) weight(b sampler.Batch) float64 {
	if f.Sum {
		return 1
	}
	return 1 / float64(b.Dim)
}

// weight32 returns a weight as the kernels use it.
func weight32(x float64) float64 { return float64(float32(x)) }

func finite(what string, x float64, r sampler.Row, i int) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fail(fmt.Errorf("%s %v: %w", what, x, ErrNotFinite), r, i)
	}
	return nil
}

// fail returns err with the row that is at fault.
func fail(err error, r sampler.Row, i int) error {
	return fmt.Errorf("logprob: row %d (sample %d): %w", i, r.Sample, err)
}

func check(b sampler.Batch, x, y []float64) {
	if len(x) != len(b.Rows) || len(y) != len(b.Rows) {
		panic("logprob: length is not the number of rows")
	}
}
