//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// An implementation is one way to compute the passes. All give the same bits.
type implementation uint8

const (
	portable implementation = iota
	avx2
	avx512
)

// available lists the implementations that this machine can run, the fastest last.
func available() []implementation {
	list := []implementation{portable}
	if x := cpu.X86; x.HasAVX2 && x.HasF16C {
		list = append(list, avx2)
		if x.HasAVX512F && x.HasBMI2 {
			list = append(list, avx512)
		}
	}
	return list
}

// use is the implementation in use. Tests set it.
var use = available()[len(available())-1]

// stepRate and passRate: AVX2 as measured on an AMD EPYC (Zen 3), AVX-512 as llvm-mca
// has it for steps, and no faster than AVX2 for passes that wait for memory.
func (i implementation) stepRate() float64 { return [...]float64{64, 640, 1500}[i] }
func (i implementation) passRate() float64 { return [...]float64{700, 5000, 5000}[i] }

func (i implementation) String() string { return [...]string{"portable", "AVX2", "AVX512"}[i] }

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
