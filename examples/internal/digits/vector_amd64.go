//go:build !purego

package digits

import "golang.org/x/sys/cpu"

//go:generate sh -c "cd _asm && go run . -out ../avx2_amd64.s"

// useVector reports whether to use the assembly. Tests set it.
var useVector = cpu.X86.HasAVX2

//go:noescape
func tileAVX2(c, a, b *float32, k, ldc, rowA, stepA, ldb int)

//go:noescape
func siluAVX2(y, slope, z *float32, n int)

//go:noescape
func adamAVX2(p, d, m, v *float32, n int, b1, a1, b2, a2, alpha, eps float32)

// tiles does the first rows and columns of p, as many as fill whole tiles. It uses columns of b
// as wide as a tile for all rows before the next columns. Their rows are 1 KiB apart and miss
// the first-level cache, but strips of them are no faster.
func (p product) tiles(rows, columns, k int) {
	if rows == 0 || columns == 0 || k == 0 {
		return
	}
	// These bounds checks cover the last elements that the assembly reads and writes.
	_, _, _ = p.c[(rows-1)*p.n+columns-1], p.a[(rows-1)*p.rowA+(k-1)*p.stepA], p.b[(k-1)*p.n+columns-1]
	for j := 0; j < columns; j += tileColumns {
		for i := 0; i < rows; i += tileRows {
			tileAVX2(&p.c[i*p.n+j], &p.a[i*p.rowA], &p.b[j], k, p.n, p.rowA, p.stepA, p.n)
		}
	}
}

// vectorSilu does the first elements of siluTo and returns their number.
func vectorSilu(y, slope, z []float32) int {
	n := len(z) &^ 7
	if n == 0 || !useVector {
		return 0
	}
	siluAVX2(&y[:n][0], &slope[:n][0], &z[0], n)
	return n
}

// vectorAdam does the first elements of a step of Adam and returns their number.
func vectorAdam(p, g, m, v []float32, c adamStep) int {
	n := len(p) &^ 7
	if n == 0 || !useVector {
		return 0
	}
	adamAVX2(&p[0], &g[:n][0], &m[:n][0], &v[:n][0], n, c.b1, c.a1, c.b2, c.a2, c.alpha, c.eps)
	return n
}
