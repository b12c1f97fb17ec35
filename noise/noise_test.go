package noise_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"cps/noise"
)

const reserved = math.MaxUint32 // the step of Derive

func drawKey(t *rapid.T) noise.Key { return noise.Key(rapid.Uint64().Draw(t, "key")) }

func drawID(t *rapid.T) noise.ID {
	return noise.ID{
		Sample: rapid.Uint64().Draw(t, "sample"),
		Step:   rapid.Uint32Range(0, reserved-1).Draw(t, "step"),
	}
}

// A draw does not depend on where its row is cut.
func TestSplit(t *testing.T) { rapid.Check(t, splitProperty) }

func FuzzSplit(f *testing.F) { f.Fuzz(rapid.MakeFuzz(splitProperty)) }

func splitProperty(t *rapid.T) {
	key, id := drawKey(t), drawID(t)
	n := rapid.IntRange(0, 3000).Draw(t, "n")
	cut := rapid.IntRange(0, n).Draw(t, "cut")
	off := rapid.Uint64Range(0, 1<<34-3000).Draw(t, "off")
	fill(t, n, cut, off, func(dst []uint32, off uint64) { noise.Uint32s(dst, key, id, off) })
	fill(t, n, cut, off, func(dst []float32, off uint64) { noise.Normal(dst, key, id, off) })
	fill(t, n, cut, off, func(dst []float64, off uint64) { noise.Normal(dst, key, id, off) })
}

// fill checks that f gives the same n draws in one piece and in two.
func fill[T comparable](t *rapid.T, n, cut int, off uint64, f func([]T, uint64)) {
	whole, parts := make([]T, n), make([]T, n)
	f(whole, off)
	f(parts[cut:], off+uint64(cut))
	f(parts[:cut], off)
	for i := range whole {
		if whole[i] != parts[i] {
			t.Fatalf("%T %d of %d, cut at %d: %v in one piece, %v in two", whole[i], i, n, cut, whole[i], parts[i])
		}
	}
}

// Derive takes the first words of the reserved step's stream, which no ID reaches.
func TestDerive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := drawKey(t)
		m, n := rapid.Uint64().Draw(t, "m"), rapid.Uint64().Draw(t, "n")
		if key.Derive(n) == key {
			t.Fatal("derived key is its parent")
		}
		if m != n && key.Derive(m) == key.Derive(n) {
			t.Fatal("two derived keys coincide")
		}
		if m != n && key.Derive(m).Derive(n) == key.Derive(n).Derive(m) {
			t.Fatal("derivation commutes")
		}
	})
}

func TestPanics(t *testing.T) {
	const step, end = "noise: ID.Step 1<<32 - 1 is reserved for Key.Derive", "noise: beyond the end of the stream"
	key, id := noise.Key(1), noise.ID{Sample: 2, Step: 3}
	for _, c := range []struct {
		name, want string
		f          func()
	}{
		{"reserved step", step, func() { noise.Uint32s(make([]uint32, 1), key, noise.ID{Step: reserved}, 0) }},
		{"reserved step of normals", step, func() { noise.Normal(make([]float32, 1), key, noise.ID{Step: reserved}, 0) }},
		{"reserved step of nothing", step, func() { noise.Normal([]float64(nil), key, noise.ID{Step: reserved}, 0) }},
		{"reserved step of a source", step, func() { (&noise.Source{ID: noise.ID{Step: reserved}}).Uint64() }},
		{"one word beyond", end, func() { noise.Uint32s(make([]uint32, 2), key, id, 1<<34-1) }},
		{"one draw beyond", end, func() { noise.Normal(make([]float32, 2), key, id, 1<<34-1) }},
		{"one double beyond", end, func() { noise.Normal(make([]float64, 2), key, id, 1<<34-1) }},
		{"far beyond", end, func() { noise.Uint32s(make([]uint32, 2), key, id, math.MaxUint64) }},
		{"source beyond", end, func() { (&noise.Source{Pos: 1<<34 - 1}).Uint64() }},
		{"torch offset", "noise: offset of a torch generator is not a multiple of 4", func() {
			noise.TorchCUDANormal(make([]float32, 1), 0, 2, noise.TorchGPU{})
		}},
		{"torch without threads", "noise: TorchGPU must have 256 threads or more, or be zero", func() {
			noise.TorchCUDANormal(make([]float32, 1), 0, 0, noise.TorchGPU{Multiprocessors: 8, ThreadsPerMultiprocessor: 255})
		}},
		{"torch with two minus signs", "noise: TorchGPU must have 256 threads or more, or be zero", func() {
			noise.TorchCUDANormal(make([]float32, 1), 0, 0, noise.TorchGPU{Multiprocessors: -1, ThreadsPerMultiprocessor: -2048})
		}},
		{"torch with a tensor too large", "noise: torch splits tensors of more than 1<<29 elements", func() {
			noise.TorchCUDANormal(make([]float32, 1<<29+1), 0, 0, noise.TorchGPU{}) // memory that is never touched
		}},
		{"torch's zero generator", "noise: zero TorchCPU: make one with NewTorchCPU", func() { new(noise.TorchCPU).Uint32() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if got := recover(); got != c.want {
					t.Errorf("panic %v, want %q", got, c.want)
				}
			}()
			c.f()
		})
	}

	// The last words, and nothing after them, exist.
	noise.Uint32s(make([]uint32, 4), key, id, 1<<34-4)
	noise.Normal(make([]float32, 0), key, id, 1<<34)
	(&noise.Source{Pos: 1<<34 - 2}).Uint64()
}

