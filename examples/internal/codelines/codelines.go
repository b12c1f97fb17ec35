// Package codelines counts lines of code, so that tests hold the examples to the length
// that their pages state.
package codelines

import (
	"go/scanner"
	"go/token"
	"os"
)

// Count returns the number of lines of a Go file that have code: lines that are not
// blank and not comments alone.
func Count(name string) (int, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	var s scanner.Scanner
	var errs scanner.ErrorList
	file := token.NewFileSet().AddFile(name, -1, len(src))
	s.Init(file, src, errs.Add, 0) // which leaves out comments
	lines := map[int]bool{}
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			return len(lines), errs.Err()
		}
		if tok == token.SEMICOLON && text != ";" {
			continue // made of the end of a line
		}
		first := file.Line(pos)
		for line := first; line <= file.Line(pos+token.Pos(max(0, len(text)-1))); line++ {
			lines[line] = true
		}
	}
}
