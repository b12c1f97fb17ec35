package sampler

import (
	"math"

	"cps/schedule"
)

// Coeffs is one step in terms of the predictions,
//
//	next = X0·x̂0 + X1·x̂1 + Eps·ε
//
// with the predicted clean sample x̂0, the predicted noise x̂1 and new noise ε.
type Coeffs struct{ X0, X1, Eps float64 }

// NoiseLevel returns hypot(X1, Eps), the noise that the step leaves if x̂1 is
// standard normal. That holds where the model is exact (Section 3.1).
func (c Coeffs) NoiseLevel() float64 { return math.Hypot(c.X1, c.Eps) }

// Preserves reports whether c preserves coefficients at the point to (Definition
// 1): X0 is Signal and the noise level is Noise, both within the absolute
// tolerance tol.
func (c Coeffs) Preserves(to schedule.Point, tol float64) bool {
	return math.Abs(c.X0-to.Signal) <= tol && math.Abs(c.NoiseLevel()-to.Noise) <= tol
}

// A Prediction is what the model predicts.
type Prediction uint8

const (
	PredictVelocity         Prediction = iota // x1 - x0
	PredictNoise                              // x1
	PredictSample                             // x0
	PredictV                                  // α·x1 - σ·x0, diffusers' v_prediction on VP paths
	PredictReversedVelocity                   // x0 - x1, of models whose time runs from noise to data
)

// String returns the name of the constant.
func (p Prediction) String() string {
	return name("Prediction", p, "PredictVelocity", "PredictNoise", "PredictSample", "PredictV", "PredictReversedVelocity")
}

// Affine is a step in terms of the latent x and the model's output v. Devices
// execute it:
//
//	next = X·x + V·v + Eps·ε
//
// A term whose weight is 0 is absent, and its input is not read. Eps is the
// standard deviation of the step's noise: it includes √Δ.
type Affine struct{ X, V, Eps float64 }

// Affine returns the step c from the point from, in terms of the latent x and the
// model's output v:
//
//	             X                    V
//	velocity     (X0+X1)/(α+σ)        (α·X1-σ·X0)/(α+σ)
//	noise        X0/α                 X1-X0·σ/α
//	sample       X1/σ                 X0-X1·α/σ
//	v            (α·X0+σ·X1)/(α²+σ²)  (α·X1-σ·X0)/(α²+σ²)
//	reversed     as velocity          (σ·X0-α·X1)/(α+σ)
//
// Weights are infinite or NaN where the table divides by 0; [New] reports that.
// Coeffs{X0: 1} gives the predicted sample, Coeffs{X1: 1} the predicted noise, and
// Coeffs{X0: -1, X1: 1} the velocity. Affine panics if p is none of the constants.
func (c Coeffs) Affine(p Prediction, from schedule.Point) Affine {
	alpha, sigma := from.Signal, from.Noise
	// Products are rounded, so the weights are the same with and without fused
	// multiply-add.
	cross := float64(alpha*c.X1) - float64(sigma*c.X0)
	switch p {
	case PredictVelocity:
		return Affine{(c.X0 + c.X1) / (alpha + sigma), cross / (alpha + sigma), c.Eps}
	case PredictReversedVelocity:
		return Affine{(c.X0 + c.X1) / (alpha + sigma), -cross / (alpha + sigma), c.Eps}
	case PredictNoise:
		return Affine{c.X0 / alpha, c.X1 - float64(c.X0*sigma)/alpha, c.Eps}
	case PredictSample:
		return Affine{c.X1 / sigma, c.X0 - float64(c.X1*alpha)/sigma, c.Eps}
	case PredictV:
		norm := float64(alpha*alpha) + float64(sigma*sigma)
		return Affine{(float64(alpha*c.X0) + float64(sigma*c.X1)) / norm, cross / norm, c.Eps}
	}
	panic("sampler: unknown prediction")
}

// round32 returns a with its weights rounded to float32, the values kernels use.
func (a Affine) round32() Affine {
	return Affine{float64(float32(a.X)), float64(float32(a.V)), float64(float32(a.Eps))}
}

func finite(x ...float64) bool {
	for _, x := range x {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}
