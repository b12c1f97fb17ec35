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

// hasWords reports whether i has passes over 16-bit words.
func (i implementation) hasWords() bool { return false }

// call does a pass, whose results or words are of type t.
func (p *passArgs) call(k Kind, t Storage, words bool) {
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
