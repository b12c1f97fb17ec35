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
