package schedule

import (
	"fmt"
	"math"
)

// A Point is one point of a run. A latent there is
//
//	x = Signal·x0 + Noise·x1,    x0 a sample of the data, x1 ~ N(0, I)
//
// and the model is told Time. All three lie in [0, 1].
type Point struct {
	Time   float64 // what the model is told, in [0, 1]; 1 is the noisy end
	Signal float64 // α
	Noise  float64 // σ
}

// Level returns the point of the rectified-flow path at level t in [0, 1]
// (Eq. 1):
//
//	Time t,  Signal 1-t,  Noise t
//
// Models that count to 1000 want 1000·Time. Level checks nothing; Validate does.
func Level(t float64) Point {
	return Point{Time: t, Signal: 1 - t, Noise: t}
}

// VPLevel returns the point of the variance-preserving path at ᾱ = alphaBar in
// [0, 1]:
//
//	Time time,  Signal √ᾱ,  Noise √(1-ᾱ)
//
// Near ᾱ = 1 the difference 1-ᾱ loses digits; the points of a VP keep them. VPLevel
// checks nothing; Validate does.
func VPLevel(time, alphaBar float64) Point {
	return Point{Time: time, Signal: math.Sqrt(alphaBar), Noise: math.Sqrt(1 - alphaBar)}
}

// pathTol allows for coefficients that a caller rounded one by one, such as
// Signal 0.1 beside Noise 0.9. It is four units in the last place of 1.
const pathTol = 0x1p-50

// OnFlow reports whether p lies on the rectified-flow path, that is, whether Signal +
// Noise is 1 to within 2⁻⁵⁰. Noise is then the level t. Time does not matter. The two
// ends, pure noise and pure data, lie on both paths.
func (p Point) OnFlow() bool {
	return math.Abs(p.Signal+p.Noise-1) <= pathTol
}

// OnVP reports whether p lies on the variance-preserving path, that is, whether
// Signal² + Noise² is 1 to within 2⁻⁵⁰.
func (p Point) OnVP() bool {
	return math.Abs(float64(p.Signal*p.Signal)+float64(p.Noise*p.Noise)-1) <= pathTol
}

// RatioTo returns ratio = e^{-h} and rest = 1 - e^{-h}, where h is the rise of
// log(α/σ) from the point p to the point to:
//
//	e^{-h} = ασ'/(σα')
//
// It is the factor by which noise over signal falls. On the flow path neither result
// cancels. rest is negative where that ratio rises, and rounding may take it above
// 1. Both are NaN between two points of pure noise, and between two of pure data.
func (p Point) RatioTo(to Point) (ratio, rest float64) {
	if p.OnFlow() && to.OnFlow() {
		t, s := p.Noise, to.Noise
		d := t * (1 - s)
		return (1 - t) * s / d, (t - s) / d
	}
	d := p.Noise * to.Signal
	q := p.Signal * to.Noise
	// The difference of products, with the rounding error of the second (Kahan).
	return q / d, (math.FMA(p.Noise, to.Signal, -q) - math.FMA(p.Signal, to.Noise, -q)) / d
}

// Points lists the points of any path, noisiest first. Make it with VP.Points or as
// a literal. Points is a Scheduler.
type Points []Point

// Steps returns len(p) - 1, which is -1 for an empty list.
func (p Points) Steps() int { return len(p) - 1 }

// At returns p[i]. It panics unless 0 <= i <= Steps().
func (p Points) At(i int) Point {
	checkPoint("Points", i, p.Steps())
	return p[i]
}

// checkPoint panics unless a schedule of this type has point i.
func checkPoint(typ string, i, steps int) {
	if i < 0 || i > steps {
		panic(fmt.Sprintf("schedule: %s.At: point %d is not in [0, %d]", typ, i, steps))
	}
}
