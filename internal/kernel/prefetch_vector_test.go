//go:build (amd64 || arm64) && !purego

package kernel

import (
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// The lines that kernels ask for, where each 64 bytes end, are those of the memory, less
// the first of memory that starts within a line, and at most two more.
func TestPrefetchLines(t *testing.T) {
	memory := make([]uint16, 8*BlockLen)
	forEach(t, func(t *testing.T) {
		if use == portable {
			return
		}
		rapid.Check(t, func(t *rapid.T) {
			groups := rapid.IntRange(1, BlockLen/use.groupLen()).Draw(t, "groups")
			start := rapid.IntRange(0, 64).Draw(t, "start")
			// Not more elements than noise, of two bytes each or, as pairs, of four.
			n := rapid.IntRange(1, 2*groups*use.groupLen()).Draw(t, "words")
			part := memory[start:][:n]
			p := PrefetchOf(part, nil, part).over(groups, nil)
			if p.dst != unsafe.Pointer(&part[0]) || p.x != p.dst || p.v != p.dst {
				t.Fatalf("asks for %v, not for %p", p, part)
			}
			asked := map[uintptr]bool{}
			for i := range groups * use.groupLen() / 16 {
				asked[(uintptr(p.dst)+uintptr(i*p.step)+63)/64] = true
			}
			first, last := uintptr(p.dst)/64, (uintptr(p.dst)+uintptr(2*n-1))/64
			for line := (uintptr(p.dst) + 63) / 64; line <= last; line++ {
				if !asked[line] {
					t.Fatalf("%d words from byte %d, %d groups: line %d is not asked for", n, uintptr(p.dst)%64, groups, line-first)
				}
				delete(asked, line)
			}
			if len(asked) > 2 {
				t.Fatalf("%d words from byte %d, %d groups: %d lines too many", n, uintptr(p.dst)%64, groups, len(asked))
			}
		})
	})
}
