package ptx

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func readModule(tb testing.TB, file string) *Module {
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := Parse(string(text))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestParse(t *testing.T) {
	m := readModule(t, "testdata/step.ptx")
	if m.Version != "6.3" || m.Target != "sm_70" || len(m.Kernels()) != 1 {
		t.Errorf("version %s, target %s, %d kernels", m.Version, m.Target, len(m.Kernels()))
	}
	k, err := m.Kernel("step")
	if err != nil {
		t.Fatal(err)
	}
	want := []Param{
		{"step_param_0", 0, 8, 8}, {"step_param_1", 8, 8, 8}, {"step_param_2", 16, 8, 8},
		{"step_param_3", 24, 4, 4}, {"step_param_4", 28, 4, 4}, {"step_param_5", 32, 4, 4}, {"step_param_6", 36, 4, 4},
	}
	if !slices.Equal(k.Params, want) || k.ParamBytes() != 40 || k.SharedBytes() != 256 {
		t.Errorf("params %v of %d bytes, %d bytes shared", k.Params, k.ParamBytes(), k.SharedBytes())
	}
	if _, err := m.Kernel("other"); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("unknown kernel: %v", err)
	}

	// An instruction is printed as it was written, except for blanks.
	text, err := os.ReadFile("testdata/step.ptx")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	blanks := strings.NewReplacer(" ", "", "\t", "", ";", "")
	for _, in := range k.Instructions() {
		if got, want := blanks.Replace(in.Text), blanks.Replace(lines[in.Line-1]); got != want {
			t.Errorf("line %d: %q is printed as %q", in.Line, want, got)
		}
	}
}

// TestParseParams: struct parameters are aligned as declared.
func TestParseParams(t *testing.T) {
	m, err := Parse(header + `.visible .entry k(.param .u8 a, .param .align 8 .b8 b[12], .param .u16 c, .param .f64 d) { ret; }`)
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel("k")
	if err != nil {
		t.Fatal(err)
	}
	want := []Param{{"a", 0, 1, 1}, {"b", 8, 12, 8}, {"c", 20, 2, 2}, {"d", 24, 8, 8}}
	if !slices.Equal(k.Params, want) || k.ParamBytes() != 32 {
		t.Errorf("%v, %d bytes; want %v", k.Params, k.ParamBytes(), want)
	}
	if _, err := k.Pack(1, 2, 3, 4); err == nil || !strings.Contains(err.Error(), "12 bytes") {
		t.Errorf("a struct packed from a word: %v", err)
	}
	if _, err := k.Pack(1); err == nil || !strings.Contains(err.Error(), "1 arguments for 4") {
		t.Errorf("too few arguments: %v", err)
	}
}

