//go:build !purego

package kernel

// Calls of the assembly, one line for each instruction set. They are direct calls,
// because arguments of a function value escape to the heap.

// groupLen is the number of elements for which i makes noise at a time.
func (i implementation) groupLen() int { return [...]int{1, 32, 64}[i] }

const maxGroup = 64 // the largest groupLen

// normals stores draws of the stream from a block on, in whole groups. It prefetches
// the memory in ask.
func (c *schedule) normals(dst *float32, groups int, block uint32, ask *prefetch) {
	if use == avx512 {
		normalsAVX512(dst, groups, block, c, ask)
	} else {
		normalsAVX2(dst, groups, block, c, ask)
	}
}

// ofGroups stores the draws of groups of many streams. Their key is that of c. It
// prefetches the memory in ask.
func (c *schedule) ofGroups(dst *float32, groups []group, ask *prefetch) {
	if use == avx512 {
		groupNormalsAVX512(dst, len(groups), &groups[0], c, ask)
	} else {
		groupNormalsAVX2(dst, len(groups), &groups[0], c, ask)
	}
}

// call calls the assembly function f.
func (p *passArgs) call(f function) {
	switch use {
	case avx512:
		switch f {
		case step:
			stepAVX512(p)
		case stepBFloat16:
			stepBFloat16AVX512(p)
		case stepFloat16:
			stepFloat16AVX512(p)
		case stepBFloat16Words:
			stepBFloat16WordsAVX512(p)
		case stepFloat16Words:
			stepFloat16WordsAVX512(p)
		case squares:
			squaresAVX512(p)
		case squaresBFloat16Words:
			squaresBFloat16WordsAVX512(p)
		case squaresFloat16Words:
			squaresFloat16WordsAVX512(p)
		case grad:
			gradAVX512(p)
		case gradBFloat16Words:
			gradBFloat16WordsAVX512(p)
		case gradFloat16Words:
			gradFloat16WordsAVX512(p)
		}
	case avx2:
		switch f {
		case step:
			stepAVX2(p)
		case stepBFloat16:
			stepBFloat16AVX2(p)
		case stepFloat16:
			stepFloat16AVX2(p)
		case stepBFloat16Words:
			stepBFloat16WordsAVX2(p)
		case stepFloat16Words:
			stepFloat16WordsAVX2(p)
		case squares:
			squaresAVX2(p)
		case squaresBFloat16Words:
			squaresBFloat16WordsAVX2(p)
		case squaresFloat16Words:
			squaresFloat16WordsAVX2(p)
		case grad:
			gradAVX2(p)
		case gradBFloat16Words:
			gradBFloat16WordsAVX2(p)
		case gradFloat16Words:
			gradFloat16WordsAVX2(p)
		}
	}
}

//go:noescape
func normalsAVX2(dst *float32, groups int, block uint32, s *schedule, ask *prefetch)

//go:noescape
func groupNormalsAVX2(dst *float32, groups int, each *group, s *schedule, ask *prefetch)

//go:noescape
func stepAVX2(a *passArgs)

//go:noescape
func stepBFloat16AVX2(a *passArgs)

//go:noescape
func stepFloat16AVX2(a *passArgs)

//go:noescape
func squaresAVX2(a *passArgs)

//go:noescape
func gradAVX2(a *passArgs)

//go:noescape
func normalsAVX512(dst *float32, groups int, block uint32, s *schedule, ask *prefetch)

//go:noescape
func groupNormalsAVX512(dst *float32, groups int, each *group, s *schedule, ask *prefetch)

//go:noescape
func stepAVX512(a *passArgs)

//go:noescape
func stepBFloat16AVX512(a *passArgs)

//go:noescape
func stepFloat16AVX512(a *passArgs)

//go:noescape
func squaresAVX512(a *passArgs)

//go:noescape
func gradAVX512(a *passArgs)

//go:noescape
func stepBFloat16WordsAVX2(a *passArgs)

//go:noescape
func squaresBFloat16WordsAVX2(a *passArgs)

//go:noescape
func gradBFloat16WordsAVX2(a *passArgs)

//go:noescape
func stepFloat16WordsAVX2(a *passArgs)

//go:noescape
func squaresFloat16WordsAVX2(a *passArgs)

//go:noescape
func gradFloat16WordsAVX2(a *passArgs)

//go:noescape
func stepBFloat16WordsAVX512(a *passArgs)

//go:noescape
func squaresBFloat16WordsAVX512(a *passArgs)

//go:noescape
func gradBFloat16WordsAVX512(a *passArgs)

//go:noescape
func stepFloat16WordsAVX512(a *passArgs)

//go:noescape
func squaresFloat16WordsAVX512(a *passArgs)

//go:noescape
func gradFloat16WordsAVX512(a *passArgs)
