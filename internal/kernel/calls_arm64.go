//go:build !purego

package kernel

// groupLen is the number of elements that i makes noise for at a time.
func (i implementation) groupLen() int { return [...]int{1, 32}[i] }

const maxGroup = 32 // the largest groupLen

// normals stores groups of the draws of the stream from a block on.
func (c *schedule) normals(dst *float32, groups int, block uint32, _ *prefetch) {
	normalsNEON(dst, groups, block, c)
}

// ofGroups stores the draws of groups of many streams, whose key is that of c.
func (c *schedule) ofGroups(dst *float32, groups []group, _ *prefetch) {
	groupNormalsNEON(dst, len(groups), &groups[0], c)
}

// call does a pass over float32s or words. T is the type of words, or of results.
func (p *passArgs) call(k Kind, t Storage, words bool) {
	if words {
		p.wordsNEON(k, t)
	} else {
		p.floatsNEON(k, t)
	}
}

func (p *passArgs) floatsNEON(k Kind, t Storage) {
	switch {
	case k == SquaresPass:
		squaresNEON(p)
	case k == GradPass:
		gradNEON(p)
	case t == BFloat16:
		stepBFloat16NEON(p)
	case t == Float16:
		stepFloat16NEON(p)
	default:
		stepNEON(p)
	}
}

func (p *passArgs) wordsNEON(k Kind, t Storage) {
	switch {
	case k == StepPass && t == BFloat16:
		stepBFloat16WordsNEON(p)
	case k == StepPass && t == Float16:
		stepFloat16WordsNEON(p)
	case k == SquaresPass && t == BFloat16:
		squaresBFloat16WordsNEON(p)
	case k == SquaresPass && t == Float16:
		squaresFloat16WordsNEON(p)
	case k == GradPass && t == BFloat16:
		gradBFloat16WordsNEON(p)
	default:
		gradFloat16WordsNEON(p)
	}
}

//go:noescape
func normalsNEON(dst *float32, groups int, block uint32, s *schedule)

//go:noescape
func groupNormalsNEON(dst *float32, groups int, each *group, s *schedule)

//go:noescape
func stepNEON(a *passArgs)

//go:noescape
func stepBFloat16NEON(a *passArgs)

//go:noescape
func stepFloat16NEON(a *passArgs)

//go:noescape
func squaresNEON(a *passArgs)

//go:noescape
func gradNEON(a *passArgs)

//go:noescape
func stepBFloat16WordsNEON(a *passArgs)

//go:noescape
func squaresBFloat16WordsNEON(a *passArgs)

//go:noescape
func gradBFloat16WordsNEON(a *passArgs)

//go:noescape
func stepFloat16WordsNEON(a *passArgs)

//go:noescape
func squaresFloat16WordsNEON(a *passArgs)

//go:noescape
func gradFloat16WordsNEON(a *passArgs)
