package kernel

// An Affine holds the weights of a step: next = X·x + V·v + Eps·ε.
type Affine struct{ X, V, Eps float32 }

// mean stores float32(X·x) + float32(V·v) in m for elements i, i+1, … of x and v.
func (a Affine) mean(m, x, v []float32, i int) {
	switch {
	case a.X != 0 && a.V != 0:
		x, v = x[i:][:len(m)], v[i:][:len(m)]
		for j := range m {
			m[j] = float32(a.X*x[j]) + float32(a.V*v[j])
		}
	case a.X != 0:
		for j, x := range x[i:][:len(m)] {
			m[j] = float32(a.X * x)
		}
	case a.V != 0:
		for j, v := range v[i:][:len(m)] {
			m[j] = float32(a.V * v)
		}
	default:
		clear(m)
	}
}

// Step is [Work.Step] with memory of its own.
func Step(sums, dst, x, v []float32, a Affine, s Stream, off uint64, t Storage) {
	new(Work).Step(sums, dst, x, v, a, s, off, t)
}

// Step stores in dst elements off, off+1, … of a step's result and, unless sums is
// nil, in sums[k] the sum of squares of block k of these. Off must be a multiple
// of [BlockLen]. The inputs start at element off too; dst may be x or v.
func (w *Work) Step(sums, dst, x, v []float32, a Affine, s Stream, off uint64, t Storage) {
	w.step(sums, dst, x, v, a, s, off, t)
}

// MaxRows is the largest number of rows of StepRows, SquaresRows and GradRows.
const MaxRows = MaxAhead

// StepRows is Step of short rows one after the other, at most MaxRows, of which there is
// one a stream. They have one length, at most BlockLen. Sums is nil or has a sum a row.
// It is faster than a Step a row if Ahead made their noise.
func (w *Work) StepRows(sums, dst, x, v []float32, a Affine, streams []Stream, t Storage) {
	if n := rowLen(len(dst), len(streams)); n > 0 {
		if sums != nil && len(sums) != len(streams) {
			panic("kernel: not a sum a row")
		}
		x, v = fit(x, len(dst), a.X), fit(v, len(dst), a.V)
		w.stepRows(sums, dst, x, v, a, streams, n, t)
	}
}

// SquaresRows is Squares of short rows one after the other, at most MaxRows. They have
// one length, at most BlockLen.
func SquaresRows(sums, next, x, v []float32, a Affine) {
	if n := rowLen(len(next), len(sums)); n > 0 {
		x, v = fit(x, len(next), a.X), fit(v, len(next), a.V)
		squaresRows(sums, next, x, v, a, n)
	}
}

// GradRows is Grad of short rows one after the other, at most MaxRows, with a scale each.
// They have one length, at most BlockLen.
func GradRows(dst, next, x, v []float32, a Affine, scales []float32) {
	if n := rowLen(len(dst), len(scales)); n > 0 {
		x, v = fit(x, len(dst), a.X), fit(v, len(dst), a.V)
		gradRows(dst, next[:len(dst)], x, v, a, scales, n)
	}
}

// rowLen returns the length of each of some rows of total elements.
func rowLen(total, rows int) int {
	if rows == 0 {
		return 0
	}
	n := total / rows
	if rows > MaxRows || n > BlockLen || total%rows != 0 {
		panic("kernel: too many rows, too long rows, or rows of different lengths")
	}
	return n
}

// fit returns the n elements of an input that is read, for assembly does not check
// bounds, and nil for one that is not.
func fit(x []float32, n int, weight float32) []float32 {
	if weight == 0 {
		return nil
	}
	return x[:n]
}

// eachRow is StepRows by Step.
func (w *Work) eachRow(sums, dst, x, v []float32, a Affine, streams []Stream, n int, t Storage) {
	for i, s := range streams {
		lo, hi := i*n, (i+1)*n
		w.Step(cut(sums, i, i+1), dst[lo:hi], cut(x, lo, hi), cut(v, lo, hi), a, s, 0, t)
	}
}

func eachSquares(sums, next, x, v []float32, a Affine, n int) {
	for i := range sums {
		lo, hi := i*n, (i+1)*n
		Squares(sums[i:i+1], next[lo:hi], cut(x, lo, hi), cut(v, lo, hi), a)
	}
}

func eachGrad(dst, next, x, v []float32, a Affine, scales []float32, n int) {
	for i, scale := range scales {
		lo, hi := i*n, (i+1)*n
		Grad(dst[lo:hi], next[lo:hi], cut(x, lo, hi), cut(v, lo, hi), a, scale)
	}
}

// cut returns x[lo:hi], or nil if x is nil.
func cut(x []float32, lo, hi int) []float32 {
	if x == nil {
		return nil
	}
	return x[lo:hi]
}

// Squares stores in sums[k] the sum of squares of next - X·x - V·v over block k.
func Squares(sums, next, x, v []float32, a Affine) { squares(sums, next, x, v, a) }

// Grad adds float32(scale·(next - X·x - V·v)) to dst, which may be an input.
func Grad(dst, next, x, v []float32, a Affine, scale float32) { grad(dst, next, x, v, a, scale) }

func stepPortable(sums, dst, x, v []float32, a Affine, s Stream, off uint64, t Storage) {
	var m, g [quarterLen]float32
	for b := 0; b*BlockLen < len(dst); b++ {
		var q [4]lanes
		for k := range q {
			i := b*BlockLen + k*quarterLen
			if i >= len(dst) {
				break
			}
			y := dst[i:min(i+quarterLen, len(dst))]
			m := m[:len(y)]
			a.mean(m, x, v, i)
			if a.Eps != 0 {
				g := g[:len(y)]
				s.normalPortable(g, off+uint64(i))
				for j, e := range g {
					y[j] = float32(a.Eps*e) + m[j]
				}
			} else {
				copy(y, m)
			}
			if t != Float32 {
				for j := range y {
					y[j] = t.Round(y[j])
				}
			}
			for j := range m {
				m[j] = y[j] - m[j]
			}
			q[k].add(m)
		}
		if sums != nil {
			sums[b] = fold(&q)
		}
	}
}

func squaresPortable(sums, next, x, v []float32, a Affine) {
	var d [quarterLen]float32
	for b := range Blocks(len(next)) {
		var q [4]lanes
		for k := range q {
			i := b*BlockLen + k*quarterLen
			if i >= len(next) {
				break
			}
			y := next[i:min(i+quarterLen, len(next))]
			d := d[:len(y)]
			a.mean(d, x, v, i)
			for j := range d {
				d[j] = y[j] - d[j]
			}
			q[k].add(d)
		}
		sums[b] = fold(&q)
	}
}

func gradPortable(dst, next, x, v []float32, a Affine, scale float32) {
	var m [quarterLen]float32
	for i := 0; i < len(dst); i += quarterLen {
		y := dst[i:min(i+quarterLen, len(dst))]
		m := m[:len(y)]
		a.mean(m, x, v, i)
		for j, n := range next[i:][:len(y)] {
			y[j] += float32(scale * (n - m[j]))
		}
	}
}
