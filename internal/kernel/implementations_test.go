package kernel

import (
	"math"
	"os"
	"regexp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// forEach runs a test for every implementation that this machine can run.
func forEach(t *testing.T, f func(t *testing.T)) {
	was := use
	defer func() { use = was }()
	for _, use = range available() {
		t.Run(use.String(), f)
	}
}

// A fenced slice has words before and after it that nobody may touch.
type fenced struct{ all, part []float32 }

var guardWord = math.Float32frombits(0x7fedcba9) // a NaN that no computation makes

// fence returns a copy of x that starts offset elements into its memory, so that it
// has any alignment.
func fence(x []float32, offset int) fenced {
	all := make([]float32, offset+len(x)+40)
	for i := range all {
		all[i] = guardWord
	}
	part := all[offset:][:len(x):len(x)]
	copy(part, x)
	return fenced{all, part}
}

func (g fenced) intact() bool {
	before := len(g.all) - 40 - len(g.part)
	for i, x := range g.all {
		if (i < before || i >= before+len(g.part)) && math.Float32bits(x) != math.Float32bits(guardWord) {
			return false
		}
	}
	return true
}

// sameFloats compares bits. All NaNs are equal, since processors make different
// ones.
func sameFloats(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
	})
}

// A call holds the arguments of all passes.
type call struct {
	n, alias  int // alias: 0 none, 1 dst is x, 2 dst is v
	offsets   [4]int
	x, v, dst []float32
	a         Affine
	s         Stream
	off       uint64
	t         Storage
	scale     float32
}

func drawCall(t *rapid.T) call {
	c := call{
		n: rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, 4*BlockLen),
			rapid.SampledFrom([]int{31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 2048, 5000})).Draw(t, "n"),
		alias: rapid.IntRange(0, 2).Draw(t, "alias"),
		t:     Storage(rapid.IntRange(0, 2).Draw(t, "storage")),
		s: Stream{
			Key:    rapid.Uint64().Draw(t, "key"),
			Sample: rapid.Uint64().Draw(t, "sample"),
			Step:   rapid.Uint32().Draw(t, "step"),
		},
		off:   BlockLen * rapid.Uint64Range(0, 1<<24-8).Draw(t, "block"),
		scale: float32(rapid.Float64Range(-3, 3).Draw(t, "scale")),
	}
	for i := range c.offsets {
		c.offsets[i] = rapid.IntRange(0, 17).Draw(t, "offset")
	}
	// A fused multiply-add shows with factors such as 0.55. With ½ it would not.
	weight := rapid.SampledFrom([]float32{0, 0.55, -0.37, 1, 1.0000001, -1e-3, 7.1e4,
		float32(math.Inf(1)), float32(math.Inf(-1))})
	c.a = Affine{weight.Draw(t, "X"), weight.Draw(t, "V"), weight.Draw(t, "Eps")}
	fill := func(step uint32) []float32 {
		x := make([]float32, c.n)
		Stream{Key: c.s.Key, Step: step}.normalPortable(x, 0)
		return x
	}
	c.x, c.v, c.dst = fill(1), fill(2), fill(3)
	special := []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.NaN()),
		1e-42, -3e38, 65519, 65520, 6e-8, 5.9604645e-08, 1 + 1.0/256, 1 + 3.0/256}
	for range rapid.IntRange(0, 5).Draw(t, "specials") {
		if c.n > 0 {
			to := [][]float32{c.x, c.v, c.dst}[rapid.IntRange(0, 2).Draw(t, "where")]
			to[rapid.IntRange(0, c.n-1).Draw(t, "at")] = rapid.SampledFrom(special).Draw(t, "special")
		}
	}
	return c
}

// A result holds everything that the passes write.
type result struct {
	step, grad, normal []float32
	sums, squares      []float32
	intact             bool
}

