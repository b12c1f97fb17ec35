package logprob

import "cps/sampler"

// KL stores the divergence of the policies v and ref of every row in dst, and returns dst:
//
//	V²·‖v - ref‖²/(2Eps²)  (Gaussian)  or  V²·‖v - ref‖²
//
// divided by Dim unless Sum (Eq. 6 and 16, with and without denominator). It is exact, since
// both means share x. Compute the squared distances sq by
//
//	d.SumSquares(sq, ref, nil, v, b.WithAffine(sampler.Affine{V: 1}))
//
// Here nil stands for a buffer that is not read. b itself is the batch of the step.
// Flow-GRPO's published KL lacks Δ in its denominator, so it is Δ times this one. Errors are
// those of LogProb.
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

// GradScaleKL converts a weight of [Form.KL] in the loss into the scale that Device.Grad
// takes. It stores the scales in dst and returns dst. Call Grad with the batch and the
// buffers of SumSquares in KL. Grad then adds weight·∂KL/∂v. The scale is
//
//	-weight·V²/Eps²  (Gaussian)  or  -weight·2V²,  divided by Dim unless Sum
//
// If every row has a weight of its own, as in grpo.Guard, multiply the scales of weight 1 by
// the weights. Errors are those of GradScale.
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

// MeanKL is [Form.KL] for transitions that look back. The policies of such a transition do
// not share a base, so their means differ by more than V·(v - v_ref). MeanKL takes the
// squared distances sq of the means:
//
//	d.SumSquares(sq, ref, base, v, b)
//
// Here ref is the mean of the other policy ([sampler.History.Mean]). MeanKL stores the
// divergence in dst and returns dst:
//
//	‖mean - ref‖²/(2Eps²)  (Gaussian)  or  ‖mean - ref‖²
//
// divided by Dim unless Sum. For other transitions it equals Form.KL but for the rounding of
// latents. Errors are those of LogProb.
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

// GradScaleMeanKL converts a weight of [Form.MeanKL] in the loss into the scale that
// Device.Grad and [sampler.History.Backward] take. It stores the scales in dst and returns
// dst. Call Grad with the batch and the buffers of SumSquares in MeanKL. Grad then adds
// weight·∂KL/∂v. The scale is
//
//	-weight·V/Eps²  (Gaussian)  or  -weight·2V,  divided by Dim unless Sum
//
// Errors are those of GradScale.
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

// meanScale returns the factor of ref - mean in weight·∂KL/∂v. The divergence of the row is
// multiplied by own.
func (f Form) meanScale(weight float64, a sampler.Affine, std, own float64) float64 {
	return -2 * weight * weight32(a.V) * f.klWeight(sampler.Affine{V: 1}, std, own)
}

// klWeight returns weight·KL/‖v - ref‖² of a step, with KL summed over elements.
func (f Form) klWeight(a sampler.Affine, std, weight float64) float64 {
	v := weight32(a.V)
	w := v * v * weight
	if f.Gaussian {
		w /= 2 * std * std
	}
	return w
}

// VelocityKL stores the squared distance of velocities ‖v - ref‖² of every row in dst,
// divided by Dim unless Sum, and returns dst. sq is as in [Form.KL]. This is the "v-based"
// KL of X-GenGroup/Flow-Factory. It weighs all steps alike and needs no noise. Gaussian does
// not matter. A sum that is not finite is ErrNotFinite, and one below 0 ErrNegative.
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

// GradScaleVelocityKL is [Form.GradScaleKL] for VelocityKL. The scale is -2·weight, divided
// by Dim unless Sum. A scale that is not finite in float32 is ErrNotFinite.
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
