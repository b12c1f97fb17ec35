// Package api has a listing of the names that the module exports. A test compares it with the
// source. Name every change in CHANGELOG.md, and write the listing again with
//
//	go test ./internal/api -update
package api

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the listing again")

const listing = "api.txt"

// The listing has every exported name with its declaration, and nothing else.
func TestListing(t *testing.T) {
	packages, err := exported("../..")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, dir := range packages {
		more, err := list(filepath.Join("../..", dir), dir)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, more...)
	}
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(listing, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(listing)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range difference(strings.Split(string(want), "\n"), lines) {
		t.Errorf("no longer exported: %s", line)
	}
	for _, line := range difference(lines, strings.Split(string(want), "\n")) {
		t.Errorf("newly exported: %s", line)
	}
	if t.Failed() {
		t.Log("name the change in CHANGELOG.md and run go test ./internal/api -update")
	}
}

// difference returns the lines of a that b lacks.
func difference(a, b []string) (lines []string) {
	has := map[string]bool{"": true}
	for _, line := range b {
		has[line] = true
	}
	for _, line := range a {
		if !has[line] {
			lines = append(lines, line)
		}
	}
	return lines
}

// exported returns the folders of the packages that other modules can import.
func exported(root string) (dirs []string, err error) {
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		dir, _ := filepath.Rel(root, path)
		name := d.Name()
		if dir != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) ||
			name == "internal" || name == "testdata" || name == "examples" || name == "out" {
			return filepath.SkipDir
		}
		if dir != "." {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return filepath.SkipDir // another module
			}
		}
		if p, err := build.ImportDir(path, 0); err == nil && p.Name != "main" {
			dirs = append(dirs, dir)
		}
		return nil
	})
	slices.Sort(dirs)
	return dirs, err
}

// list returns a line for each exported declaration of a package.
func list(dir, name string) (lines []string, err error) {
	fset := token.NewFileSet()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	show := func(x any) string {
		var b bytes.Buffer
		if e := printer.Fprint(&b, fset, x); e != nil {
			err = e
		}
		return strings.Join(strings.Fields(b.String()), " ")
	}
	add := func(format string, args ...any) { lines = append(lines, name+": "+fmt.Sprintf(format, args...)) }
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if !d.Name.IsExported() || d.Recv != nil && !exportedReceiver(d.Recv.List[0].Type) {
					continue
				}
				d.Doc, d.Body = nil, nil
				add("%s", show(d))
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					listSpec(d.Tok, spec, show, add)
				}
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines), err
}

func exportedReceiver(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.StarExpr:
		return exportedReceiver(x.X)
	case *ast.IndexExpr:
		return exportedReceiver(x.X)
	case *ast.IndexListExpr:
		return exportedReceiver(x.X)
	case *ast.Ident:
		return x.IsExported()
	}
	return false
}

// listSpec lists a type with its exported fields and methods. It lists constants and variables
// by name and type, without their values, which may change.
func listSpec(tok token.Token, spec ast.Spec, show func(any) string, add func(string, ...any)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() {
				kind := ""
				if s.Type != nil {
					kind = " " + show(s.Type)
				}
				add("%v %s%s", tok, n.Name, kind)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		head := s.Name.Name
		if s.TypeParams != nil {
			var params []string
			for _, p := range s.TypeParams.List {
				for _, n := range p.Names {
					params = append(params, n.Name+" "+show(p.Type))
				}
			}
			head += "[" + strings.Join(params, ", ") + "]"
		}
		members := func(kind string, list *ast.FieldList) {
			add("type %s %s", head, kind)
			for _, f := range list.List {
				for _, n := range f.Names {
					if n.IsExported() {
						add("type %s %s, %s %s", head, kind, n.Name, show(f.Type))
					}
				}
				if len(f.Names) == 0 {
					add("type %s %s, %s", head, kind, show(f.Type))
				}
			}
		}
		switch x := s.Type.(type) {
		case *ast.StructType:
			members("struct", x.Fields)
		case *ast.InterfaceType:
			members("interface", x.Methods)
		default:
			eq := ""
			if s.Assign != 0 {
				eq = "= "
			}
			add("type %s %s%s", head, eq, show(s.Type))
		}
	}
}