// run runs all passes on fresh copies of the arguments.
func (c call) run() (r result) {
	blocks := Blocks(c.n)
	x, v, dst := fence(c.x, c.offsets[0]), fence(c.v, c.offsets[1]), fence(c.dst, c.offsets[2])
	out := [...]fenced{dst, x, v}[c.alias]
	sums := fence(make([]float32, blocks), c.offsets[3])
	Step(sums.part, out.part, x.part, v.part, c.a, c.s, c.off, c.t)
	r.step = slices.Clone(out.part)
	r.sums = slices.Clone(sums.part)

	without := fence(c.dst, c.offsets[1])
	x2, v2 := fence(c.x, c.offsets[3]), fence(c.v, c.offsets[0])
	Step(nil, without.part, x2.part, v2.part, c.a, c.s, c.off, c.t)
	r.intact = sameFloats(without.part, r.step)

	squares := fence(make([]float32, blocks), c.offsets[0])
	Squares(squares.part, without.part, x2.part, v2.part, c.a)
	r.squares = slices.Clone(squares.part)

	grad := fence(c.dst, c.offsets[3])
	Grad(grad.part, without.part, x2.part, v2.part, c.a, c.scale)
	r.grad = slices.Clone(grad.part)

	normal := fence(make([]float32, c.n), c.offsets[2])
	c.s.Normal(normal.part, c.off+uint64(c.offsets[0]))
	r.normal = slices.Clone(normal.part)

	for _, g := range []fenced{x, v, dst, sums, without, x2, v2, squares, grad, normal} {
		r.intact = r.intact && g.intact()
	}
	return r
}

func implementationsAgree(t *rapid.T) {
	c := drawCall(t)
	was := use
	defer func() { use = was }()
	use = portable
	want := c.run()
	if !want.intact {
		t.Fatal("the portable code wrote outside its slices, or sums change a step")
	}
	for _, use = range available() {
		got := c.run()
		for name, pair := range map[string][2][]float32{
			"step": {got.step, want.step}, "sums": {got.sums, want.sums}, "squares": {got.squares, want.squares},
			"grad": {got.grad, want.grad}, "normal": {got.normal, want.normal},
		} {
			if !sameFloats(pair[0], pair[1]) {
				i := 0
				for i < len(pair[0]) && sameFloats(pair[0][i:i+1], pair[1][i:i+1]) {
					i++
				}
				t.Fatalf("%v: %s: element %d is %v, portable %v", use, name, i, pair[0][i], pair[1][i])
			}
		}
		if !got.intact {
			t.Fatalf("%v wrote outside its slices", use)
		}
		// The sums of a step equal those of its replay, unless something overflowed.
		if !sameFloats(got.sums, got.squares) && c.alias == 0 {
			t.Fatalf("%v: step sums %v, squares %v", use, got.sums, got.squares)
		}
	}
}

func TestImplementationsAgree(t *testing.T) { rapid.Check(t, implementationsAgree) }
func FuzzImplementationsAgree(f *testing.F) { f.Fuzz(rapid.MakeFuzz(implementationsAgree)) }

// Every length up to three blocks is tested, since a mask has 32 forms and a block
// has four quarters.
func TestEveryLength(t *testing.T) {
	forEach(t, func(t *testing.T) {
		a := Affine{0.55, -0.37, 0.21}
		x, v := make([]float32, 3*BlockLen), make([]float32, 3*BlockLen)
		Stream{Key: 5}.Normal(x, 0)
		Stream{Key: 6}.Normal(v, 0)
		s := Stream{Key: 7, Sample: 1 << 40, Step: 3}
		for n := 1; n <= len(x); n++ {
			got, want := make([]float32, n), make([]float32, n)
			sums, sums2 := make([]float32, Blocks(n)), make([]float32, Blocks(n))
			Step(sums, got, x[:n], v[:n], a, s, 0, BFloat16)
			stepPortable(sums2, want, x, v, a, s, 0, BFloat16)
			if !sameFloats(got, want) || !sameFloats(sums, sums2) {
				t.Fatalf("%d elements differ", n)
			}
		}
	})
}

// Rounding inside a pass equals Storage.Round, for float32s of every exponent.
func TestRoundingInPasses(t *testing.T) {
	forEach(t, func(t *testing.T) {
		const n = 1 << 16
		x, dst := make([]float32, n), make([]float32, n)
		for _, low := range []uint32{0, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff} {
			for i := range x {
				x[i] = math.Float32frombits(uint32(i)<<16 | low)
			}
			for _, storage := range []Storage{Float32, BFloat16, Float16} {
				Step(nil, dst, x, nil, Affine{X: 1}, Stream{}, 0, storage)
				for i, y := range dst {
					if want := storage.Round(x[i]); math.Float32bits(y) != math.Float32bits(want) && (y == y || want == want) {
						t.Fatalf("%v: %x becomes %x, want %x", storage, math.Float32bits(x[i]), math.Float32bits(y), math.Float32bits(want))
					}
				}
			}
		}
	})
}

