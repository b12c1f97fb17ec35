package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Polynomials of ../normal.go, lowest power first. A test there compares results, so
// that a difference cannot stay.
var (
	logC   = []float64{-2, 1.0000075, -0.66671073, 0.4993724, -0.3976747, 0.34507677, -0.32692078, 0.20476241}
	sinC   = []float64{0.7853981, -0.08074513, 0.0024893708, -3.557942e-05}
	cosC   = []float64{1, -0.3084245, 0.015850438, -0.00031918686}
	log2x2 = -1.3862943611198906
)

// normals makes the draws of 4·8·groups elements. In every group the lanes of a
// register hold eight blocks in an order that two unpackings turn into the natural
// one: lane l of blocks 0 2 4 6 | 1 3 5 7.
func normals() {
	TEXT("normalsAVX2", NOSPLIT, "func(dst *float32, groups int, block uint32, s *byte)")
	dst := Load(Param("dst"), GP64()).(reg.GPVirtual)
	groups := Load(Param("groups"), GP64()).(reg.GPVirtual)
	s := Load(Param("s"), GP64()).(reg.GPVirtual)
	counter, first := YMM(), GP32()
	Load(Param("block"), first)
	VMOVD(first, counter.AsX())
	VPBROADCASTD(counter.AsX(), counter)
	VPADDD(words(0, 0, 4, 0, 1, 0, 5, 0), counter, counter)

	Label("group")
	w := philox(counter, s)
	sin0, cos0 := boxMuller(w[0], w[1])
	sin1, cos1 := boxMuller(w[2], w[3])
	lo0, lo1 := YMM(), YMM()
	VUNPCKLPS(cos0, sin0, lo0)
	VUNPCKHPS(cos0, sin0, sin0)
	VUNPCKLPS(cos1, sin1, lo1)
	VUNPCKHPS(cos1, sin1, sin1)
	for i, p := range [][2]vec{{lo0, lo1}, {sin0, sin1}} {
		t := YMM()
		VUNPCKLPD(p[1], p[0], t)
		VMOVUPS(t, at(dst, 64*i))
		t = YMM()
		VUNPCKHPD(p[1], p[0], t)
		VMOVUPS(t, at(dst, 64*i+32))
	}
	VPADDD(quads(8), counter, counter)
	ADDQ(Imm(128), dst)
	DECQ(groups)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// Offsets in schedule.
const (
	offKeys  = 0  // round keys, two words a round
	offFirst = 80 // what the first rounds make of the words that all blocks share
)

// key broadcasts a word of the schedule.
func key(s reg.Register, offset int) vec {
	k := YMM()
	VPBROADCASTD(at(s, offset), k)
	return k
}

// philox returns the words of eight blocks, four in even counters and, two blocks
// further, four in odd ones; the 32-bit products need registers of 64-bit lanes.
func philox(counter vec, s reg.Register) (w [4]vec) {
	m0, m1 := quads(0xD2511F53), quads(0xCD9E8D57)
	// e and o are words 0 and 2, and le and lo words 1 and 3, of even and odd blocks,
	// each in the low half of a lane. The upper halves are never read.
	var e, o, le, lo [2]vec
	mul := func(m Mem, a vec) vec { p := YMM(); VPMULUDQ(m, a, p); return p }
	high := func(a vec) vec { h := YMM(); VPSRLQ(Imm(32), a, h); return h }
	xor := func(a, b vec) vec { x := YMM(); VPXOR(b, a, x); return x }

	// Rounds 1 and 2: words 1 to 3 are the same in all blocks.
	odd := YMM()
	VPADDD(quads(2), counter, odd)
	le[1], lo[1] = mul(m0, counter), mul(m0, odd)
	k := key(s, offFirst)
	e[1], o[1] = xor(high(le[1]), k), xor(high(lo[1]), k)
	le[0], lo[0] = mul(m1, e[1]), mul(m1, o[1])
	k = key(s, offFirst+4)
	e[0], o[0] = xor(high(le[0]), k), xor(high(lo[0]), k)
	k = key(s, offFirst+8)
	e[1], o[1] = xor(le[1], k), xor(lo[1], k)
	shared := key(s, offFirst+12) // word 3

	for r := 2; r < 10; r++ {
		k0, k1 := key(s, offKeys+8*r), key(s, offKeys+8*r+4)
		pe := [2]vec{mul(m1, e[1]), mul(m0, e[0])}
		po := [2]vec{mul(m1, o[1]), mul(m0, o[0])}
		if r == 9 {
			// Merge even and odd blocks: a product of odd ones has its high word in
			// place, and its low word is moved up.
			merge := func(even, odd vec) vec {
				t, m := YMM(), YMM()
				VPSHUFD(Imm(0xA0), odd, t)
				VPBLENDD(Imm(0xAA), t, even, m)
				return m
			}
			for i, k := range []vec{k0, k1} {
				h := high(pe[i])
				VPBLENDD(Imm(0xAA), po[i], h, h)
				w[2*i] = xor(xor(h, merge(le[i], lo[i])), k)
				w[2*i+1] = merge(pe[i], po[i])
			}
			return w
		}
		e[0], o[0] = xor(xor(high(pe[0]), le[0]), k0), xor(xor(high(po[0]), lo[0]), k0)
		if r == 2 {
			k := xor(shared, k1)
			e[1], o[1] = xor(high(pe[1]), k), xor(high(po[1]), k)
		} else {
			e[1], o[1] = xor(xor(high(pe[1]), le[1]), k1), xor(xor(high(po[1]), lo[1]), k1)
		}
		le, lo = pe, po
	}
	return w
}

// horner returns c[0] + c[1]·x + …
func horner(x vec, c []float64) vec {
	p := YMM()
	VMULPS(allF(c[len(c)-1]), x, p)
	for i := len(c) - 2; ; i-- {
		VADDPS(allF(c[i]), p, p)
		if i == 0 {
			return p
		}
		VMULPS(x, p, p)
	}
}

// boxMuller returns the pairs of normals of words x and y.
func boxMuller(x, y vec) (sin, cos vec) {
	r := radius(x)
	sin, cos = sincos(y)
	VMULPS(r, sin, sin)
	VMULPS(r, cos, cos)
	return sin, cos
}

func radius(x vec) vec {
	// The conversion of an unsigned word, rounded once: the halves as fractions of
	// 2³⁹ and 2²³.
	lo, v := YMM(), YMM()
	VPBLENDW(Imm(0xAA), all(0x4B000000), x, lo)
	VPSRLD(Imm(16), x, v)
	VPBLENDW(Imm(0xAA), all(0x53000000), v, v)
	VSUBPS(all(0x53000080), v, v)
	VADDPS(lo, v, v)
	VADDPS(allF(0.5), v, v)

	const half = 0x3f3504f3
	k, e, f := YMM(), YMM(), YMM()
	VPSUBD(all(half+32<<23), v, k)
	VPSRAD(Imm(23), k, e)
	VCVTDQ2PS(e, e)
	VMULPS(allF(log2x2), e, e)
	VPAND(all(0x007fffff), k, f)
	VPADDD(all(half), f, f)
	VADDPS(allF(-1), f, f)
	p := horner(f, logC)
	VMULPS(f, p, p)
	VADDPS(e, p, p)
	VSQRTPS(p, p)
	return p
}

func sincos(y vec) (sin, cos vec) {
	t, z := YMM(), YMM()
	VPSLLD(Imm(2), y, t)
	VCVTDQ2PS(t, t)
	VMULPS(allF(1.0/(1<<31)), t, t)
	VMULPS(t, t, z)
	s, c := horner(z, sinC), horner(z, cosC)
	VMULPS(t, s, s)
	q, odd := YMM(), YMM()
	VPADDD(all(1<<29), y, q)
	VPSLLD(Imm(1), q, odd) // the quadrant's parity as a sign
	sin, cos = YMM(), YMM()
	VBLENDVPS(odd, c, s, sin)
	VBLENDVPS(odd, s, c, cos)
	sign := YMM()
	VPAND(all(1<<31), q, sign)
	VXORPS(sign, sin, sin)
	VPADDD(all(1<<30), q, q)
	VPAND(all(1<<31), q, q)
	VXORPS(q, cos, cos)
	return sin, cos
}
