package digits

import "math"

// A Background is the pixels that hardly differ between the images of a set.
// There every deviation of a sample is noise that its sampler left.
type Background struct {
	Pixels []int     // in ascending order
	Mean   []float64 // of each of them
}

// NearConstant returns the pixels of s whose variance is below the limit. The data
// set has eleven below 0.0025, all nearly blank.
func NearConstant(s *Set, limit float64) Background {
	mean, variance := s.moments()
	var b Background
	for p, v := range variance {
		if v < limit {
			b.Pixels = append(b.Pixels, p)
			b.Mean = append(b.Mean, mean[p])
		}
	}
	return b
}

// Residual returns the root mean square of the deviations from the mean in the
// background of rows of x, row-major [rows, Dim]. Without rows or background it
// is NaN.
func (b Background) Residual(x []float32) float64 {
	if len(x)%Dim != 0 {
		panic(badLen)
	}
	sum := 0.0
	for row := x; len(row) > 0; row = row[Dim:] {
		for i, p := range b.Pixels {
			d := float64(row[p]) - b.Mean[i]
			sum += float64(d * d)
		}
	}
	return math.Sqrt(sum / float64(len(x)/Dim*len(b.Pixels)))
}

// Diversity returns the mean distance of a row of x, row-major [rows, Dim], to its
// nearest other row. With fewer than two rows it is NaN.
func Diversity(x []float32) float64 {
	return meanNearest(x, x, true)
}

// Novelty returns the mean distance of a row of x to its nearest row of data, both
// row-major [rows, Dim]: 0 for copies. Without rows it is NaN.
func Novelty(x, data []float32) float64 {
	return meanNearest(x, data, false)
}

// meanNearest returns the mean over rows of x of the distance to the nearest row of
// y, leaving out the row of the same index if same.
func meanNearest(x, y []float32, same bool) float64 {
	if len(x)%Dim != 0 || len(y)%Dim != 0 {
		panic(badLen)
	}
	rows, sum := len(x)/Dim, 0.0
	for i := range rows {
		nearest := math.NaN()
		for j := range len(y) / Dim {
			if same && i == j {
				continue
			}
			d := distance(x[i*Dim:][:Dim], y[j*Dim:][:Dim])
			if math.IsNaN(d) {
				return d
			}
			if !(nearest <= d) {
				nearest = d
			}
		}
		sum += nearest
	}
	return sum / float64(rows)
}

// distance returns the Euclidean distance of x and y.
func distance(x, y []float32) float64 {
	sum := 0.0
	for i, a := range x {
		d := float64(a) - float64(y[i])
		sum += float64(d * d)
	}
	return math.Sqrt(sum)
}

// Accuracy returns the part of rows of x, row-major [len(classes), Dim], in which c
// sees the digit of their class. Without rows it is NaN.
func (c *Classifier) Accuracy(x []float32, classes []int) float64 {
	right := 0
	for i, k := range c.Classify(make([]int, len(classes)), x) {
		if k == classes[i] {
			right++
		}
	}
	return float64(right) / float64(len(classes))
}
