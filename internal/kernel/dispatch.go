//go:build (amd64 || arm64) && !purego

package kernel

import "unsafe"

// Do does a pass. A pass over words computes with their values, and rounds a gradient to
// their type. Do does not allocate. It panics if lengths are wrong.
func Do[T Element](w *Work, p *Pass[T]) {
	switch {
	case !p.check():
	case use == portable:
		doPortable(w, p)
	case p.Dim > BlockLen || p.Kind == StepPass && 2*p.Dim > BlockLen:
		doLong(w, p)
	default:
		doShort(w, p)
	}
}

// doLong does a pass over long rows. Each takes at least one call.
func doLong[T Element](w *Work, p *Pass[T]) {
	f, blockLen := functionOf(p), min(p.Dim, BlockLen)
	var a passArgs
	for i := range p.Rows {
		weights := p.Rows[i].affine()
		noisy, most := p.Kind == StepPass && weights.Eps != 0, maxCall
		if noisy {
			most = BlockLen
		}
		for at := 0; at < p.Dim; at += most {
			arguments(&a, p, &weights, i*p.Dim+at, min(p.Dim-at, most), blockLen)
			if noisy {
				a.extra, a.we = &w.aligned()[0], weights.Eps
				longNoise(w, p, &weights, &a, i, at)
			}
			if p.Kind == GradPass {
				a.sums, a.scaleStep = &p.Scales[i], 0
			} else {
				a.sums = &p.Sums[i*Blocks(p.Dim)+at/BlockLen]
			}
			a.call(f)
		}
	}
}

// doShort does a pass over short rows. Rows of equal weights share a call.
func doShort[T Element](w *Work, p *Pass[T]) {
	f := functionOf(p)
	groupLen := use.groupLen()
	groups := (p.Dim + groupLen - 1) / groupLen // of noise, for a row
	weights := p.Rows[0].affine()
	noisy := p.Kind == StepPass && weights.Eps != 0
	ready, used := len(p.Rows), 0 // rows up to ready have their noise; used counts elements of it
	if p.Kind == StepPass && !(p.Same && !noisy) {
		ready = 0
		w.schedule.setKey(p.Key)
		w.schedule.heads(w.heads[:], p.Rows, p.Block)
	}
	var a passArgs
	for i, rows := 0, 0; i < len(p.Rows); i += rows {
		if !p.Same && i > 0 {
			weights = p.Rows[i].affine()
			noisy = p.Kind == StepPass && weights.Eps != 0
		}
		if i == ready {
			ready, used = i+shortNoise(w, p, &weights, i, groups), 0
		}
		rows = min(ready-i, maxCall/p.Dim)
		if !p.Same {
			rows = alike(p.Rows[i:][:rows])
		}
		arguments(&a, p, &weights, i*p.Dim, rows*p.Dim, p.Dim)
		if noisy {
			a.extra, a.we, a.backExtra = &w.aligned()[used], weights.Eps, 4*(p.Dim-groups*groupLen)
			used += rows * groups * groupLen
		}
		if p.Kind == GradPass {
			a.sums, a.scaleStep = &p.Scales[i], 4
		} else {
			a.sums = &p.Sums[i]
		}
		a.next = uintptr(unsafe.Pointer(&p.Rows[i])) + MaxRows*unsafe.Sizeof(Row{})
		a.call(f)
	}
}

// alike returns how many rows, from the first on, have its weights.
func alike(rows []Row) int {
	n := 1
	for n < len(rows) && rows[n].Weights == rows[0].Weights {
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
