package kernel

// Passes over one row or several rows as functions, with memory of their own.

func Step(sums, dst, x, v []float32, a Affine, s Stream, off uint64, t Storage) {
	StepRows(sums, dst, x, v, a, []Stream{s}, uint32(off/4), t)
}

func Squares(sums, next, x, v []float32, a Affine) {
	SquaresRows(sums, next, x, v, a, 1)
}

func Grad(dst, next, x, v []float32, a Affine, scale float32) {
	GradRows(dst, next, x, v, a, []float32{scale})
}

// wide returns weights that round to a.
func wide(a Affine) Weights { return Weights{float64(a.X), float64(a.V), float64(a.Eps)} }

// StepRows steps rows whose streams have one key, from the given block on.
func StepRows(sums, dst, x, v []float32, a Affine, streams []Stream, block uint32, t Storage) {
	dim := len(dst) / len(streams)
	if sums == nil {
		sums = make([]float32, len(streams)*Blocks(dim))
	}
	p := Pass[float32]{Kind: StepPass, Storage: t, Key: streams[0].Key, Dim: dim, Out: dst, X: x, V: v, Sums: sums}
	for _, s := range streams {
		p.Rows = append(p.Rows, Row{wide(a), ID{s.Sample, s.Step}, block})
	}
	Do(new(Work), &p)
}

func SquaresRows(sums, next, x, v []float32, a Affine, rows int) {
	p := Pass[float32]{Kind: SquaresPass, Dim: len(next) / rows, Out: next, X: x, V: v, Sums: sums}
	for range rows {
		p.Rows = append(p.Rows, Row{Weights: wide(a)})
	}
	Do(new(Work), &p)
}

func GradRows(dst, next, x, v []float32, a Affine, scales []float32) {
	p := Pass[float32]{Kind: GradPass, Dim: len(dst) / len(scales), Out: dst, Next: next, X: x, V: v, Scales: scales}
	for range scales {
		p.Rows = append(p.Rows, Row{Weights: wide(a)})
	}
	Do(new(Work), &p)
}
