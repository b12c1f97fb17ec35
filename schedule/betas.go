package schedule

import "math"

// LinearBetas returns n betas evenly spaced from start to end, for NewVP. DDPM
// takes n 1000, start 10⁻⁴ and end 0.02. It returns nil for n below 1 or above
// MaxSteps.
func LinearBetas(n int, start, end float64) []float64 {
	return betas(n, func(i int) float64 { return lerp(start, end, ramp(i, n)) })
}

// ScaledLinearBetas returns n betas whose square roots are evenly spaced from
// √start to √end, for NewVP. Stable Diffusion takes n 1000, start 0.00085 and end
// 0.012. It returns nil for n below 1 or above MaxSteps.
func ScaledLinearBetas(n int, start, end float64) []float64 {
	start, end = math.Sqrt(start), math.Sqrt(end)
	return betas(n, func(i int) float64 {
		b := lerp(start, end, ramp(i, n))
		return b * b
	})
}

// CosineBetas returns the n betas of the squared-cosine schedule, for NewVP:
//
//	β(t) = min(0.999, 1 - f((t+1)/n)/f(t/n)),    f(u) = cos²(π/2·(u + 0.008)/1.008)
//
// (Nichol and Dhariwal, arXiv 2102.09672, Eq. 17; squaredcos_cap_v2 in diffusers).
// Only the last beta meets the cap, since f(1) is 0. It returns nil for n below 1
// or above MaxSteps.
func CosineBetas(n int) []float64 {
	const maxBeta = 0.999
	angle := func(t int) float64 {
		return (float64(t)/float64(n) + 0.008) / 1.008 * (math.Pi / 2)
	}
	return betas(n, func(t int) float64 {
		a, b := angle(t), angle(t+1)
		// 1 - cos²b/cos²a, as a product
		return min(maxBeta, math.Sin(b-a)*math.Sin(b+a)/(math.Cos(a)*math.Cos(a)))
	})
}

func betas(n int, beta func(t int) float64) []float64 {
	if !count(n) {
		return nil
	}
	b := make([]float64, n)
	for t := range b {
		b[t] = beta(t)
	}
	return b
}
