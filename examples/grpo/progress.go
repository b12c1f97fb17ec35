package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A progress shows how far training is: a bar to a person, and to a file or a pipe,
// where a bar would leave its every state, a line at the start and one at the end.
type progress struct {
	w          io.Writer
	bar        *progressbar.ProgressBar // nil: lines
	start      time.Time
	done, left int // iterations
}

// newProgress begins, at done of total iterations.
func newProgress(w io.Writer, terminal bool, done, total int) *progress {
	p := &progress{w: w, start: time.Now(), left: total - done}
	if !terminal {
		fmt.Fprintf(w, "training: %d iterations to do\n", p.left)
		return p
	}
	p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w),
		progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond))
	p.bar.Add(done)
	return p
}

// step counts an iteration.
func (p *progress) step(seed uint64, reward float64) {
	p.done++
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("seed %d: reward %.3f", seed, reward))
		p.bar.Add(1)
	}
}

// end leaves the line of the bar, or writes the last one.
func (p *progress) end() {
	if p.bar != nil {
		fmt.Fprintln(p.w)
		return
	}
	fmt.Fprintf(p.w, "training: %d of %d iterations done in %.1f s\n", p.done, p.left, time.Since(p.start).Seconds())
}

// isTerminal reports whether a person reads what is written to f.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
