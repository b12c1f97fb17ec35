package noise_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cps/noise"
)

// The generator's known answer: C++'s standard asks for 4123659995 as the 10000th word
// of the default seed, 5489.
func TestTorchCPUWords(t *testing.T) {
	g := noise.NewTorchCPU(5489)
	for range 9999 {
		g.Uint32()
	}
	if got := g.Uint32(); got != 4123659995 {
		t.Errorf("the 10000th word is %d", got)
	}
	if a, b := noise.NewTorchCPU(7).Uint32(), noise.NewTorchCPU(7+1<<32).Uint32(); a != b {
		t.Error("more than 32 bits of the seed count")
	}
}

// What torch.manual_seed(42); torch.randn(20) prints, and torch.randn(8) of the same
// seed: two layouts. A printed digit is right to half of its last place.
func TestTorchCPUPublished(t *testing.T) {
	for _, tc := range []struct {
		n    int
		want []float64
	}{
		{20, []float64{1.9269, 1.4873, 0.9007, -2.1055}},
		{8, []float64{0.3367, 0.1288, 0.2345, 0.2303, -1.1229, -0.1863, 2.2082, -0.6380}},
	} {
		x := make([]float32, tc.n)
		noise.NewTorchCPU(42).Normal(x)
		for i, want := range tc.want {
			if math.Abs(float64(x[i])-want) > 0.5e-4+torchTol {
				t.Errorf("randn(%d)[%d] is %.6f, published %.4f", tc.n, i, x[i], want)
			}
		}
	}
}

// The layout is one of laws: calls of fewer than 16 are one sequence however they are
// cut, calls of multiples of 16 too, and another length draws its last 16 elements anew.
func TestTorchCPULayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		draw := func(g *noise.TorchCPU, n int) []float32 { x := make([]float32, n); g.Normal(x); return x }
		draw64 := func(g *noise.TorchCPU, n int) []float64 { x := make([]float64, n); g.Normal64(x); return x }

		// Below 16, float32 and float64 are the same draws.
		g, h, one := noise.NewTorchCPU(seed), noise.NewTorchCPU(seed), noise.NewTorchCPU(seed)
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 15), 1, 6).Draw(t, "calls") {
			x, y := draw(g, n), draw64(h, n)
			for i := range x {
				if x[i] != float32(y[i]) || draw(one, 1)[0] != x[i] {
					t.Fatalf("element %d of %d", i, n)
				}
			}
		}

		// In multiples of 16.
		blocks := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 5).Draw(t, "blocks")
		total := 0
		for _, n := range blocks {
			total += 16 * n
		}
		g, h = noise.NewTorchCPU(seed), noise.NewTorchCPU(seed)
		whole, whole64 := draw(g, total), draw64(h, total)
		g, h = noise.NewTorchCPU(seed), noise.NewTorchCPU(seed)
		for _, n := range blocks {
			if !slices.Equal(draw(g, 16*n), whole[:16*n]) || !slices.Equal(draw64(h, 16*n), whole64[:16*n]) {
				t.Fatal("multiples of 16 are not one sequence")
			}
			whole, whole64 = whole[16*n:], whole64[16*n:]
		}

		// Any other length: the last 16 are those of a generator that has drawn n words.
		n := 16*rapid.IntRange(1, 5).Draw(t, "sixteens") + rapid.IntRange(1, 15).Draw(t, "rest")
		x := draw(noise.NewTorchCPU(seed), n)
		g = noise.NewTorchCPU(seed)
		for range n {
			g.Uint32()
		}
		if !slices.Equal(draw(g, 16), x[n-16:]) {
			t.Fatalf("the last 16 of %d", n)
		}
		if full := draw(noise.NewTorchCPU(seed), n/16*16); !slices.Equal(full[:n-16], x[:n-16]) {
			t.Fatalf("the first of %d", n)
		}
	})
}

// No word gives a NaN or an infinity, and both layouts are standard normal: the mean of
// n draws is 0 to 5/√n, their mean square 1 to 5·√(2/n).
func TestTorchCPUMoments(t *testing.T) {
	const n = 1 << 16
	long, short := make([]float32, n), make([]float32, n)
	g := noise.NewTorchCPU(3)
	g.Normal(long)
	for i := 0; i < n; i += 8 {
		g.Normal(short[i:][:8])
	}
	for _, x := range [][]float32{long, short} {
		var sum, squares float64
		for _, x := range x {
			sum += float64(x)
			squares += float64(x) * float64(x)
		}
		if math.Abs(sum/n) > 5/math.Sqrt(n) || math.Abs(squares/n-1) > 5*math.Sqrt(2./n) {
			t.Errorf("mean %v, mean square %v", sum/n, squares/n)
		}
	}
}