// TestParseRefuses lists bodies that differ from correct ones in one detail.
func TestParseRefuses(t *testing.T) {
	const line = bodyLine
	for _, test := range []struct {
		body    string
		line    int
		message string
	}{
		{"add.s32 %r3, %r0, 1;", 0, ""},
		{"add.s33 %r3, %r0, 1;", line, `"add.s33" is not understood`},
		{"add.rn.f16 %h0, %h1, %h2;", line, "add.rn.f16"},
		{"add.cc.u32 %r3, %r0, 1;", line, "add.cc.u32"},
		{"add.rn.ftz.sat.f64 %d3, %d0, %d1;", line, "add.rn.ftz.sat.f64"},
		{"cvt.rn.f32.f64.extra %f0, %d0;", line, "extra"},
		{"cvt.f32.f64 %f0, %d0;", line, "cvt.f32.f64"},
		{"cvt.f32.s32 %f0, %r0;", line, "cvt.f32.s32"},
		{"ld.volatile.global.u32 %r3, [%d0];", line, "ld.volatile"},
		{"ld.local.u32 %r3, [%d0];", line, "ld.local"},
		{"ld.global.v3.u32 {%r3, %r4, %r5}, [%d0];", line, "v3"},
		{"ld.global.v4.u64 {%d2, %d3, %d4, %d5}, [%d0];", line, "v4.u64"},
		{"st.param.u32 [n], %r0;", line, "st.param"},
		{"call.uni f;", line, "call.uni"},
		{"membar.gl;", line, "membar"},
		{"mov.u32 %r3, %clock;", line, "%clock is not declared"},
		{"mov.u32 %r99, %r0;", line, "%r99 is not declared"},
		{"mov.u32 %tid.x, %r0;", line, "destination %tid.x"},
		{"mov.u32 %r3;", line, "1 operands, not 2"},
		{"mov.u32 %r3, %r4, %r5;", line, "3 operands, not 2"},
		{"ret %r0;", line, "1 operands, not 0"},
		{"add.s32 %r3, %r0, %d0;", line, "%d0 is a .b64 register where .s32"},
		{"add.s32 %d3, %r0, 1;", line, "destination %d3 is a .b64"},
		{"add.s32 %f0, %r0, 1;", line, "destination %f0 is a .f32"},
		{"add.rn.f32 %f0, %f1, 1;", line, "number 1 is not a .f32"},
		{"add.rn.f32 %f0, %f1, 0d3FF0000000000000;", line, "0d3FF0000000000000 is not a .f32"},
		{"add.s32 %r3, %r0, 0f3F800000;", line, "0f3F800000 is not a .s32"},
		{"add.s32 %r3, %r0, 4294967296;", line, "4294967296 is not a .s32"},
		{"add.s32 %r3, %r0, -2147483649;", line, "-2147483649 is not"},
		{"add.s32 %r3, %r0, 4294967295;", 0, ""},
		{"add.s32 %r3, %r0, 0xFFFFFFFFU;", 0, ""},
		{"add.s32 %r3, %r0, 1_0;", line, `"1_0" is not understood`},
		{"add.s32 %r3, %r0, 0f12;", line, `"0f12" is not understood`},
		{"add.s32 %r3, %r0, --1;", line, "operand belongs"},
		{"add.s32 %r3, %r0, buf;", line, "symbol buf"},
		{"mov.u64 %d2, nothing;", line, "nothing is not defined"},
		{"mov.b64 %d2, {%r0, %r1};", 0, ""},
		{"mov.b64 {%r3, %r4}, %d0;", 0, ""},
		{"mov.b64 {%r3, %r3}, %d0;", line, "appears twice"},
		{"mov.b64 %d2, {%r0, %d1};", line, "%d1 is a .b64"},
		{"mov.b64 %d2, {%r0, %r0, %r0};", line, "is not understood"},
		{"mov.b64 {%r3, %r4}, {%r3, %r4};", line, "not a source"},
		{"setp.lt.s32 %r3, %r0, 1;", line, "destination %r3"},
		{"setp.lt.b32 %p0, %r0, 1;", line, "setp.lt.b32"},
		{"setp.lo.s32 %p0, %r0, 1;", line, "setp.lo.s32"},
		{"setp.ltu.s32 %p0, %r0, 1;", line, "setp.ltu.s32"},
		{"setp.lt.and.s32 %p0, %r0, 1, %p1;", 0, ""},
		{"@%r0 ret;", line, "%r0 is not a predicate"},
		{"@!%p0 ret;", 0, ""},
		{"bra NOWHERE;", line, "label NOWHERE is not defined"},
		{"bra %r0;", line, "not a label"},
		{"A: A: ret;", line, "second label A"},
		{"bar.sync %r0;", line, "bar.sync %r0"},
		{"bar.sync 15;", 0, ""},
		{"bar.sync 16;", line, "bar.sync 16"},
		{"bar.sync 0, 64;", line, "2 operands"},
		{"ld.global.u32 %r3, [%r0];", line, "address in a .b32"},
		{"ld.global.u32 %r3, %d0;", line, "not an address"},
		{"ld.global.u32 %r3, [16];", line, "number as an address"},
		{"ld.global.u32 %r3, [%d0+0x100000000];", line, "32 bits"},
		{"ld.global.u32 %r3, [%d0+%d1];", line, "32 bits"},
		{"ld.global.v2.u32 %r3, [%d0];", line, "vector of 2"},
		{"ld.global.u8 %h0, [%d0];", 0, ""},
		{"ld.global.u32 %h0, [%d0];", line, "destination %h0 is a .b16"},
		{"ld.shared.u32 %r3, [%r0];", 0, ""},
		{".local .b8 x[4];", line, "directive .local"},
		{".loc 1 2 3", line, "directive .loc"},
		{`.pragma "nounroll";`, 0, ""},
		{`.pragma "other";`, line, `pragma "other"`},
		{`.pragma "";`, line, `pragma ""`},
		{`.pragma "nounroll;`, line, "string without end"},
		{".reg .b32 %r0;", line, "declared twice"},
		{".reg .b32 %x<0>;", line, "number from 1"},
		{".shared .b32 buf;", line, "defined twice"},
		{".shared .align 3 .b8 x[4];", line, "power of two"},
		{".shared .pred x;", line, "type .pred"},
		{"{ .reg .b32 %x; mov.u32 %x, 1; }", 0, ""},
		{"{ .reg .b32 %x; } mov.u32 %x, 1;", line, "%x is not declared"},
		{"mov.u32 %r3, 1", line + 1, `"ret" where "," belongs`},
		{"?", line, `unexpected character '?'`},
		{"/**/ /* * */ mov.u32 /* in the middle */ %r3, 1; // to the end", 0, ""},
		{"/* no end", line, "comment without end"},
		{"/* over\nlines */ nop;", line + 1, `"nop"`},
	} {
		_, err := Parse(wrapped(test.body))
		if test.message == "" {
			if err != nil {
				t.Errorf("%q: %v", test.body, err)
			}
			continue
		}
		var e *SyntaxError
		if !errors.As(err, &e) || e.Line != test.line || !strings.Contains(e.Message, test.message) || err.Error() != fmt.Sprintf("ptx: line %d: %s", e.Line, e.Message) {
			t.Errorf("%q: got %v, want line %d and %q", test.body, err, test.line, test.message)
		}
	}
}

