package kernel

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A drawnPass is a pass over float32s, with fences around what it writes.
type drawnPass struct {
	Pass[float32]
	out, sums fenced
	alias     int // 1: Out is X, 2: V, 3: Next
}

func drawPass(t *rapid.T) (d drawnPass) {
	d.Kind = Kind(rapid.IntRange(0, 2).Draw(t, "kind"))
	d.Storage = Storage(rapid.IntRange(0, 2).Draw(t, "storage"))
	d.Key = rapid.Uint64().Draw(t, "key")
	d.Dim = rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, BlockLen), rapid.IntRange(1, 5*BlockLen),
		rapid.SampledFrom([]int{31, 32, 33, 64, 255, 256, 257, 512, 513, 1023, 1024, 1025})).Draw(t, "dim")
	most := min(MaxRows, 1+8*BlockLen/d.Dim)
	rows := rapid.OneOf(rapid.IntRange(1, most), rapid.Just(most)).Draw(t, "rows")
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	weight := rapid.SampledFrom([]float32{0.55, -0.37, 0, minusZeroTest, 1.0000001, 7.1e4, -inf, nan})
	draw := func() Row {
		return Row{
			wide(Affine{weight.Draw(t, "X"), weight.Draw(t, "V"), weight.Draw(t, "Eps")}),
			ID{rapid.Uint64().Draw(t, "sample"), rapid.Uint32().Draw(t, "step")},
			rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, "block"),
		}
	}
	// Runs of rows with equal weights, which one call does.
	for len(d.Rows) < rows {
		r := draw()
		for range rapid.IntRange(1, rows).Draw(t, "run") {
			r.Sample++
			d.Rows = append(d.Rows, r)
			d.Scales = append(d.Scales, float32(len(d.Rows))-2.55)
		}
	}
	d.Rows, d.Scales = d.Rows[:rows], d.Scales[:rows]
	if rapid.Bool().Draw(t, "same") {
		d.Same = rapid.Bool().Draw(t, "and known")
		for i := range d.Rows[1:] {
			d.Rows[1+i].Weights = d.Rows[0].Weights
		}
	}
	d.Block = rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, "pass's block")
	special := rapid.SampledFrom([]float32{0, minusZeroTest, inf, -inf, nan, 1e-42, -3e38, 65504, 65520, 6e-8, 5.9604645e-08, 1 + 1.0/128})
	data := func(name string) fenced {
		x := make([]float32, rows*d.Dim)
		Stream{Key: rapid.Uint64().Draw(t, name)}.normalPortable(x, 0)
		for range rapid.IntRange(0, 4).Draw(t, "specials of "+name) {
			x[rapid.IntRange(0, len(x)-1).Draw(t, "at")] = special.Draw(t, "special")
		}
		return fence(x, rapid.IntRange(0, 17).Draw(t, name+" offset"))
	}
	d.X, d.V, d.Next = data("x").part, data("v").part, data("next").part
	d.out = data("out")
	if d.Kind != GradPass {
		d.sums = fence(make([]float32, rows*Blocks(d.Dim)), 3)
	}
	d.alias = rapid.IntRange(0, 3).Draw(t, "alias")
	d.Out, d.Sums = d.out.part, d.sums.part
	return d
}

// fresh returns a copy of the pass with memory of its own.
func (d drawnPass) fresh() drawnPass {
	d.X, d.V, d.Next = slices.Clone(d.X), slices.Clone(d.V), slices.Clone(d.Next)
	switch d.alias {
	case 1:
		d.out = fence(d.X, 1)
		d.X = d.out.part
	case 2:
		d.out = fence(d.V, 2)
		d.V = d.out.part
	case 3:
		d.out = fence(d.Next, 3)
		d.Next = d.out.part
	default:
		d.out = fence(d.Out, 5)
	}
	if d.Kind != GradPass {
		d.sums = fence(d.Sums, 7)
	}
	d.Out, d.Sums = d.out.part, d.sums.part
	return d
}

