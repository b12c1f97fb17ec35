package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"cps/examples/internal/finetune"
)

// A table is what a CSV file and, rounded, the page show.
type table struct {
	columns []string
	rows    [][]any // strings, ints, bools and float64s
}

func (t *table) add(row ...any) {
	if len(row) != len(t.columns) {
		panic("paper: a row does not fit its table")
	}
	t.rows = append(t.rows, row)
}

// save writes t as CSV, all of it or nothing. Numbers have all their digits.
func (t table) save(dir, name string) error {
	return finetune.WriteFile(filepath.Join(dir, name), func(w io.Writer) error {
		out := csv.NewWriter(w)
		out.Write(t.columns)
		for _, row := range t.rows {
			out.Write(each(row, func(v any) string {
				if x, ok := v.(float64); ok {
					return strconv.FormatFloat(x, 'g', -1, 64)
				}
				return fmt.Sprint(v)
			}))
		}
		out.Flush() // the first error of Write is kept
		return out.Error()
	})
}
