package codelines

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCount(t *testing.T) {
	const source = `// Package p has a comment.
package p

import "fmt" // beside code

/* A comment
of two lines. */
var text = ` + "`one\n\nthree`" + `

func f() {
	// Nothing here.
	for range 3 { fmt.Println(text); fmt.Println() }

}
`
	name := filepath.Join(t.TempDir(), "p.go")
	if err := os.WriteFile(name, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := Count(name); n != 8 || err != nil {
		t.Errorf("%d lines and %v, want 8", n, err)
	}
	if err := os.WriteFile(name, []byte("package p\nvar s = `open"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Count(name); err == nil {
		t.Error("a string without end is counted")
	}
	if _, err := Count(name + "x"); err == nil {
		t.Error("a file that is not there is counted")
	}
}
