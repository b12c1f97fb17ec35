package kernel

import (
	"syscall"
	"testing"
	"unsafe"
)

// pages returns n floats that end or begin at a page without access rights.
func pages(t *testing.T, n int, atEnd bool) []float32 {
	t.Helper()
	page := syscall.Getpagesize()
	size := (4*n + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(m) })
	for _, guard := range [][]byte{m[:page], m[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	all := unsafe.Slice((*float32)(unsafe.Pointer(&m[page])), size/4)
	if atEnd {
		return all[len(all)-n:]
	}
	return all[:n]
}

// No pass reads or writes beyond its slices. If it did, the program would end.
func TestPagesBeyondSlices(t *testing.T) {
	const most = 2200
	forEach(t, func(t *testing.T) {
		for _, atEnd := range []bool{false, true} {
			x, v, dst, next := pages(t, most, atEnd), pages(t, most, atEnd), pages(t, most, atEnd), pages(t, most, atEnd)
			part := func(s []float32, n int) []float32 {
				if atEnd {
					return s[most-n:]
				}
				return s[:n:n]
			}
			sums := make([]float32, Blocks(most))
			for n := 1; n <= most; n++ {
				x, v, dst, next := part(x, n), part(v, n), part(dst, n), part(next, n)
				for _, a := range []Affine{{0.55, -0.37, 0.21}, {X: 0.55}, {V: 0.55, Eps: 0.1}} {
					Step(sums[:Blocks(n)], next, x, v, a, Stream{}, 0, Float16)
					Squares(sums[:Blocks(n)], next, x, v, a)
					Grad(dst, next, x, v, a, 0.3)
				}
				Stream{}.Normal(dst, uint64(n%5))
			}
			streams, each := make([]Stream, MaxRows), make([]float32, MaxRows)
			for rows := 1; rows <= MaxRows; rows++ {
				for n := 1; n*rows <= most && n <= BlockLen; n += 1 + n/20 {
					x, v, dst, next := part(x, n*rows), part(v, n*rows), part(dst, n*rows), part(next, n*rows)
					streams, each := streams[:rows], each[:rows]
					for _, a := range []Affine{{0.55, -0.37, 0.21}, {X: 0.55}, {V: 0.55, Eps: 0.1}} {
						StepRows(each, next, x, v, a, streams, 0, BFloat16)
						SquaresRows(each, next, x, v, a, rows)
						GradRows(dst, next, x, v, a, each)
					}
				}
			}
		}
	})
}

// No pass reads beyond its rows, whether their number is even or odd.
func TestPagesBeyondRows(t *testing.T) {
	const most, dim = MaxRows, 5
	size := int(unsafe.Sizeof(Row{})) / 4
	data, sums := make([]float32, most*dim), make([]float32, most)
	forEach(t, func(t *testing.T) {
		for _, atEnd := range []bool{false, true} {
			memory := pages(t, most*size, atEnd)
			all := unsafe.Slice((*Row)(unsafe.Pointer(&memory[0])), most)
			for n := 1; n <= most; n++ {
				rows := all[:n]
				if atEnd {
					rows = all[most-n:]
				}
				for i := range rows {
					rows[i].Weights = wide(testAffine)
				}
				for kind := range GradPass + 1 {
					Do(new(Work), &Pass[float32]{
						Kind: kind, Dim: dim, Rows: rows, Out: data[:n*dim], Next: data[:n*dim], X: data[:n*dim], V: data[:n*dim],
						Sums: sums[:n], Scales: sums[:n],
					})
				}
			}
		}
	})
}

// No pass over words reads or writes beyond its slices. Lengths go to 100, and lie
// around quarters of two blocks.
func TestPagesBeyondWords(t *testing.T) {
	const most = 2*BlockLen + 40
	all, around := 100, 33
	if testing.Short() {
		all, around = 40, 2
	}
	forEach(t, func(t *testing.T) {
		for _, atEnd := range []bool{false, true} {
			var memory [4][]uint16
			for i := range memory {
				m := pages(t, most/2, atEnd)
				memory[i] = unsafe.Slice((*uint16)(unsafe.Pointer(&m[0])), most)
			}
			for _, storage := range []Storage{BFloat16, Float16} {
				for i := range memory {
					storage.Pack(memory[i], input(most, uint32(i)))
				}
				for n := 1; n <= most; n++ {
					if n > all && (n+around)%256 > 2*around {
						continue
					}
					part := memory
					for i, m := range memory {
						part[i] = m[:n:n]
						if atEnd {
							part[i] = m[most-n:]
						}
					}
					for kind := range GradPass + 1 {
						p := Pass[uint16]{
							Kind: kind, Storage: storage, Dim: n, Rows: []Row{{Weights: wide(testAffine)}}, Scales: []float32{0.3},
							Out: part[0], Next: part[1], X: part[2], V: part[3], Sums: make([]float32, Blocks(n)),
						}
						out, sums := ofValues(&p)
						Do(new(Work), &p)
						if !sameWords(storage, p.Out, out) || kind != GradPass && !sameFloats(p.Sums, sums) {
							t.Fatalf("pass %d over %d words of type %d differs", kind, n, storage)
						}
					}
				}
			}
		}
	})
}
