package kernel

import (
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// Short rows together are the same bits as each on its own in portable code, whatever
// noise was made ahead, and touch nothing else.
func rowsAgree(t *rapid.T) {
	n := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, BlockLen),
		rapid.SampledFrom([]int{31, 32, 33, 64, 255, 256, 257, 1023, 1024})).Draw(t, "n")
	rows := rapid.IntRange(1, MaxRows).Draw(t, "rows")
	if room := AheadLen(n); room > 0 && rapid.Bool().Draw(t, "fits") {
		rows = min(rows, room)
	}
	weight := rapid.SampledFrom([]float32{0.55, -0.37, 0.55, 0})
	a := Affine{weight.Draw(t, "X"), weight.Draw(t, "V"), weight.Draw(t, "Eps")}
	storage := Storage(rapid.IntRange(0, 2).Draw(t, "storage"))
	streams := make([]Stream, rows)
	other := rapid.IntRange(0, 9*MaxRows).Draw(t, "row of another key")
	for i := range streams {
		streams[i] = Stream{Key: 1, Sample: uint64(i), Step: 3}
		if i == other {
			streams[i].Key = 2
		}
	}
	data := func(name string) fenced {
		x := make([]float32, rows*n)
		Stream{Key: rapid.Uint64().Draw(t, name)}.normalPortable(x, 0)
		return fence(x, rapid.IntRange(0, 17).Draw(t, name+" offset"))
	}
	x, v, dst, next, grad := data("x"), data("v"), data("dst"), data("next"), data("grad")
	sums, squares, scales := fence(make([]float32, rows), 3), fence(make([]float32, rows), 5), fence(make([]float32, rows), 2)
	Stream{Key: 5}.normalPortable(scales.part, 0)

	var w Work
	made := rows
	if rapid.Bool().Draw(t, "partly") {
		made = rapid.IntRange(0, rows).Draw(t, "made")
	}
	w.Ahead(streams[:made], n, PrefetchOf(dst.part, x.part, v.part))
	wanted := sums.part
	if rapid.Bool().Draw(t, "without sums") {
		wanted = nil
	}
	out := dst
	switch rapid.IntRange(0, 2).Draw(t, "alias") {
	case 1:
		out = fence(x.part, 1)
		w.StepRows(wanted, out.part, out.part, v.part, a, streams, storage)
	case 2:
		out = fence(v.part, 2)
		w.StepRows(wanted, out.part, x.part, out.part, a, streams, storage)
	default:
		w.StepRows(wanted, out.part, x.part, v.part, a, streams, storage)
	}
	before := append([]float32(nil), grad.part...)
	SquaresRows(squares.part, next.part, x.part, v.part, a)
	GradRows(grad.part, next.part, x.part, v.part, a, scales.part)
	for i, s := range streams {
		lo, hi := i*n, (i+1)*n
		wantDst, wantSum, wantSquares := make([]float32, n), make([]float32, 1), make([]float32, 1)
		x, v, next := x.part[lo:hi], v.part[lo:hi], next.part[lo:hi]
		stepPortable(wantSum, wantDst, x, v, a, s, 0, storage)
		squaresPortable(wantSquares, next, x, v, a)
		gradPortable(before[lo:hi], next, x, v, a, scales.part[i])
		if !sameFloats(out.part[lo:hi], wantDst) {
			t.Fatalf("row %d: step differs", i)
		}
		if wanted != nil && !sameFloats(sums.part[i:][:1], wantSum) {
			t.Fatalf("row %d: sum of step is %v, want %v", i, sums.part[i], wantSum)
		}
		if !sameFloats(squares.part[i:][:1], wantSquares) {
			t.Fatalf("row %d: squares are %v, want %v", i, squares.part[i], wantSquares)
		}
		if !sameFloats(grad.part[lo:hi], before[lo:hi]) {
			t.Fatalf("row %d: gradient differs", i)
		}
	}
	for name, f := range map[string]fenced{"x": x, "v": v, "dst": out, "next": next, "sums": sums, "squares": squares, "grad": grad} {
		if !f.intact() {
			t.Fatalf("memory beside %s was written", name)
		}
	}
}

func TestRowsAgree(t *testing.T) { forEach(t, func(t *testing.T) { rapid.Check(t, rowsAgree) }) }

func FuzzRowsAgree(f *testing.F) { f.Fuzz(rapid.MakeFuzz(rowsAgree)) }

