package cuda

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	spec "cps/internal/kernel"
)

// goConstants returns the constants of the generator and of the normal transform in
// internal/kernel.
func goConstants(t *testing.T) map[string]float32 {
	values := map[string]float32{}
	for _, file := range []string{"philox.go", "normal.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), "../internal/kernel/"+file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for i, name := range v.Names {
					values[name.Name] = number(t, v.Values[i])
				}
			}
		}
	}
	return values
}

// number returns the float32 of a literal with a sign.
func number(t *testing.T, e ast.Expr) float32 {
	negative := false
	if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.SUB {
		negative, e = true, u.X
	}
	l, ok := e.(*ast.BasicLit)
	if !ok {
		t.Fatalf("%T is no literal", e)
	}
	v := constant.MakeFromLiteral(l.Value, l.Kind, 0)
	if negative {
		v = constant.UnaryOp(token.SUB, v, 0)
	}
	f, _ := constant.Float32Val(v)
	return f
}

// The kernels and internal/kernel have one list of constants.
func TestConstants(t *testing.T) {
	text, err := os.ReadFile("kernels/constants.h")
	if err != nil {
		t.Fatal(err)
	}
	want, got := goConstants(t), map[string]float32{}
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+) (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		if hex, ok := strings.CutPrefix(m[2], "0x"); ok {
			n, err := strconv.ParseUint(hex, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			got[m[1]] = float32(n)
			// float32 does not tell two words apart; the text does.
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
	if blockLen != spec.BlockLen || warpLen != spec.Lanes {
		t.Errorf("blocks of %d elements and %d lanes, in internal/kernel %d and %d", blockLen, warpLen, spec.BlockLen, spec.Lanes)
	}
}

func source(t *testing.T, file string) string {
	text, err := os.ReadFile("../internal/kernel/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
