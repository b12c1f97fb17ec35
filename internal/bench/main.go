// Command bench measures the passes of the CPU device. It prints elements per second, bytes
// per second, and the ratio to a plain loop over the same bytes in the same run.
//
//	go run ./internal/bench                      a table
//	go run ./internal/bench -json out/bench.json -plot out/bench.png
//	go run ./internal/bench -peers               also the same work in torch and numpy
//
// All cases take turns in every round, so other load on the machine slows all of them. Figures
// are medians over the rounds. -peers needs Debian's python3-torch and python3-numpy.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"text/tabwriter"
	"time"
)

type options struct {
	rounds     int
	least      time.Duration
	quick      bool
	peers      bool
	python     string
	json, plot string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 11, "`number` of rounds; figures are medians over them")
	flag.DurationVar(&o.least, "least", 20*time.Millisecond, "least `time` of a case in a round")
	flag.BoolVar(&o.quick, "quick", false, "measure one small size, to see that everything works")
	flag.BoolVar(&o.peers, "peers", false, "measure torch and numpy too")
	flag.StringVar(&o.python, "python", "/usr/bin/python3", "Python `interpreter` that has torch and numpy")
	flag.StringVar(&o.json, "json", "", "write results to this `file`")
	flag.StringVar(&o.plot, "plot", "", "measure speed over batch, dim and threads, and write a plot of it to this PNG `file`")
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		fmt.Fprintf(os.Stderr, "bench: unexpected argument %q (see -h)\n", flag.Arg(0))
		os.Exit(2)
	case o.rounds < 1:
		fmt.Fprintf(os.Stderr, "bench: -rounds %d is not positive (see -h)\n", o.rounds)
		os.Exit(2)
	}
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// A size is a number of rows, and of elements in a row.
type size struct{ Rows, Dim int }

func (s size) String() string { return fmt.Sprintf("%d×%d", s.Rows, s.Dim) }

func (s size) elements() int { return s.Rows * s.Dim }

func sizes(quick bool) []size {
	if quick {
		return []size{{4, 4096}}
	}
	return []size{{16, 65536}, {16, 262144}, {64, 262144}, {100000, 64}}
}

// A result is the median of one case.
type result struct {
	Pass           string  `json:"pass"`
	Implementation string  `json:"implementation"`
	Threads        int     `json:"threads"`
	Rows           int     `json:"rows"`
	Dim            int     `json:"dim"`
	Elements       float64 `json:"elements_per_second"`
	Bytes          float64 `json:"bytes_per_second,omitempty"`    // of ours only: peers move their temporaries, too
	Limit          float64 `json:"ratio_to_plain_loop,omitempty"` // that moves the same bytes
	Ours           float64 `json:"ours_is_faster,omitempty"`      // of peers only: how many times as fast is our fastest on as many threads
}

func run(o options, w io.Writer) error {
	var all []result
	for _, s := range sizes(o.quick) {
		cases, err := ownCases(s)
		if err != nil {
			return err
		}
		if o.peers && s.Rows == 16 && s.Dim == 65536 || o.peers && o.quick {
			peers, stop, err := peerCases(o.python, s)
			if err != nil {
				return err
			}
			defer stop()
			cases = append(cases, peers...)
		}
		results, err := measure(cases, o)
		if err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
		printTable(w, s, results)
		all = append(all, results...)
	}
	if o.plot != "" {
		results, err := plotScaling(o.plot, o)
		if err != nil {
			return err
		}
		all = append(all, results...)
	}
	if o.json != "" {
		return writeJSON(o.json, all)
	}
	return nil
}

func printTable(w io.Writer, s size, results []result) {
	fmt.Fprintf(w, "\n%v elements, %d processors, %s\n\n", s, runtime.NumCPU(), runtime.GOARCH)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "pass\timplementation\tthreads\tGelem/s\tGB/s\tto the loop\tours is faster\t")
	for _, r := range results {
		bytes, limit, ours := "", "", ""
		if r.Bytes > 0 {
			bytes = fmt.Sprintf("%.2f", r.Bytes/1e9)
		}
		if r.Limit > 0 {
			limit = fmt.Sprintf("%.2f", r.Limit)
		}
		if r.Ours > 0 {
			ours = fmt.Sprintf("%.1f×", r.Ours)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%.3f\t%s\t%s\t%s\t\n",
			r.Pass, r.Implementation, r.Threads, r.Elements/1e9, bytes, limit, ours)
	}
	t.Flush()
}

func writeJSON(file string, all []result) error {
	b, err := json.MarshalIndent(map[string]any{
		"go": runtime.Version(), "arch": runtime.GOARCH, "processors": runtime.NumCPU(), "results": all,
	}, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, append(b, '\n'), 0o666))
}
