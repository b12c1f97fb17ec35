package digits

import "math"

// The functions here use arithmetic that no compiler fuses, so training does not depend on
// the instructions of a processor. Those of package math use fused multiply-add if the
// processor has it.

// silu returns z·σ(z) with σ(z) = 1/(1 + e^-z), and its derivative
// σ(z)·(1 + z·(1 - σ(z))).
func silu(z float32) (y, slope float32) {
	s := 1 / (1 + exp(-z))
	y = float32(z * s)
	return y, s * (1 + float32(z*(1-s)))
}

// siluTo stores silu of every element of z in y, and its derivative in slope. y and slope must
// not be shorter than z.
func siluTo(y, slope, z []float32) {
	for i := vectorSilu(y, slope, z); i < len(z); i++ {
		y[i], slope[i] = silu(z[i])
	}
}

// exp returns e^x within 2 ulp. Arguments beyond ±87 count as ±87, whose result is still a
// normal number.
func exp(x float32) float32 {
	const (
		log2e = 1 / math.Ln2
		ln2hi = 0x1.62e4p-1 // 15 bits, so that n·ln2hi is exact
		ln2lo = math.Ln2 - ln2hi
		magic = 3 << 22 // adding it rounds to an integer
	)
	x = max(-87, min(87, x))
	n := float32(float32(x*log2e)+magic) - magic
	r := x - float32(n*ln2hi) - float32(n*ln2lo)
	// Taylor to degree 7; |r| ≤ ln(2)/2 leaves r⁸/8! < 6e-9.
	p := float32(1.0 / 5040)
	for _, c := range [...]float32{1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2, 1, 1} {
		p = float32(p*r) + c
	}
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// halfTurn returns cos(π·t) and sin(π·t) for t in [0, 1] within 1e-15.
func halfTurn(t float64) (cos, sin float64) {
	// Taylor around ½, where |x| ≤ π/2.
	x := math.Pi * (t - 0.5)
	y := float64(x * x)
	s, c := 1.0, 1.0
	for k := 22.0; k > 0; k -= 2 {
		c = 1 - float64(float64(y/(k*(k-1)))*c)
		s = 1 - float64(float64(y/(k*(k+1)))*s)
	}
	return -float64(x * s), c
}
