package ptx

import (
	"fmt"
	"strings"
)

// A token is a word, a string in quotes, or a single character of punctuation. Words
// are names, opcodes, directives and numbers. The last token of a source is empty.
type token struct {
	text     string
	off, end int // its place in the source
	line     int // from 1
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c == '%' || c == '.' || c-'0' < 10 || c|0x20-'a' < 26
}

// lex splits a source into tokens and drops comments.
func lex(src string) ([]token, error) {
	var ts []token
	line := 1
	for i := 0; i < len(src); {
		switch c := src[i]; {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case strings.HasPrefix(src[i:], "//"):
			for i < len(src) && src[i] != '\n' {
				i++
			}
		case strings.HasPrefix(src[i:], "/*"):
			n := strings.Index(src[i+2:], "*/")
			if n < 0 {
				return nil, &SyntaxError{line, "comment without end"}
			}
			line += strings.Count(src[i:i+2+n], "\n")
			i += n + 4
		case isWord(c):
			start := i
			for i < len(src) && isWord(src[i]) {
				i++
			}
			ts = append(ts, token{src[start:i], start, i, line})
		case c == '"':
			n := strings.IndexAny(src[i+1:], "\"\n")
			if n < 0 || src[i+1+n] != '"' {
				return nil, &SyntaxError{line, "string without end"}
			}
			ts = append(ts, token{src[i : i+n+2], i, i + n + 2, line})
			i += n + 2
		case strings.IndexByte("(){}[]<>,;:+-@!|=", c) >= 0:
			ts = append(ts, token{src[i : i+1], i, i + 1, line})
			i++
		default:
			return nil, &SyntaxError{line, fmt.Sprintf("unexpected character %q", c)}
		}
	}
	return append(ts, token{"", len(src), len(src), line}), nil
}
