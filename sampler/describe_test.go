package sampler_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cps/internal/rules"
	"cps/sampler"
	"cps/schedule"

	"gonum.org/v1/gonum/stat"
)

// A declared is an exported type of the package, as its source says.
type declared struct {
	doc     string
	methods []string
}

// declarations returns the exported types of the package in a folder, and those of extra
// text.
func declarations(t *testing.T, dir, extra string) map[string]*declared {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]any{"extra.go": "package sampler\n" + extra}
	for _, p := range paths {
		if !strings.HasSuffix(p, "_test.go") {
			sources[p] = nil // nil: read from the file
		}
	}
	types := map[string]*declared{}
	named := func(name string) *declared {
		if types[name] == nil {
			types[name] = new(declared)
		}
		return types[name]
	}
	for path, text := range sources {
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						named(s.Name.Name).doc = d.Doc.Text() + s.Doc.Text()
					}
				}
			case *ast.FuncDecl:
				if d.Recv == nil {
					continue
				}
				of := d.Recv.List[0].Type
				if p, ok := of.(*ast.StarExpr); ok {
					of = p.X
				}
				if of, ok := of.(*ast.Ident); ok {
					named(of.Name).methods = append(named(of.Name).methods, d.Name.Name)
				}
			}
		}
	}
	for name := range types {
		if !ast.IsExported(name) {
			delete(types, name)
		}
	}
	return types
}

// A row is a line of README's table of rules.
type row struct{ preserving, path, order, source string }

// table reads README's table, by name of the rule.
func table(page string) map[string]row {
	rows := map[string]row{}
	_, page, _ = strings.Cut(page, "| Rule | Preserving | Path | Order | Source |\n")
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(line, "|\n"), "|")
		if len(cells) != 5 {
			break
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if name := regexp.MustCompile("^`([A-Za-z0-9]+)`").FindStringSubmatch(cells[0]); name != nil {
			rows[name[1]] = row{cells[1], cells[2], cells[3], cells[4]}
		}
	}
	return rows
}

var sentences = map[sampler.Path]string{
	sampler.AnyPath:  "serves every path",
	sampler.FlowPath: "serves the rectified-flow path only",
	sampler.VPPath:   "serves the variance-preserving path only",
}

// forgotten compares the rules that the source declares with the rules that programs find
// by name. It also compares their facts, their documentation, and README's table. It
// returns what is missing or differs.
func forgotten(types map[string]*declared, page string, all []rules.Family) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	stated := map[string]sampler.Facts{}
	diffusions := map[string]bool{}
	for _, f := range all {
		facts := sampler.FactsOf(f.At(0.5))
		stated[facts.Name] = facts
		_, g, _ := strings.Cut(f.Label, " ")
		diffusions[g] = true
	}
	rows := table(page)
	for name, d := range types {
		if slices.Contains(d.methods, "G") {
			if !diffusions[name] {
				complain("%s: internal/rules does not list this diffusion", name)
			}
			for _, m := range []string{"Decay", "Drift", "Validate"} {
				if !slices.Contains(d.methods, m) {
					complain("%s: has no method %s", name, m)
				}
			}
			if !strings.Contains(page, "`"+name+"`") {
				complain("%s: README does not have it", name)
			}
		}
		if !slices.Contains(d.methods, "Coeffs") {
			continue
		}
		if !slices.Contains(d.methods, "Facts") {
			complain("%s: states no facts", name)
		}
		f, ok := stated[name]
		if !ok {
			complain("%s: internal/rules does not list it", name)
			continue
		}
		if f.Source == "" || f.Evaluations != 1 || f.HistoryOrder < f.Order {
			complain("%s: facts %+v", name, f)
		}
		doc := strings.Join(strings.Fields(d.doc), " ")
		keeps := strings.Contains(doc, "preserves coefficients") || strings.Contains(doc, "coefficients-preserving")
		loses := strings.Contains(doc, "does not preserve coefficients")
		if keeps != f.Preserving || loses == f.Preserving {
			complain("%s: preserving is %v, which its documentation does not say", name, f.Preserving)
		}
		for p, says := range sentences {
			if strings.Contains(doc, says) != (p == f.Path) {
				complain("%s: the path is %v, which its documentation does not say", name, f.Path)
			}
		}
		r, ok := rows[name]
		if !ok {
			complain("%s: has no row in README's table", name)
			continue
		}
		yes := map[bool]string{true: "yes", false: "no"}[f.Preserving]
		if word, _, _ := strings.Cut(r.preserving, " "); strings.Trim(word, ",") != yes {
			complain("%s: preserving is %q in README and %s in the facts", name, r.preserving, yes)
		}
		if path := strings.ToLower(strings.TrimSuffix(f.Path.String(), "Path")); strings.ToLower(r.path) != path {
			complain("%s: the path is %q in README and %s in the facts", name, r.path, path)
		}
		if r.order != fmt.Sprint(f.Order) {
			complain("%s: the order is %q in README and %d in the facts", name, r.order, f.Order)
		}
		if !strings.Contains(r.source, f.Source) {
			complain("%s: the source is %q in README and %q in the facts", name, r.source, f.Source)
		}
	}
	for name := range rows {
		if d := types[name]; d == nil || !slices.Contains(d.methods, "Coeffs") {
			complain("%s: README has a rule that the package has not", name)
		}
	}
	slices.Sort(complaints)
	return complaints
}

