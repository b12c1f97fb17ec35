//go:build (amd64 || arm64) && !purego

package kernel

func (w *Work) step(sums, dst, x, v []float32, a Affine, s Stream, off uint64, t Storage) {
	if use != portable {
		w.stepVector(sums, dst, x, v, a, s, off, t)
		return
	}
	stepPortable(sums, dst, x, v, a, s, off, t)
}

func (w *Work) stepRows(sums, dst, x, v []float32, a Affine, streams []Stream, n int, t Storage) {
	if use != portable {
		w.stepRowsVector(sums, dst, x, v, a, streams, n, t)
		return
	}
	w.eachRow(sums, dst, x, v, a, streams, n, t)
}

func squaresRows(sums, next, x, v []float32, a Affine, n int) {
	if use != portable {
		squaresRowsVector(sums, next, x, v, a, n)
		return
	}
	eachSquares(sums, next, x, v, a, n)
}

func gradRows(dst, next, x, v []float32, a Affine, scales []float32, n int) {
	if use != portable {
		gradRowsVector(dst, next, x, v, a, scales, n)
		return
	}
	eachGrad(dst, next, x, v, a, scales, n)
}

func squares(sums, next, x, v []float32, a Affine) {
	if use != portable {
		squaresVector(sums, next, x, v, a)
		return
	}
	squaresPortable(sums, next, x, v, a)
}

func grad(dst, next, x, v []float32, a Affine, scale float32) {
	if use != portable {
		gradVector(dst, next, x, v, a, scale)
		return
	}
	gradPortable(dst, next, x, v, a, scale)
}

func (s Stream) normal(dst []float32, off uint64) {
	if use != portable {
		s.normalVector(dst, off)
		return
	}
	s.normalPortable(dst, off)
}
