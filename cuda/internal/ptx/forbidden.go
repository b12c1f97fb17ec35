package ptx

import (
	"fmt"
	"math"
	"strings"
)

// Reasons why code that promises bits must not use some forms.
const (
	contracts  = "not rounded explicitly: the assembler may contract it with another into a fused multiply-add"
	fuses      = "fused multiply-add"
	flushes    = "flushes subnormals to zero"
	estimates  = "approximate"
	towardZero = "rounds toward zero"
	directed   = "rounds toward an infinity"
	saturates  = "clamps to [0, 1]"
	unordered  = "adds floats in no fixed order"
)

// A Finding is an instruction that code with results exact to the bit must not use.
type Finding struct {
	Kernel      string
	Line        int
	Instruction string
	Reason      string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s, line %d, %q: %s", f.Kernel, f.Line, f.Instruction, f.Reason)
}

// Forbidden lists the instructions of all kernels whose results may differ in bits with
// another compiler, architecture or CPU. They are fused multiply-adds, float arithmetic
// without explicit rounding (which ptxas may fuse), every rounding other than to nearest,
// and .ftz, .sat, .approx and .full. Atomic additions of floats are listed too: their
// order is not fixed.
func (m *Module) Forbidden() []Finding {
	var list []Finding
	for _, k := range m.kernels {
		for i := range k.code {
			if in := &k.code[i]; in.form.forbidden != "" {
				list = append(list, Finding{k.Name, in.line, in.String(), in.form.forbidden})
			}
		}
	}
	return list
}

// forbidden adds the float arithmetic that code with exact bits must not use. Forms that
// round to nearest are executed nevertheless. The others are only recognised.
func (t table) forbidden() {
	repeat := func(ty typ, n int) []typ {
		src := make([]typ, n)
		for i := range src {
			src[i] = ty
		}
		return src
	}
	roundings := map[string]string{"": contracts, ".rn": "", ".rz": towardZero, ".rm": directed, ".rp": directed}
	for _, ty := range []typ{f32, f64} {
		dot := "." + ty.String()
		for _, op := range []struct {
			name string
			args int
		}{{"add", 2}, {"sub", 2}, {"mul", 2}, {"div", 2}, {"sqrt", 1}, {"rcp", 1}, {"fma", 3}, {"mad", 3}} {
			for round, reason := range roundings {
				if op.name == "fma" || op.name == "mad" {
					reason = fuses
				}
				if round == "" && op.name != "add" && op.name != "sub" && op.name != "mul" {
					continue // not PTX
				}
				for _, suffix := range []string{"", ".ftz", ".sat", ".ftz.sat"} {
					if suffix != "" && (ty == f64 || strings.HasSuffix(suffix, ".sat") && (op.name == "div" || op.args == 1)) {
						continue // not PTX
					}
					why := reason
					switch {
					case has(suffix, "ftz"):
						why = flushes
					case suffix != "":
						why = saturates
					}
					if why == "" {
						continue // allowed, so the table has it already
					}
					f := form{name: op.name + round + suffix + dot, dst: ty, src: repeat(ty, op.args), forbidden: why}
					switch nearest := t[op.name+".rn"+dot]; {
					case suffix != "":
					case round == "":
						f.eval = nearest.eval
					case round == ".rn" && ty == f32:
						f.eval = func(a, b, c uint64) uint64 { return bits32(fma32(f32of(a), f32of(b), f32of(c))) }
					case round == ".rn":
						f.eval = func(a, b, c uint64) uint64 { return bits64(math.FMA(f64of(a), f64of(b), f64of(c))) }
					}
					t.add(f)
				}
			}
		}
	}
	for _, ftz := range []string{"", ".ftz"} {
		for _, op := range []string{"sqrt", "rcp", "rsqrt", "sin", "cos", "lg2", "ex2"} {
			t.add(form{name: op + ".approx" + ftz + ".f32", dst: f32, src: []typ{f32}, forbidden: estimates})
		}
		for _, op := range []string{"div.approx", "div.full"} {
			t.add(form{name: op + ftz + ".f32", dst: f32, src: []typ{f32, f32}, forbidden: estimates})
		}
	}
	t.add(form{name: "rsqrt.approx.f64", dst: f64, src: []typ{f64}, forbidden: estimates})
	t.add(form{name: "rcp.approx.ftz.f64", dst: f64, src: []typ{f64}, forbidden: estimates})
	for _, op := range []string{"neg", "abs"} {
		t.add(form{name: op + ".ftz.f32", dst: f32, src: []typ{f32}, forbidden: flushes})
	}
	for _, op := range []string{"min", "max"} {
		t.add(form{name: op + ".ftz.f32", dst: f32, src: []typ{f32, f32}, forbidden: flushes})
	}
}