// For every rule and every diffusion coefficient the source, the facts, the list for
// programs, the documentation and README agree.
func TestFacts(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	types := declarations(t, ".", "")
	for _, c := range forgotten(types, string(page), rules.All()) {
		t.Error(c)
	}
	n := 0
	for _, d := range types {
		if slices.Contains(d.methods, "Coeffs") {
			n++
		}
	}
	if n != len(table(string(page))) || n < 15 {
		t.Errorf("%d rules, %d rows", n, len(table(string(page))))
	}
}

// TestFacts fails for a rule that is missing somewhere.
func TestFactsOfAForgottenRule(t *testing.T) {
	file, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(file)
	const rule = "func (Heun) Coeffs(from, to schedule.Point) (Coeffs, error) { return Coeffs{}, nil }\n"
	const facts = "func (Heun) Facts() Facts { return Facts{} }\n"
	replaced := func(old, new string) string {
		t.Helper()
		if strings.Count(page, old) != 1 {
			t.Fatalf("README has %q %d times", old, strings.Count(page, old))
		}
		return strings.Replace(page, old, new, 1)
	}
	without := func(name string) []rules.Family {
		return slices.DeleteFunc(rules.All(), func(f rules.Family) bool { return strings.Contains(f.Label, name) })
	}
	for name, tc := range map[string]struct {
		extra, page string
		all         []rules.Family
		want        []string
	}{
		"nothing but a step": {"type Heun struct{}\n" + rule, page, rules.All(),
			[]string{"Heun: internal/rules does not list it", "Heun: states no facts"}},
		"not listed": {"type Heun struct{}\n" + rule + facts, page, rules.All(),
			[]string{"Heun: internal/rules does not list it"}},
		"a rule lost from the list": {"", page, without("ERSDE"), []string{"ERSDE: internal/rules does not list it"}},
		"a bare diffusion": {"type Cosine float64\nfunc (Cosine) G(t, s float64) float64 { return 0 }\n", page, rules.All(),
			[]string{"Cosine: README does not have it", "Cosine: has no method Decay", "Cosine: has no method Drift",
				"Cosine: has no method Validate", "Cosine: internal/rules does not list this diffusion"}},
		"no row": {"", replaced("| `ERSDE` | yes |", "| ERSDE | yes |"), rules.All(), []string{"ERSDE: has no row in README's table"}},
		"a row too many": {"", replaced("| `ERSDE` | yes |", "| `Heun` | yes | any | 2 | Heun |\n| `ERSDE` | yes |"), rules.All(),
			[]string{"Heun: README has a rule that the package has not"}},
		"another word": {"", replaced("| `ERSDE` | yes | any | 1 |", "| `ERSDE` | no | flow | 2 |"), rules.All(), []string{
			`ERSDE: preserving is "no" in README and yes in the facts`,
			`ERSDE: the order is "2" in README and 1 in the facts`,
			`ERSDE: the path is "flow" in README and any in the facts`}},
		"another source": {"", replaced("2309.06169", "2309.06168"), rules.All(),
			[]string{`ERSDE: the source is "2309.06168, order 1" in README and "2309.06169, order 1" in the facts`}},
	} {
		if got := forgotten(declarations(t, ".", tc.extra), tc.page, tc.all); !slices.Equal(got, tc.want) {
			t.Errorf("%s: complaints %q, want %q", name, got, tc.want)
		}
	}
	types := declarations(t, ".", "")
	types["ERSDE"].doc = strings.Replace(types["ERSDE"].doc, "every path", "the rectified-flow path only", 1)
	types["SAGE"].doc = strings.Replace(types["SAGE"].doc, "not preserve", "preserve", 1)
	want := []string{
		"ERSDE: the path is AnyPath, which its documentation does not say",
		"ERSDE: the path is AnyPath, which its documentation does not say",
		"SAGE: preserving is false, which its documentation does not say",
	}
	if got := forgotten(types, page, rules.All()); !slices.Equal(got, want) {
		t.Errorf("other documentation: complaints %q, want %q", got, want)
	}
}

