package kernel

import "math"

// The float64 normals use the same uniforms as the float32 ones. Their series have
// plain rationals as coefficients, so they are the same bits on every architecture.
// Log, Sin and Cos of package math do not promise that.

// radius64 returns √(-2·log u) for the uniform u of radius.
func radius64(x uint32) float64 {
	u := float64(float32(x)+0.5) / (1 << 32)
	m, k := math.Frexp(u)
	if m < math.Sqrt2/2 {
		m, k = 2*m, k-1
	}
	// log m = 2·atanh s, s = (m-1)/(m+1), |s| < 0.172. The term of s²³ is below 1e-18.
	s := (m - 1) / (m + 1)
	z := s * s
	var p float64
	for n := 21; n >= 1; n -= 2 {
		p = float64(p*z) + 1/float64(n)
	}
	l := float64(2*s*p) + float64(float64(k)*math.Ln2)
	return math.Sqrt(-2 * l)
}

// sincos64 returns the sine and cosine of 2π·y·2⁻³².
func sincos64(y uint32) (sin, cos float64) {
	q := y + 1<<29
	t := float64(int32(y<<2)) / (1 << 31) * (math.Pi / 4) // |t| ≤ π/4
	z := float64(t * t)
	// Taylor's series up to t¹⁹ and t²⁰. The rest is below 1e-21.
	var s, c float64 = 1, 1
	for n := 18.0; n >= 2; n -= 2 {
		s = 1 - float64(s*z)/(n*(n+1))
	}
	s *= t
	for n := 19.0; n >= 1; n -= 2 {
		c = 1 - float64(c*z)/(n*(n+1))
	}
	if q&(1<<30) != 0 {
		s, c = c, s
	}
	if q&(1<<31) != 0 {
		s = -s
	}
	if (q+1<<30)&(1<<31) != 0 {
		c = -c
	}
	return s, c
}

// boxMuller64 returns the pair of normals of two words, sine first.
func boxMuller64(x, y uint32) (float64, float64) {
	r := radius64(x)
	s, c := sincos64(y)
	return float64(r * s), float64(r * c)
}

// Normal64 stores in dst the float64 draws off, off+1, … of the stream.
func (s Stream) Normal64(dst []float64, off uint64) {
	b, skip := uint32(off/4), off%4
	for ; len(dst) > 0; b++ {
		w0, w1, w2, w3 := s.block(b)
		var g [4]float64
		g[0], g[1] = boxMuller64(w0, w1)
		g[2], g[3] = boxMuller64(w2, w3)
		dst = dst[copy(dst, g[skip:]):]
		skip = 0
	}
}
