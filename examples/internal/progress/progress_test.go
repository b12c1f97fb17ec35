package progress

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBar(t *testing.T) {
	var out bytes.Buffer
	p := start(&out, true, "training", "iterations", 4, 10)
	for range 6 {
		p.Add(1)
		p.Describe("reward 0.5")
	}
	p.End()
	if s := out.String(); !strings.Contains(s, "\r") || !strings.Contains(s, "100%") ||
		!strings.Contains(s, "reward 0.5") || !strings.HasSuffix(s, "\n") {
		t.Errorf("a terminal got %q", s)
	}
}

// A file gets a line at the start, one every minute, and one at the end.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out, "training", "iterations", 4, 10)
		for range 6 {
			time.Sleep(25 * time.Second)
			p.Add(1)
			p.Describe("reward 0.5")
		}
		p.End()
		const want = "training: 6 iterations to do\n" +
			"training: 3 of 6 iterations done in 75.0 s\n" +
			"training: 6 of 6 iterations done in 150.0 s\n"
		if s := out.String(); s != want {
			t.Errorf("a file got\n%swant\n%s", s, want)
		}
	})
}

// The last line of work that was stopped says how much was done.
func TestStopped(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, "training", "steps", 0, 10)
	p.Add(3)
	p.End()
	if s := out.String(); !strings.Contains(s, "3 of 10 steps") {
		t.Errorf("a file got %q", s)
	}
}

func TestConcurrent(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var workers sync.WaitGroup
		var out bytes.Buffer
		p := start(&out, terminal, "training", "steps", 0, 400)
		for range 4 {
			workers.Go(func() {
				for range 100 {
					p.Add(1)
				}
			})
		}
		workers.Wait()
		p.End()
		if p.added != 400 {
			t.Errorf("counted %d of 400", p.added)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, writer := range []io.Writer{w, io.Discard} {
		if isTerminal(writer) {
			t.Errorf("%T is taken for a terminal", writer)
		}
	}
}
