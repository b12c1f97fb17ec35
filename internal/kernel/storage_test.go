package kernel

import (
	"math"
	"math/big"
	"testing"

	"github.com/x448/float16"
)

// Every float16 is a float32, and comes back from it.
func TestFloat16Unpack(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		got := fromFloat16(h)
		want := float16.Frombits(h).Float32()
		if math.Float32bits(got) != math.Float32bits(want) && !(got != got && want != want) {
			t.Fatalf("half %#04x is %v, want %v", h, got, want)
		}
		if got != got {
			if back := toFloat16(got); back&0x7fff <= 0x7c00 || back&0x8000 != h&0x8000 {
				t.Fatalf("NaN %#04x came back as %#04x", h, back)
			}
		} else if back := toFloat16(got); back != h {
			t.Fatalf("half %#04x came back as %#04x", h, back)
		}
	}
}

func TestBFloat16Unpack(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		got := fromBFloat16(h)
		if want := math.Float32frombits(uint32(h) << 16); math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("bfloat16 %#04x is %v, want %v", h, got, want)
		}
		want := h
		if got != got {
			want |= 0x40 // a quiet NaN
		}
		if back := toBFloat16(got); back != want {
			t.Fatalf("bfloat16 %#04x came back as %#04x, want %#04x", h, back, want)
		}
	}
}

// TestExhaustiveStorage compares the rounding of float32 words with another way of
// rounding; with -exhaustive it compares all words. For float16 that is
// x448/float16. For bfloat16 it is the nearer of the two neighbours, by their
// distance in float64.
func TestExhaustiveStorage(t *testing.T) {
	sweep(func(lo, hi, stride uint64) {
		for w := lo; w < hi; w += stride {
			x := math.Float32frombits(uint32(w))
			got, want := toFloat16(x), float16.Fromfloat32(x).Bits()
			if got != want && !(x != x && got&0x7fff > 0x7c00 && got>>15 == want>>15) {
				t.Errorf("float16 of %v (%#08x) is %#04x, want %#04x", x, w, got, want)
				return
			}
			if got, want := toBFloat16(x), nearestBFloat16(x); got != want {
				t.Errorf("bfloat16 of %v (%#08x) is %#04x, want %#04x", x, w, got, want)
				return
			}
		}
	})
}

// nearestBFloat16 rounds x by comparing distances. The neighbour above the largest
// finite value counts as 2¹²⁸.
func nearestBFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	lo := uint16(b >> 16)
	if x != x {
		return lo | 0x40
	}
	if math.IsInf(float64(x), 0) {
		return lo
	}
	value := func(h uint16) float64 {
		if h&0x7fff == 0x7f80 {
			return math.Ldexp(1, 128)
		}
		return math.Abs(float64(math.Float32frombits(uint32(h) << 16)))
	}
	a := math.Abs(float64(x))
	below, above := a-value(lo), value(lo+1)-a
	if above < below || above == below && lo%2 == 1 {
		return lo + 1
	}
	return lo
}

// Rounding agrees with big.Float at edges of every kind.
func TestRoundEdges(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		t       Storage
		x, want float32
	}{
		{Float16, 1 + 0x1p-11, 1},                     // tie to even, down
		{Float16, 1 + 0x3p-11, 1 + 0x1p-9},            // tie to even, up
		{Float16, 1 + 0x1p-11 + 0x1p-23, 1 + 0x1p-10}, // just above a tie
		{Float16, 65504, 65504},                       // largest
		{Float16, 65519.996, 65504},                   // just below the tie with 2¹⁶
		{Float16, 65520, inf},                         // that tie
		{Float16, math.MaxFloat32, inf},               //
		{Float16, inf, inf},                           //
		{Float16, 0x1p-14, 0x1p-14},                   // smallest normal
		{Float16, 0x1p-14 - 0x1p-25, 0x1p-14},         // tie into the normals
		{Float16, 0x1p-24, 0x1p-24},                   // smallest subnormal
		{Float16, 0x1p-25, 0},                         // tie to zero
		{Float16, 0x1p-25 + 0x1p-48, 0x1p-24},         // just above it
		{Float16, 0x3p-25, 0x1p-23},                   // tie between subnormals
		{Float16, math.SmallestNonzeroFloat32, 0},     //
		{BFloat16, 1 + 0x1p-8, 1},                     // tie to even, down
		{BFloat16, 1 + 0x3p-8, 1 + 0x1p-6},            // tie to even, up
		{BFloat16, 1 + 0x1p-8 + 0x1p-23, 1 + 0x1p-7},  // just above a tie
		{BFloat16, 0x1.fep127, 0x1.fep127},            // largest
		{BFloat16, 0x1.fefffep127, 0x1.fep127},        // just below the tie with 2¹²⁸
		{BFloat16, 0x1.ffp127, inf},                   // that tie
		{BFloat16, 0x1p-133, 0x1p-133},                // smallest subnormal
		{BFloat16, 0x1p-134, 0},                       // tie to zero
		{BFloat16, 0x3p-134, 0x1p-132},                // tie between subnormals
		{BFloat16, math.SmallestNonzeroFloat32, 0},    //
		{Float32, math.SmallestNonzeroFloat32, math.SmallestNonzeroFloat32},
		{Float32, nan, nan},
		{Float16, nan, nan},
		{BFloat16, nan, nan},
		// These NaNs have their payload in the bits that are cut.
		{Float16, math.Float32frombits(0x7f800001), nan},
		{BFloat16, math.Float32frombits(0x7f800001), nan},
		{BFloat16, math.Float32frombits(0x7fffffff), nan},
	} {
		for _, sign := range []float32{1, -1} {
			x, want := sign*c.x, sign*c.want
			got := c.t.Round(x)
			if math.Float32bits(got) != math.Float32bits(want) && !(got != got && want != want) {
				t.Errorf("storage %d: %v rounds to %v, want %v", c.t, x, got, want)
			}
			if got != got || c.t == Float32 || math.Abs(float64(x)) < 0x1p-14 || math.IsInf(float64(want), 0) {
				continue // big.Float has no NaN, subnormals or overflow
			}
			prec := map[Storage]uint{Float16: 11, BFloat16: 8}[c.t]
			if b, _ := new(big.Float).SetPrec(prec).SetFloat64(float64(x)).Float32(); b != got {
				t.Errorf("storage %d: %v rounds to %v, by big.Float to %v", c.t, x, got, b)
			}
		}
	}
}

// Rounding twice equals rounding once. Packing rounds.
func TestPackUnpack(t *testing.T) {
	x := input(1000, 1)
	words, back := make([]uint16, len(x)+1), make([]float32, len(x)+1)
	const guard = 77
	for _, s := range []Storage{BFloat16, Float16} {
		words[len(x)], back[len(x)] = guard, guard
		s.Pack(words, x)
		s.Unpack(back, words[:len(x)])
		for i, x := range x {
			if want := s.Round(x); back[i] != want || s.Round(want) != want {
				t.Fatalf("storage %d: %v came back as %v, rounds to %v and then to %v", s, x, back[i], want, s.Round(want))
			}
		}
		if words[len(x)] != guard || back[len(x)] != guard {
			t.Errorf("storage %d: wrote beyond the source", s)
		}
	}
}
