package logprob

import (
	"errors"
	"fmt"
	"math"

	"cps/sampler"
)

// Errors of this package. They come wrapped. If a row is at fault, the message names the row
// and its sample.
var (
	ErrNoDensity = errors.New("the transition has no density: train on those of Sampler.Stochastic")
	ErrNoPolicy  = errors.New("the row does not read the model's output, so it is not a transition: put the batch at a transition with Sampler.SetStep")
	ErrNotFinite = errors.New("not a finite number")
	ErrNegative  = errors.New("below 0")
	ErrNoSums    = errors.New("the run keeps no sums of squares of the transition: widen the window of NewTrajectory, or set Trajectory.SumSquares")
	ErrClip      = errors.New("the clip range is not above 0 and finite")
)

// A Form says what log p means. The zero Form is the paper's choice: without denominator
// (Eq. 15), mean over elements.
//
// The published trainers take the mean of the log-density over elements (Form{Gaussian:
// true}). The density of the paper's Eq. 14 is Form{Gaussian: true, Sum: true}. A clip range
// of ratios means something else in each form: see package grpo for the factors.
//
// All methods take slices of one entry a row. They do not allocate and are safe for
// concurrent use. dst may be the other slice. They panic if a length is not the number of
// rows, or if b.Dim is not positive. After an error the contents of dst are unspecified. If
// a sample is several rows, use [Spans].
type Form struct {
	Gaussian bool // the density (Eq. 14); false: without denominator (Eq. 15)
	Sum      bool // sum over elements; false: mean
}

// LogProb stores log p of every row in dst and returns dst. sq are the sums of squares of a
// transition, and b must stand at that transition ([sampler.Sampler.SetStep]). Sums of
// another transition give a plausible number that is wrong. [OfRun] avoids this for a run's
// own transitions.
//
// The error names the first row at fault, and wraps one of these:
//
//   - ErrNoPolicy: The row is at no transition.
//   - ErrNoDensity: Its step draws no noise.
//   - ErrNotFinite: Its sum, a weight or its log p is not finite in the kernels' types.
//   - ErrNegative: Its sum, or the weight of its noise, is below 0.
//
// Without denominator, -Σ exists also for rows of ErrNoPolicy and ErrNoDensity, but it is no
// log-probability.
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

// GradScale converts grad = ∂loss/∂log p, one entry a row, into the scale that Device.Grad
// takes. It stores the scales in dst and returns dst. Grad then adds ∂loss/∂v = grad·∂log
// p/∂v to its destination. The scale is
//
//	grad·V/Eps²  (Gaussian)  or  grad·2V,  divided by Dim unless Sum
//
// Call Grad with the batch and the buffers of SumSquares. Grad rounds the scale to float32.
// A scale that is not finite in float32 is ErrNotFinite. Other errors are those of LogProb.
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

// OfRun stores log p of every row of b at transition i of a run in dst, and returns dst. It
// takes the sums of squares that the run keeps. [sampler.Rollout] and [sampler.Replay] make
// them right for every rule. A loop of your own that calls SumSquares must give it the base
// of a [sampler.History] where [sampler.Sampler.Depth] is not 0; nothing detects the latents
// in its place. OfRun reads only Dim and the samples of b, so b need not stand at the
// transition. It does not allocate, and panics if dst has not one entry a row.
//
// A transition that the run keeps no sums of is ErrNoSums. A nil sampler, a nil run and a
// transition that the run does not have are sampler.ErrConfig. A transition without a density
// ([sampler.Transition.Density]), with or without noise, is ErrNoDensity. Other errors are
// those of [Form.LogProb].
func OfRun[B any](dst []float64, f Form, s *sampler.Sampler, b sampler.Batch, run *sampler.Trajectory[B], i int) ([]float64, error) {
	check(b, dst, dst)
	if s == nil || run == nil {
		return dst, fmt.Errorf("logprob: the sampler or the run is nil: %w", sampler.ErrConfig)
	}
	k, n := i-run.First, min(len(run.Latents)-1, s.Steps()-run.First)
	if i < 0 || k < 0 || k >= n {
		return dst, fmt.Errorf("logprob: transition %d is not in the run, which has %d from %d on: %w", i, n, run.First, sampler.ErrConfig)
	}
	if k >= len(run.SumSquares) || run.SumSquares[k] == nil {
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

// logProb returns log p, summed over n elements.
func (f Form) logProb(std, sq float64, n int) float64 {
	if !f.Gaussian {
		return -sq
	}
	return -sq/(2*std*std) - float64(n)*math.Log(std) - float64(n)*(math.Log(2*math.Pi)/2)
}

// scale returns the factor of next - X·x - V·v in grad·∂log p/∂v. Here log p is multiplied
// by weight.
func (f Form) scale(grad float64, a sampler.Affine, std, weight float64) float64 {
	g := 2 * grad * weight32(a.V) * weight
	if f.Gaussian {
		g /= 2 * std * std
	}
	return g
}

// weight returns the factor of a sum over n elements: 1, or 1/n for the mean.
func (f Form) weight(n int) float64 {
	if f.Sum {
		return 1
	}
	return 1 / float64(n)
}

// density returns the standard deviation of a step, or an error if the step has no density.
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
