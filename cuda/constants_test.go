package cuda

import (
	"cps/cuda/internal/ptx"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	spec "cps/internal/kernel"
)

// goConstants returns the constants in internal/kernel of the generator and of the
// normal transform.
func goConstants() (map[string]float32, error) {
	values := map[string]float32{}
	for _, file := range []string{"philox.go", "normal.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), "../internal/kernel/"+file, nil, 0)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for i, name := range v.Names {
					if values[name.Name], err = number(v.Values[i]); err != nil {
						return nil, err
					}
				}
			}
		}
	}
	return values, nil
}

// number returns the float32 of a literal, which may have a sign.
func number(e ast.Expr) (float32, error) {
	negative := false
	if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.SUB {
		negative, e = true, u.X
	}
	l, ok := e.(*ast.BasicLit)
	if !ok {
		return 0, fmt.Errorf("%T is no literal", e)
	}
	v := constant.MakeFromLiteral(l.Value, l.Kind, 0)
	if negative {
		v = constant.UnaryOp(token.SUB, v, 0)
	}
	f, _ := constant.Float32Val(v)
	return f, nil
}

// The kernels have the constants of internal/kernel.
func TestConstants(t *testing.T) {
	text, err := os.ReadFile("kernels/constants.h")
	if err != nil {
		t.Fatal(err)
	}
	want, err := goConstants()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float32{}
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+) (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		if hex, ok := strings.CutPrefix(m[2], "0x"); ok {
			n, err := strconv.ParseUint(hex, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			got[m[1]] = float32(n)
			// Two different words may be one float32, so compare the text.
			if !strings.Contains(source(t, "philox.go"), m[1]+" = "+m[2]+"\n") {
				t.Errorf("%s is %s, which internal/kernel/philox.go does not say", m[1], m[2])
			}
			continue
		}
		x, err := strconv.ParseFloat(strings.TrimSuffix(m[2], "f"), 32)
		if err != nil || !strings.HasSuffix(m[2], "f") {
			t.Fatalf("%s is %s, no float32", m[1], m[2])
		}
		got[m[1]] = float32(x)
	}
	if len(want) != len(got) || len(want) != 21 {
		t.Errorf("%d constants, internal/kernel has %d", len(got), len(want))
	}
	for name, x := range want {
		if y, ok := got[name]; !ok || x != y {
			t.Errorf("%s is %v, in internal/kernel %v", name, y, x)
		}
	}
	m, err := ptx.Parse(stepKernel.source())
	if err != nil {
		t.Fatal(err)
	}
	if err := hasConstants(m); err != nil {
		t.Errorf("step.ptx: %v", err)
	}
	if blockLen != spec.BlockLen || warpLen != spec.Lanes {
		t.Errorf("blocks of %d elements and %d lanes, in internal/kernel %d and %d", blockLen, warpLen, spec.BlockLen, spec.Lanes)
	}
}

// hasConstants checks that a step has every constant of the normal transform. The last
// bit of some constants changes one normal in a million. A test of results would miss
// that.
func hasConstants(m *ptx.Module) error {
	entry, err := m.Kernel("step")
	if err != nil {
		return err
	}
	found := map[float32]int{}
	for _, in := range entry.Instructions() {
		for _, hex := range regexp.MustCompile(`\b0f[0-9A-Fa-f]{8}\b`).FindAllString(in.Text, -1) {
			b, err := strconv.ParseUint(hex[2:], 16, 32)
			if err != nil {
				return err
			}
			found[math.Float32frombits(uint32(b)&^(1<<31))]++
		}
	}
	for name, c := range polynomials() {
		// Either two pairs of normals for each of two chunks, or once, in a register.
		if n := found[max(c, -c)]; n != 4 && n != 1 && name != "cosC0" {
			return fmt.Errorf("%s, %v, is there %d times", name, c, n)
		}
	}
	return nil
}

// polynomials holds the constants of the normal transform.
var polynomials = sync.OnceValue(func() map[string]float32 {
	all, err := goConstants()
	if err != nil {
		panic(err)
	}
	maps.DeleteFunc(all, func(name string, _ float32) bool { return strings.HasPrefix(name, "philox") })
	return all
})

func source(t *testing.T, file string) string {
	text, err := os.ReadFile("../internal/kernel/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