// Measurements of a rule agree with its facts: the paths that it serves, whether a step
// that draws noise has a density, and the order. The order is that of the variance of
// Gaussian data with the exact model, on the path from noise .95 to .2. Other tests
// measure preservation.
func TestFactsAreMeasured(t *testing.T) {
	on := map[sampler.Path][2]schedule.Point{
		sampler.FlowPath: {schedule.Level(0.6), schedule.Level(0.5)},
		sampler.VPPath:   {schedule.VPLevel(0.6, 0.3), schedule.VPLevel(0.5, 0.5)},
		sampler.AnyPath:  {{Time: 0.6, Signal: 0.5, Noise: 0.7}, {Time: 0.5, Signal: 0.6, Noise: 0.6}},
	}
	for _, f := range families {
		r := f.at(0.7)
		for p, step := range on {
			c, err := r.Coeffs(step[0], step[1])
			if serves := f.Path == sampler.AnyPath || f.Path == p; serves != (err == nil) {
				t.Errorf("%s with %v: %v", f.name, p, err)
			} else if !serves {
				wantError(t, err, sampler.ErrPath, f.Name+": ")
			} else if f.Density != (c.Eps > 0) {
				t.Errorf("%s: density %v, but Eps %v", f.name, f.Density, c.Eps)
			}
		}
		if f.Evaluations != 1 || f.HistoryOrder != f.Order {
			t.Errorf("%s looks back: %+v", f.name, f.Facts)
		}
		path := schedule.Level
		if f.Path == sampler.VPPath {
			path = func(u float64) schedule.Point {
				return schedule.Point{Time: u, Signal: math.Sqrt((1 - u) * (1 + u)), Noise: u}
			}
		}
		var logN, logError []float64
		for n := 256; n <= 4096; n *= 2 {
			logN = append(logN, math.Log(float64(n)))
			logError = append(logError, math.Log(math.Abs(relativeErrorOn(t, path, r, gauss{1, 0.5}, n))))
		}
		_, slope := stat.LinearRegression(logN, logError, nil, false)
		t.Logf("%-26s order %+.3f, relative error %.1e after %d steps", f.name, -slope, math.Exp(logError[len(logError)-1]), 4096)
		if math.Abs(-slope-float64(f.Order)) > 0.1 {
			t.Errorf("%s: the variance converges with order %.3f, the facts say %d", f.name, -slope, f.Order)
		}
		if last := math.Exp(logError[len(logError)-1]); (f.Order == 0) != (last > 0.01) {
			t.Errorf("%s: order %d, but relative error %v after %v steps", f.name, f.Order, last, 4096)
		}
	}
}

// step is a rule of the caller's own, with facts.
type step struct {
	c     sampler.Coeffs
	facts sampler.Facts
}

func (s step) Coeffs(_, _ schedule.Point) (sampler.Coeffs, error) { return s.c, nil }
func (s step) Facts() sampler.Facts                               { return s.facts }

