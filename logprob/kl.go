package logprob

import "cps/sampler"

// KL stores in dst the divergence of the policies v and ref in every row and
// returns it:
//
//	V²·‖v - ref‖²/(2Eps²)  (Gaussian)  or  V²·‖v - ref‖²
//
// divided by Dim unless Sum (Eq. 6 and 16, with and without denominator). It is exact, for both means share x. The squared
// distances sq are from
//
//	d.SumSquares(sq, ref, nil, v, b.WithAffine(sampler.Affine{V: 1}))
//
// while b itself is the batch of the step; nil stands for a buffer that is not read.
// Flow-GRPO's published KL has no Δ in its denominator, so it is Δ times this one. The
// errors are those of LogProb.
func (f Form) KL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	check(b, dst, sq)
	for i, r := range b.Rows {
		std, err := density(r.Affine)
		if err == nil {
			err = sum("squared distance", sq[i])
		}
		if err == nil {
			dst[i] = f.klWeight(r.Affine, std, f.weight(b.Dim)) * sq[i]
			err = finite("divergence", dst[i])
		}
		if err != nil {
			return dst, fail(err, r, i)
		}
	}
	return dst, nil
}

// GradScaleKL stores in dst, and returns, what makes Device.Grad, called as SumSquares is for [Form.KL],
// add weight·∂KL/∂v:
//
//	-weight·V²/Eps²  (Gaussian)  or  -weight·2V²,  divided by Dim unless Sum
//
// Where every row has a weight of its own, as in grpo.Guard, multiply the result for
// weight 1 by them. The errors are those of GradScale.
func (f Form) GradScaleKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	check(b, dst, dst)
	for i, r := range b.Rows {
		std, err := density(r.Affine)
		if err == nil {
			dst[i] = -2 * weight * f.klWeight(r.Affine, std, f.weight(b.Dim))
			err = fits(dst[i])
		}
		if err != nil {
			return dst, fail(err, r, i)
		}
	}
	return dst, nil
}

// MeanKL is [Form.KL] by the means of the policies, for transitions that look back: these
// do not share a base, so that their means differ by more than V·(v - v_ref). The squared
// distances sq of the means are from
//
//	d.SumSquares(sq, ref, base, v, b)
//
// with ref the mean of the other policy ([sampler.History.Mean]). For other transitions it
// is Form.KL, storage rounding off:
//
//	‖mean - ref‖²/(2Eps²)  (Gaussian)  or  ‖mean - ref‖²
//
// divided by Dim unless Sum. The errors are those of LogProb.
func (f Form) MeanKL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	check(b, dst, sq)
	for i, r := range b.Rows {
		std, err := density(r.Affine)
		if err == nil {
			err = sum("squared distance", sq[i])
		}
		if err == nil {
			dst[i] = f.klWeight(sampler.Affine{V: 1}, std, f.weight(b.Dim)) * sq[i]
			err = finite("divergence", dst[i])
		}
		if err != nil {
			return dst, fail(err, r, i)
		}
	}
	return dst, nil
}

// GradScaleMeanKL stores in dst, and returns, what makes Device.Grad and
// [sampler.History.Backward], called as SumSquares is for [Form.MeanKL], add
// weight·∂KL/∂v:
//
//	-weight·V/Eps²  (Gaussian)  or  -weight·2V,  divided by Dim unless Sum
//
// The errors are those of GradScale.
func (f Form) GradScaleMeanKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	check(b, dst, dst)
	for i, r := range b.Rows {
		std, err := density(r.Affine)
		if err == nil {
			dst[i] = f.meanScale(weight, r.Affine, std, f.weight(b.Dim))
			err = fits(dst[i])
		}
		if err != nil {
			return dst, fail(err, r, i)
		}
	}
	return dst, nil
}

// meanScale returns the factor of ref - mean in weight·∂KL/∂v, where the divergence has a
// weight of its own.
func (f Form) meanScale(weight float64, a sampler.Affine, std, own float64) float64 {
	return -2 * weight * weight32(a.V) * f.klWeight(sampler.Affine{V: 1}, std, own)
}

// klWeight returns KL/‖v - ref‖² of a step, where the divergence has a weight.
func (f Form) klWeight(a sampler.Affine, std, weight float64) float64 {
	v := weight32(a.V)
	w := v * v * weight
	if f.Gaussian {
		w /= 2 * std * std
	}
	return w
}

// VelocityKL stores in dst, and returns, the divergence in velocity, ‖v - ref‖², divided by Dim
// unless Sum, with sq as for [Form.KL]: the "v-based" KL of X-GenGroup/Flow-Factory.
// It weighs all steps alike and exists without noise; Gaussian does not matter.
func (f Form) VelocityKL(dst []float64, b sampler.Batch, sq []float64) ([]float64, error) {
	check(b, dst, sq)
	for i, r := range b.Rows {
		if err := sum("squared distance", sq[i]); err != nil {
			return dst, fail(err, r, i)
		}
		dst[i] = sq[i] * f.weight(b.Dim)
	}
	return dst, nil
}

// GradScaleVelocityKL is [Form.GradScaleKL] for VelocityKL: -2·weight, divided by Dim unless
// Sum.
func (f Form) GradScaleVelocityKL(dst []float64, b sampler.Batch, weight float64) ([]float64, error) {
	check(b, dst, dst)
	for i, r := range b.Rows {
		dst[i] = -2 * weight * f.weight(b.Dim)
		if err := fits(dst[i]); err != nil {
			return dst, fail(err, r, i)
		}
	}
	return dst, nil
}
