package sampler

import "math"

// unit returns the unit roundoff of t, the largest relative error of rounding to it.
func (t Storage) unit() float64 {
	switch t {
	case BFloat16:
		return 0x1p-9
	case Float16:
		return 0x1p-11
	}
	return 0x1p-24
}

// keepsNoise returns an error if the noise of a step is lost in the rounding of its
// latents, for data of unit variance. The density of such a step would mean nothing.
func (t Transition) keepsNoise(storage Storage) error {
	eps, size := t.Coeffs.Eps, math.Hypot(t.Coeffs.X0, t.Coeffs.NoiseLevel())
	if least := storage.unit() * size; eps != 0 && eps < least {
		return fail(ErrLost, "noise %v is lost beside latents of size %.2g in %v, which rounds by up to %.2g: inject more noise, or leave this step out of Window, or take a wider Storage",
			eps, size, storage, least)
	}
	return nil
}
