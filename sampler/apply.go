package sampler

import (
	"fmt"

	"cps/schedule"
)

// Float is the element type of latents.
type Float interface{ float32 | float64 }

// Apply stores a.X·x + a.V·v + a.Eps·eps in dst and returns dst: a step whose noise
// is given. dst may alias any input; an input whose weight is 0 is not read and may
// be nil. The other lengths must be that of dst. In float32 the result has the bits
// of a [Device] if eps are the draws of package noise. Apply does not allocate.
func Apply[T Float](dst, x, v, eps []T, a Affine) []T {
	X, V, Eps := T(a.X), T(a.V), T(a.Eps)
	x = term("x", len(dst), x, X)
	v = term("v", len(dst), v, V)
	eps = term("eps", len(dst), eps, Eps)
	for i := range dst {
		var m T
		switch {
		case x != nil && v != nil:
			m = T(X*x[i]) + T(V*v[i])
		case x != nil:
			m = X * x[i]
		case v != nil:
			m = V * v[i]
		}
		if eps != nil {
			m = T(Eps*eps[i]) + m
		}
		dst[i] = m
	}
	return dst
}

// term returns x, of that name, checked, or nil if its weight is 0.
func term[T Float](name string, n int, x []T, weight T) []T {
	if weight == 0 {
		return nil
	}
	checkLen(name, len(x), n)
	return x
}

// checkLen panics unless an input is as long as dst.
func checkLen(name string, n, dst int) {
	if n != dst {
		panic(fmt.Sprintf("sampler: length of %s is %d, not that of dst, %d", name, n, dst))
	}
}

// ApplyClipped is [Apply] of the step c from a point with the predicted clean
// sample clipped to [-limit, limit], as diffusers' clip_sample does:
//
//	next = X0·clip(x̂0) + X1·x̂1 + Eps·ε
//
// x̂1 stays the one of the unclipped x̂0. Clipping is not affine, so devices do not
// do it, and log-probabilities of such a step need the same clipping. It panics on
// a limit that is negative or NaN; lengths and aliasing are those of Apply.
func ApplyClipped[T Float](dst, x, v, eps []T, c Coeffs, p Prediction, from schedule.Point, limit float64) []T {
	return applyClipped(dst, x, v, eps, c, Coeffs{X1: 1}.Affine(p, from), Coeffs{X0: 1}.Affine(p, from), 0, limit)
}

// ApplyClippedOutput is [ApplyClipped] with the predicted noise derived again from the
// clipped sample, so that both fit the latent:
//
//	next = X0·c + X1·(x - Signal·c)/Noise + Eps·ε        c = clip(x̂0)
//
// as diffusers' use_clipped_model_output has it. It panics, besides, if from.Noise is 0:
// the latent tells nothing of the noise there.
func ApplyClippedOutput[T Float](dst, x, v, eps []T, c Coeffs, p Prediction, from schedule.Point, limit float64) []T {
	if from.Noise == 0 {
		panic("sampler: the latent at a point without noise does not tell the noise")
	}
	return applyClipped(dst, x, v, eps, c, Affine{X: 1 / from.Noise}, Coeffs{X0: 1}.Affine(p, from), -from.Signal/from.Noise, limit)
}

// applyClipped takes a step with x̂1 = noise.X·x + noise.V·v + rest·clip(x̂0).
func applyClipped[T Float](dst, x, v, eps []T, c Coeffs, noise, sample Affine, rest, limit float64) []T {
	if !(limit >= 0) {
		panic(fmt.Sprintf("sampler: clipping limit %v is negative or NaN", limit))
	}
	checkLen("x", len(x), len(dst))
	checkLen("v", len(v), len(dst))
	eps = term("eps", len(dst), eps, T(c.Eps))
	for i := range dst {
		x0 := T(T(sample.X)*x[i]) + T(T(sample.V)*v[i])
		x1 := T(T(noise.X)*x[i]) + T(T(noise.V)*v[i])
		x0 = max(-T(limit), min(x0, T(limit)))
		if rest != 0 {
			x1 += T(T(rest) * x0)
		}
		m := T(T(c.X0)*x0) + T(T(c.X1)*x1)
		if eps != nil {
			m = T(T(c.Eps)*eps[i]) + m
		}
		dst[i] = m
	}
	return dst
}
