package main

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
)

// The English of the page is in text. A file has the templates of one figure, common.md
// those of several, and page.md the page around them.
//
//go:embed text/*.md
var text embed.FS

// words are the values that a template names.
type words map[string]any

// newTemplates returns the templates of common.md and of other files of text. To name a
// value that a template is not given is an error.
func newTemplates(files ...string) (*template.Template, error) {
	t := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"cell": cell, "join": strings.Join, "count": func(i int) int { return i + 1 }})
	for _, file := range append([]string{"common"}, files...) {
		var err error
		if t, err = t.ParseFS(text, "text/"+file+".md"); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// say returns a template with its values, without the blank lines around it.
func say(t *template.Template, name string, values words) (string, error) {
	if t.Lookup(name) == nil {
		return "", fmt.Errorf("no text %q", name)
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, name, map[string]any(values)); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()), nil
}