// AVX2 has sixteen registers. If the generator needs more, it takes them, and the
// assembler accepts that. But the instruction is then one of AVX-512. A fused
// multiply-add would change bits. The noise of AVX-512 has enough registers, so none
// of its values waits in memory.
func TestAssembly(t *testing.T) {
	for file, forbidden := range map[string]string{
		"avx2_amd64.s": `\b([XYZ](1[6-9]|[23][0-9])|Z[0-9]|K[0-7]|VFN?M\w+)\b`,
		// Register 18 belongs to the platform, and 26 to 30 belong to Go.
		"neon_arm64.s": `(?i)\b(V?FN?ML[AS]L?2?|FN?M(ADD|SUB)[SDH]?|R(18|2[6-9]|30))\b`,
		// Registers 16 to 31 below 512 bits need AVX-512 VL, and the other patterns
		// BW or DQ. The kernels require only F.
		"avx512_amd64.s": `\b(VFN?M\w+|[XY](1[6-9]|[23][0-9])|KMOV[BDQ]|VMOVDQU(8|16)|V(AND|ANDN|OR|XOR)PS|VEXTRACT[FI](32X8|64X2))\b`,
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if r := regexp.MustCompile(forbidden).Find(b); r != nil {
			t.Errorf("%s uses %s", file, r)
		}
		if file != "avx512_amd64.s" {
			continue
		}
		frames := regexp.MustCompile(`TEXT ·\w*ormalsAVX512\(SB\), NOSPLIT, \$(\d+)-`).FindAllSubmatch(b, -1)
		if len(frames) != 2 || string(frames[0][1]) != "0" || string(frames[1][1]) != "0" {
			t.Errorf("%s: stack frames of the noise: %q", file, frames)
		}
	}
}

// Short arguments panic in every implementation. None reads or writes beyond them.
func TestShortArguments(t *testing.T) {
	forEach(t, func(t *testing.T) {
		const n = 100
		long, short := make([]float32, n), make([]float32, n-1)
		sums := make([]float32, 1)
		a := Affine{0.55, -0.37, 0.21}
		for name, f := range map[string]func(){
			"step x":       func() { Step(sums, long, short, long, a, Stream{}, 0, Float32) },
			"step v":       func() { Step(sums, long, long, short, a, Stream{}, 0, Float32) },
			"step sums":    func() { Step([]float32{}, long, long, long, a, Stream{}, 0, Float32) },
			"squares x":    func() { Squares(sums, long, short, long, a) },
			"squares v":    func() { Squares(sums, long, long, short, a) },
			"squares sums": func() { Squares(nil, long, long, long, a) },
			"grad next":    func() { Grad(long, short, long, long, a, 1) },
			"grad x":       func() { Grad(long, long, short, long, a, 1) },
			"grad v":       func() { Grad(long, long, long, short, a, 1) },
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

// Terms are present or absent in every combination, with zeros of both signs and
// extreme inputs, at a length with a tail.
func TestAbsentTermsAndExtremes(t *testing.T) {
	weights := []float32{0, minusZeroTest, 1, -1, 0.55}
	extremes := []float32{0, minusZeroTest, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1e-45, -3e38}
	const n = 7 * 7
	x, v := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], v[i] = extremes[i%7], extremes[i/7]
	}
	was := use
	defer func() { use = was }()
	for _, wx := range weights {
		for _, wv := range weights {
			for _, we := range weights {
				for _, storage := range []Storage{Float32, BFloat16, Float16} {
					a := Affine{wx, wv, we}
					want, sum := make([]float32, n), make([]float32, 1)
					stepPortable(sum, want, x, v, a, Stream{Key: 3}, 0, storage)
					for _, use = range available() {
						got, sum2 := make([]float32, n), make([]float32, 1)
						Step(sum2, got, x, v, a, Stream{Key: 3}, 0, storage)
						if !sameFloats(got, want) || !sameFloats(sum2, sum) {
							t.Fatalf("%v, %+v: %v %v, want %v %v", use, a, got, sum2, want, sum)
						}
					}
				}
			}
		}
	}
}

var minusZeroTest = float32(math.Copysign(0, -1))
