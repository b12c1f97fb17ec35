package digits

import "gonum.org/v1/gonum/blas/gonum"

// The portable matrix products call gonum's Saxpy for whole rows. On amd64 Saxpy is assembly.
// gonum's Sgemm does the same sums, but calls Saxpy for 64 elements at a time. It reaches 10
// GFlop/s instead of 15 (one core of an AMD EPYC, 256×256 layers).
//
// With AVX2, tiles of four rows and sixteen columns stay in registers. A pass forward and back
// then takes a quarter of the time (BenchmarkPass). Either way an element of a product is the
// sum of its rounded terms in ascending order. It does not depend on the size of the batch, the
// split of its rows or the number of processors, so the bits are the same.
var blas gonum.Implementation

const (
	// strip is the number of rows of b that are used together. They fit in the first-level
	// cache.
	strip = 16

	tileRows, tileColumns = 4, 16
)

// mul adds a·b to c, for a row-major [m, k], b [k, n] and c [m, n].
func mul(c, a, b []float32, m, k, n int) {
	product{c: c, a: a, b: b, n: n, rowA: k, stepA: 1}.add(m, k)
}

// mulT adds rows lo to hi of aᵀ·b to the same rows of c, for a row-major [m, k],
// b [m, n] and c [k, n].
func mulT(c, a, b []float32, m, k, n, lo, hi int) {
	if lo < hi {
		product{c: c[lo*n:], a: a[lo:], b: b, n: n, rowA: 1, stepA: k}.add(hi-lo, m)
	}
}

// A product is the task to add a·b to c. c is row-major with n columns. Element (i, l) of a is
// a[i*rowA+l*stepA].
type product struct {
	c, a, b     []float32
	n           int
	rowA, stepA int
}

// add does the product for m rows of c and k rows of b.
func (p product) add(m, k int) {
	rows, columns := 0, 0 // of c, done in tiles
	if useVector {
		rows, columns = m/tileRows*tileRows, p.n/tileColumns*tileColumns
		p.tiles(rows, columns, k)
	}
	p.part(0, rows, columns, k)
	p.part(rows, m, 0, k)
}

// part does rows lo to hi with gonum, from a column on.
func (p product) part(lo, hi, column, k int) {
	width := p.n - column
	if lo == hi || width == 0 {
		return
	}
	for l := 0; l < k; l += strip {
		for i := lo; i < hi; i++ {
			row := p.c[i*p.n+column:][:width]
			for j := l; j < min(l+strip, k); j++ {
				// Saxpy leaves out terms with a 0. They change no sum that starts at +0.
				if w := p.a[i*p.rowA+j*p.stepA]; w != 0 {
					blas.Saxpy(width, w, p.b[j*p.n+column:], 1, row, 1)
				}
			}
		}
	}
}

// transpose stores aᵀ in dst, for a row-major [m, n].
func transpose(dst, a []float32, m, n int) {
	for i := range m {
		for j, x := range a[i*n:][:n] {
			dst[j*m+i] = x
		}
	}
}
