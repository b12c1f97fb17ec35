// Command cluster fine-tunes the digits model with rollouts by any number of processes, on
// any machines, over NATS JetStream. The weights end bit-equal to those of one process,
// whatever fails meanwhile.
//
//	cd examples/cluster && go run .
//
// runs a learner, with a NATS server in it, and four workers. A worker elsewhere is
//
//	go run . worker -url nats://HOST:4222 -token FILE
//
// README.md says what happens when something fails, and has figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"cps/examples/internal/finetune"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	o, err := parse(os.Args[1:], os.Stdout)
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	stop()
	switch usage := (usageError{}); {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "cluster: %v (see -h)\n", err)
		os.Exit(2)
	case errors.Is(err, errRefused):
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(statusRefused)
	case err != nil:
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

// run does what the options say. Results go to w, and what happens meanwhile to stderr.
func run(ctx context.Context, o options, w io.Writer) error {
	switch o.role {
	case roleWorker:
		return runWorker(ctx, o)
	case roleServer:
		return runServer(ctx, o)
	case roleMeasure:
		return measure(ctx, o, w)
	case roleFetch:
		return runFetch(ctx, o)
	}
	return runTraining(ctx, o, w)
}

// runServer runs a server until ctx is done.
func runServer(ctx context.Context, o options) error {
	d := newDisplay(os.Stderr)
	s, _, err := o.server(d.say)
	if err != nil {
		return err
	}
	_, there := addresses(s)
	d.say("server: %s, the token is in %s", there, o.tokenFile())
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// runWorker works until ctx is done, or the parent of a child is gone.
func runWorker(ctx context.Context, o options) error {
	d := newDisplay(os.Stderr)
	note := d.say
	if o.child {
		var cancel context.CancelFunc
		ctx, cancel = withParent(ctx, os.Stdin)
		defer cancel()
		d.plain, note = true, func(string, ...any) {}
	}
	m := newMetrics(roleWorker)
	stop, err := m.serve(o.metrics, d.say)
	if err != nil {
		return err
	}
	defer stop()
	nc, err := o.connect(ctx, o.name, d.say)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer nc.Close()
	worker, err := newWorker(workerOptions{names: o.names, name: o.name, pace: o.pace}, nc, m, d.say, note)
	if err != nil {
		return err
	}
	faults(worker)
	return worker.run(ctx)
}

// faults makes a worker one that fails. Tests set it.
var faults = func(*worker) {}

// runTraining trains in this process or with workers, and saves after every iteration.
func runTraining(ctx context.Context, o options, w io.Writer) error {
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	d := newDisplay(os.Stderr)
	t, err := o.trainer(d.say)
	if err != nil {
		return err
	}
	m := newMetrics(roleLearner)
	list := func() []member { return nil }
	if o.role == roleLearner {
		l, stop, err := o.learner(ctx, m, d.say)
		if err != nil {
			return err
		}
		defer stop()
		t.Remote = l.draw
		list = func() []member { return l.roster.list(time.Now().Add(-time.Minute)) }
	}
	start, err := finetune.New(t.Config())
	if err != nil {
		return err
	}
	before, err := start.Evaluate(ctx)
	if err != nil {
		return err
	}
	d.start(t.Iteration(), o.iterations)
	began, first := time.Now(), t.Iteration()
	err = t.Run(ctx, o.iterations, func(it finetune.Iteration) error {
		if err := t.Save(o.checkpoint()); err != nil {
			return fmt.Errorf("iteration %d is done and cannot be saved; %s is of the one before, and -resume goes on from there: %w", it.Number, o.checkpoint(), err)
		}
		workers := list()
		m.iterations.Inc()
		m.reward.Set(it.Reward)
		m.workers.Set(float64(len(workers)))
		d.iteration(it.Reward, workers)
		return nil
	})
	d.end(list())
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(w, "interrupted after iteration %d; the same command with -resume goes on, with the same bits\n", t.Iteration())
		return nil
	case finetune.Diverged(err):
		return fmt.Errorf("%w: training has diverged: take a smaller -rate than %v", err, o.settings.Rate)
	case err != nil:
		return err
	}
	took := time.Since(began)
	after, err := t.Evaluate(ctx)
	if err != nil {
		return err
	}
	_, version := encodeWeights(t.Net())
	if n := t.Iteration() - first; n > 0 {
		fmt.Fprintf(w, "%d iterations in %.1f s, %.0f samples/s\n", n, took.Seconds(), float64(n*o.settings.Prompts*o.settings.Group)/took.Seconds())
	}
	fmt.Fprintf(w, "reward by the ODE: %.4f before, %.4f after\n", before.Reward, after.Reward)
	fmt.Fprintf(w, "weights: %s\n", version)
	return nil
}

