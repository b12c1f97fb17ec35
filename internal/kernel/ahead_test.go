package kernel

import (
	"testing"

	"pgregory.net/rapid"
)

// Steps take the noise made ahead, and give the same bits, whether it is there, partly
// there, or of other streams, keys, lengths and places.
func aheadAgrees(t *rapid.T) {
	n := rapid.IntRange(1, BlockLen/4).Draw(t, "n")
	draw := func() Stream {
		return Stream{
			Key:    rapid.Uint64Range(7, 8).Draw(t, "key"),
			Sample: rapid.Uint64().Draw(t, "sample"),
			Step:   rapid.Uint32().Draw(t, "step"),
		}
	}
	var streams []Stream
	for range rapid.IntRange(0, MaxAhead+2).Draw(t, "streams") {
		streams = append(streams, draw())
	}
	other := rapid.IntRange(0, len(streams)).Draw(t, "other")
	var w Work
	w.Ahead(streams, n, Prefetch{})
	check := func(s Stream, m int, off uint64) {
		a := Affine{Eps: 0.55}
		got, want := make([]float32, m), make([]float32, m)
		w.Step(nil, got, nil, nil, a, s, off, Float32)
		stepPortable(nil, want, nil, nil, a, s, off, Float32)
		if !sameFloats(got, want) {
			t.Fatalf("%+v, %d elements from %d, of %d streams of %d elements made ahead: %v, want %v",
				s, m, off, len(streams), n, got, want)
		}
	}
	for i, s := range streams {
		if i == other {
			check(draw(), 3, 0)
		}
		off := uint64(BlockLen * rapid.IntRange(0, 1).Draw(t, "block"))
		check(s, rapid.IntRange(1, 2*n).Draw(t, "elements"), off)
	}
}

// What there is no room for is not made.
func TestAheadWithoutRoom(t *testing.T) {
	forEach(t, func(t *testing.T) {
		for _, n := range []int{-1, 0, BlockLen + 1, 1 << 20} {
			if room := AheadLen(n); room != 0 {
				t.Errorf("room for %d streams of %d elements", room, n)
			}
			var w Work
			w.Ahead([]Stream{{}, {}}, n, Prefetch{})
			got, want := make([]float32, 5), make([]float32, 5)
			w.Step(nil, got, nil, nil, Affine{Eps: 1}, Stream{}, 0, Float32)
			stepPortable(nil, want, nil, nil, Affine{Eps: 1}, Stream{}, 0, Float32)
			if !sameFloats(got, want) {
				t.Errorf("%d elements: %v, want %v", n, got, want)
			}
		}
	})
}

func TestAheadAgrees(t *testing.T) { forEach(t, func(t *testing.T) { rapid.Check(t, aheadAgrees) }) }

func FuzzAheadAgrees(f *testing.F) { f.Fuzz(rapid.MakeFuzz(aheadAgrees)) }

// Ahead is taken where there is room for it, or it is no use.
func TestAheadIsTaken(t *testing.T) {
	forEach(t, func(t *testing.T) {
		for _, n := range []int{1, 32, 33, 64, 100, BlockLen / 4, BlockLen/4 + 1, BlockLen} {
			room := AheadLen(n)
			if n > BlockLen/4 && room != 0 || room > MaxAhead {
				t.Errorf("room for %d streams of %d elements", room, n)
			}
			if room == 0 {
				continue
			}
			var w Work
			streams := make([]Stream, room)
			for i := range streams {
				streams[i].Sample = uint64(i)
			}
			w.Ahead(streams, n, Prefetch{})
			for _, s := range streams {
				w.Step(nil, make([]float32, n), nil, nil, Affine{Eps: 1}, s, 0, Float32)
			}
			if n := aheadTaken(&w); n != room {
				t.Errorf("%d of %d streams taken", n, room)
			}
		}
	})
}
