package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cps/examples/internal/finetune"

	"github.com/nats-io/nats.go/jetstream"
)

// Roles of a process.
const (
	roleLearner = "learner"
	roleWorker  = "worker"
	roleServer  = "server"
	roleSingle  = "single"
	roleMeasure = "measure"
	roleFetch   = "fetch"
)

var roles = []struct{ name, about string }{
	{roleLearner, "train, with rollouts by workers; -workers of them are processes on this machine"},
	{roleWorker, "roll out for a learner, wherever it is"},
	{roleServer, "a NATS server with JetStream, apart from the learner"},
	{roleSingle, "the same training in this process alone: the same weights to the bit"},
	{roleMeasure, "the figures of README.md"},
	{roleFetch, "load a version of the policy and throw it away, for measure"},
}

// options are the settings of the command line.
type options struct {
	role     string
	settings settings
	learnerOptions

	iterations, workers int
	out                 string
	resume              bool
	pace                time.Duration

	access        // of a client
	listen        string
	metrics, name string
	child         bool
	what          string // to measure
	version       string // to fetch
	bytes         int64  // of version
}

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

const (
	minAckWait = time.Second // three times inProgressEvery and more
	defaultURL = "nats://127.0.0.1:4222"
)

// parse reads the command line; help goes to w. Mistakes are usage errors.
func parse(args []string, w io.Writer) (options, error) {
	o := options{role: roleLearner, settings: defaultSettings()}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.role, args = args[0], args[1:]
	}
	about := ""
	for _, r := range roles {
		if r.name == o.role {
			about = r.about
		}
	}
	if about == "" {
		return o, usageError{fmt.Errorf("%q is no role: see -h for those there are", o.role)}
	}
	var prefix, store string
	f := flag.NewFlagSet("cluster "+o.role, flag.ContinueOnError)
	f.SetOutput(io.Discard) // mistakes are reported once, by main
	trains, client := o.role == roleLearner || o.role == roleSingle, o.role == roleLearner || o.role == roleWorker || o.role == roleFetch
	serves := o.role == roleLearner || o.role == roleServer
	if trains {
		s := &o.settings
		f.Func("seed", "`seed`, a whole number from 0 (default 1)", func(text string) (err error) {
			if s.Seed, err = strconv.ParseUint(text, 10, 64); err != nil {
				return errors.New("take a whole number from 0 to 18446744073709551615")
			}
			return nil
		})
		f.StringVar(&s.Reward, "reward", s.Reward, "`reward`: "+strings.Join(finetune.RewardNames(), ", "))
		f.Float64Var(&s.Eta, "eta", s.Eta, "exploration: `η` of FlowCPS")
		f.IntVar(&s.Steps, "steps", s.Steps, "`number` of sampling steps; the last is not trained")
		f.IntVar(&s.Prompts, "prompts", s.Prompts, "`number` of groups of an iteration; digits take turns")
		f.IntVar(&s.Group, "group", s.Group, "`number` of samples of a group")
		f.Float64Var(&s.Rate, "rate", s.Rate, "learning `rate`")
		f.BoolVar(&s.Shared, "shared", false, "samples of a group share their initial latent")
		f.IntVar(&s.Sliding, "sliding", 0, "`number` of trained steps, in a window that slides by one an iteration; 0: all steps")
		f.IntVar(&o.iterations, "iterations", 20, "`number` of iterations")
		f.BoolVar(&o.resume, "resume", false, "go on with the checkpoint in -out")
	}
	if o.role != roleWorker && o.role != roleFetch && o.role != roleMeasure {
		f.StringVar(&o.out, "out", "out", "`folder` for the checkpoint, the token and the server's files")
	}
	if o.role == roleLearner {
		f.IntVar(&o.workers, "workers", 4, "`number` of workers to start on this machine")
		f.IntVar(&o.part, "part", 12, "samples of a part, which a worker does at once")
		f.Float64Var(&o.check, "check", 0.05, "`fraction` of the answers that the learner computes again; the first of every worker always is")
		f.DurationVar(&o.silence, "silence", 10*time.Second, "`time` without an answer, after which open parts are published again")
		f.DurationVar(&o.ackWait, "ack-wait", 5*time.Second, "`time` after which the part of a worker that is gone goes to another")
		f.Int64Var(&o.backlog, "backlog", 64<<20, "`bytes` of answers that may wait for the learner, beyond which workers wait")
		f.StringVar(&store, "storage", "memory", "where the server keeps messages: memory or file")
	}
	if client {
		f.StringVar(&prefix, "prefix", "cps", "`prefix` of all names on the server, one for every run")
	}
	if o.role == roleLearner || o.role == roleWorker {
		f.DurationVar(&o.pace, "pace", 0, "`time` that a worker waits before a part, to try many on one machine")
		f.StringVar(&o.metrics, "metrics", "", "`address`, as 127.0.0.1:9100, to serve Prometheus metrics on; empty: none")
	}
	if client {
		url := ""
		if o.role != roleLearner {
			url = defaultURL
		}
		f.StringVar(&o.url, "url", url, "`address` of a NATS server with JetStream, or several with commas; empty: the learner runs one itself")
		f.StringVar(&o.creds, "creds", "", "`file` of NATS credentials, for -url")
	}
	if o.role == roleWorker {
		f.StringVar(&o.name, "name", "", "`name` of the worker (default the machine's and the process's number)")
		f.BoolVar(&o.child, "child", false, "end when the standard input closes, as workers of -workers do")
	}
	if serves {
		f.StringVar(&o.listen, "listen", "127.0.0.1:4222", "`host:port` that the server listens on; port 0 is a free one")
	}
	if serves || client {
		f.StringVar(&o.token, "token", "", "`file` of the token that clients present (default OUT/token, which is made, for a server; out/token, if it is there, for a worker)")
		f.StringVar(&o.tls.cert, "tls-cert", "", "PEM `file`: certificate of this end, which a learner's local workers use, too")
		f.StringVar(&o.tls.key, "tls-key", "", "PEM `file`: key of the certificate")
		f.StringVar(&o.tls.ca, "tls-ca", "", "PEM `file`: authorities that the other end must be certified by; a server then asks clients for a certificate")
	}
	if client {
		f.StringVar(&o.tls.name, "tls-name", "", "`name` that the server's certificate must have (default the host of its address; for a learner's local workers one of the certificate's)")
	}
	if o.role == roleMeasure {
		f.StringVar(&o.what, "what", "", "`what`: throughput, parts or weights; empty: all")
	}
	if o.role == roleFetch {
		f.StringVar(&o.version, "version", "", "SHA-256 of the `version` in hexadecimal")
		f.Int64Var(&o.bytes, "bytes", 0, "`bytes` of the version")
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(w, "cluster %s: %s\n\n", o.role, about)
		for _, r := range roles {
			fmt.Fprintf(w, "\tgo run . %-8s %s\n", r.name, r.about)
		}
		fmt.Fprintln(w)
		f.SetOutput(w)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, usageError{err}
	case f.NArg() > 0:
		return o, usageError{fmt.Errorf("unexpected argument %q", f.Arg(0))}
	}
	if err := o.complete(prefix, store); err != nil {
		return o, usageError{err}
	}
	return o, nil
}