func TestParseRefusesModules(t *testing.T) {
	for _, test := range []struct{ text, message string }{
		{header, ""},
		{header + ".entry k() { trap; }", ""},
		{header + ".entry k() { A: bra A; }", ""},
		{header + ".entry k() { .shared .b32 one[1]; ret; }", ""},
		{header + ".entry k() { .shared .b32 none[0]; ret; }", "1 to"},
		{"", "end of the source"},
		{".version x\n", `"x"`},
		{".version 6.3\n.target sm_70, debug\n", `","`},
		{".version 6.3\n.target sm_70\n.address_size 32\n", "address size 32"},
		{header + ".func f() { ret; }", ".func"},
		{header + ".const .b8 c[4];", ".const"},
		{header + ".global .b8 c[4];", ".global"},
		{header + ".extern .func f;", ".func"},
		{header + ".visible .shared .b8 c[4];", `".shared" after ".visible"`},
		{header + ".entry k() { }", "the end of kernel k is reached"},
		{header + ".entry k() { .reg .pred %p; @%p ret; }", "the end of kernel k is reached"},
		{header + ".entry k() { bra A; A: }", "branch to the end"},
		{header + ".entry k() { ret; } .entry k() { ret; }", "second kernel k"},
		{header + ".entry k(.param .pred a) { ret; }", "type .pred"},
		{header + ".entry k(.param .b8 a[4097]) { ret; }", "1 to 4096"},
		{header + ".entry k(.param .b8 a[4096], .param .u32 b) { ret; }", "more than 4096"},
		{header + ".entry k(.param .u32 a, .param .u32 a) { ret; }", "a is defined twice"},
		{header + ".entry k() .maxntid 0 { ret; }", "1 to 1024"},
		{header + ".entry k() .noreturn { ret; }", `".noreturn"`},
		{header + ".entry k() { " + strings.Repeat("{", 20) + "ret;" + strings.Repeat("}", 20) + "}", "nested too deeply"},
		{header + ".entry k() { .reg .b32 %r<65536>, %s; ret; }", "more than 65536 registers"},
		{header + ".extern .shared .b8 a[]; .extern .shared .b8 b[]; .entry k() { .reg .b64 %d; mov.u64 %d, a; mov.u64 %d, b; ret; }", "without size"},
	} {
		_, err := Parse(test.text)
		var e *SyntaxError
		if test.message == "" && err != nil || test.message != "" && (!errors.As(err, &e) || !strings.Contains(e.Message, test.message)) {
			t.Errorf("%q: got %v, want %q", test.text, err, test.message)
		}
	}
}