// trainer returns a new trainer, or with -resume that of the checkpoint.
func (o options) trainer(say func(string, ...any)) (*finetune.Trainer, error) {
	c, err := o.settings.config()
	if err != nil {
		return nil, err
	}
	file := o.checkpoint()
	if !o.resume {
		if exists(file) {
			return nil, usageError{fmt.Errorf("%s is there: -resume goes on with it, and another -out begins another run", file)}
		}
		return finetune.New(c)
	}
	t, err := finetune.Load(c, file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		say("no checkpoint in %s: training starts from the beginning", o.out)
		return finetune.New(c)
	case err != nil:
		return nil, err
	}
	say("going on after iteration %d of %d", t.Iteration(), o.iterations)
	return t, nil
}

// server runs the server of this process, and returns its token.
func (o options) server(say func(string, ...any)) (*server.Server, string, error) {
	token, err := makeToken(o.tokenFile())
	if err != nil {
		return nil, "", err
	}
	s, err := newServer(serverOptions{listen: o.listen, store: filepath.Join(o.out, "jetstream"), token: token, tls: o.tls, say: say})
	return s, token, err
}

// learner starts the learner's end, with a server unless there is a -url, and workers. stop
// ends all of it.
func (o options) learner(ctx context.Context, m *metrics, say func(string, ...any)) (l *learner, stop func(), err error) {
	var undo []func()
	stop = func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	if l, err = o.startLearner(ctx, m, say, func(f func()) { undo = append(undo, f) }); err != nil {
		stop()
	}
	return l, stop, err
}

// startLearner starts what a learner consists of, and calls later with what ends each part.
func (o options) startLearner(ctx context.Context, m *metrics, say func(string, ...any), later func(func())) (*learner, error) {
	end, err := m.serve(o.metrics, say)
	if err != nil {
		return nil, err
	}
	later(end)
	var nc *nats.Conn
	at := o.access
	if o.url == "" {
		s, token, err := o.server(say)
		if err != nil {
			return nil, err
		}
		later(func() { s.Shutdown(); s.WaitForShutdown() })
		here, there := addresses(s)
		at.url, at.token = here, o.tokenFile()
		if u, err := url.Parse(here); err == nil && at.tls.name == "" {
			if at.tls.name, err = at.tls.nameAt(u.Hostname()); err != nil {
				return nil, err
			}
		}
		say("server: %s; for more workers: go run . worker -url %s -token %s", there, there, at.token)
		if nc, err = inProcess(s, token, roleLearner); err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
	} else if nc, err = at.connect(ctx, roleLearner, say); err != nil {
		return nil, err
	}
	later(nc.Close)
	l, err := newLearner(ctx, o.learnerOptions, o.settings, nc, m, say)
	if err != nil {
		return nil, err
	}
	later(func() { l.close(ctx) })
	if o.workers == 0 {
		return l, nil
	}
	end, err = localWorkers(o.workers, at.args(o), at.variable(), say)
	if err != nil {
		return nil, err
	}
	later(end)
	return l, nil
}

// addressVariable is the environment variable that has the address for a local worker. It may
// hold secrets, and everybody on the machine can read a command line.
const addressVariable = "CLUSTER_URL"

// variable returns the setting of addressVariable.
func (a access) variable() string { return addressVariable + "=" + a.url }

// args returns the flags with which a worker on this machine reaches the learner's server. The
// address is in variable.
func (a access) args(o options) []string {
	args := []string{"-prefix", o.prefix, "-pace", o.pace.String()}
	for _, f := range [...]struct{ name, value string }{
		{"-token", a.token}, {"-creds", a.creds}, {"-tls-cert", a.tls.cert}, {"-tls-key", a.tls.key}, {"-tls-ca", a.tls.ca}, {"-tls-name", a.tls.name},
	} {
		if f.value != "" {
			args = append(args, f.name, f.value)
		}
	}
	return args
}