// complete checks the settings, and fills in what follows from others.
func (o *options) complete(prefix, store string) (err error) {
	if o.role == roleLearner || o.role == roleWorker || o.role == roleFetch {
		if o.names, err = newNames(prefix); err != nil {
			return err
		}
	}
	if (o.role == roleLearner || o.role == roleServer || o.role == roleSingle) && o.out == "" {
		return errors.New("-out is empty")
	}
	if o.role == roleLearner || o.role == roleSingle {
		if o.iterations < 1 {
			return fmt.Errorf("-iterations %d is not positive", o.iterations)
		}
		if err := o.settings.check(); err != nil {
			return err
		}
	}
	switch o.role {
	case roleLearner:
		switch {
		case o.workers < 0 || o.workers > maxWorkers:
			return fmt.Errorf("-workers %d is not in [0, %d]", o.workers, maxWorkers)
		case !fractionOK(o.check):
			return fmt.Errorf("-check %v is not in [0, 1]", o.check)
		case o.silence < 100*time.Millisecond:
			return fmt.Errorf("-silence %v is less than 100ms", o.silence)
		case o.ackWait < minAckWait:
			return fmt.Errorf("-ack-wait %v is less than %v", o.ackWait, minAckWait)
		case o.url == "" && o.creds != "":
			return errors.New("-creds is for -url: the server of this process takes a token")
		}
		if o.storage, err = parseStorage(store); err != nil {
			return err
		}
	case roleWorker:
		if address := os.Getenv(addressVariable); o.child && address != "" {
			o.url = address
		}
		if o.name == "" {
			o.name = defaultName()
		}
		if !workerName.MatchString(o.name) {
			return fmt.Errorf("-name %q is not 1 to 64 letters, digits, dots, - and _", o.name)
		}
		if o.token == "" && o.creds == "" {
			if file := filepath.Join("out", "token"); exists(file) {
				o.token = file
			}
		}
	case roleMeasure:
		if o.what != "" && !slices.Contains(figures, o.what) {
			return fmt.Errorf("-what %q is none of %s", o.what, strings.Join(figures, ", "))
		}
	case roleFetch:
		if !isHex(o.version, sha256.Size) || o.bytes < 0 {
			return fmt.Errorf("-version %q is no SHA-256 in hexadecimal, or -bytes %d is negative", o.version, o.bytes)
		}
	}
	if o.pace < 0 {
		return fmt.Errorf("-pace %v is negative", o.pace)
	}
	return nil
}

// check reports a setting that package finetune would take for its default, and those that it
// refuses.
func (s settings) check() error {
	switch {
	case s.Steps == 0, s.Prompts == 0, s.Group == 0:
		return fmt.Errorf("-steps %d, -prompts %d or -group %d is 0", s.Steps, s.Prompts, s.Group)
	case s.Rate == 0:
		return errors.New("-rate 0 is not positive")
	case s.Sliding < 0:
		return fmt.Errorf("-sliding %d is negative", s.Sliding)
	}
	_, err := s.config()
	return err
}

func parseStorage(s string) (jetstream.StorageType, error) {
	switch s {
	case "memory":
		return jetstream.MemoryStorage, nil
	case "file":
		return jetstream.FileStorage, nil
	}
	return 0, fmt.Errorf("-storage %q is neither memory nor file", s)
}

// defaultName is the name of this process among workers.
func defaultName() string {
	host, err := os.Hostname()
	if err != nil || !workerName.MatchString(host) || len(host) > 48 {
		host = "worker"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// checkpoint is the file of the run.
func (o options) checkpoint() string { return filepath.Join(o.out, "run.checkpoint") }

// tokenFile is the file of the token of the server of this process.
func (o options) tokenFile() string {
	if o.token != "" {
		return o.token
	}
	return filepath.Join(o.out, "token")
}