// TestForbidden: Forbidden finds each form that must not be used, with its reason.
// It does not list the forms to use instead.
func TestForbidden(t *testing.T) {
	if f := (Finding{"k", 7, "fma.rn.f32 %f0", fuses}); f.String() != `k, line 7, "fma.rn.f32 %f0": fused multiply-add` {
		t.Error(f)
	}
	if list := readModule(t, "testdata/step.ptx").Forbidden(); len(list) > 0 {
		t.Errorf("the kernel compiled without contraction: %v", list)
	}
	m, err := Parse(wrapped(`add.rn.f32 %f0, %f1, %f2;
add.f32 %f0, %f1, %f2;
fma.rn.f32 %f0, %f1, %f2, %f3;
mul.rz.f32 %f0, %f1, %f2;
mul.rn.ftz.f32 %f0, %f1, %f2;
sub.rp.f32 %f0, %f1, %f2;
add.rn.sat.f32 %f0, %f1, %f2;
div.full.f32 %f0, %f1, %f2;
sqrt.approx.f32 %f0, %f1;
ex2.approx.ftz.f32 %f0, %f1;
cvt.rz.f32.u32 %f0, %r0;
cvt.rzi.u32.f32 %r3, %f0;
cvt.rn.ftz.f16.f32 %h0, %f0;
setp.lt.ftz.f32 %p0, %f0, %f1;
red.global.add.f32 [%d0], %f0;
red.global.add.u32 [%d0], %r0;
mul.f64 %d2, %d0, %d1;`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]string{
		2: contracts, 3: fuses, 4: towardZero, 5: flushes, 6: directed, 7: saturates, 8: estimates, 9: estimates, 10: estimates,
		11: towardZero, 13: flushes, 14: flushes, 15: unordered, 17: contracts,
	}
	for _, f := range m.Forbidden() {
		line := f.Line - bodyLine + 1
		if want[line] != f.Reason || f.Kernel != "k" {
			t.Errorf("%v, want %q", f, want[line])
		}
		delete(want, line)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
	// No allowed name has these modifiers.
	for name, f := range forms() {
		for _, modifier := range []string{"ftz", "sat", "approx", "full", "rm", "rp"} {
			if has(name, modifier) && f.forbidden == "" {
				t.Errorf("%s is allowed", name)
			}
		}
		if strings.HasPrefix(name, "fma") && f.forbidden == "" {
			t.Errorf("%s is allowed", name)
		}
	}
}

// FuzzParse: Parse returns for any source. A module that it accepts can be
// inspected, mutated and launched without a panic or a hang.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/step.ptx")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(wrapped("@!%p0 bra A;\n{ .reg .b32 %x; mov.b64 {%x, %r3}, %d0; }\nA: bar.sync 0;"))
	f.Add(wrapped("A: bra A;"))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			var e *SyntaxError
			if !errors.As(err, &e) || e.Line < 1 || e.Line > 1+strings.Count(text, "\n") {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		m.Forbidden()
		mutants := 0
		for mutant := range Mutants(m) {
			if mutant.Module == nil || mutant.Text == text {
				t.Fatal(mutant)
			}
			if mutants++; mutants == 5 {
				break
			}
		}
		for _, k := range m.Kernels() {
			k.Instructions()
			var mem Memory
			k.Launch(&mem, Config{Grid: Dim{1, 1, 1}, Block: Dim{64, 1, 1}, Seed: 1, Limit: 10000}, make([]byte, k.ParamBytes()))
		}
	})
}
