package main

import (
	"math"

	ort "github.com/yalue/onnxruntime_go"
)

// residual is the root mean square of how far pixels that are -1 in all data are off.
func (m images) residual(border []int) float64 {
	sum, n := 0.0, 0
	for at := 0; at < len(m.pixels); at += dim {
		for _, p := range border {
			d := float64(m.pixels[at+p]) + 1
			sum += d * d
			n++
		}
	}
	return math.Sqrt(sum / float64(n))
}

// diversity is the mean distance, root mean square over pixels, from an image to the nearest
// other of its class.
func (m images) diversity() float64 {
	sum, n := 0.0, 0
	for i, class := range m.classes {
		least := math.Inf(1)
		for j, other := range m.classes {
			if i != j && class == other {
				least = min(least, distance(m.pixels[i*dim:(i+1)*dim], m.pixels[j*dim:(j+1)*dim]))
			}
		}
		if !math.IsInf(least, 1) {
			sum += math.Sqrt(least / dim)
			n++
		}
	}
	return sum / float64(n) // NaN, if every image is alone in its class
}

func distance(a, b []float32) (sum float64) {
	for p := range a {
		d := float64(a[p] - b[p])
		sum += d * d
	}
	return sum
}

// accuracy is the share of images that the classifier gives their class.
func (m images) accuracy(classifier *ort.DynamicAdvancedSession) (float64, error) {
	right := 0
	for at := 0; at < len(m.classes); at += 500 {
		classes := m.classes[at:min(at+500, len(m.classes))]
		n := int64(len(classes))
		logits := make([]float32, n*none)
		var t tensors
		if err := t.run(classifier, tensor(&t, logits, n, none), tensor(&t, m.pixels[at*dim:], n, 1, side, side)); err != nil {
			return 0, err
		}
		for i, class := range classes {
			best := 0
			for k, l := range logits[i*none : (i+1)*none] {
				if l > logits[i*none+best] {
					best = k
				}
			}
			if int64(best) == class {
				right++
			}
		}
	}
	return float64(right) / float64(len(m.classes)), nil
}
