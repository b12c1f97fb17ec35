package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cps/examples/internal/finetune"

	"github.com/nats-io/nats.go/jetstream"
)

// figures are those of README.md, by the names that -what takes.
var figures = []string{"throughput", "parts", "weights"}

// measure writes tables of figures to w.
func measure(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "cluster-measure-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i, do := range []func(context.Context, options, io.Writer) error{measureThroughput, measureParts, measureWeights} {
		if o.what != "" && o.what != figures[i] {
			continue
		}
		o.out = filepath.Join(dir, figures[i])
		if err := do(ctx, o, w); err != nil {
			return fmt.Errorf("%s: %w", figures[i], err)
		}
	}
	return nil
}

// learning returns the options of a learner with some workers, as the command line has them.
func (o options) learning(args ...string) (options, error) {
	return parse(append([]string{"-out", o.out, "-listen", "127.0.0.1:0"}, args...), io.Discard)
}

// withWorkers starts a learner, waits until all its workers have joined, and trains: observe
// gets the time that each iteration took to draw.
func withWorkers(ctx context.Context, o options, observe func(it finetune.Iteration, l *learner, took time.Duration) error) error {
	t, err := o.trainer(func(string, ...any) {})
	if err != nil {
		return err
	}
	l, stop, err := o.learner(ctx, newMetrics(roleLearner), func(string, ...any) {})
	if err != nil {
		return err
	}
	defer stop()
	for len(l.roster.list(time.Time{})) < o.workers {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	var took time.Duration
	t.Remote = func(ctx context.Context, r *finetune.Rollout) error {
		began := time.Now()
		defer func() { took = time.Since(began) }()
		return l.draw(ctx, r)
	}
	return t.Run(ctx, o.iterations, func(it finetune.Iteration) error { return observe(it, l, took) })
}

// measureThroughput counts the parts a second that 1 to 16 workers do which need 100 ms each.
func measureThroughput(ctx context.Context, o options, w io.Writer) error {
	const (
		pace       = 100 * time.Millisecond
		parts      = 48
		iterations = 5
	)
	fmt.Fprintf(w, "| Workers | Parts a second | Of 10 a worker |\n|---|---|---|\n")
	for _, n := range []int{1, 2, 4, 8, 16} {
		o := o
		o.out = filepath.Join(o.out, strconv.Itoa(n))
		o, err := o.learning("-workers", strconv.Itoa(n), "-pace", pace.String(), "-prompts", "8", "-group", "6", "-part", "1", "-iterations", strconv.Itoa(iterations), "-check", "0")
		if err != nil {
			return err
		}
		var total time.Duration
		if err := withWorkers(ctx, o, func(it finetune.Iteration, _ *learner, took time.Duration) error {
			if it.Number > 0 { // first answers are checked, and weights of networks are cold
				total += took
			}
			return nil
		}); err != nil {
			return err
		}
		rate := float64(parts*(iterations-1)) / total.Seconds()
		fmt.Fprintf(w, "| %d | %.1f | %.0f %% |\n", n, rate, 100*rate*pace.Seconds()/float64(n))
	}
	return nil
}

// measureParts tells the memory of the learner and its workers over 1000 parts.
func measureParts(ctx context.Context, o options, w io.Writer) error {
	o, err := o.learning("-iterations", "100", "-workers", "4")
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "| Parts | Learner with server, MiB | Largest worker, MiB |\n|---|---|---|\n")
	return withWorkers(ctx, o, func(it finetune.Iteration, _ *learner, _ time.Duration) error {
		if n := it.Number + 1; n == 10 || n%25 == 0 {
			own, largest := memory()
			fmt.Fprintf(w, "| %d | %d | %d |\n", 10*n, own, largest)
		}
		return nil
	})
}

// measureWeights sends 1 GB of weights to four workers at once.
func measureWeights(ctx context.Context, o options, w io.Writer) error {
	const (
		size    = 1_000_000_000
		fetches = 4
	)
	weights := func() io.Reader { return io.LimitReader(mathrand.NewChaCha8([32]byte{1}), size) }
	sum := sha256.New()
	if _, err := io.Copy(sum, weights()); err != nil {
		return err
	}
	version := hex.EncodeToString(sum.Sum(nil))
	fmt.Fprintf(w, "| Storage | Stored in | Loaded by %d at once in | GB a second, all together | Server, MiB | Largest worker, MiB |\n|---|---|---|---|---|---|\n", fetches)
	for _, storage := range []string{"memory", "file"} {
		o := o
		o.out = filepath.Join(o.out, storage)
		o, err := o.learning("-storage", storage)
		if err != nil {
			return err
		}
		if err := o.sendWeights(ctx, w, storage, version, size, weights(), fetches); err != nil {
			return err
		}
	}
	return nil
}

func (o options) sendWeights(ctx context.Context, w io.Writer, storage, version string, size int64, weights io.Reader, fetches int) error {
	s, token, err := o.server(func(string, ...any) {})
	if err != nil {
		return err
	}
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	nc, err := inProcess(s, token, roleLearner)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	began := time.Now()
	var v versions
	if err := v.publish(ctx, js, o.queues, version, size, false, weights); err != nil {
		return err
	}
	stored := time.Since(began)
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	began = time.Now()
	var all []*exec.Cmd
	for range fetches {
		c := exec.CommandContext(ctx, exe, roleFetch, "-url", s.ClientURL(), "-token", o.tokenFile(), "-version", version, "-bytes", strconv.FormatInt(size, 10))
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			return err
		}
		all = append(all, c)
	}
	ended := make(chan error, fetches)
	for _, c := range all {
		go func() { ended <- c.Wait() }()
	}
	var errs []error
	own, largest := 0, 0
	for tick := time.NewTicker(50 * time.Millisecond); len(errs) < fetches; {
		select {
		case err := <-ended:
			errs = append(errs, err)
		case <-tick.C:
			a, b := memory()
			own, largest = max(own, a), max(largest, b)
		}
	}
	loaded := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintf(w, "| %s | %.1f s | %.1f s | %.2f | %d | %d |\n", storage, stored.Seconds(), loaded.Seconds(), float64(fetches)*float64(size)/1e9/loaded.Seconds(), own, largest)
	return nil
}

// runFetch loads a version and throws it away, having compared its digest.
func runFetch(ctx context.Context, o options) error {
	nc, err := o.connect(ctx, roleFetch, func(f string, args ...any) { fmt.Fprintf(os.Stderr, f+"\n", args...) })
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return getVersion(ctx, js, o.names, o.version, o.bytes, io.Discard)
}

// memory returns the resident memory of this process and of the largest of its children, in
// MiB; 0 where the system does not tell.
func memory() (own, largest int) {
	own = resident("self")
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, pid := range strings.Fields(string(b)) {
			largest = max(largest, resident(pid))
		}
	}
	return own, largest
}

func resident(pid string) int {
	b, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int
			fmt.Sscan(rest, &kib)
			return kib >> 10
		}
	}
	return 0
}
