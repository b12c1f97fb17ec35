package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// Offsets in kernel.Row.
const (
	offSample   = 24
	offStep     = 32
	offRowBlock = 40
	rowSize     = 48
)

// survey stores a found in "to". It also reads bytes that have no meaning, since that costs
// nothing.
func survey() {
	TEXT("surveyAVX2", NOSPLIT, "func(rows *byte, n int, to *byte)")
	rows, n := Load(Param("rows"), GP64()), Load(Param("n"), GP64())
	first, other, any, most := YMM(), YMM(), YMM(), XMM()
	VMOVDQU(at(rows, 0), first)
	VPXOR(other, other, other)
	VPXOR(any, any, any)
	VPXOR(most, most, most)
	Label("row")
	t := YMM()
	VMOVDQU(at(rows, 0), t)
	VPOR(t, any, any)
	VPXOR(t, first, t)
	VPOR(t, other, other)
	VPMAXUD(at(rows, offStep), most, most)
	ADDQ(Imm(rowSize), rows)
	DECQ(n)
	JNZ(LabelRef("row"))
	to := Load(Param("to"), GP64())
	VMOVDQU(other, at(to, 0))
	VMOVDQU(any, at(to, 32))
	VMOVDQU(most, at(to, 64))
	VZEROUPPER()
	RET()
}

// heads stores the first group of each row's noise. It begins the given number of blocks after
// the row's own block. The code applies the first rounds of Philox to the words that all blocks
// share, two rows at a time. It does the last row of an odd number twice.
func heads() {
	TEXT("headsAVX2", NOSPLIT, "func(dst, rows *byte, n int, block uint32, s *byte)")
	dst, rows := Load(Param("dst"), GP64()), Load(Param("rows"), GP64())
	n, s := Load(Param("n"), GP64()), Load(Param("s"), GP64())
	block := GP32()
	Load(Param("block"), block)
	key := func(i int) vec { k := YMM(); VMOVDQU(at(s, offKeys+32*i), k); return k }
	key0, keys := key(0), key(1)
	VPBLENDD(Imm(0x22), key(2), keys, keys)
	VPBLENDD(Imm(0x44), key(3), keys, keys)
	m0, m1, zero := YMM(), YMM(), YMM()
	VMOVDQU(quads(0xD2511F53), m0)
	VMOVDQU(quads(0xCD9E8D57), m1)
	VPXOR(zero, zero, zero)
	VPBLENDD(Imm(0x88), zero, keys, keys)
	row2, dst2, none := GP64(), GP64(), GP64()
	MOVQ(U32(rowSize), row2)
	MOVQ(U32(groupSize), dst2)
	XORQ(none, none)

	Label("rows")
	CMPQ(n, Imm(1))
	CMOVQEQ(none, row2)
	CMOVQEQ(none, dst2)
	second := func(offset int) Mem { return at(rows, offset).Idx(row2, 1) }
	id := YMM() // of each row: the sample's two words, the step, and a word without meaning
	VMOVDQU(at(rows, offSample), id.AsX())
	VINSERTI128(Imm(1), second(offSample), id, id)
	p, q, t, u := YMM(), YMM(), YMM(), YMM()
	VPMULUDQ(m1, id, p)
	VPSRLDQ(Imm(8), id, t)
	VPSRLQ(Imm(32), p, q)
	VPXOR(t, key0, t)
	VPXOR(t, q, q)
	VPMULUDQ(m0, q, q)
	VPSRLQ(Imm(32), id, u)
	VPSLLQ(Imm(32), p, p)
	VPOR(p, u, u)
	VPSHUFD(Imm(0b10_11_00_01), q, q) // now words 2 and 3
	VPUNPCKLQDQ(q, u, u)
	VPXOR(keys, u, u)
	VMOVDQU(u.AsX(), at(dst, 0))
	VEXTRACTI128(Imm(1), u, at(dst, 0).Idx(dst2, 1))
	for i, from := range []Mem{at(rows, offRowBlock), second(offRowBlock)} {
		b := GP32()
		MOVL(from, b)
		ADDL(block, b)
		MOVL(b, []Mem{at(dst, offBlock), at(dst, offBlock).Idx(dst2, 1)}[i])
	}
	ADDQ(Imm(2*rowSize), rows)
	ADDQ(Imm(2*groupSize), dst)
	SUBQ(Imm(2), n)
	JG(LabelRef("rows"))
	VZEROUPPER()
	RET()
}
