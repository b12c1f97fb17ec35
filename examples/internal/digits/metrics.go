package digits

import "math"

// A Background has the pixels that hardly differ between the images of a set. A deviation of a
// sample on these pixels is noise that its sampler left.
type Background struct {
	Pixels []int     // in ascending order
	Mean   []float64 // mean of each pixel
}

// NearConstant returns the pixels of s whose variance is below the limit. The data set has
// eleven below 0.0025, and all are nearly blank.
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

// Residual returns the root mean square deviation from the mean, over the background pixels of
// all rows of x, row-major [rows, Dim]. It is NaN if there are no rows or no such pixels.
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

// Diversity returns the mean distance from a row of x, row-major [rows, Dim], to the nearest
// other row. It is NaN for fewer than two rows.
func Diversity(x []float32) float64 {
	return meanNearest(x, x, true)
}

// Novelty returns the mean distance from a row of x to the nearest row of data, both row-major
// [rows, Dim]. It is 0 for copies of data, and NaN without rows.
func Novelty(x, data []float32) float64 {
	return meanNearest(x, data, false)
}

// meanNearest returns the mean distance from a row of x to the nearest row of y. If same, it
// leaves out the row of y with the same index.
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

// Accuracy returns the part of the rows of x whose most probable digit is their class. x is
// row-major [len(classes), Dim]. Accuracy is NaN without rows.
func (c *Classifier) Accuracy(x []float32, classes []int) float64 {
	right := 0
	for i, k := range c.Classify(make([]int, len(classes)), x) {
		if k == classes[i] {
			right++
		}
	}
	return float64(right) / float64(len(classes))
}
