// Package kernel holds the arithmetic of the module: the counter-based generator,
// the normal transform, the fused sampling step and its sums of squares, in
// portable Go. This code is the specification: every other implementation, in
// assembly or on a GPU, must return the same bits.
//
// # Arithmetic
//
// Float32 kernels use only conversion, addition, subtraction, multiplication and
// square root, each rounded to nearest even, in the order written here, and never
// a fused multiply-add. A product that is added is therefore written
// float32(a*b) + c: the language forbids fusing across an explicit conversion.
//
// # One element
//
//	m    = float32(X·x) + float32(V·v)
//	next = round(float32(Eps·ε) + m)
//	d    = next - m
//
// where round is to the storage type. A term whose weight is 0 is absent and its
// input is not read: with X = 0, m = V·v; with X = V = 0, m = 0; with Eps = 0,
// next = round(m).
//
// # Sums of squares
//
// The order of the sum is part of the contract, see [BlockLen].
package kernel
