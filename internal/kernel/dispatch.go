//go:build (amd64 || arm64) && !purego

package kernel

// floats does a pass over float32s.
func (w *Work) floats(p *Pass[float32]) {
	if use == portable {
		doPortable(p)
		return
	}
	vector(w, p)
}

// words does a pass over words.
func (w *Work) words(p *Pass[uint16]) {
	if use == portable {
		w.unpacked(p)
		return
	}
	vector(w, p)
}

func (s Stream) normal(dst []float32, off uint64) {
	if use == portable {
		s.normalPortable(dst, off)
		return
	}
	s.normalVector(dst, off)
}
