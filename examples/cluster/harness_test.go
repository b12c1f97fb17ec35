//go:build unix

package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cps/examples/internal/finetune"

	"github.com/nats-io/nats.go/jetstream"
)

var long = flag.Bool("long", false, "run every fault more often, for minutes")

// TestMain lets the test binary stand in for the command, with a fault if one is named.
func TestMain(m *testing.M) {
	if os.Getenv("CLUSTER_MAIN") != "" {
		faults = func(w *worker) {
			if f := os.Getenv("CLUSTER_FAULT"); f != "" {
				faulty[f](w)
			}
		}
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// often is how often something happens, of which the short mode has less.
func often(short, all int) int {
	if *long {
		return all
	}
	return short
}

// A process is one of this program's.
type process struct {
	*exec.Cmd
	t    *testing.T
	name string
	done chan struct{}

	mu  sync.Mutex
	out bytes.Buffer // standard output and error
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// start starts a program, this one if exe is empty. It is killed when the test ends.
func start(t *testing.T, exe, fault, name string, args ...string) *process {
	t.Helper()
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	p := &process{Cmd: exec.Command(exe, args...), t: t, name: name, done: make(chan struct{})}
	p.Env = append(os.Environ(), "CLUSTER_MAIN=1", "CLUSTER_FAULT="+fault)
	p.Stdout, p.Stderr = p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.Cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("--- %s\n%s", p.name, p.text())
		}
	})
	return p
}

// kill ends a process as a crash does.
func (p *process) kill() {
	p.Process.Kill()
	<-p.done
}

// ends waits for a process, and returns its exit status.
func (p *process) ends() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("%s does not end", p.name)
	}
	return p.ProcessState.ExitCode()
}

// says waits until a process has written text that a pattern matches, and returns the
// first group, or the match.
func (p *process) says(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for range 1200 {
		if m := re.FindStringSubmatch(p.text()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-p.done:
			if m := re.FindStringSubmatch(p.text()); m != nil {
				return m[len(m)-1]
			}
			p.t.Fatalf("%s ended without saying %q", p.name, pattern)
		case <-time.After(50 * time.Millisecond):
		}
	}
	p.t.Fatalf("%s does not say %q", p.name, pattern)
	return ""
}

// metric returns a value of the metrics that a process serves; false if it does not any more.
func (p *process) metric(name string) (float64, bool) {
	p.t.Helper()
	r, err := http.Get(p.says(`metrics: (http://\S+)`))
	if err != nil {
		return 0, false
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return x, true
		}
	}
	p.t.Fatalf("%s has no metric %s in\n%s", p.name, name, b)
	return 0, false
}

// reaches waits until a metric of a learner is at least x; false if the learner ended before.
func (p *process) reaches(name string, x float64) bool {
	p.t.Helper()
	for range 2400 {
		if got, ok := p.metric(name); ok && got >= x {
			return true
		}
		select {
		case <-p.done:
			return false
		case <-time.After(25 * time.Millisecond):
		}
	}
	p.t.Fatalf("%s does not reach %s %v", p.name, name, x)
	return false
}

const iterationsDone = "cps_learner_iterations_total"

func answersOf(outcome string) string {
	return fmt.Sprintf("cps_learner_answers_total{outcome=%q}", outcome)
}

// address returns one that nobody listens on.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A bench is a run that is to end with the bits of a run of one process.
type bench struct {
	t          *testing.T
	dir        string
	address    string
	iterations int
	extra      []string // flags of the learner
	workers    int      // started so far
}

func newBench(t *testing.T, iterations int, extra ...string) *bench {
	t.Parallel()
	b := &bench{t: t, address: address(t), iterations: iterations, extra: extra}
	b.in(t.TempDir())
	return b
}

// in has the learner use another folder, with a token that workers find before it starts.
func (b *bench) in(dir string) {
	b.t.Helper()
	b.dir = dir
	if _, err := makeToken(b.token()); err != nil {
		b.t.Fatal(err)
	}
}

// learner starts the learner with a server in it; with more flags after those of the bench.
func (b *bench) learner(more ...string) *process {
	b.t.Helper()
	args := []string{"-out", b.dir, "-iterations", fmt.Sprint(b.iterations), "-workers", "0", "-listen", b.address, "-ack-wait", "1s", "-silence", "2s", "-metrics", "127.0.0.1:0"}
	return start(b.t, "", "", "learner", append(append(args, b.extra...), more...)...)
}

// server starts a server apart, whose clients need access to it.
func (b *bench) server() *process {
	b.t.Helper()
	s := start(b.t, "", "", "server", "server", "-out", filepath.Join(b.dir, "server"), "-listen", b.address, "-token", b.token())
	s.says("server: nats")
	return s
}

// clients are the flags of a learner of the server apart.
func (b *bench) clients() []string {
	return []string{"-url", "nats://" + b.address, "-token", b.token()}
}

func (b *bench) token() string { return filepath.Join(b.dir, "token") }

// client returns a client of the server, which must be there.
func (b *bench) client() jetstream.JetStream {
	b.t.Helper()
	nc, err := access{url: "nats://" + b.address, token: b.token()}.connect(b.t.Context(), "test", b.t.Logf)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

// worker starts a worker, of another program or with a fault perhaps.
func (b *bench) worker(exe, fault string, more ...string) *process {
	b.t.Helper()
	b.workers++
	name := fmt.Sprintf("worker-%d", b.workers)
	args := []string{"worker", "-url", "nats://" + b.address, "-token", b.token(), "-name", name, "-metrics", "127.0.0.1:0"}
	return start(b.t, exe, fault, name, append(args, more...)...)
}

// equal waits for a learner and compares its checkpoint with that of a run of one process.
func (b *bench) equal(l *process) {
	b.t.Helper()
	if status := l.ends(); status != 0 {
		b.t.Fatalf("the learner ends with status %d", status)
	}
	got, err := os.ReadFile(filepath.Join(b.dir, "run.checkpoint"))
	if err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Equal(got, single(b.t, b.iterations, b.extra)) {
		b.t.Error("the checkpoint is not that of a run of one process")
	}
}

var singles sync.Map // of checkpoints, by iterations and settings

// single returns the checkpoint of a run of one process, by package finetune alone.
func single(t *testing.T, iterations int, extra []string) []byte {
	t.Helper()
	o, err := parse(append([]string{"-iterations", fmt.Sprint(iterations)}, extra...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		settings   settings
		iterations int
	}
	once, _ := singles.LoadOrStore(key{o.settings, iterations}, sync.OnceValues(func() ([]byte, error) {
		c, err := o.settings.config()
		if err != nil {
			return nil, err
		}
		tr, err := finetune.New(c)
		if err != nil {
			return nil, err
		}
		if err := tr.Run(t.Context(), iterations, nil); err != nil {
			return nil, err
		}
		file := filepath.Join(t.TempDir(), "single")
		if err := tr.Save(file); err != nil {
			return nil, err
		}
		return os.ReadFile(file)
	}))
	bytes, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
