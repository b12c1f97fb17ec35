package kernel

import "math"

// A Storage is the type in which latents are kept.
type Storage uint8

const (
	Float32 Storage = iota
	BFloat16
	Float16
)

// Round returns x rounded to t, ties to even, as a float32. A value beyond the
// largest finite one becomes an infinity. A NaN stays a NaN.
func (t Storage) Round(x float32) float32 {
	switch t {
	case BFloat16:
		return fromBFloat16(toBFloat16(x))
	case Float16:
		return fromFloat16(toFloat16(x))
	}
	return x
}

// Pack stores src, rounded to t, as 16-bit words.
func (t Storage) Pack(dst []uint16, src []float32) {
	switch t {
	case BFloat16:
		for i, x := range src {
			dst[i] = toBFloat16(x)
		}
	case Float16:
		for i, x := range src {
			dst[i] = toFloat16(x)
		}
	}
}

// Unpack stores the values of the words src in dst.
func (t Storage) Unpack(dst []float32, src []uint16) {
	switch t {
	case BFloat16:
		for i, h := range src {
			dst[i] = fromBFloat16(h)
		}
	case Float16:
		for i, h := range src {
			dst[i] = fromFloat16(h)
		}
	}
}

func toBFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40 // a NaN stays one when its payload is cut
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func fromBFloat16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func toFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	sign, a := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case a > 0x7f800000:
		return sign | 0x7e00 | uint16(a>>13)&0x3ff // a quiet NaN, as processors convert it
	case a >= 0x477ff000: // rounds to 2¹⁶ or more
		return sign | 0x7c00
	case a < 0x38800000: // below 2⁻¹⁴: adding ½ moves multiples of 2⁻²⁴ into the low bits
		return sign | uint16(math.Float32bits(math.Float32frombits(a)+0.5)-0x3f000000)
	}
	return sign | uint16((a-0x38000000+0xfff+a>>13&1)>>13)
}

func fromFloat16(h uint16) float32 {
	sign, a := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	switch {
	case a >= 0x7c00:
		return math.Float32frombits(sign | 0x7f800000 | (a&0x3ff)<<13)
	case a < 0x400:
		return math.Float32frombits(sign | math.Float32bits(float32(a)*(1.0/(1<<24))))
	}
	return math.Float32frombits(sign | (a<<13 + 0x38000000))
}
