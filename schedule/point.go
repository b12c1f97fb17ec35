package schedule

import "math"

// A Point is one point of a run. A latent there is
//
//	x = Signal·x0 + Noise·x1,    x0 a sample of the data, x1 ~ N(0, I)
//
// and a model is told Time. All three lie in [0, 1]; Time 1 is the noisy end.
//
// The zero Point is on no path: Validate accepts it nowhere but as a last point.
type Point struct {
	Time   float64 // what the model is told, in [0, 1]
	Signal float64 // α
	Noise  float64 // σ
}

// Level returns the point of the rectified-flow path at level t (Eq. 1):
//
//	Time t, Signal 1-t, Noise t
//
// Level does not check t; Validate does.
func Level(t float64) Point {
	return Point{Time: t, Signal: 1 - t, Noise: t}
}

// flowTol allows for coefficients that a caller rounded one by one, such as
// Signal 0.1 beside Noise 0.9.
const flowTol = 0x1p-50

// OnFlow reports whether p lies on the rectified-flow path, that is, whether
// Signal + Noise is 1 to within 2⁻⁵⁰. Time does not matter. The two ends, pure
// noise and pure data, lie on the variance-preserving path as well.
func (p Point) OnFlow() bool {
	return math.Abs(p.Signal+p.Noise-1) <= flowTol
}

// Points lists the points of any path, noisiest first. The VP constructors
// return it; a literal is as good.
type Points []Point

// Steps returns len(p) - 1: -1 for an empty list, which has no point to ask for.
func (p Points) Steps() int { return len(p) - 1 }

// At returns p[i].
func (p Points) At(i int) Point { return p[i] }
