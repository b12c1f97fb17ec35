package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"cps/examples/internal/progress"

	"golang.org/x/term"
)

// A display shows how a run goes: a bar of iterations and, on a terminal, a line a worker
// under it. Into a file go lines: what happens, and a table of the workers at the end. Its
// methods may be called concurrently.
type display struct {
	w        io.Writer
	terminal bool
	width    int
	plain    bool // no time before a line: who reads it adds one

	mu    sync.Mutex
	bar   *progress.Progress // nil before and after the iterations
	began time.Time
}

func newDisplay(w *os.File) *display {
	d := &display{w: w, began: time.Now()}
	if term.IsTerminal(int(w.Fd())) {
		d.terminal = true
		d.width, _, _ = term.GetSize(int(w.Fd()))
	}
	return d
}

// say writes a line above the bar.
func (d *display) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
	line := fmt.Sprintf(format, args...)
	if !d.plain {
		line = time.Now().Format("15:04:05") + " " + line
	}
	fmt.Fprintln(d.w, line)
}

// clear removes the bar and the lines under it from a terminal. Both are drawn again at
// the next change.
func (d *display) clear() {
	if d.terminal && d.bar != nil {
		fmt.Fprint(d.w, "\r\x1b[J")
	}
}

// start shows the bar.
func (d *display) start(done, total int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = time.Now()
	d.bar = progress.New(d.w, "training", "iterations", done, total)
}

// iteration counts one.
func (d *display) iteration(reward float64, workers []member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
	d.bar.Describe(fmt.Sprintf("reward %.4f", reward))
	d.bar.Add(1)
	d.draw(workers)
}

// shownWorkers is the number of lines under the bar.
const shownWorkers = 16

// draw writes a line a worker under the bar, and leaves the cursor where the bar is.
func (d *display) draw(workers []member) {
	if !d.terminal {
		return
	}
	rows := table(workers, time.Since(d.began))
	if len(rows) > shownWorkers+1 {
		rows = append(rows[:shownWorkers+1], fmt.Sprintf("and %d more", len(workers)-shownWorkers))
	}
	for _, l := range rows {
		if r := []rune(l); d.width > 0 && len(r) >= d.width {
			l = string(r[:d.width-1])
		}
		fmt.Fprintf(d.w, "\n\x1b[K%s", l)
	}
	fmt.Fprintf(d.w, "\r\x1b[%dA", len(rows))
}

// end ends the bar, and writes the table of the workers.
func (d *display) end(workers []member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar == nil {
		return
	}
	if d.terminal {
		fmt.Fprint(d.w, "\x1b[J")
	}
	d.bar.End()
	d.bar = nil
	for _, l := range table(workers, time.Since(d.began)) {
		fmt.Fprintln(d.w, l)
	}
}

// table returns a line a worker, under a heading; none without workers.
func table(workers []member, took time.Duration) []string {
	if len(workers) == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("%-24s %8s %9s %8s %10s", "worker", "parts", "samples/s", "checked", "last heard")}
	for _, m := range workers {
		lines = append(lines, fmt.Sprintf("%-24s %8d %9.0f %8d %8.1f s", m.name, m.parts, float64(m.samples)/took.Seconds(), m.checked, time.Since(m.last).Seconds()))
	}
	return lines
}

// lines says whole lines that are written to it, such as those of a child process.
type lines struct {
	say  func(format string, args ...any)
	rest string
}

func (p *lines) Write(b []byte) (int, error) {
	p.rest += string(b)
	for {
		line, rest, ok := strings.Cut(p.rest, "\n")
		if !ok {
			return len(b), nil
		}
		p.say("%s", line)
		p.rest = rest
	}
}
