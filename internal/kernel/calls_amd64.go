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

// A found is what assembly finds in rows. _asm depends on the layout.
type found struct {
	other [4]uint64 // bits of X, V and Eps that differ from the first row's; the last has no meaning
	any   [4]uint64 // bits of X, V and Eps that any row has; the last has no meaning
	most  [4]uint32 // the largest step, at 0, and the largest block, at 2
}

// survey surveys at least one row.
func survey(rows []Row) Survey {
	var s found
	surveyAVX2(&rows[0], len(rows), &s)
	return Survey{
		Same:   s.other[0]|s.other[1]|s.other[2] == 0,
		ReadsX: s.any[0]<<1 != 0, ReadsV: s.any[1]<<1 != 0, // without the sign, as -0 reads nothing
		Step: s.most[0], Block: s.most[2],
	}
}

// heads stores the first group of each row's noise. It begins the given number of blocks
// after the row's own block.
func (c *schedule) heads(dst []group, rows []Row, block uint32) {
	_ = dst[len(rows)-1]
	headsAVX2(&dst[0], &rows[0], len(rows), block, c)
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
func surveyAVX2(rows *Row, n int, to *found)

//go:noescape
func headsAVX2(dst *group, rows *Row, n int, block uint32, s *schedule)

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
