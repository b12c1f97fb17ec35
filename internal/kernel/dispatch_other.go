//go:build !(amd64 || arm64) || purego

package kernel

// An implementation is one way to compute the passes. All give the same bits.
type implementation uint8

const portable implementation = 0

// available lists the implementations that this machine can run, the fastest last.
func available() []implementation { return []implementation{portable} }

// use is the implementation in use. Tests set it.
var use = portable

func (implementation) groupLen() int { return 1 }

func (implementation) stepRate() float64 { return 64 }
func (implementation) passRate() float64 { return 700 }

func (implementation) String() string { return "portable" }

// What vector kernels keep.
type (
	schedule  struct{}
	madeNoise struct{}
)

func (w *Work) makeAhead(streams []Stream, n int, next Prefetch) {}

func (w *Work) step(sums, dst, x, v []float32, a Affine, s Stream, off uint64, t Storage) {
	stepPortable(sums, dst, x, v, a, s, off, t)
}

func (w *Work) stepRows(sums, dst, x, v []float32, a Affine, streams []Stream, n int, t Storage) {
	w.eachRow(sums, dst, x, v, a, streams, n, t)
}

func squaresRows(sums, next, x, v []float32, a Affine, n int) {
	eachSquares(sums, next, x, v, a, n)
}

func gradRows(dst, next, x, v []float32, a Affine, scales []float32, n int) {
	eachGrad(dst, next, x, v, a, scales, n)
}

func squares(sums, next, x, v []float32, a Affine) { squaresPortable(sums, next, x, v, a) }

func grad(dst, next, x, v []float32, a Affine, scale float32) {
	gradPortable(dst, next, x, v, a, scale)
}

func (s Stream) normal(dst []float32, off uint64) { s.normalPortable(dst, off) }