// Rows done together give the bits of each row done alone in portable code. This holds
// for any weights, and from any block of a sample on. Nothing else is written.
func rowsAgree(t *rapid.T) {
	d := drawPass(t)
	var w Work
	for range rapid.IntRange(1, 2).Draw(t, "passes before") { // they leave noise in the memory
		other := d.fresh()
		other.Key++
		Do(&w, &other.Pass)
	}
	got, want := d.fresh(), d.fresh()
	Do(&w, &got.Pass)
	floatsPortable(&want.Pass)
	if !sameFloats(got.Out, want.Out) {
		t.Fatal("results differ")
	}
	if !sameFloats(got.Sums, want.Sums) {
		t.Fatalf("sums are %v, want %v", got.Sums, want.Sums)
	}
	if !got.out.intact() || d.Kind != GradPass && !got.sums.intact() {
		t.Fatal("memory beside the results was written")
	}
}

func TestRowsAgree(t *testing.T) { forEach(t, func(t *testing.T) { rapid.Check(t, rowsAgree) }) }

func FuzzRowsAgree(f *testing.F) { f.Fuzz(rapid.MakeFuzz(rowsAgree)) }

// However a row is cut, the parts draw the noise of the whole. If cuts are at blocks,
// the sums of blocks are those of the whole.
func cutsAgree(t *rapid.T) {
	n := rapid.IntRange(8, 4*BlockLen).Draw(t, "n") / 4 * 4
	row := Row{wide(Affine{0.55, -0.37, 0.41}),
		ID{rapid.Uint64().Draw(t, "sample"), rapid.Uint32().Draw(t, "step")}, rapid.Uint32().Draw(t, "block")}
	x := make([]float32, n)
	Stream{Key: 5}.normalPortable(x, 0)
	do := func(row Row, lo, hi int) (out, sums []float32) {
		out, sums = make([]float32, hi-lo), make([]float32, Blocks(hi-lo))
		Do(new(Work), &Pass[float32]{Key: 7, Dim: hi - lo, Rows: []Row{row}, Out: out, X: x[lo:hi], V: x[lo:hi], Sums: sums})
		return out, sums
	}
	whole, sums := do(row, 0, n)
	// The noise of the whole is that of its sample's elements, one by one.
	noise := make([]float32, n)
	s := row.stream(7)
	for i := range noise {
		s.normalPortable(noise[i:i+1], uint64(row.Block+uint32(i/4))*4+uint64(i%4))
		if want, _ := element(x[i], x[i], noise[i], row.affine(), Float32); whole[i] != want {
			t.Fatalf("element %d is %v, want %v", i, whole[i], want)
		}
	}
	step := rapid.SampledFrom([]int{4, BlockLen}).Draw(t, "cuts are multiples of")
	for lo := 0; lo < n; {
		hi := min(n, lo+step*rapid.IntRange(1, n/step+1).Draw(t, "cut"))
		part := row
		part.Block += uint32(lo / 4)
		got, partSums := do(part, lo, hi)
		if !sameFloats(got, whole[lo:hi]) {
			t.Fatalf("elements %d to %d differ", lo, hi)
		}
		if step == BlockLen && !sameFloats(partSums, sums[lo/BlockLen:][:len(partSums)]) {
			t.Fatalf("sums of elements %d to %d differ", lo, hi)
		}
		lo = hi
	}
}

func TestCutsAgree(t *testing.T) { forEach(t, func(t *testing.T) { rapid.Check(t, cutsAgree) }) }

func FuzzCutsAgree(f *testing.F) { f.Fuzz(rapid.MakeFuzz(cutsAgree)) }

// Every length of short rows, and as many rows as there may be.
func TestRowsOfEveryLength(t *testing.T) {
	forEach(t, func(t *testing.T) {
		w := new(Work)
		for n := 1; n <= BlockLen; n++ {
			rows := min(MaxRows, 2+2*BlockLen/n) // more than get their noise in one call
			got, want := make([]float32, rows*n), make([]float32, rows*n)
			sums, wantSums := make([]float32, rows), make([]float32, rows)
			p := Pass[float32]{Storage: Float32, Key: 1, Dim: n, Out: got, Sums: sums}
			for i := range rows {
				p.Rows = append(p.Rows, Row{Weights{Eps: 1}, ID{uint64(i * i), uint32(n)}, uint32(i % 3)})
			}
			Do(w, &p)
			p.Out, p.Sums = want, wantSums
			floatsPortable(&p)
			if !sameFloats(got, want) || !sameFloats(sums, wantSums) {
				t.Fatalf("rows of %d elements differ", n)
			}
		}
	})
}

