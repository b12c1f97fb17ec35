package ptx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"
	"pgregory.net/rapid"
)

// A stepCase holds the arguments of the kernel in testdata/step.cu.
type stepCase struct {
	x    []float32
	key  uint32
	a, b float32
}

func (c stepCase) blocks() int { return (len(c.x) + 255) / 256 }

// want returns the results that the kernel promises.
func (c stepCase) want() (out []uint16, sums []float64) {
	out, sums = make([]uint16, len(c.x)), make([]float64, c.blocks())
	for k := range sums {
		var tree [64]float32
		for t := range tree {
			for i := 4 * (64*k + t); i < min(4*(64*k+t+1), len(c.x)); i++ {
				h := uint32(i)*0x9E3779B9 ^ c.key
				hi, _ := bits.Mul32(h, 0xD2511F53)
				h = hi ^ bits.RotateLeft32(h, 13)
				f := float32(int32(h)) * 0x1p-31
				if f >= 0 {
					f = float32(math.Sqrt(float64(f)))
				}
				y := float32(c.a*c.x[i]) + float32(c.b*f)
				tree[t] += float32(y * y)
				out[i] = float16.Fromfloat32(y).Bits()
			}
		}
		for d := 32; d > 0; d /= 2 {
			for t := range d {
				tree[t] += tree[t+d]
			}
		}
		sums[k] = float64(tree[0])
	}
	return out, sums
}

// run launches the kernel, and returns what it has written. shift moves x and out by that
// many elements, as in the middle of a larger tensor.
func (c stepCase) run(k *Kernel, config Config, shift int) (out []uint16, sums []float64, stats Stats, err error) {
	var mem Memory
	n, blocks := len(c.x), c.blocks()
	addresses := [3]uint64{}
	for i, size := range []int{2 * (n + shift), 8 * blocks, 4 * (n + shift)} {
		if addresses[i], err = mem.Alloc(int64(size)); err != nil {
			return nil, nil, stats, err
		}
	}
	var buf []byte
	for _, x := range c.x {
		buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
	}
	x := addresses[2] + uint64(4*shift)
	if err := mem.Write(x, buf); err != nil {
		return nil, nil, stats, err
	}
	dst := addresses[0] + uint64(2*shift)
	params, err := k.Pack(dst, addresses[1], x, uint64(n), uint64(c.key), uint64(math.Float32bits(c.a)), uint64(math.Float32bits(c.b)))
	if err != nil {
		return nil, nil, stats, err
	}
	config.Grid, config.Block = Dim{blocks, 1, 1}, Dim{64, 1, 1}
	if stats, err = k.Launch(&mem, config, params); err != nil {
		return nil, nil, stats, err
	}
	buf = make([]byte, 2*n)
	if err := mem.Read(buf, dst); err != nil {
		return nil, nil, stats, err
	}
	for i := range n {
		out = append(out, binary.LittleEndian.Uint16(buf[2*i:]))
	}
	buf = make([]byte, 8*blocks)
	if err := mem.Read(buf, addresses[1]); err != nil {
		return nil, nil, stats, err
	}
	for i := range blocks {
		sums = append(sums, math.Float64frombits(binary.LittleEndian.Uint64(buf[8*i:])))
	}
	return out, sums, stats, nil
}

