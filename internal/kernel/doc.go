// Package kernel holds the arithmetic of the module: the counter-based generator, the
// normal transform, the fused sampling step and its sums of squares. The portable Go code
// is the specification. Every other implementation, in assembly or on a GPU, must return
// the same bits.
//
// On amd64 the passes are assembly for AVX-512 or AVX2, if the machine has it. avo
// generates the assembly from _asm. With the build tag purego only the portable code is
// left. _emulate runs the tests on an emulated processor with AVX-512.
//
// On arm64 the passes are assembly for NEON, which _neon generates. For vectors of
// float32s, Go's assembler knows only fused multiply-add, which the contract forbids. So
// additions, multiplications and others are written as words. A test compares each word
// with clang's encoding of the instruction. The bits are tested on an emulated processor.
// The speed is modelled, not measured.
//
// # Arithmetic
//
// Float32 kernels use only conversion, addition, subtraction, multiplication and square
// root. Each is rounded to nearest even, in the order written here. None is a fused
// multiply-add: a product that is added is written float32(a*b) + c, since the language
// forbids fusing across an explicit conversion.
//
// # One normal
//
// The radius is that of the uniform u = float32(float32(x) + ½)·2⁻³² of a word x. The word
// is rounded, and then the sum, as in cuRAND. The scale is a power of two and rounds
// nothing. The angle is y·2⁻³² of a turn. Its difference to the nearest quarter turn is
// rounded once, to 24 bits. Logarithm, sine and cosine are the polynomials of normal.go in
// Horner's form. Every product and every sum is rounded.
//
// # One element
//
//	m    = float32(X·x) + float32(V·v)
//	next = round(float32(Eps·ε) + m)
//	d    = next - m
//
// Here round is to the storage type. A term whose weight is 0 is absent, and its input is
// not read. With X = 0, m = V·v. With X = V = 0, m = 0. With Eps = 0, next = round(m).
//
// # Rows
//
// [Do] does a pass over rows. A row begins at any block of four elements of its sample's
// noise, so a part of a row is itself a row. Buffers hold float32s, or 16-bit words. A
// pass computes with the values of words. The results of a step are of the words' type,
// and a gradient is rounded to it after the addition. Portable code unpacks words a block
// at a time.
//
// # Sums of squares
//
// The order of the sum is part of the contract. See [BlockLen].
package kernel
