package main

import "fmt"

// named returns an instruction that Go's assembler knows, with the destination last.
func named(name, lanes string) op {
	return op{text: fmt.Sprintf("%s V{2}.%[2]s, V{1}.%[2]s, V{0}.%[2]s", name, lanes)}
}

// Encoded instructions are words, in which function.print sets the registers. The
// comments have the syntax of ARM's manual. A test compares the words with the comments.
func encoded3(word uint32, name, to, from string) op {
	return op{fmt.Sprintf("%s v{0}.%s, v{1}.%s, v{2}.%[3]s", name, to, from), word}
}

func encoded2(word uint32, name, to, from string) op {
	return op{fmt.Sprintf("%s v{0}.%s, v{1}.%s", name, to, from), word}
}

// immediate is an encoded instruction with a number n from 1 to 32, encoded as 64 - n.
func immediate(word uint32, name string, n int) op {
	o := encoded2(word|uint32(64-n)<<16, name, "4s", "4s")
	o.text += fmt.Sprintf(", #%d", n)
	return o
}

var (
	add   = named("VADD", "S4")
	sub   = named("VSUB", "S4")
	and   = named("VAND", "B16")
	xor   = named("VEOR", "B16")
	uzp1  = named("VUZP1", "S4")
	uzp2  = named("VUZP2", "S4")
	zip1  = named("VZIP1", "S4")
	zip2  = named("VZIP2", "S4")
	uzp2h = named("VUZP2", "H8")
	zip1h = named("VZIP1", "H8")
	zip2h = named("VZIP2", "H8")
	zip1d = named("VZIP1", "D2")
	zip2d = named("VZIP2", "D2")
	cmtst = named("VCMTST", "S4") // all ones where the operands share a bit
	bsl   = named("VBSL", "B16")  // the mask selects: the first operand where it has ones, else the second
	bit   = named("VBIT", "B16")  // takes bits of the first operand where the second has ones

	fadd   = encoded3(0x4e20d400, "fadd", "4s", "4s")
	fsub   = encoded3(0x4ea0d400, "fsub", "4s", "4s")
	fmul   = encoded3(0x6e20dc00, "fmul", "4s", "4s")
	fcmeq  = encoded3(0x4e20e400, "fcmeq", "4s", "4s")
	umull  = encoded3(0x2ea0c000, "umull", "2d", "2s")
	umull2 = encoded3(0x6ea0c000, "umull2", "2d", "4s")
	fsqrt  = encoded2(0x6ea1f800, "fsqrt", "4s", "4s")
	scvtf  = encoded2(0x4e21d800, "scvtf", "4s", "4s")
	ucvtf  = encoded2(0x6e21d800, "ucvtf", "4s", "4s")
	fcvtn  = encoded2(0x0e216800, "fcvtn", "4h", "4s")
	fcvtn2 = encoded2(0x4e216800, "fcvtn2", "8h", "4s") // into the upper half
	fcvtl  = encoded2(0x0e217800, "fcvtl", "4s", "4h")
	fcvtl2 = encoded2(0x4e217800, "fcvtl2", "4s", "8h")
)

// fraction converts integers in units of 2⁻ⁿ.
func fraction(n int) op { return immediate(0x4f00e400, "scvtf", n) }

func sshr(n int) op { return immediate(0x4f000400, "sshr", n) }
func ushr(n int) op { return op{text: fmt.Sprintf("VUSHR $%d, V{1}.S4, V{0}.S4", n)} }
func shl(n int) op  { return op{text: fmt.Sprintf("VSHL $%d, V{1}.S4, V{0}.S4", n)} }
func dup(n int) op  { return op{text: fmt.Sprintf("VDUP V{1}.S[%d], V{0}.S4", n)} }
func ext(n int) op  { return op{text: fmt.Sprintf("VEXT $%d, V{1}.B16, V{1}.B16, V{0}.B16", n)} }