func stepKernel(tb testing.TB) *Kernel {
	k, err := readModule(tb, "testdata/step.ptx").Kernel("step")
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func testCase(n int) stepCase {
	c := stepCase{x: make([]float32, n), key: 0xB5297A4D, a: 0.55, b: 0.7}
	for i := range c.x {
		c.x[i] = float32(i%97)*0.031 - 1.5
	}
	return c
}

// TestStep runs compiled code of all kinds, and compares every bit. It tries every length
// around the borders of vectors, warps and blocks, with random data, seeds and positions
// in a tensor.
func TestStep(t *testing.T) {
	k := stepKernel(t)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(1, 20), rapid.SampledFrom([]int{127, 128, 129, 255, 256, 257, 511, 513}), rapid.IntRange(1, 1000)).Draw(t, "n")
		c := stepCase{x: rapid.SliceOfN(rapid.Float32Range(-100, 100), n, n).Draw(t, "x"), key: rapid.Uint32().Draw(t, "key"),
			a: rapid.Float32Range(-2, 2).Draw(t, "a"), b: rapid.Float32Range(-2, 2).Draw(t, "b")}
		config := Config{Seed: rapid.Uint64().Draw(t, "seed")}
		out, sums, stats, err := c.run(k, config, 4*rapid.IntRange(0, 5).Draw(t, "shift"))
		if err != nil {
			t.Fatal(err)
		}
		wantOut, wantSums := c.want()
		if !slices.Equal(out, wantOut) || !slices.Equal(sums, wantSums) {
			t.Fatalf("results differ: %v %v, want %v %v", out, sums, wantOut, wantSums)
		}
		if want := (Stats{stats.Instructions, uint64(4 * n), uint64(2*n + 8*c.blocks()), stats.Sectors}); stats != want {
			t.Fatalf("%+v, want one pass over the memory: %+v", stats, want)
		}
	})
}

