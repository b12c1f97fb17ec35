package ptx

import "math/bits"

// shiftLeft, shiftRight and shiftArith clamp the count to the width n, as PTX does.
func shiftLeft(x, count uint64, n uint) uint64 {
	if count >= uint64(n) {
		return 0
	}
	return x << count
}

func shiftRight(x, count uint64, n uint) uint64 {
	if count >= uint64(n) {
		return 0
	}
	return x >> count
}

func shiftArith(x, count uint64, t typ) uint64 {
	return uint64(int64(t.extend(x)) >> min(count, 63))
}

// mulHigh returns the upper half of the product of two integers of type t.
func mulHigh(a, b uint64, t typ) uint64 {
	if t.bits() < 64 {
		p := t.extend(a) * t.extend(b)
		if t.class() == 's' {
			return uint64(int64(p) >> t.bits())
		}
		return p >> t.bits()
	}
	hi, _ := bits.Mul64(a, b)
	if t == s64 {
		hi -= uint64(int64(a)>>63)&b + uint64(int64(b)>>63)&a
	}
	return hi
}

// funnelLeft and funnelRight shift the 64 bits hi:lo and return the upper or lower 32.
func funnelLeft(lo, hi, n uint64) uint64  { return (hi<<32 | lo) << n >> 32 }
func funnelRight(lo, hi, n uint64) uint64 { return (hi<<32 | lo) >> n }

// permute is prmt.b32 in its default mode. Each nibble of the selector picks one of
// eight bytes. The nibble's upper bit replaces that byte by copies of its sign.
func permute(a, b, selector uint64) uint64 {
	var r uint64
	for i := 0; i < 32; i += 8 {
		s := selector >> (i / 2) & 15
		v := (b<<32 | a) >> (8 * (s & 7)) & 0xff
		if s&8 != 0 {
			v = uint64(int8(v)>>7) & 0xff
		}
		r |= v << i
	}
	return r
}

// extract is bfe: n bits of a from position pos. The rest is 0 for unsigned types. For
// signed types it is the sign: bit pos+n-1 of a, or the topmost bit if that lies
// beyond.
func extract(a, pos, n uint64, t typ) uint64 {
	pos, n = pos&0xff, n&0xff
	if n == 0 {
		return 0
	}
	last := uint64(t.bits() - 1)
	x := shiftRight(a, pos, t.bits())
	if n <= last {
		x &= 1<<n - 1
	}
	if t.class() == 's' && a>>min(pos+n-1, last)&1 != 0 {
		if kept := min(n, max(last+1, pos)-pos); kept < 64 {
			x |= ^uint64(0) << kept
		}
	}
	return x
}

// divide and remainder truncate toward zero. b must not be 0.
func divide(a, b uint64, t typ) uint64 {
	a, b = t.extend(a), t.extend(b)
	if t.class() == 's' {
		return uint64(int64(a) / int64(b)) // Go wraps the only overflow
	}
	return a / b
}

func remainder(a, b uint64, t typ) uint64 { return a - divide(a, b, t)*t.extend(b) }
