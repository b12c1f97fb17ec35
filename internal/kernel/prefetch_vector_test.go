//go:build (amd64 || arm64) && !purego

package kernel

import (
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// Kernels prefetch the lines of the memory, at the end of each 64 bytes. They leave out
// the first line if the memory starts within it. At most they prefetch two lines more.
func TestPrefetchLines(t *testing.T) {
	memory := make([]uint16, 8*BlockLen)
	forEach(t, func(t *testing.T) {
		if use == portable {
			return
		}
		rapid.Check(t, func(t *rapid.T) {
			groups := rapid.IntRange(1, BlockLen/use.groupLen()).Draw(t, "groups")
			first := rapid.IntRange(0, 64).Draw(t, "start")
			// There are at most as many elements as noise, of two bytes each or, as
			// pairs, of four.
			n := rapid.IntRange(1, 2*groups*use.groupLen()).Draw(t, "words")
			part := memory[first:][:n]
			p := prefetchOf(&Pass[uint16]{Out: part, V: part}, &Affine{V: 1}, 0, n, groups)
			if dst := pointer(part); p.dst != dst || p.x != dst || p.v != dst {
				t.Fatalf("asks for %v, not for %p", p, part)
			}
			start, end := uintptr(unsafe.Pointer(p.dst)), uintptr(unsafe.Pointer(p.dst))+uintptr(2*n)
			asked := map[uintptr]bool{}
			for i := range groups * use.groupLen() / 16 {
				asked[(start+uintptr(i*p.step)+63)/64] = true
			}
			for line := (start + 63) / 64; line <= (end-1)/64; line++ {
				if !asked[line] {
					t.Fatalf("%d words from byte %d, %d groups: line %d is not asked for", n, start%64, groups, line-start/64)
				}
				delete(asked, line)
			}
			if len(asked) > 2 {
				t.Fatalf("%d words from byte %d, %d groups: %d lines too many", n, start%64, groups, len(asked))
			}
		})
	})
}
