// Asm generates the AVX2 code of package digits: products of matrices, silu, Adam.
//
//	go run . -out ../avx2_amd64.s
//
// It handles eight elements at once, in the order of the portable code and without
// fused multiply-add, so the bits are the same.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!purego")
	tile()
	silu()
	adam()
	Generate()
}

// tile generates the product of four rows and sixteen columns.
func tile() {
	TEXT("tileAVX2", NOSPLIT, "func(c, a, b *float32, k, ldc, rowA, stepA, ldb int)")
	Doc("tileAVX2 adds a·b to c, for c [4, 16] with rows ldc apart, b [k, 16] with rows ldb",
		"apart, and a [4, k] with rows rowA and columns stepA apart, all in elements; k > 0.")
	c := Load(Param("c"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	k := Load(Param("k"), GP64())
	bytes := func(name string) reg.GPVirtual {
		r := Load(Param(name), GP64()).(reg.GPVirtual)
		SHLQ(U8(2), r)
		return r
	}
	ldc, rowA, stepA, ldb := bytes("ldc"), bytes("rowA"), bytes("stepA"), bytes("ldb")
	third := func(one reg.GPVirtual) reg.GPVirtual {
		r := GP64()
		LEAQ(Mem{Base: one, Index: one, Scale: 2}, r)
		return r
	}
	ldc3, rowA3 := third(ldc), third(rowA)
	row := func(base, one, three reg.Register, i, disp int) Mem {
		switch i {
		case 0:
			return Mem{Base: base, Disp: disp}
		case 3:
			return Mem{Base: base, Index: three, Scale: 1, Disp: disp}
		}
		return Mem{Base: base, Index: one, Scale: uint8(i), Disp: disp}
	}
	var sums [4][2]reg.VecVirtual
	for i := range sums {
		for j := range sums[i] {
			sums[i][j] = YMM()
			VMOVUPS(row(c, ldc, ldc3, i, 32*j), sums[i][j])
		}
	}
	Label("loop")
	left, right := YMM(), YMM()
	VMOVUPS(Mem{Base: b}, left)
	VMOVUPS(Mem{Base: b, Disp: 32}, right)
	for i := range sums {
		w, product := YMM(), YMM()
		VBROADCASTSS(row(a, rowA, rowA3, i, 0), w)
		VMULPS(left, w, product)
		VADDPS(product, sums[i][0], sums[i][0])
		VMULPS(right, w, w)
		VADDPS(w, sums[i][1], sums[i][1])
	}
	ADDQ(stepA, a)
	ADDQ(ldb, b)
	DECQ(k)
	JNZ(LabelRef("loop"))
	for i := range sums {
		for j := range sums[i] {
			VMOVUPS(sums[i][j], row(c, ldc, ldc3, i, 32*j))
		}
	}
	VZEROUPPER()
	RET()
}

// silu generates silu and its derivative, with the exp of the portable code.
func silu() {
	TEXT("siluAVX2", NOSPLIT, "func(y, slope, z *float32, n int)")
	Doc("siluAVX2 is siluPortable for n elements, a positive multiple of 8.")
	const ln2hi = 0x1.62e4p-1
	y := Load(Param("y"), GP64())
	slope := Load(Param("slope"), GP64())
	z := Load(Param("z"), GP64())
	n := Load(Param("n"), GP64())
	SHRQ(U8(3), n)
	one := YMM()
	VMOVUPS(floats(1), one)
	Label("siluLoop")
	v, x, round, r, p, product := YMM(), YMM(), YMM(), YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: z}, v)
	VXORPS(words(1<<31), v, x)
	// With x as the second source a NaN stays.
	limit := YMM()
	VMOVUPS(floats(87), limit)
	VMINPS(x, limit, x)
	VMOVUPS(floats(-87), limit)
	VMAXPS(x, limit, x)
	VMULPS(floats(1/math.Ln2), x, round)
	VADDPS(floats(3<<22), round, round)
	VSUBPS(floats(3<<22), round, round)
	VMULPS(floats(ln2hi), round, product)
	VSUBPS(product, x, r)
	VMULPS(floats(math.Ln2-ln2hi), round, product)
	VSUBPS(product, r, r)
	VMOVUPS(floats(1.0/5040), p)
	for _, c := range []float64{1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2, 1, 1} {
		VMULPS(r, p, p)
		VADDPS(floats(c), p, p)
	}
	VCVTTPS2DQ(round, round)
	VPADDD(words(127), round, round)
	VPSLLD(U8(23), round, round)
	VMULPS(round, p, p)
	VADDPS(one, p, p)
	s := YMM()
	VDIVPS(p, one, s)
	VMULPS(s, v, x)
	VMOVUPS(x, Mem{Base: y})
	VSUBPS(s, one, x)
	VMULPS(x, v, x)
	VADDPS(one, x, x)
	VMULPS(x, s, x)
	VMOVUPS(x, Mem{Base: slope})
	for _, q := range []reg.Register{y, slope, z} {
		ADDQ(U8(32), q)
	}
	DECQ(n)
	JNZ(LabelRef("siluLoop"))
	VZEROUPPER()
	RET()
}

// adam generates a step of Adam.
func adam() {
	TEXT("adamAVX2", NOSPLIT, "func(p, d, m, v *float32, n int, b1, a1, b2, a2, alpha, eps float32)")
	Doc("adamAVX2 is adamPortable for n elements, a positive multiple of 8.")
	p := Load(Param("p"), GP64())
	g := Load(Param("d"), GP64())
	m := Load(Param("m"), GP64())
	v := Load(Param("v"), GP64())
	n := Load(Param("n"), GP64())
	SHRQ(U8(3), n)
	param := func(name string) reg.VecVirtual {
		a, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		r := YMM()
		VBROADCASTSS(a.Addr, r)
		return r
	}
	b1, a1, b2, a2, alpha, eps := param("b1"), param("a1"), param("b2"), param("a2"), param("alpha"), param("eps")
	zero := YMM()
	VXORPS(zero, zero, zero)
	Label("adamLoop")
	d, mean, square, x := YMM(), YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: g}, d)
	VMULPS(Mem{Base: m}, b1, mean)
	VMULPS(d, a1, x)
	VADDPS(x, mean, mean)
	VMOVUPS(mean, Mem{Base: m})
	VMULPS(d, d, d)
	VMULPS(d, a2, d)
	VMULPS(Mem{Base: v}, b2, square)
	VADDPS(d, square, square)
	VMOVUPS(square, Mem{Base: v})
	VSQRTPS(square, square)
	VADDPS(eps, square, square)
	VMULPS(mean, alpha, mean)
	VDIVPS(square, mean, mean)
	VMOVUPS(Mem{Base: p}, x)
	VSUBPS(mean, x, x)
	VMOVUPS(x, Mem{Base: p})
	VMOVUPS(zero, Mem{Base: g})
	for _, q := range []reg.Register{p, g, m, v} {
		ADDQ(U8(32), q)
	}
	DECQ(n)
	JNZ(LabelRef("adamLoop"))
	VZEROUPPER()
	RET()
}

// Read-only data is named by its content, so that it exists once.
var data = map[uint32]Mem{}

// words returns a constant of eight equal words.
func words(w uint32) Mem {
	m, ok := data[w]
	if !ok {
		m = GLOBL(fmt.Sprintf("w_%08x", w), 24) // RODATA|NOPTR
		for i := range 8 {
			DATA(4*i, U32(w))
		}
		data[w] = m
	}
	return m
}

// floats returns a constant of eight equal float32s.
func floats(x float64) Mem { return words(math.Float32bits(float32(x))) }