// New and EquivalentEta check the facts of the caller's own rule, and name it in errors.
func TestFactsAreKept(t *testing.T) {
	from, to := schedule.Level(1), schedule.Level(0.5)
	good := sampler.Coeffs{X0: 0.5, X1: 0.3, Eps: 0.4}
	kept := sampler.Facts{Name: "Mine", Preserving: true}
	try := func(r sampler.Rule, from, to schedule.Point) [2]error {
		_, err := sampler.New(sampler.Config{Scheduler: schedule.Points{from, to}, Rule: r, End: sampler.ToPart})
		_, err2 := sampler.EquivalentEta(r, from, to)
		return [2]error{err, err2}
	}
	for _, err := range try(step{good, kept}, from, to) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, c := range []sampler.Coeffs{
		{X0: 0.5, X1: 0.3, Eps: 0.400003}, // 2.4e-6 more noise
		{X0: 0.500002, X1: 0.3, Eps: 0.4},
	} {
		for _, err := range try(step{c, kept}, from, to) {
			wantError(t, err, sampler.ErrFacts, "sampler: ", "Mine: ", "preserves coefficients", show(c.X0), show(c.NoiseLevel()), "0.5 and 0.5 are allocated")
		}
		if errs := try(step{c, sampler.Facts{}}, from, to); errs != [2]error{} {
			t.Errorf("a rule that promises nothing: %v", errs)
		}
	}
	for _, err := range try(step{sampler.Coeffs{X0: 0.5, X1: 0.4999999, Eps: 1e-5}, kept}, from, to) { // within 1e-6
		if err != nil {
			t.Error(err)
		}
	}
	flow, vp := sampler.Facts{Name: "Mine", Path: sampler.FlowPath}, sampler.Facts{Path: sampler.VPPath}
	for _, err := range try(step{good, flow}, schedule.VPLevel(0.9, 0.2), schedule.VPLevel(0.5, 0.5)) {
		wantError(t, err, sampler.ErrPath, "Mine: ", "rectified-flow path")
	}
	for _, err := range try(step{good, vp}, from, to) {
		wantError(t, err, sampler.ErrPath, "sampler_test.step: ", "variance-preserving path")
	}
	nan := step{sampler.Coeffs{X1: math.NaN()}, flow}
	for _, err := range try(nan, from, to) {
		wantError(t, err, sampler.ErrSingular, "Mine: ", "NaN")
	}
}

// A rule that states no facts has a name, an evaluation a step and a density.
func TestFactsOf(t *testing.T) {
	unknown := func(name string) sampler.Facts { return sampler.Facts{Name: name, Evaluations: 1, Density: true} }
	for want, r := range map[sampler.Facts]sampler.Rule{
		unknown("sampler_test.fixed"):                      fixed{},
		unknown("*sampler.FlowCPS"):                        (*sampler.FlowCPS)(nil),
		unknown("<nil>"):                                   nil,
		{Name: "sampler_test.step", Evaluations: 1}:        step{},
		{Name: "A", Source: "B", Evaluations: 2, Order: 3}: step{facts: sampler.Facts{Name: "A", Source: "B", Evaluations: 2, Order: 3}},
		{Name: "FlowCPS", Source: "Eq. 13", Preserving: true, Density: true, Evaluations: 1}: sampler.FlowCPS{Eta: 0.5},
	} {
		if got := sampler.FactsOf(r); got != want {
			t.Errorf("%#v: %+v, want %+v", r, got, want)
		}
	}
	if got := sampler.FactsOf(&sampler.FlowCPS{}); got.Name != "*sampler.FlowCPS" || !got.Preserving {
		t.Errorf("a pointer to a rule: %+v", got)
	}
	for want, p := range map[string]sampler.Path{"AnyPath": sampler.AnyPath, "FlowPath": sampler.FlowPath, "VPPath": sampler.VPPath, "Path(3)": 3} {
		if p.String() != want {
			t.Errorf("%v is called %v", want, p)
		}
	}
}

// An error about noise in inversion has the name of the rule's facts.
func TestInversionNamesRule(t *testing.T) {
	rule := step{sampler.Coeffs{X0: 0.5, X1: 0.5, Eps: 0.1}, sampler.Facts{Name: "Mine"}}
	_, err := sampler.New(sampler.Config{Scheduler: schedule.Invert(schedule.Linear(4)), Rule: rule})
	wantError(t, err, sampler.ErrPath, "Mine: it injects noise")
}
