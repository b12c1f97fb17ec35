//go:build !purego

package kernel

// Calls of the assembly, one line an instruction set: direct calls, for what is passed
// through a function value escapes to the heap.

// groupLen is the number of elements that i makes noise for at a time.
func (i implementation) groupLen() int { return [...]int{1, 32, 64}[i] }

const maxGroup = 64 // the largest groupLen

// normals stores groups of the draws of the stream from a block on, and asks for the
// memory of what follows.
func (c *schedule) normals(dst *float32, groups int, block uint32, ask *prefetch) {
	if use == avx512 {
		normalsAVX512(dst, groups, block, c, ask)
	} else {
		normalsAVX2(dst, groups, block, c, ask)
	}
}

// ofGroups stores the draws of groups of many streams, whose key is that of c, and asks
// for the memory of what follows.
func (c *schedule) ofGroups(dst *float32, groups []group, ask *prefetch) {
	if use == avx512 {
		groupNormalsAVX512(dst, len(groups), &groups[0], c, ask)
	} else {
		groupNormalsAVX2(dst, len(groups), &groups[0], c, ask)
	}
}

// call does a pass over float32s or words. T is the type of words, or of results.
func (p *passArgs) call(k Kind, t Storage, words bool) {
	switch {
	case use == avx512 && words:
		p.wordsAVX512(k, t)
	case use == avx512:
		p.floatsAVX512(k, t)
	case words:
		p.wordsAVX2(k, t)
	default:
		p.floatsAVX2(k, t)
	}
}

func (p *passArgs) floatsAVX2(k Kind, t Storage) {
	switch {
	case k == SquaresPass:
		squaresAVX2(p)
	case k == GradPass:
		gradAVX2(p)
	case t == BFloat16:
		stepBFloat16AVX2(p)
	case t == Float16:
		stepFloat16AVX2(p)
	default:
		stepAVX2(p)
	}
}

func (p *passArgs) wordsAVX2(k Kind, t Storage) {
	switch {
	case k == StepPass && t == BFloat16:
		stepBFloat16WordsAVX2(p)
	case k == StepPass && t == Float16:
		stepFloat16WordsAVX2(p)
	case k == SquaresPass && t == BFloat16:
		squaresBFloat16WordsAVX2(p)
	case k == SquaresPass && t == Float16:
		squaresFloat16WordsAVX2(p)
	case k == GradPass && t == BFloat16:
		gradBFloat16WordsAVX2(p)
	default:
		gradFloat16WordsAVX2(p)
	}
}

func (p *passArgs) floatsAVX512(k Kind, t Storage) {
	switch {
	case k == SquaresPass:
		squaresAVX512(p)
	case k == GradPass:
		gradAVX512(p)
	case t == BFloat16:
		stepBFloat16AVX512(p)
	case t == Float16:
		stepFloat16AVX512(p)
	default:
		stepAVX512(p)
	}
}

func (p *passArgs) wordsAVX512(k Kind, t Storage) {
	switch {
	case k == StepPass && t == BFloat16:
		stepBFloat16WordsAVX512(p)
	case k == StepPass && t == Float16:
		stepFloat16WordsAVX512(p)
	case k == SquaresPass && t == BFloat16:
		squaresBFloat16WordsAVX512(p)
	case k == SquaresPass && t == Float16:
		squaresFloat16WordsAVX512(p)
	case k == GradPass && t == BFloat16:
		gradBFloat16WordsAVX512(p)
	default:
		gradFloat16WordsAVX512(p)
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