// Wrong lengths panic in every implementation. None reads or writes beyond them.
func TestWrongLengths(t *testing.T) {
	f := func(n int) []float32 { return make([]float32, n) }
	h := func(n int) []uint16 { return make([]uint16, n) }
	rows := func(n int) []Row {
		r := make([]Row, n)
		for i := range r {
			r[i].Weights = Weights{X: 1, V: 1}
		}
		return r
	}
	type floats = Pass[float32]
	type words = Pass[uint16]
	forEach(t, func(t *testing.T) {
		for name, p := range map[string]any{
			"too many":          floats{SquaresPass, 0, 0, 1, rows(MaxRows + 1), 0, false, f(MaxRows + 1), nil, f(MaxRows + 1), f(MaxRows + 1), f(MaxRows + 1), nil},
			"dst":               floats{StepPass, 0, 0, 3, rows(2), 0, false, f(5), nil, f(6), f(6), f(2), nil},
			"step x":            floats{StepPass, 0, 0, 3, rows(2), 0, false, f(6), nil, f(5), f(6), f(2), nil},
			"step v":            floats{StepPass, 0, 0, 3, rows(2), 0, false, f(6), nil, f(6), f(5), f(2), nil},
			"step sums":         floats{StepPass, 0, 0, 3, rows(2), 0, false, f(6), nil, f(6), f(6), f(1), nil},
			"no sums":           floats{StepPass, 0, 0, 3, rows(2), 0, false, f(6), nil, f(6), f(6), nil, nil},
			"squares x":         floats{SquaresPass, 0, 0, 3, rows(2), 0, false, f(6), nil, f(5), f(6), f(2), nil},
			"squares v":         floats{SquaresPass, 0, 0, 3, rows(2), 0, false, f(6), nil, f(6), f(5), f(2), nil},
			"squares sums":      floats{SquaresPass, 0, 0, 3, rows(2), 0, false, f(6), nil, f(6), f(6), f(3), nil},
			"grad next":         floats{GradPass, 0, 0, 3, rows(2), 0, false, f(6), f(5), f(6), f(6), nil, f(2)},
			"grad x":            floats{GradPass, 0, 0, 3, rows(2), 0, false, f(6), f(6), f(5), f(6), nil, f(2)},
			"grad v":            floats{GradPass, 0, 0, 3, rows(2), 0, false, f(6), f(6), f(6), f(5), nil, f(2)},
			"long x":            floats{StepPass, 0, 0, 1500, rows(1), 0, false, f(1500), nil, f(1499), f(1500), f(2), nil},
			"grad scales":       floats{GradPass, 0, 0, 3, rows(2), 0, false, f(6), f(6), f(6), f(6), nil, f(1)},
			"kind":              floats{9, 0, 0, 3, rows(2), 0, false, f(6), f(6), f(6), f(6), nil, nil},
			"storage":           floats{StepPass, 3, 0, 3, rows(2), 0, false, f(6), nil, f(6), f(6), f(2), nil},
			"words of float32":  words{StepPass, Float32, 0, 3, rows(2), 0, false, h(6), nil, h(6), h(6), f(2), nil},
			"words of no type":  words{StepPass, 3, 0, 3, rows(2), 0, false, h(6), nil, h(6), h(6), f(2), nil},
			"words x":           words{StepPass, BFloat16, 0, 3, rows(2), 0, false, h(6), nil, h(5), h(6), f(2), nil},
			"words v":           words{SquaresPass, Float16, 0, 3, rows(2), 0, false, h(6), nil, h(6), h(5), f(2), nil},
			"words next":        words{GradPass, Float16, 0, 3, rows(2), 0, false, h(6), h(5), h(6), h(6), nil, f(2)},
			"words, long, next": words{GradPass, Float16, 0, 1500, rows(1), 0, false, h(1500), h(1499), h(1500), h(1500), nil, f(1)},
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				switch p := p.(type) {
				case floats:
					Do(new(Work), &p)
				case words:
					Do(new(Work), &p)
				}
			}()
		}
	})
}
