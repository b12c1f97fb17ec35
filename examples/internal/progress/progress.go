// Package progress shows the progress of an example. A terminal gets a bar. A file or a pipe
// gets a line now and then, since every state of a bar would remain in it.
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
	bar        *progressbar.ProgressBar // nil if lines are written instead

	mu          sync.Mutex
	start       time.Time
	said        time.Time // time of the last line
	added, left int       // units done since New, and units that were left at New
}

// New shows on w the progress of work that has total units, of which done are already done.
// what names the work and unit its units, such as "training" and "iterations".
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

// Describe replaces the text before the bar. Lines do not show it.
func (p *Progress) Describe(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Describe(text)
	}
}

// End ends the line of the bar, or writes the last line.
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

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
