package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"cps/examples/internal/finetune"
)

// A table is the contents of a CSV file, or of a table on the page.
type table struct {
	columns []string
	rows    [][]any // strings, ints, bools and float64s; on the page also samples
}

// add adds a row. It panics if the row has not as many values as the table has columns.
func (t *table) add(row ...any) {
	if len(row) != len(t.columns) {
		panic("paper: a row does not fit its table")
	}
	t.rows = append(t.rows, row)
}

// save writes t as a CSV file. An error leaves an earlier file as it was. Numbers have all
// their digits, so that readSheet reads the same bits.
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
		out.Flush() // keeps the first error of Write
		return out.Error()
	})
}

// A sheet is a CSV file that was read. Its methods keep the first error in err.
type sheet struct {
	file    string
	columns []string
	rows    [][]string
	err     error
}

// readSheet reads a CSV file whose first row names the columns.
func readSheet(dir, name string) (*sheet, error) {
	s := &sheet{file: filepath.Join(dir, name)}
	f, err := os.Open(s.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.file, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: empty, without a row of column names", s.file)
	}
	s.columns, s.rows = rows[0], rows[1:]
	return s, nil
}

// text returns the value of a column in row i, counted from 0 below the names.
func (s *sheet) text(i int, column string) string {
	j := slices.Index(s.columns, column)
	if j < 0 {
		s.fail(fmt.Errorf("%s: no column %q", s.file, column))
		return ""
	}
	return s.rows[i][j]
}

func (s *sheet) number(i int, column string) float64 { return parsed(s, i, column, parseFloat) }
func (s *sheet) whole(i int, column string) int      { return parsed(s, i, column, strconv.Atoi) }
func (s *sheet) flag(i int, column string) bool      { return parsed(s, i, column, strconv.ParseBool) }

func parseFloat(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

func parsed[T any](s *sheet, i int, column string, parse func(string) (T, error)) T {
	text := s.text(i, column)
	v, err := parse(text)
	if err != nil {
		s.fail(fmt.Errorf("%s, row %d: %s is %q, not a value of its kind", s.file, i+2, column, text))
	}
	return v
}

// find returns the rows with the given values, as pairs of column and value. If there is
// none it keeps an error.
func (s *sheet) find(pairs ...string) []int {
	var rows []int
	for i := range s.rows {
		all := true
		for k := 0; k < len(pairs); k += 2 {
			all = all && s.text(i, pairs[k]) == pairs[k+1]
		}
		if all {
			rows = append(rows, i)
		}
	}
	if len(rows) == 0 {
		s.fail(fmt.Errorf("%s: no row with %q", s.file, pairs))
	}
	return rows
}

func (s *sheet) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}
