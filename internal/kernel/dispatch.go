//go:build (amd64 || arm64) && !purego

package kernel

import "unsafe"

// Do does a pass. A pass over words computes with their values, and rounds a gradient to
// their type. Do does not allocate. It panics if lengths are wrong.
func Do[T Element](w *Work, p *Pass[T]) {
	if !p.check() {
		return
	}
	if use == portable {
		doPortable(w, p)
		return
	}
	f, blockLen := functionOf(p), min(p.Dim, BlockLen)
	long := p.Dim > BlockLen || p.Kind == StepPass && 2*p.Dim > BlockLen
	groupLen := use.groupLen()
	groups := (p.Dim + groupLen - 1) / groupLen // of noise, for a short row
	ready, used := 0, 0                         // short rows up to ready have their noise; used counts elements of it
	var a passArgs
	// A call does part of a long row i, from element at on, or several short rows of equal
	// weights.
	for i, at := 0, 0; i < len(p.Rows); {
		weights, rows := p.weights(i), 1
		noisy := p.Kind == StepPass && weights.Eps != 0
		var n int
		switch {
		case long && noisy:
			n = min(p.Dim-at, BlockLen)
		case long:
			n = min(p.Dim-at, maxCall)
		default:
			if i == ready {
				ready, used = len(p.Rows), 0
				if p.Kind == StepPass {
					ready = i + shortNoise(w, p, i, groups)
				}
			}
			rows = alike(p, i, ready)
			n = rows * p.Dim
		}
		arguments(&a, p, weights, i*p.Dim+at, n, blockLen)
		if noisy {
			a.extra, a.we = &w.aligned()[used], weights.Eps
			if long {
				longNoise(w, p, &a, i, at)
			} else {
				a.backExtra = 4 * (p.Dim - groups*groupLen)
				used += rows * groups * groupLen
			}
		}
		if p.Kind == GradPass {
			a.sums, a.scaleStep = &p.Rows[i].Scale, 0
			if !long {
				a.scaleStep = int(unsafe.Sizeof(Row{}))
			}
		} else {
			a.sums = &p.Sums[i*Blocks(p.Dim)+at/BlockLen]
		}
		a.call(f)
		if at += n; at >= p.Dim {
			i, at = i+rows, 0
		}
	}
}

// alike returns how many rows from i on have row i's weights and fit in one call. It stops
// at end.
func alike[T Element](p *Pass[T], i, end int) int {
	most := min(end-i, maxCall/p.Dim)
	if p.Same {
		return most
	}
	n := 1
	for n < most && p.Rows[i+n].Affine == p.Rows[i].Affine {
		n++
	}
	return n
}

func (s Stream) normal(dst []float32, off uint64) {
	if use == portable {
		s.normalPortable(dst, off)
		return
	}
	s.normalVector(dst, off)
}
