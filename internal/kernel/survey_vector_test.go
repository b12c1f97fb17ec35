//go:build (amd64 || arm64) && !purego

package kernel

import (
	"testing"

	"pgregory.net/rapid"
)

// The first group of each row is that of the portable code. No memory after the groups is
// written.
func TestHeads(t *testing.T) {
	forEach(t, func(t *testing.T) {
		if use == portable {
			return
		}
		rapid.Check(t, func(t *rapid.T) {
			n := rapid.IntRange(1, MaxRows).Draw(t, "rows")
			rows := rowsIn(make([]uint64, 6*n), n)
			for i := range rows {
				rows[i].Sample, rows[i].Step = rapid.Uint64().Draw(t, "sample"), rapid.Uint32().Draw(t, "step")
				rows[i].Block = rapid.Uint32().Draw(t, "block")
			}
			block := rapid.Uint32().Draw(t, "pass's block")
			var c schedule
			c.setKey(rapid.Uint64().Draw(t, "key"))
			const beside = 2
			got, want := make([]group, n+beside), make([]group, n+beside)
			c.heads(got[:n], rows, block)
			c.headsPortable(want, rows, block)
			for i, g := range got {
				if g.first != want[i].first || g.block != want[i].block {
					t.Fatalf("group %d is %x, want %x", i, g, want[i])
				}
			}
		})
	})
}
