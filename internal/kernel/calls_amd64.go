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

func (p *passArgs) step(t Storage) {
	switch {
	case use == avx512 && t == Float32:
		stepAVX512(p)
	case use == avx512 && t == BFloat16:
		stepBFloat16AVX512(p)
	case use == avx512:
		stepFloat16AVX512(p)
	case t == Float32:
		stepAVX2(p)
	case t == BFloat16:
		stepBFloat16AVX2(p)
	default:
		stepFloat16AVX2(p)
	}
}

func (p *passArgs) squares() {
	if use == avx512 {
		squaresAVX512(p)
	} else {
		squaresAVX2(p)
	}
}

func (p *passArgs) grad() {
	if use == avx512 {
		gradAVX512(p)
	} else {
		gradAVX2(p)
	}
}

// Passes over words of a 16-bit type t, to which their results are rounded.

func (p *passArgs) stepWords(t Storage) {
	switch {
	case use == avx512 && t == BFloat16:
		stepBFloat16WordsAVX512(p)
	case use == avx512:
		stepFloat16WordsAVX512(p)
	case t == BFloat16:
		stepBFloat16WordsAVX2(p)
	default:
		stepFloat16WordsAVX2(p)
	}
}

func (p *passArgs) squaresWords(t Storage) {
	switch {
	case use == avx512 && t == BFloat16:
		squaresBFloat16WordsAVX512(p)
	case use == avx512:
		squaresFloat16WordsAVX512(p)
	case t == BFloat16:
		squaresBFloat16WordsAVX2(p)
	default:
		squaresFloat16WordsAVX2(p)
	}
}

func (p *passArgs) gradWords(t Storage) {
	switch {
	case use == avx512 && t == BFloat16:
		gradBFloat16WordsAVX512(p)
	case use == avx512:
		gradFloat16WordsAVX512(p)
	case t == BFloat16:
		gradBFloat16WordsAVX2(p)
	default:
		gradFloat16WordsAVX2(p)
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