func TestNoAllocation(t *testing.T) {
	key, id := noise.Key(1), noise.ID{}
	words, f32s, f64s := make([]uint32, 101), make([]float32, 101), make([]float64, 101)
	src := &noise.Source{}
	if n := testing.AllocsPerRun(10, func() {
		noise.Uint32s(words, key.Derive(9), id, 1)
		noise.Normal(f32s, key, id, 1)
		noise.Normal(f64s, key, id, 1)
		src.Uint64()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSource(t *testing.T) {
	var _ rand.Source = (*noise.Source)(nil)
	rapid.Check(t, func(t *rapid.T) {
		pos := rapid.Uint64Range(0, 1<<34-10).Draw(t, "pos")
		s := noise.Source{Key: drawKey(t), ID: drawID(t), Pos: pos}
		var words [10]uint32
		noise.Uint32s(words[:], s.Key, s.ID, pos)
		fork := s
		for i := 0; i < len(words); i += 2 {
			want := uint64(words[i]) | uint64(words[i+1])<<32
			if got := s.Uint64(); got != want {
				t.Fatalf("Uint64 %d is %#x, want %#x", i/2, got, want)
			}
		}
		if s.Pos != pos+10 {
			t.Fatalf("position %d after %d and ten words", s.Pos, pos)
		}
		fork.Pos += 4
		if got, want := fork.Uint64(), uint64(words[4])|uint64(words[5])<<32; got != want {
			t.Fatalf("after seeking: %#x, want %#x", got, want)
		}
	})
}

func BenchmarkNormal(b *testing.B) {
	dst := make([]float32, 1<<16)
	b.SetBytes(4 << 16)
	for b.Loop() {
		noise.Normal(dst, 1, noise.ID{}, 0)
	}
}

func BenchmarkUint32s(b *testing.B) {
	dst := make([]uint32, 1<<16)
	b.SetBytes(4 << 16)
	for b.Loop() {
		noise.Uint32s(dst, 1, noise.ID{}, 0)
	}
}

func BenchmarkSource(b *testing.B) {
	s := &noise.Source{}
	for b.Loop() {
		s.Pos = 0
		s.Uint64()
	}
}

// The contract of the package comment, written once more from its words alone. One rounding
// of the sum would give some of these words another uniform, and normals up to 1e-7 away.
func TestContract(t *testing.T) {
	const n = 1 << 16
	words, got, got32 := make([]uint32, n), make([]float64, n), make([]float32, n)
	noise.Uint32s(words, 11, noise.ID{Sample: 5, Step: 2}, 0)
	noise.Normal(got, 11, noise.ID{Sample: 5, Step: 2}, 0)
	noise.Normal(got32, 11, noise.ID{Sample: 5, Step: 2}, 0)
	twice := 0
	for i := 0; i < n; i += 2 {
		x, y := words[i], words[i+1]
		u := float32(float32(x)+0.5) * 0x1p-32
		if once := float32(float64(x)+0.5) * 0x1p-32; once != u {
			twice++
		}
		radius := math.Sqrt(-2 * math.Log(float64(u)))
		sin, cos := math.Sincos(2 * math.Pi * float64(y) * 0x1p-32)
		for k, want := range [2]float64{radius * sin, radius * cos} {
			// The logarithm of u near 1 and the angle have errors of an ulp of 1 and of 2π.
			if math.Abs(got[i+k]-want) > 1e-14*(1+1/max(radius, 1e-3)) {
				t.Fatalf("words %d, %d: normal %d is %v, want %v", x, y, k, got[i+k], want)
			}
			if math.Abs(float64(got32[i+k])-want) > 1.6e-6 {
				t.Fatalf("words %d, %d: float32 normal %d is %v, want %v", x, y, k, got32[i+k], want)
			}
		}
	}
	if twice == 0 {
		t.Error("no word tells one rounding from two")
	}
	t.Logf("%d words of %d are rounded otherwise", twice, n/2)
}
