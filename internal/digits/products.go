package digits

import "gonum.org/v1/gonum/blas/gonum"

// The matrix products are rows of gonum's Saxpy, which on amd64 is assembly.
// Sgemm would do the same sums in blocks of 64, but calls Saxpy for 64 elements
// at a time and takes half as long again (10 against 15 GFlop/s on one core of
// an AMD EPYC, 256×256 layers).
//
// Saxpy treats elements one by one, so an element of a product is the sum of
// its terms in ascending order, whatever the size of the batch, the split of
// its rows and the number of processors.
var blas gonum.Implementation

// strip is the number of rows of b that mul and mulT apply before they go on,
// few enough to stay in the first-level cache.
const strip = 16

// mul adds a·b to c, for a row-major [m, k], b [k, n] and c [m, n].
func mul(c, a, b []float32, m, k, n int) {
	for l := 0; l < k; l += strip {
		for i := range m {
			row := c[i*n:][:n]
			for j, w := range a[i*k+l : i*k+min(l+strip, k)] {
				if w != 0 {
					blas.Saxpy(n, w, b[(l+j)*n:], 1, row, 1)
				}
			}
		}
	}
}

// mulT adds rows lo to hi of aᵀ·b to the same rows of c, for a row-major [m, k],
// b [m, n] and c [k, n].
func mulT(c, a, b []float32, m, k, n, lo, hi int) {
	for l := 0; l < m; l += strip {
		for i := lo; i < hi; i++ {
			row := c[i*n:][:n]
			for j := l; j < min(l+strip, m); j++ {
				if w := a[j*k+i]; w != 0 {
					blas.Saxpy(n, w, b[j*n:], 1, row, 1)
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
