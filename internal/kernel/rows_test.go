package kernel

import (
	"testing"

	"pgregory.net/rapid"
)

// Short rows together are the same bits as each on its own in portable code, whatever
// noise was made ahead, and touch nothing else.
func rowsAgree(t *rapid.T) {
	rows := rapid.IntRange(1, MaxRows).Draw(t, "rows")
	n := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, BlockLen),
		rapid.SampledFrom([]int{31, 32, 33, 64, 255, 256, 257, 1023, 1024})).Draw(t, "n")
	weight := rapid.SampledFrom([]float32{0, 0.55, -0.37})
	a := Affine{weight.Draw(t, "X"), weight.Draw(t, "V"), weight.Draw(t, "Eps")}
	storage := Storage(rapid.IntRange(0, 2).Draw(t, "storage"))
	streams := make([]Stream, rows)
	for i := range streams {
		streams[i] = Stream{Key: rapid.Uint64Range(1, 2).Draw(t, "key"), Sample: uint64(i), Step: 3}
	}
	data := func(name string) fenced {
		x := make([]float32, rows*n)
		Stream{Key: rapid.Uint64().Draw(t, name)}.normalPortable(x, 0)
		return fence(x, rapid.IntRange(0, 17).Draw(t, name+" offset"))
	}
	x, v, dst, next := data("x"), data("v"), data("dst"), data("next")
	sums := fence(make([]float32, rows), 3)

	var w Work
	if rapid.Bool().Draw(t, "ahead") {
		w.Ahead(streams[:rapid.IntRange(0, rows).Draw(t, "made")], n)
	}
	wanted := sums.part
	if rapid.Bool().Draw(t, "without sums") {
		wanted = nil
	}
	w.StepRows(wanted, dst.part, x.part, v.part, a, streams, storage)
	squares := fence(make([]float32, rows), 5)
	SquaresRows(squares.part, next.part, x.part, v.part, a)
	for i, s := range streams {
		lo, hi := i*n, (i+1)*n
		wantDst, wantSum, wantSquares := make([]float32, n), make([]float32, 1), make([]float32, 1)
		stepPortable(wantSum, wantDst, x.part[lo:hi], v.part[lo:hi], a, s, 0, storage)
		squaresPortable(wantSquares, next.part[lo:hi], x.part[lo:hi], v.part[lo:hi], a)
		if !sameFloats(dst.part[lo:hi], wantDst) {
			t.Fatalf("row %d: step differs", i)
		}
		if wanted != nil && !sameFloats(sums.part[i:][:1], wantSum) {
			t.Fatalf("row %d: sum of step is %v, want %v", i, sums.part[i], wantSum)
		}
		if !sameFloats(squares.part[i:][:1], wantSquares) {
			t.Fatalf("row %d: squares are %v, want %v", i, squares.part[i], wantSquares)
		}
	}
	for name, f := range map[string]fenced{"x": x, "v": v, "dst": dst, "next": next, "sums": sums, "squares": squares} {
		if !f.intact() {
			t.Fatalf("memory beside %s was written", name)
		}
	}
}

func TestRowsAgree(t *testing.T) { forEach(t, func(t *testing.T) { rapid.Check(t, rowsAgree) }) }

func FuzzRowsAgree(f *testing.F) { f.Fuzz(rapid.MakeFuzz(rowsAgree)) }

func TestRowsWrongLengths(t *testing.T) {
	for name, f := range map[string]func(){
		"too many":  func() { SquaresRows(make([]float32, 33), make([]float32, 33), nil, nil, Affine{}) },
		"too long":  func() { SquaresRows(make([]float32, 1), make([]float32, 1025), nil, nil, Affine{}) },
		"different": func() { SquaresRows(make([]float32, 2), make([]float32, 5), nil, nil, Affine{}) },
		"short x":   func() { SquaresRows(make([]float32, 2), make([]float32, 6), make([]float32, 5), nil, Affine{X: 1}) },
		"short sums": func() {
			new(Work).StepRows(make([]float32, 1), make([]float32, 6), nil, nil, Affine{}, make([]Stream, 2), Float32)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