// TestSectors: vector accesses are coalesced, and the counter shows accesses that are
// not.
func TestSectors(t *testing.T) {
	const n = 1024
	c := testCase(n)
	_, _, stats, err := c.run(stepKernel(t), Config{Seed: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(n*(4+2)/32 + c.blocks()); stats.Sectors != want { // and the sum of each block
		t.Errorf("%d sectors, want %d", stats.Sectors, want)
	}
	for _, test := range []struct {
		body string
		want uint64
	}{
		{"ld.global.u32 %r3, [%d1];", 4},
		{"ld.global.u32 %r3, [%d0];", 1},
		{"ld.u32 %r3, [%d0];", 1},
		{"ld.global.u32 %r3, [%d0];\nld.global.u32 %r3, [%d0+4];", 2},
		{"mad.wide.u32 %d2, %r0, 32, %d0;\nld.global.u32 %r3, [%d2];", 32},
		{"mad.wide.u32 %d2, %r0, 8, %d0;\nld.global.u32 %r3, [%d2];", 8},
		{"st.shared.u32 [buf], 1;", 0},
	} {
		s := scenario{body: test.body, words: 256, fill: true, racy: true}
		if _, err := s.launch(t, 1); err != nil {
			t.Fatal(err)
		}
		if got := s.stats; got.Sectors != test.want {
			t.Errorf("%q: %d sectors, want %d", test.body, got.Sectors, test.want)
		}
	}
}

// TestStepMisaligned: a tensor that starts in the middle of a vector is a fault.
func TestStepMisaligned(t *testing.T) {
	if _, _, _, err := testCase(64).run(stepKernel(t), Config{}, 1); !errors.Is(err, ErrAlign) {
		t.Errorf("got %v", err)
	}
}

// TestOrder: without races, no seed changes the result. With a race, some seeds do.
func TestOrder(t *testing.T) {
	run := func(body string) map[string]bool {
		results := map[string]bool{}
		for seed := range uint64(20) {
			words, err := (&scenario{body: body, block: 64, fill: true, racy: true}).launch(t, seed)
			if err != nil {
				t.Fatal(err)
			}
			results[fmt.Sprint(words)] = true
		}
		return results
	}
	for _, test := range []struct{ name, body string }{
		{"lanes", "and.b32 %r3, %r0, 31;\nsetp.eq.u32 %p0, %r3, %r0;\n@%p0 st.global.u32 [%d0], %r0;"},
		{"sides of a branch", "setp.gt.u32 %p0, %r0, 0;\n@%p0 bra A;\nst.global.u32 [%d0], %r0;\nbra.uni B;\nA:\nsetp.gt.u32 %p1, %r0, 1;\n@!%p1 st.global.u32 [%d0], %r0;\nB:"},
		{"warps", "and.b32 %r3, %r0, 31;\nsetp.eq.u32 %p0, %r3, 0;\n@%p0 st.global.u32 [%d0], %r0;"},
	} {
		if n := len(run(test.body)); n < 2 {
			t.Errorf("%s: 20 seeds give %d results of a race", test.name, n)
		}
	}
	blocks := map[uint32]bool{}
	for seed := range uint64(20) {
		words, err := (&scenario{body: "st.global.u32 [%d0], %r1;", block: 1, blocks: 9, racy: true}).launch(t, seed)
		if err != nil {
			t.Fatal(err)
		}
		blocks[words[0]] = true
	}
	if len(blocks) < 2 {
		t.Errorf("blocks: 20 seeds give one result of a race")
	}
	for _, test := range []struct {
		body string
		want uint32
	}{{"st.global.u32 [%d0], %r0;", 63}, {"st.global.u32 [%d0], %r1;", 8}} {
		words, err := (&scenario{body: test.body, block: 64, blocks: 9, racy: true, fill: true}).launch(t, 0)
		if err != nil || words[0] != test.want {
			t.Errorf("seed 0, %q: the last to store is %v, want %d, %v", test.body, words, test.want, err)
		}
	}
	if n := len(run(own(64) + "st.shared.u32 [%d2], %r0;\nbar.sync 0;\nld.shared.u32 %r4, [%d3];\nst.global.u32 [%d1], %r4;")); n != 1 {
		t.Errorf("20 seeds give %d results without a race", n)
	}
}

// TestMutants: a few lengths and many small calls catch all mutants of compiled code,
// except those that compute the same.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of launches in one goroutine")
	}
	m := readModule(t, "testdata/step.ptx")
	cases := []stepCase{testCase(1), testCase(7), testCase(300), testCase(513)}
	for i := range 600 { // a long sum would hide a single thread's values
		c := testCase(3 + i%2)
		c.key, c.a = uint32(i)*0x9E3779B9, float32(i%3)*0.55
		cases = append(cases, c)
	}
	k := stepKernel(t)
	limits, outs, sums := make([]uint64, len(cases)), make([][]uint16, len(cases)), make([][]float64, len(cases))
	for i, c := range cases {
		_, _, stats, err := c.run(k, Config{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		limits[i] = 4 * stats.Instructions
		outs[i], sums[i] = c.want()
	}
	caught := func(mutant Mutant) bool {
		k, err := mutant.Module.Kernel("step")
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range cases {
			out, sum, _, err := c.run(k, Config{Seed: uint64(i), Limit: limits[i]}, 0)
			if err != nil || !slices.Equal(out, outs[i]) || !slices.Equal(sum, sums[i]) {
				return true
			}
		}
		return false
	}

	// Reasons for the survival of a mutant, by the beginnings of the instruction and its
	// change.
	excuses := []struct{ old, new, reason string }{
		{"mul.wide.u32", "mul.wide.s32", "indices are below 2^31"},
		{"setp.le.u32", "setp.le.s32", "indices are below 2^31"},
		{"setp.lt.u32", "setp.lt.s32", "indices are below 2^31"},
		{"setp.ge.u32", "setp.ge.s32", "indices are below 2^31"},
		{"setp.gt.u32", "setp.gt.s32", "indices are below 2^31"},
		{"setp.le.u32", "setp.lt.u32", "the scalar way computes the same"},
		{"add.s32 %r13, %r44, 4", "add.s32 %r13, %r44, 5", "the scalar way computes the same"},
		{"shfl.sync.down", "shfl.sync.bfly", "only lane 0 is used"},
		{"shfl.sync.down", "shfl.sync.down", "only lane 0 is used"},
		{"setp.lt.f32", "setp.le.f32", "the root of 0 is 0"},
		{"setp.lt.f32 %p", "setp.lt.f32 %p", "noise is never between -0 and the smallest subnormal but for 0"},
		{"cvt.u64.u16", "cvt.s64.s16", "the upper bits are shifted out"},
		{"mov.f32 %f70", "mov.f32 %f70", "the sum of squares is larger than a subnormal, and never -0"},
		{"mov.f32 %f70", "", "another path has set it"},
		{"add.rn.f32 %f19, %f18, 0f00000000", "", "adds 0 to a square"},
	}
	used := make([]bool, len(excuses))
	total, killed := map[string]int{}, map[string]int{}
	for mutant := range Mutants(m) {
		total[mutant.Kind]++
		if caught(mutant) {
			killed[mutant.Kind]++
			continue
		}
		excuse := slices.IndexFunc(excuses, func(e struct{ old, new, reason string }) bool {
			return strings.HasPrefix(mutant.Old, e.old) && strings.HasPrefix(mutant.New, e.new)
		})
		if excuse < 0 {
			t.Errorf("survives: %v", mutant)
			continue
		}
		used[excuse] = true
	}
	for i, e := range excuses {
		if !used[i] {
			t.Errorf("no mutant needs the excuse %q", e)
		}
	}
	for _, kind := range MutantKinds() {
		if total[kind] == 0 {
			t.Errorf("no mutant of kind %q", kind)
		}
		t.Logf("%-20s %3d of %3d killed", kind, killed[kind], total[kind])
	}
}

// TestMutantKinds: each kind of change does what its name says to an instruction that it
// fits.
func TestMutantKinds(t *testing.T) {
	body := `@%p0 bra A;
sub.s32 %r3, %r0, %r1;
setp.lt.u32 %p0, %r0, 7;
cvt.rn.f32.u32 %f0, %r0;
fma.rn.f32 %f0, %f1, 0f3F800000, %f2;
ld.global.v2.u32 {%r3, %r4}, [%d0+8];
ld.global.u8 %h0, [%d0];
A: bar.sync 0;`
	m, err := Parse(wrapped(body))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for mutant := range Mutants(m) {
		if line := mutant.Line - bodyLine; line >= 0 && line < strings.Count(body, "\n")+1 {
			got[mutant.Kind] = append(got[mutant.Kind], mutant.New)
			if !strings.Contains(mutant.String(), mutant.Old) {
				t.Errorf("%v", mutant)
			}
		}
	}
	want := map[string][]string{
		"delete":   {"", "", "", "", "", "", "", ""},
		"guard":    {"@!%p0 bra A", "bra A"},
		"operator": {"add.s32 %r3, %r0, %r1"},
		"relation": {"setp.ge.u32 %p0, %r0, 7", "setp.le.u32 %p0, %r0, 7"},
		"type":     {"setp.lt.s32 %p0, %r0, 7", "cvt.rn.f32.s32 %f0, %r0", "ld.global.s8 %h0, [%d0]"},
		"rounding": {"cvt.rz.f32.u32 %f0, %r0"},
		"order of operands": {"sub.s32 %r3, %r1, %r0", "setp.lt.u32 %p0, 7, %r0", "fma.rn.f32 %f0, %f1, %f2, 0f3F800000",
			"ld.global.v2.u32 {%r4, %r3}, [%d0+8]"},
		"register": {"sub.s32 %r3, %r1, %r1", "sub.s32 %r3, %r0, %r0", "fma.rn.f32 %f0, %f2, 0f3F800000, %f2", "fma.rn.f32 %f0, %f1, 0f3F800000, %f1"},
		"number":   {"setp.lt.u32 %p0, %r0, 8", "setp.lt.u32 %p0, %r0, 6", "fma.rn.f32 %f0, %f1, 0f3F800001, %f2", "fma.rn.f32 %f0, %f1, 0fBF800000, %f2"},
		"offset":   {"ld.global.v2.u32 {%r3, %r4}, [%d0+16]", "ld.global.v2.u32 {%r3, %r4}, [%d0]", "ld.global.u8 %h0, [%d0+1]", "ld.global.u8 %h0, [%d0+-1]"},
	}
	for kind, list := range want {
		if !slices.Equal(got[kind], list) {
			t.Errorf("%s:\n got %q\nwant %q", kind, got[kind], list)
		}
		delete(got, kind)
	}
	if len(got) > 0 {
		t.Errorf("more mutants: %q", got)
	}

	// Two changes with the same result make one mutant.
	twice, err := Parse(wrapped("mad.lo.s32 %r3, %r0, %r1, %r1;"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for mutant := range Mutants(twice) {
		if s := fmt.Sprint(mutant.Line, mutant.New); seen[s] {
			t.Errorf("a second time: %v", mutant)
		} else {
			seen[s] = true
		}
	}

	// Special registers and parameters are in the lines before the body.
	var others []string
	for mutant := range Mutants(m) {
		if mutant.Line < bodyLine && (mutant.Kind == "special register" || mutant.Kind == "parameter") {
			others = append(others, mutant.New)
		}
	}
	if want := []string{"mov.u32 %r0, %ctaid.x", "mov.u32 %r0, %tid.y", "mov.u32 %r1, %tid.x", "mov.u32 %r1, %ctaid.y"}; !slices.Equal(others, want) {
		t.Errorf("got %q, want %q", others, want)
	}

	// The text of a mutant differs in one line only. Stopping early works.
	n := 0
	for mutant := range Mutants(m) {
		a, b := strings.Split(wrapped(body), "\n"), strings.Split(mutant.Text, "\n")
		for i := range a {
			if a[i] != b[i] && i != mutant.Line-1 {
				t.Errorf("%v changes line %d", mutant, i+1)
			}
		}
		if n++; n == 10 {
			break
		}
	}
}

// TestMutantText: the module of a mutant is what Parse makes of its text. The same holds
// for mutants of mutants.
func TestMutantText(t *testing.T) {
	check := func(mutant Mutant) {
		parsed, err := Parse(mutant.Text)
		if err != nil {
			t.Fatalf("%v: %v", mutant, err)
		}
		for i, k := range parsed.kernels {
			got := mutant.Module.kernels[i]
			if got.source != k.source || len(got.code) != len(k.code) {
				t.Fatalf("%v: source %v of %d instructions, want %v of %d", mutant, got.source, len(got.code), k.source, len(k.code))
			}
			names := func(k *Kernel, list []int) (names []string) {
				for _, r := range list {
					if r < 0 {
						names = append(names, fmt.Sprint(k.consts[^r][0]))
					} else {
						names = append(names, k.regs[r].name)
					}
				}
				return names
			}
			for j := range k.code {
				a, b := &got.code[j], &k.code[j]
				if a.String() != b.String() || a.line != b.line || a.source != b.source || a.form.kind != b.form.kind || a.target != b.target || a.meet != b.meet ||
					a.guardReg != b.guardReg || a.not != b.not || a.mask != b.mask || a.offset != b.offset ||
					!slices.Equal(names(got, append(slices.Clone(a.src), a.base)), names(k, append(slices.Clone(b.src), b.base))) || !slices.Equal(names(got, a.dst), names(k, b.dst)) {
					t.Fatalf("%v: instruction %d is %+v, want %+v", mutant, j, *a, *b)
				}
			}
		}
	}
	text := strings.ReplaceAll(wrapped("mov.b64 %d2, {%r0, %r1};\nadd.s32 %r3,\n%r0, 1;\n@!%p0\nbra A;\nA: bar.sync 0;"), ".entry k", ".entry first") +
		".visible .entry second(.param .u32 a) { .reg .b32 %r<2>; ld.param.u32 %r0, [a]; ret; }"
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, mutant := range slices.Collect(Mutants(m)) { // mutants share nothing that they change
		check(mutant)
		for second := range Mutants(mutant.Module) {
			check(second)
		}
	}
	if testing.Short() {
		return
	}
	for mutant := range Mutants(readModule(t, "testdata/step.ptx")) {
		check(mutant)
	}
}

func BenchmarkLaunch(b *testing.B) {
	k := stepKernel(b)
	c := testCase(1 << 16)
	for _, mode := range []struct {
		name string
		racy bool
	}{{"checked", false}, {"racy", true}} {
		b.Run(mode.name, func(b *testing.B) {
			var instructions uint64
			for b.Loop() {
				_, _, stats, err := c.run(k, Config{Racy: mode.racy}, 0)
				if err != nil {
					b.Fatal(err)
				}
				instructions += stats.Instructions
			}
			b.ReportMetric(float64(instructions)/1e6/b.Elapsed().Seconds(), "Minstr/s")
		})
	}
}
