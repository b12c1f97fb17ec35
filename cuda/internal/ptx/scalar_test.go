package ptx

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A harness runs one scalar instruction on many operands. Every thread reads three
// operands of 8 bytes and writes a result of 8.
type harness struct {
	form   *form
	kernel *Kernel
}

// scalarForms returns the opcodes that the interpreter executes as functions of a thread.
func scalarForms() []string {
	var names []string
	for name, f := range forms() {
		if f.kind == kindScalar && f.eval != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func newHarness(tb testing.TB, opcode string) harness {
	f := forms()[opcode]
	var decl, body strings.Builder
	sources := make([]string, len(f.src))
	for i, ty := range f.src {
		sources[i] = fmt.Sprintf("%%s%d", i)
		bits := max(ty.bits(), 16) // there are no registers of 8 bits
		switch {
		case ty == pred:
			fmt.Fprintf(&decl, ".reg .pred %s;\n", sources[i])
			fmt.Fprintf(&body, "ld.global.u32 %%x, [%%in+%d];\nsetp.ne.u32 %s, %%x, 0;\n", 8*i, sources[i])
			continue
		case ty.class() == 'f' && ty != f16:
			fmt.Fprintf(&decl, ".reg .%v %s;\n", ty, sources[i])
		default:
			fmt.Fprintf(&decl, ".reg .b%d %s;\n", bits, sources[i])
		}
		fmt.Fprintf(&body, "ld.global.b%d %s, [%%in+%d];\n", bits, sources[i], 8*i)
	}
	result := fmt.Sprintf("%s %%d, %s;\n", opcode, strings.Join(sources, ", "))
	switch bits := max(f.dst.bits(), 16); {
	case f.dst == pred:
		decl.WriteString(".reg .pred %d;\n")
		body.WriteString(result + "selp.u64 %y, 1, 0, %d;\nst.global.u64 [%out], %y;\n")
	case f.lax && f.dst.class() != 'f' && bits < 32: // into a wider register
		decl.WriteString(".reg .b32 %d;\n")
		body.WriteString(result + "st.global.b32 [%out], %d;\n")
	default:
		fmt.Fprintf(&decl, ".reg .b%d %%d;\n", bits)
		fmt.Fprintf(&body, "%sst.global.b%d [%%out], %%d;\n", result, bits)
	}
	text := ".version 6.3\n.target sm_70\n.address_size 64\n" +
		".visible .entry k(.param .u64 a, .param .u64 b)\n{\n" +
		".reg .b32 %t, %n, %c, %x;\n.reg .b64 %in, %out, %y;\n" + decl.String() +
		"mov.u32 %t, %tid.x;\nmov.u32 %n, %ntid.x;\nmov.u32 %c, %ctaid.x;\nmad.lo.u32 %t, %c, %n, %t;\n" +
		"ld.param.u64 %in, [a];\nmad.wide.u32 %in, %t, 24, %in;\n" +
		"ld.param.u64 %out, [b];\nmad.wide.u32 %out, %t, 8, %out;\n" +
		body.String() + "ret;\n}\n"
	m, err := Parse(text)
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	k, err := m.Kernel("k")
	if err != nil {
		tb.Fatal(err)
	}
	return harness{f, k}
}

// run returns the results of the operands.
func (h harness) run(tb rapid.TB, operands [][3]uint64) []uint64 {
	var m Memory
	n := len(operands)
	in, err := m.Alloc(int64(24 * n))
	if err != nil {
		tb.Fatal(err)
	}
	out, err := m.Alloc(int64(8 * n))
	if err != nil {
		tb.Fatal(err)
	}
	var buf []byte
	for _, o := range operands {
		for _, x := range o {
			buf = binary.LittleEndian.AppendUint64(buf, x)
		}
	}
	if err := m.Write(in, buf); err != nil {
		tb.Fatal(err)
	}
	if err := m.Fill(out, 0, int64(8*n)); err != nil {
		tb.Fatal(err)
	}
	params, err := h.kernel.Pack(in, out)
	if err != nil {
		tb.Fatal(err)
	}
	block := 1
	for block < 128 && n%(2*block) == 0 {
		block *= 2
	}
	if _, err := h.kernel.Launch(&m, Config{Grid: Dim{n / block, 1, 1}, Block: Dim{block, 1, 1}}, params); err != nil {
		tb.Fatal(err)
	}
	buf = buf[:8*n]
	if err := m.Read(buf, out); err != nil {
		tb.Fatal(err)
	}
	results := make([]uint64, n)
	for i := range results {
		results[i] = binary.LittleEndian.Uint64(buf[8*i:])
	}
	return results
}

// edges returns values at which instructions of type ty may go wrong.
func edges(ty typ) []uint64 {
	switch ty {
	case pred:
		return []uint64{0, 1}
	case f16:
		return []uint64{0, 0x8000, 1, 0x83ff, 0x3ff, 0x400, 0x3c00, 0xbc00, 0x3800, 0xb800, 0x3e00, 0x4100, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x7c01, 0x6400, 0x77ff}
	case f32:
		var list []uint64
		for _, f := range []float64{0, 1, 0.5, 1.5, 2.5, 0.1, 3, 0x1p-149, 0x1p-126, 0x1.fffffcp-127, math.MaxFloat32, 0x1p31, 0x1.fffffep30, 0x1p32, 0x1p63, 0x1p64, 127.5, 255.5, 32767.5, 65535.5,
			65504, 65520, 0x1.ffdffep15, 0x1p-24, 0x1p-25, 0x1.000002p-25, 0x1.5p-23, 0x1.ffcp-15, 0x1.ffep-15, 0x1.002p0, 0x1.006p0, 0x1.002002p0, math.Inf(1)} {
			list = append(list, uint64(math.Float32bits(float32(f))), uint64(math.Float32bits(float32(-f))))
		}
		return append(list, 0x7fffffff, 0xffc00000, 0x7f800001)
	case f64:
		var list []uint64
		for _, f := range []float64{0, 1, 0.5, 1.5, 0.1, 3, math.SmallestNonzeroFloat64, 0x1p-1022, math.MaxFloat64, 0x1p31, 0x1p32 - 0.5, 0x1p63, 0x1p64, 32767.5,
			65520, math.Nextafter(65520, 0), 0x1p-25, math.Nextafter(0x1p-25, 1), 0x1p-150, math.Nextafter(0x1p-150, 1), 0x1.8p-149, 0x1.000001p0, 0x1.000003p0, 0x1.0000010000001p0,
			math.MaxFloat32, 0x1.ffffffp127, math.Nextafter(0x1.ffffffp127, 0), math.Inf(1)} {
			list = append(list, math.Float64bits(f), math.Float64bits(-f))
		}
		return append(list, 0x7ff8000000000000, 0xfff0000000000001)
	}
	n := ty.bits()
	list := []uint64{0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256}
	for _, x := range list {
		list = append(list, -x)
	}
	list = append(list, 1<<(n-1), 1<<(n-1)-1, 1<<(n-1)+1, 1<<(n/2), 1<<(n/2)-1, 0x5555555555555555, 0xd2511f53, 1<<24+1, 1<<25+2, 1<<25+6, 1<<53+1, 1<<54+6, 65519, 65520, 2049, 2051)
	for i, x := range list {
		list[i] = x & ty.mask()
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// draw returns a value of type ty: one of the edges e, a value near one, or any value.
func draw(r *rand.Rand, ty typ, e []uint64) uint64 {
	x := e[r.IntN(len(e))]
	switch r.IntN(3) {
	case 0:
		x = r.Uint64()
	case 1:
		x += uint64(r.IntN(5)) - 2
	}
	return x & ty.mask()
}

// operands combines all edges of the first two operands, as far as one launch can hold
// them. It draws the rest.
func operands(f *form) [][3]uint64 {
	r := rand.New(rand.NewPCG(1, 2))
	src := append(slices.Clone(f.src), b8, b8, b8)
	e := [3][]uint64{edges(src[0]), edges(src[1]), edges(src[2])}
	var list [][3]uint64
	for _, a := range e[0] {
		for _, b := range e[1] {
			list = append(list, [3]uint64{a, b, draw(r, src[2], e[2])})
			if len(f.src) < 2 {
				break
			}
		}
	}
	extra := 512
	if testing.Short() {
		extra = 0
	}
	for ; extra > 0 || len(list)%128 != 0; extra-- {
		list = append(list, [3]uint64{draw(r, src[0], e[0]), draw(r, src[1], e[1]), draw(r, src[2], e[2])})
	}
	if f.divides {
		for i := range list {
			if list[i][1] == 0 {
				list[i][1] = 1
			}
		}
	}
	return list
}

func compare(tb rapid.TB, h harness, list [][3]uint64) {
	want := reference(h.form.name)
	if want == nil {
		tb.Fatalf("no reference for %s", h.form.name)
	}
	bad := 0
	for i, got := range h.run(tb, list) {
		o := list[i]
		if w := want(o[0], o[1], o[2]); got != w && bad < 3 {
			bad++
			tb.Errorf("%s %#x, %#x, %#x: got %#x, want %#x", h.form.name, o[0], o[1], o[2], got, w)
		}
	}
}

// TestScalar runs every scalar opcode on all pairs of edges and on random values.
func TestScalar(t *testing.T) {
	for _, name := range scalarForms() {
		h := newHarness(t, name)
		compare(t, h, operands(h.form))
	}
}

func scalarProperty(t *rapid.T) {
	names := scalarForms()
	f := forms()[rapid.SampledFrom(names).Draw(t, "opcode")]
	var o [3]uint64
	for i, ty := range f.src {
		near := rapid.SampledFrom(edges(ty)).Draw(t, "edge")
		o[i] = rapid.OneOf(rapid.Just(near), rapid.Uint64()).Draw(t, "operand") & ty.mask()
	}
	if f.divides && o[1] == 0 {
		t.Skip("division by zero")
	}
	compare(t, newHarness(&discard{}, f.name), [][3]uint64{o})
}

// discard is a testing.TB for code that cannot fail once TestScalar has passed.
type discard struct{ testing.TB }

func (discard) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (discard) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func TestScalarProperty(t *testing.T) { rapid.Check(t, scalarProperty) }

func FuzzScalar(f *testing.F) { f.Fuzz(rapid.MakeFuzz(scalarProperty)) }

// TestFormsComplete: a form that is not executed is forbidden. An executed form has one
// of the mnemonics in the documentation.
func TestFormsComplete(t *testing.T) {
	mnemonics := map[string]bool{}
	for name, f := range forms() {
		op, _, _ := strings.Cut(name, ".")
		mnemonics[op] = true
		if f.kind == kindScalar && f.eval == nil && f.forbidden == "" {
			t.Errorf("%s is neither executed nor forbidden", name)
		}
	}
	want := strings.Fields("abs add and atom bar barrier bfe bra brev clz cos cvt cvta div ex2 exit fma ld lg2 mad max min mov mul neg not or popc prmt rcp red rem ret rsqrt selp setp shf shfl shl shr sin sqrt st sub trap vote xor")
	if got := slices.Sorted(maps.Keys(mnemonics)); !slices.Equal(got, want) {
		t.Errorf("mnemonics %v, want %v", got, want)
	}
}