// Rows take the noise made ahead, at every length and as many as there is room for, and
// wherever memory starts.
func TestRowsTakeNoise(t *testing.T) {
	forEach(t, func(t *testing.T) {
		for n := 1; n <= BlockLen; n++ {
			room := AheadLen(n)
			if room == 0 {
				continue
			}
			memory := make([]byte, unsafe.Sizeof(Work{})+64)
			w := (*Work)(unsafe.Pointer(&memory[8*(n%8)]))
			streams := make([]Stream, room)
			for i := range streams {
				streams[i] = Stream{Key: 1, Sample: uint64(i * i), Step: uint32(n)}
			}
			got, want := make([]float32, room*n), make([]float32, room*n)
			w.Ahead(streams, n, Prefetch{})
			w.StepRows(nil, got, nil, nil, Affine{Eps: 1}, streams, Float32)
			if taken := aheadTaken(w); taken != room {
				t.Fatalf("%d of %d rows of %d elements took their noise", taken, room, n)
			}
			for i, s := range streams {
				stepPortable(nil, want[i*n:(i+1)*n], nil, nil, Affine{Eps: 1}, s, 0, Float32)
			}
			if !sameFloats(got, want) {
				t.Fatalf("%d rows of %d elements differ", room, n)
			}
			// All of the memory, for a whole block, leaves the key's schedule alone.
			long, wantLong := make([]float32, 2*BlockLen), make([]float32, 2*BlockLen)
			for range 2 {
				w.Step(nil, long, nil, nil, Affine{Eps: 1}, streams[0], 0, Float32)
			}
			stepPortable(nil, wantLong, nil, nil, Affine{Eps: 1}, streams[0], 0, Float32)
			if !sameFloats(long, wantLong) {
				t.Fatalf("a long row after rows of %d elements differs", n)
			}
		}
	})
}

// Noise is taken in order, by rows that it is long enough for, or not at all.
func TestNoiseNotTaken(t *testing.T) {
	forEach(t, func(t *testing.T) {
		a := Affine{Eps: 1}
		s := []Stream{{Sample: 1}, {Sample: 2}, {Sample: 3}}
		step := func(w *Work, s Stream, n int) {
			t.Helper()
			got, want := make([]float32, n), make([]float32, n)
			w.Step(nil, got, nil, nil, a, s, 0, Float32)
			stepPortable(nil, want, nil, nil, a, s, 0, Float32)
			if !sameFloats(got, want) {
				t.Errorf("%+v, %d elements differ", s, n)
			}
		}
		var longer, foreign Work
		longer.Ahead(s, 17, Prefetch{})
		step(&longer, s[0], 130)
		step(&longer, s[1], 17)
		foreign.Ahead(s, 17, Prefetch{})
		step(&foreign, s[0], 17)
		step(&foreign, Stream{Sample: 9}, 17)
		step(&foreign, s[1], 17)
	})
}

// Wrong lengths panic in every implementation; none reads or writes beyond them.
func TestRowsWrongLengths(t *testing.T) {
	f := func(n int) []float32 { return make([]float32, n) }
	s := make([]Stream, 2)
	all := Affine{X: 1, V: 1} // no noise, which would be a reason to go row by row
	forEach(t, func(t *testing.T) {
		for name, f := range map[string]func(){
			"too many":     func() { SquaresRows(f(MaxRows+1), f(MaxRows+1), nil, nil, Affine{}) },
			"too long":     func() { SquaresRows(f(1), f(1025), nil, nil, Affine{}) },
			"different":    func() { SquaresRows(f(2), f(5), nil, nil, Affine{}) },
			"squares x":    func() { SquaresRows(f(2), f(6), f(5), f(6), all) },
			"squares v":    func() { SquaresRows(f(2), f(6), f(6), f(5), all) },
			"step x":       func() { new(Work).StepRows(nil, f(6), f(5), f(6), all, s, Float32) },
			"step v":       func() { new(Work).StepRows(nil, f(6), f(6), f(5), all, s, Float32) },
			"step sums":    func() { new(Work).StepRows(f(1), f(6), f(6), f(6), all, s, Float32) },
			"grad x":       func() { GradRows(f(6), f(6), f(5), f(6), all, f(2)) },
			"grad v":       func() { GradRows(f(6), f(6), f(6), f(5), all, f(2)) },
			"grad next":    func() { GradRows(f(6), f(5), f(6), f(6), all, f(2)) },
			"grad scales":  func() { GradRows(f(6), f(6), f(6), f(6), all, f(4)) },
			"no more rows": func() { new(Work).StepRows(nil, f(7), f(7), f(7), all, s, Float32) },
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
	})
}
