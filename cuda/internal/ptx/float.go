package ptx

import (
	"math"
	"math/bits"
)

// The NaN results of arithmetic. float32 and float16 have NVIDIA's. PTX does not
// specify the float64 one.
const (
	nan16 = 0x7fff
	nan32 = 0x7fffffff
	nan64 = 0x7ff8000000000000
)

func f32of(x uint64) float32 { return math.Float32frombits(uint32(x)) }
func f64of(x uint64) float64 { return math.Float64frombits(x) }

// bits32 returns the bits of a float32 result.
func bits32(f float32) uint64 {
	if f != f {
		return nan32
	}
	return uint64(math.Float32bits(f))
}

// bits64 returns the bits of a float64 result.
func bits64(f float64) uint64 {
	if f != f {
		return nan64
	}
	return math.Float64bits(f)
}

// load16 returns the value of a float16 as a float64, which is exact.
func load16(x uint64) float64 {
	sign := 1.0
	if x&0x8000 != 0 {
		sign = -1
	}
	e, m := int(x>>10&31), float64(x&0x3ff)
	switch e {
	case 0:
		return sign * math.Ldexp(m, -24)
	case 31:
		if m != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(m+1024, e-25)
}

// bits16 rounds f to float16: to nearest with ties to even, or toward zero.
func bits16(f float64, toward0 bool) uint64 {
	if f != f {
		return nan16
	}
	var sign uint64
	if math.Signbit(f) {
		sign, f = 0x8000, -f
	}
	const largest = 65504
	switch {
	case math.IsInf(f, 0), f >= largest+16 && !toward0:
		return sign | 0x7c00
	case f > largest:
		return sign | 0x7bff
	}
	_, e := math.Frexp(f)
	unit := max(e, -13) - 11                     // the last place is worth 2^unit
	n := roundInt(math.Ldexp(f, -unit), toward0) // at most 2^11
	if n < 1024 {
		return sign | uint64(n) // subnormal: unit is -24
	}
	return sign | uint64(unit+24)<<10 + uint64(n) // n = 2^11 carries into the exponent
}

func roundInt(f float64, toward0 bool) float64 {
	if toward0 {
		return math.Trunc(f)
	}
	return math.RoundToEven(f)
}

// narrow rounds f to float32: to nearest with ties to even, or toward zero.
func narrow(f float64, toward0 bool) float32 {
	r := float32(f)
	if toward0 && math.Abs(float64(r)) > math.Abs(f) {
		return math.Float32frombits(math.Float32bits(r) - 1)
	}
	return r
}

// integer returns the sign and the magnitude of an integer that is to be converted.
func integer(x uint64, t typ) (negative bool, magnitude uint64) {
	x = t.extend(x)
	if t.class() == 's' && int64(x) < 0 {
		return true, -x
	}
	return false, x
}

// cut drops the bits of x below its n leading ones. A float format of n bits then
// holds the result exactly.
func cut(x uint64, n int) uint64 {
	if drop := bits.Len64(x) - n; drop > 0 {
		x = x >> drop << drop
	}
	return x
}

// fromInt converts an integer of type s to the float type t.
func fromInt(x uint64, t, s typ, toward0 bool) uint64 {
	negative, m := integer(x, s)
	sign := 1.0
	if negative {
		sign = -1
	}
	switch t {
	case f16: // beyond 2^17 it overflows; up to there a float64 is exact
		return bits16(sign*float64(min(m, 1<<20)), toward0)
	case f32:
		if toward0 {
			m = cut(m, 24)
		}
		return bits32(float32(sign) * float32(m))
	default:
		if toward0 {
			m = cut(m, 53)
		}
		return bits64(sign * float64(m))
	}
}

// toInt converts f, an integer value, to type t and clamps it. A NaN becomes 0, or
// 2^(bits-1) if wide is set: the source is a float64, or the result has 64 bits.
func toInt(f float64, t typ, wide bool) uint64 {
	n := t.bits()
	if f != f {
		if wide {
			return t.extend(1 << (n - 1))
		}
		return 0
	}
	if t.class() == 's' {
		limit := math.Ldexp(1, int(n)-1)
		switch {
		case f >= limit:
			return 1<<(n-1) - 1
		case f < -limit:
			return ^uint64(0) << (n - 1)
		}
		return uint64(int64(f))
	}
	switch {
	case f >= math.Ldexp(1, int(n)):
		return t.mask()
	case f <= 0:
		return 0
	}
	return uint64(f)
}

// fma32 returns a·b + c, rounded once. The product is exact in float64. The sum is
// rounded to odd in float64, so the second rounding does no harm.
func fma32(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	if math.IsInf(s, 0) || s != s {
		return float32(s)
	}
	t := s - p
	if e := (p - (s - t)) + (d - t); e != 0 && math.Float64bits(s)&1 == 0 {
		toward := math.Inf(1)
		if e < 0 {
			toward = math.Inf(-1)
		}
		s = math.Nextafter(s, toward)
	}
	return float32(s)
}

// minimum and maximum return the other operand if one is NaN. They order -0 before 0.
func minimum(x, y float64) float64 {
	switch {
	case x != x:
		return y
	case y != y:
		return x
	}
	return math.Min(x, y)
}

func maximum(x, y float64) float64 { return -minimum(-x, -y) }
