package schedule

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// Even returns n levels evenly spaced from hi down to lo, and a final 0: n steps.
// The n levels are numpy's linspace(hi, lo, n). Even(n, 1, 1/n) is Linear(n).
func Even(n int, hi, lo float64) Flow {
	return spaced(n, func(r float64) float64 { return lerp(hi, lo, r) })
}

// Karras returns n levels from hi down to lo, evenly spaced in t^(1/rho), and a
// final 0:
//
//	t = (hi^(1/rho) + r·(lo^(1/rho) - hi^(1/rho)))^rho,    r = 0 … 1
//
// for 0 < lo < hi ≤ 1 (Karras et al., arXiv 2206.00364, Eq. 5). The paper and
// every published implementation take rho 7. The paper spaces noise levels of a
// variance-exploding path. diffusers and this function put flow levels into the
// same formula.
func Karras(n int, hi, lo, rho float64) Flow {
	q := math.Pow(lo/hi, 1/rho)
	return spaced(n, func(r float64) float64 {
		return hi * math.Pow(1+float64(r*(q-1)), rho) // in this form hi is exact
	})
}

// Exponential returns n levels from hi down to lo, evenly spaced in log t, and
// a final 0:
//
//	t = hi·(lo/hi)^r,    r = 0 … 1
//
// for 0 < lo < hi ≤ 1. It is the limit of Karras as rho grows.
func Exponential(n int, hi, lo float64) Flow {
	l := math.Log(lo / hi)
	return spaced(n, func(r float64) float64 { return hi * math.Exp(r*l) })
}

// Beta returns n levels from hi down to lo at even quantiles of the
// distribution Beta(a, b), a, b > 0, and a final 0:
//
//	t = lo + (hi - lo)·Q(1-r),    r = 0 … 1
//
// for 0 < lo < hi ≤ 1, with Q the quantile function. Beta(0.6, 0.6) crowds the
// levels at both ends (Lee et al., arXiv 2407.12173; the default of diffusers).
func Beta(n int, hi, lo, a, b float64) Flow {
	return spaced(n, func(r float64) float64 { return lerp(lo, hi, betaQuantile(1-r, a, b)) })
}

// KLOptimal returns n levels from hi down to lo, evenly spaced in atan(t), and a
// final 0:
//
//	t = tan(r·atan(lo) + (1-r)·atan(hi)),    r = 0 … 1
//
// for 0 < lo < hi ≤ 1 (Sabour et al., arXiv 2404.14507). The paper spaces noise
// levels of a variance-exploding path. ComfyUI's kl_optimal and this function put
// flow levels into the same formula.
func KLOptimal(n int, hi, lo float64) Flow {
	a, b := math.Atan(hi), math.Atan(lo)
	return spaced(n, func(r float64) float64 {
		if r == 0 {
			return hi + float64(0*b) // hi, which tan(atan(hi)) misses by a rounding, or NaN
		}
		return math.Tan(lerp(a, b, r))
	})
}

// LinearQuadratic returns the levels of n steps. The first linear steps are equal
// and go down by threshold in all. The other steps follow a parabola, which
// continues the line without a bend and ends at 0:
//
//	t = 1 - threshold·i/linear - max(0, i-linear)²·(linear - threshold·n)/(linear·(n-linear)²)
//
// for i = 0 … n, with 1 ≤ linear < n and 0 < threshold ≤ linear/n (Polyak et al.,
// arXiv 2410.13720). If linear is n or more, there is no parabola, only the line
// and the final 0. Mochi samples on LinearQuadratic(64, 32, 0.025), and LTX-Video
// takes the same threshold.
func LinearQuadratic(n, linear int, threshold float64) Flow {
	if !count(n) {
		return nil
	}
	k, m := float64(linear), float64(n)-float64(linear)
	if linear < 1 {
		k = math.NaN()
	}
	f := make(Flow, n+1)
	for i := range n {
		y := threshold * float64(i) / k
		if q := float64(i) - k; q > 0 {
			y += q * q / (m * m) * ((k - float64(threshold*float64(n))) / k)
		}
		f[i] = 1 - y
	}
	return f
}

func betaQuantile(p, a, b float64) float64 {
	if !(a > 0 && b > 0) || math.IsInf(a, 1) || math.IsInf(b, 1) {
		return math.NaN()
	}
	return mathext.InvRegIncBeta(a, b, p)
}

// spaced returns level(r) for n values of r from 0 to 1, and a final 0. A single
// value is r = 0, as in numpy's linspace.
func spaced(n int, level func(r float64) float64) Flow {
	if !count(n) {
		return nil
	}
	f := make(Flow, n+1)
	for i := range n {
		f[i] = level(ramp(i, n))
	}
	return f
}

// ramp returns i/(n-1), and 0 for i = 0 and any n.
func ramp(i, n int) float64 {
	if i == 0 {
		return 0
	}
	return float64(i) / float64(n-1)
}

// lerp returns the point at r between a and b, exactly a at 0 and b at 1.
func lerp(a, b, r float64) float64 {
	return float64((1-r)*a) + float64(r*b)
}
