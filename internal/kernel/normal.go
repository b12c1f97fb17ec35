package kernel

import "math"

// Polynomials of the float32 normal transform, lowest power first. _poly/main.go
// prints them. They are minimax in the effect of their error on a normal. Each
// coefficient is fitted to the float32 rounding of the ones before it.
const (
	// -2·log(1+f)/f on [√½-1, √2-1]: 5.3e-8 in the radius
	logC0 = -2
	logC1 = 1.0000075
	logC2 = -0.66671073
	logC3 = 0.4993724
	logC4 = -0.3976747
	logC5 = 0.34507677
	logC6 = -0.32692078
	logC7 = 0.20476241

	log2x2 = -1.3862943611198906 // -2·log 2

	// sin(πt/4)/t in t² on [0, 1]: 5.0e-9 in the sine
	sinC0 = 0.7853981
	sinC1 = -0.08074513
	sinC2 = 0.0024893708
	sinC3 = -3.557942e-05

	// cos(πt/4) in t² on [0, 1]: 3.3e-8
	cosC0 = 1
	cosC1 = -0.3084245
	cosC2 = 0.015850438
	cosC3 = -0.00031918686
)

// radius returns √(-2·log u) for the uniform u = (float32(x) + ½)·2⁻³², rounded twice.
// For the 128 largest words u is 1, and radius is 0. The largest value is 6.76, at x =
// 0.
func radius(x uint32) float32 {
	v := float32(x) + 0.5 // u·2³²
	// v = 2³²·2ᵏ·(1+f) with 1+f in [√½, √2)
	const half = 0x3f3504f3 // bits of √½
	k := int32(math.Float32bits(v)) - (half + 32<<23)
	e := float32(float32(k>>23) * log2x2)
	f := math.Float32frombits(uint32(k&0x007fffff)+half) - 1
	p := float32(float32(logC7*f) + logC6)
	p = float32(p*f) + logC5
	p = float32(p*f) + logC4
	p = float32(p*f) + logC3
	p = float32(p*f) + logC2
	p = float32(p*f) + logC1
	p = float32(p*f) + logC0
	return float32(math.Sqrt(float64(float32(p*f) + e)))
}

// sincos returns the sine and cosine of 2π·y·2⁻³².
func sincos(y uint32) (sin, cos float32) {
	// The angle is t·π/4 from the nearest multiple of π/2.
	t := float32(float32(int32(y<<2)) * (1.0 / (1 << 31)))
	z := float32(t * t)
	s := float32(float32(sinC3*z) + sinC2)
	s = float32(s*z) + sinC1
	s = float32(s*z) + sinC0
	s = float32(s * t)
	c := float32(float32(cosC3*z) + cosC2)
	c = float32(c*z) + cosC1
	c = float32(c*z) + cosC0
	q := y + 1<<29
	if q&(1<<30) != 0 {
		s, c = c, s
	}
	return math.Float32frombits(math.Float32bits(s) ^ q&(1<<31)),
		math.Float32frombits(math.Float32bits(c) ^ (q+1<<30)&(1<<31))
}

// boxMuller returns the pair of normals of two words, sine first.
func boxMuller(x, y uint32) (float32, float32) {
	r := radius(x)
	s, c := sincos(y)
	return float32(r * s), float32(r * c)
}

// Normal stores in dst the standard normal draws off, off+1, … of the stream.
func (s Stream) Normal(dst []float32, off uint64) { s.normal(dst, off) }

func (s Stream) normalPortable(dst []float32, off uint64) {
	b, skip := uint32(off/4), off%4
	for ; len(dst) > 0; b++ {
		w0, w1, w2, w3 := s.block(b)
		if skip == 0 && len(dst) >= 4 {
			dst[0], dst[1] = boxMuller(w0, w1)
			dst[2], dst[3] = boxMuller(w2, w3)
			dst = dst[4:]
			continue
		}
		var g [4]float32
		g[0], g[1] = boxMuller(w0, w1)
		g[2], g[3] = boxMuller(w2, w3)
		dst = dst[copy(dst, g[skip:]):]
		skip = 0
	}
}
