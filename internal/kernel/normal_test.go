package kernel

import (
	"flag"
	"math"
	"runtime"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

var exhaustive = flag.Bool("exhaustive", false, "sweep all 2³² words, which takes minutes, instead of every 1021st")

// sweep calls f, concurrently, for consecutive runs of words. If tests are
// exhaustive, it covers all words. Otherwise it covers every 1021st word, and the
// 2¹² words around every multiple of 2²⁹, where polynomials and signs change.
func sweep(f func(lo, hi, stride uint64)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if *exhaustive {
		n := uint64(runtime.GOMAXPROCS(0))
		for i := range n {
			wg.Go(func() { f(1<<32*i/n, 1<<32*(i+1)/n, 1) })
		}
		return
	}
	wg.Go(func() { f(0, 1<<32, 1021) })
	wg.Go(func() {
		for m := uint64(0); m <= 1<<32; m += 1 << 29 {
			f(max(m, 1<<11)-1<<11, min(m+1<<11, 1<<32), 1)
		}
	})
}

// worst is a maximum that concurrent sweeps share.
type worst struct {
	mu sync.Mutex
	v  float64
}

func (w *worst) add(v float64) {
	w.mu.Lock()
	w.v = max(w.v, v)
	w.mu.Unlock()
}

// TestExhaustiveRadius proves with -exhaustive that radius is finite for every
// word. It is 6.7637057 at most, near √(-2·log u), and 0 for the 128 largest words
// only. Over all words the largest absolute error was 5.34e-7, which is 1.1 units
// in the last place of the largest radii. The largest relative error was 2.11e-7.
// radius64 was within 3.03e-16 of package math, relatively. The sweep takes 40
// seconds on two cores.
func TestExhaustiveRadius(t *testing.T) {
	var abs, rel, rel64 worst
	sweep(func(lo, hi, stride uint64) {
		var a, r, r64, want float64
		last := float32(-1)
		for w := lo; w < hi; w += stride {
			x := uint32(w)
			got := radius(x)
			if zero := w >= 1<<32-128; !(got <= 6.7637057) || zero != (got == 0) || got < 0 {
				t.Errorf("radius(%#x) = %v", x, got)
				return
			}
			v := float32(x) + 0.5
			if v == last || got == 0 { // the same number as before
				continue
			}
			last = v
			want = math.Sqrt(-2 * math.Log(float64(v)/(1<<32)))
			a = max(a, math.Abs(float64(got)-want))
			r = max(r, math.Abs(float64(got)-want)/want)
			r64 = max(r64, math.Abs(radius64(x)-want)/want)
		}
		abs.add(a)
		rel.add(r)
		rel64.add(r64)
	})
	t.Logf("absolute error %.3g, relative %.3g; float64 relative %.3g", abs.v, rel.v, rel64.v)
	// The bounds are the recorded errors, rounded up. Package math differs between
	// architectures by a unit in the last place, 2.2e-16, or less.
	if abs.v > 5.4e-7 || rel.v > 2.2e-7 || rel64.v > 4.5e-16 {
		t.Error("errors exceed those recorded")
	}
	if got := radius(0); got != 6.7637057 {
		t.Errorf("radius(0) = %v", got)
	}
	if got := radius64(math.MaxUint32); got != 0 {
		t.Errorf("radius64 of the largest word = %v", got)
	}
}

// TestExhaustiveSincos proves with -exhaustive, for all 2³² angles, that sine and
// cosine are at most 1 in size and near those of 2π·y·2⁻³². Over all words the
// largest error was 1.14e-7. For every 127th word, sincos64 was within 4.44e-16 of
// package math, whose argument is itself rounded. The sweep takes 70 seconds on
// two cores.
func TestExhaustiveSincos(t *testing.T) {
	var abs, abs64 worst
	sweep(func(lo, hi, stride uint64) {
		var a, a64 float64
		for w := lo; w < hi; w += stride {
			y := uint32(w)
			s, c := sincos(y)
			if !(s >= -1 && s <= 1 && c >= -1 && c <= 1) {
				t.Errorf("sincos(%#x) = %v, %v", y, s, c)
				return
			}
			ws, wc := math.Sincos(2 * math.Pi * float64(int32(y)) / (1 << 32))
			a = max(a, math.Abs(float64(s)-ws), math.Abs(float64(c)-wc))
			if stride > 1 || w%127 == 0 { // it is slow, and smooth in y
				s, c := sincos64(y)
				a64 = max(a64, math.Abs(s-ws), math.Abs(c-wc))
			}
		}
		abs.add(a)
		abs64.add(a64)
	})
	t.Logf("absolute error %.3g; float64 %.3g", abs.v, abs64.v)
	if abs.v > 1.2e-7 || abs64.v > 6.7e-16 { // recorded errors, rounded up
		t.Error("errors exceed those recorded")
	}
}

// Sine and cosine are exact on the four axes, where the angle is a multiple of
// π/2.
func TestSincosAxes(t *testing.T) {
	for i, want := range [4][2]float32{{0, 1}, {1, 0}, {0, -1}, {-1, 0}} {
		if s, c := sincos(uint32(i) << 30); s != want[0] || c != want[1] {
			t.Errorf("quarter turn %d: %v, %v, want %v", i, s, c, want)
		}
		if s, c := sincos64(uint32(i) << 30); s != float64(want[0]) || c != float64(want[1]) {
			t.Errorf("quarter turn %d in float64: %v, %v, want %v", i, s, c, want)
		}
	}
}

// A draw depends on its position alone. However a stream is cut, each slice holds
// the same bits, and Normal writes nothing beside it.
func TestSplit(t *testing.T) { rapid.Check(t, splitProperty) }

func FuzzSplit(f *testing.F) { f.Fuzz(rapid.MakeFuzz(splitProperty)) }

func splitProperty(t *rapid.T) {
	s := Stream{rapid.Uint64().Draw(t, "key"), rapid.Uint64().Draw(t, "sample"), rapid.Uint32().Draw(t, "step")}
	off := rapid.Uint64Range(0, 1<<34-200).Draw(t, "off")
	n := rapid.IntRange(0, 100).Draw(t, "n")

	const guard = 77
	words, f32, f64 := make([]uint32, n+1), make([]float32, n+1), make([]float64, n+1)
	words[n], f32[n], f64[n] = guard, guard, guard
	for lo := 0; lo < n; {
		hi := rapid.IntRange(lo+1, n).Draw(t, "cut")
		s.Words(words[lo:hi], off+uint64(lo))
		s.Normal(f32[lo:hi], off+uint64(lo))
		s.Normal64(f64[lo:hi], off+uint64(lo))
		lo = hi
	}
	if words[n] != guard || f32[n] != guard || f64[n] != guard {
		t.Fatal("wrote beyond the slice")
	}
	for i := range n {
		e := off + uint64(i)
		w := Philox([4]uint32{uint32(e / 4), s.Step, uint32(s.Sample), uint32(s.Sample >> 32)}, [2]uint32{uint32(s.Key), uint32(s.Key >> 32)})
		j := e % 4 / 2 * 2
		g0, g1 := boxMuller(w[j], w[j+1])
		d0, d1 := boxMuller64(w[j], w[j+1])
		if e%2 == 1 {
			g0, d0 = g1, d1
		}
		if words[i] != w[e%4] || math.Float32bits(f32[i]) != math.Float32bits(g0) || math.Float64bits(f64[i]) != math.Float64bits(d0) {
			t.Fatalf("element %d: %#x, %v, %v, want %#x, %v, %v", e, words[i], f32[i], f64[i], w[e%4], g0, d0)
		}
	}
}

// Normal and Normal64 return the same numbers but for three errors. That of radius
// is 5.4e-7. That of sincos is 1.2e-7, times 6.77 at most. The product rounds by
// half a unit of its last place, 2.4e-7.
func TestNormal64(t *testing.T) {
	const bound = 5.4e-7 + 6.77*1.2e-7 + 2.4e-7
	f32, f64 := make([]float32, 1<<20), make([]float64, 1<<20)
	testStream.Normal(f32, 0)
	testStream.Normal64(f64, 0)
	var most float64
	for i, x := range f32 {
		most = max(most, math.Abs(float64(x)-f64[i]))
	}
	// A million draws do not reach the largest radii.
	for x := range uint32(1 << 10) {
		for y := uint32(0); y < 1<<32-1<<22; y += 1 << 22 {
			g0, g1 := boxMuller(x, y)
			d0, d1 := boxMuller64(x, y)
			most = max(most, math.Abs(float64(g0)-d0), math.Abs(float64(g1)-d1))
		}
	}
	t.Logf("largest difference %.3g", most)
	if !(most <= bound) {
		t.Errorf("largest difference %.3g exceeds %.3g", most, bound)
	}
}
