// Package progress shows how far an example is: a bar to a person, and to a file or a
// pipe, where a bar would leave its every state, a line now and then.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A Progress counts what is done. Its methods may be called concurrently.
type Progress struct {
	w          io.Writer
	what, unit string
	bar        *progressbar.ProgressBar // nil: lines

	mu          sync.Mutex
	start       time.Time
	said        time.Time // when the last line was written
	added, left int       // units since New, and that were to do then
}

// New shows on w the progress of work of which done of total units are behind it, named by
// what and unit, as in "training" and "iterations".
func New(w io.Writer, what, unit string, done, total int) *Progress {
	return start(w, isTerminal(w), what, unit, done, total)
}

func start(w io.Writer, terminal bool, what, unit string, done, total int) *Progress {
	now := time.Now()
	p := &Progress{w: w, what: what, unit: unit, start: now, said: now, left: total - done}
	if !terminal {
		fmt.Fprintf(w, "%s: %d %s to do\n", what, p.left, unit)
		return p
	}
	p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit), progressbar.OptionThrottle(100*time.Millisecond))
	p.bar.Add(done)
	return p
}

// lineEvery is the time between lines.
const lineEvery = time.Minute

// Add counts n more units.
func (p *Progress) Add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.added += n
	if p.bar != nil {
		p.bar.Add(n)
		return
	}
	if now := time.Now(); now.Sub(p.said) >= lineEvery && p.added < p.left {
		p.said = now
		p.line()
	}
}

// Describe replaces what stands before the bar. Lines do not show it.
func (p *Progress) Describe(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Describe(text)
	}
}

// End leaves the line of the bar, or writes the last one.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		fmt.Fprintln(p.w)
		return
	}
	p.line()
}

func (p *Progress) line() {
	fmt.Fprintf(p.w, "%s: %d of %d %s done in %.1f s\n", p.what, p.added, p.left, p.unit, time.Since(p.start).Seconds())
}

// isTerminal reports whether a person reads what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
