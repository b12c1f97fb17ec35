//go:build !purego

package kernel

// groupLen is the number of elements for which i makes noise at a time.
func (i implementation) groupLen() int { return [...]int{1, 32}[i] }

const maxGroup = 32 // the largest groupLen

// normals stores draws of the stream from a block on, in whole groups.
func (c *schedule) normals(dst *float32, groups int, block uint32, _ *prefetch) {
	normalsNEON(dst, groups, block, c)
}

// ofGroups stores the draws of groups of many streams. Their key is that of c.
func (c *schedule) ofGroups(dst *float32, groups []group, _ *prefetch) {
	groupNormalsNEON(dst, len(groups), &groups[0], c)
}

// survey surveys at least one row.
func survey(rows []Row) Survey { return surveyPortable(rows) }

// heads stores the first group of each row's noise. It begins the given number of blocks
// after the row's own block.
func (c *schedule) heads(dst []group, rows []Row, block uint32) { c.headsPortable(dst, rows, block) }

// call calls the assembly function f.
func (p *passArgs) call(f function) {
	switch f {
	case step:
		stepNEON(p)
	case stepBFloat16:
		stepBFloat16NEON(p)
	case stepFloat16:
		stepFloat16NEON(p)
	case stepBFloat16Words:
		stepBFloat16WordsNEON(p)
	case stepFloat16Words:
		stepFloat16WordsNEON(p)
	case squares:
		squaresNEON(p)
	case squaresBFloat16Words:
		squaresBFloat16WordsNEON(p)
	case squaresFloat16Words:
		squaresFloat16WordsNEON(p)
	case grad:
		gradNEON(p)
	case gradBFloat16Words:
		gradBFloat16WordsNEON(p)
	case gradFloat16Words:
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
