package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"
	"cps/noise"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// workerOptions are those of a worker.
type workerOptions struct {
	names
	name string        // of the worker
	pace time.Duration // that it waits before every part, to try many workers on one machine
}

// errRefused is why a worker ends that a learner does not take, or drops.
var errRefused = errors.New("the learner goes on without this worker")

// A worker draws and scores parts, one at a time, for whatever session asks.
type worker struct {
	o       workerOptions
	nc      *nats.Conn
	js      jetstream.JetStream
	metrics *metrics
	say     func(format string, args ...any)
	note    func(format string, args ...any) // what a learner says too
	link    *link

	net     *digits.Net   // what the version has
	version string        // in net; empty: none
	trouble string        // the last one of loading that was told; empty: a version was loaded since
	wait    time.Duration // after the last trouble of loading
	member  *membership   // nil: of no session

	// publish sends an answer. It is a variable for tests, which lie and repeat.
	publish func(ctx context.Context, w *worker, message []byte) error
}

// A membership is what a worker is in a session.
type membership struct {
	session [sessionSize]byte
	id      uint32
	key     []byte
	config  finetune.Config
	digest  string
	dropped *nats.Subscription
	alive   *nats.Subscription // whose requests it answers: another of its name is refused
}

// leave ends the membership.
func (m *membership) leave() {
	m.dropped.Unsubscribe()
	m.alive.Unsubscribe()
}

func newWorker(o workerOptions, nc *nats.Conn, m *metrics, say, note func(format string, args ...any)) (*worker, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	net, err := digits.Velocity()
	if err != nil {
		return nil, err
	}
	return &worker{o: o, nc: nc, js: js, metrics: m, say: say, note: note, link: watch(nc), net: net, publish: publishAnswer}, nil
}

// run works until ctx is done, and returns nil then; or until a learner refuses or drops the
// worker, which is errRefused; or until its answers are too large for the server.
func (w *worker) run(ctx context.Context) error {
	w.note("worker %s waits for a learner with -prefix %s", w.o.name, w.o.prefix)
	for ctx.Err() == nil {
		if w.member == nil {
			if err := w.join(ctx); err != nil {
				return w.end(ctx, err)
			}
		}
		c, err := w.consumer(ctx)
		if err != nil { // the learner makes it, and makes it again if the server lost it
			pause(ctx, 200*time.Millisecond)
			continue
		}
		if err := w.work(ctx, c); err != nil {
			return w.end(ctx, err)
		}
	}
	return nil
}

// end returns the error that ends a worker: none if it was told to end.
func (w *worker) end(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (w *worker) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return w.js.Consumer(ctx, w.o.workStream(), workConsumer)
}

// work takes parts until the consumer fails, or the session is over.
func (w *worker) work(ctx context.Context, c jetstream.Consumer) error {
	for ctx.Err() == nil {
		// One message at a time: what waits in a worker is kept from the others.
		m, err := next(ctx, c)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
			// Nothing to do, or nothing that could be asked: the consumer may be lost.
			if _, err := w.consumer(ctx); err != nil {
				return nil
			}
			if err := w.heard(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			pause(ctx, 200*time.Millisecond)
			return nil
		}
		if err := w.heard(); err != nil {
			m.Nak()
			return err
		}
		if err := w.do(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// next waits two seconds at most for a message, and no longer than ctx.
func next(ctx context.Context, c jetstream.Consumer) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.Next(jetstream.FetchContext(ctx))
}

// heard returns errRefused if the learner has dropped the worker.
func (w *worker) heard() error {
	m, err := w.member.dropped.NextMsg(time.Nanosecond)
	if err != nil {
		return nil
	}
	var a admission
	if err := unmarshal(m.Data, maxMessage, &a); err != nil || a.Refused == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", errRefused, a.Refused)
}

// do answers a message of work. A message that nobody can do is ended, one that this worker
// cannot do now goes to another.
func (w *worker) do(ctx context.Context, m jetstream.Msg) error {
	stop := keep(m)
	defer stop()
	j, err := decodeJob(m.Data())
	if err != nil {
		w.say("a message of work cannot be read: %v", err)
		m.Term()
		return nil
	}
	if j.Session != hex.EncodeToString(w.member.session[:]) {
		if err := w.join(ctx); err != nil {
			m.Nak()
			return err
		}
		if j.Session != hex.EncodeToString(w.member.session[:]) {
			m.Term() // of a session that is over
			return nil
		}
	}
	if err := w.load(ctx, j.Version); err != nil {
		if errors.Is(err, errNoVersion) {
			m.Term() // of an iteration that is over; or else the learner publishes both again
			return nil
		}
		m.NakWithDelay(200 * time.Millisecond) // another worker may be able to
		if ctx.Err() == nil && err.Error() != w.trouble {
			w.trouble = err.Error()
			w.say("version %.16s cannot be loaded, trying again: %v", j.Version, err)
		}
		w.wait = min(max(2*w.wait, 200*time.Millisecond), 5*time.Second)
		pause(ctx, w.wait)
		return nil
	}
	w.trouble, w.wait = "", 0
	if pause(ctx, w.o.pace) != nil {
		m.Nak()
		return nil
	}
	began := time.Now()
	a := answer{session: w.member.session, member: w.member.id, job: j.id(w.member.digest)}
	a.outcome, err = w.member.config.Draw(ctx, w.net, j.part())
	if ctx.Err() != nil {
		m.Nak()
		return nil
	}
	if err != nil { // the learner tries it, and ends with the same error, or without this worker
		a.outcome, a.failure = nil, err.Error()
	}
	w.metrics.work.Observe(time.Since(began).Seconds())
	message := a.seal(w.member.key)
	// Until the server has it. It may be full, which holds the worker back, or away.
	for wait, told := 20*time.Millisecond, ""; ; wait = min(2*wait, 2*time.Second) {
		err := w.publish(ctx, w, message)
		if err == nil {
			break
		}
		if errors.Is(err, nats.ErrMaxPayload) { // which no waiting changes
			m.Term()
			return fmt.Errorf("an answer of %d bytes is larger than the server's messages, which have %d at most: the learner needs a smaller -part: %w", len(message), w.nc.MaxPayload(), err)
		}
		if !isFull(err) && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			w.say("the answer does not get to the server, trying again: %v", err)
		}
		if pause(ctx, wait) != nil {
			m.Nak()
			return nil
		}
	}
	w.metrics.parts.Inc()
	m.Ack() // if it fails the part is done twice
	return nil
}

// publishAnswer sends an answer once. It has no message id: the learner tells answers apart.
func publishAnswer(ctx context.Context, w *worker, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := w.js.Publish(ctx, w.o.answers(), message, jetstream.WithRetryAttempts(0))
	return err
}

// keep tells the server that a message is being worked at, so that no other worker gets it,
// until stop is called.
func keep(m jetstream.Msg) (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for tick := time.NewTicker(inProgressEvery); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				m.InProgress()
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

// inProgressEvery is well below the shortest time that a learner lets the server wait for an
// acknowledgement ([minAckWait]).
const inProgressEvery = 300 * time.Millisecond

// load makes a version the worker's network.
func (w *worker) load(ctx context.Context, version string) error {
	if w.version == version {
		return nil
	}
	ctx, done := w.link.guard(ctx)
	defer done()
	var b bytes.Buffer
	size := 4 * len(w.net.Params())
	b.Grow(size)
	if err := getVersion(ctx, w.js, w.o.names, version, int64(size), &b); err != nil {
		return err
	}
	w.version = "" // while the network is neither
	if err := decodeWeights(w.net, b.Bytes()); err != nil {
		return err
	}
	w.version = version
	w.metrics.loads.Inc()
	return nil
}

// join becomes a member of the present session, which it waits for.
func (w *worker) join(ctx context.Context) error {
	if w.member != nil {
		w.member.leave()
		w.member = nil
	}
	for {
		m, err := w.ask(ctx)
		if err == nil {
			w.member = m
			return nil
		}
		if errors.Is(err, errRefused) || ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, context.DeadlineExceeded) {
			w.say("joining: %v", err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// ask goes through the handshake once.
func (w *worker) ask(ctx context.Context) (*membership, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	request := func(subject string, q, reply any) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		m, err := w.nc.RequestWithContext(ctx, subject, marshal(q))
		if err != nil {
			return err
		}
		return unmarshal(m.Data, maxMessage, reply)
	}
	var g greeting
	if err := request(w.o.hello(), helloRequest{Worker: w.o.name}, &g); err != nil {
		return nil, err
	}
	config, err := g.Settings.config()
	if err != nil {
		return nil, fmt.Errorf("%w: its settings are none of this program: %w", errRefused, err)
	}
	if line := firstDifference(config.String(), g.Config); line != "" {
		return nil, fmt.Errorf("%w: this is another build of the program: %s", errRefused, line)
	}
	p, err := proof(ctx, config, noise.Key(g.Probe))
	if err != nil {
		return nil, err
	}
	var a admission
	if err := request(w.o.prove(), proveRequest{Worker: w.o.name, Session: g.Session, Config: digest(config), Proof: p}, &a); err != nil {
		return nil, err
	}
	m := &membership{id: a.Member, config: config, digest: digest(config)}
	session, err := hex.DecodeString(g.Session)
	m.key, _ = hex.DecodeString(a.Key)
	switch {
	case a.Refused == sessionOver:
		return nil, errors.New(a.Refused)
	case a.Refused != "":
		return nil, fmt.Errorf("%w: %s", errRefused, a.Refused)
	case err != nil || copy(m.session[:], session) != sessionSize || len(m.key) != keySize || a.Member == 0:
		return nil, errors.New("the admission cannot be read")
	case a.Weights != len(w.net.Params()):
		return nil, fmt.Errorf("%w: the policy has %d weights, and this program's network %d", errRefused, a.Weights, len(w.net.Params()))
	}
	if m.dropped, err = w.nc.SubscribeSync(w.o.names.dropped(g.Session, a.Member)); err != nil {
		return nil, err
	}
	if m.alive, err = w.nc.Subscribe(w.o.names.alive(g.Session, a.Member), func(q *nats.Msg) { q.Respond(nil) }); err != nil {
		m.dropped.Unsubscribe()
		return nil, err
	}
	w.note("worker %s joins as number %d", w.o.name, m.id)
	return m, nil
}

// firstDifference returns the first line in which two texts differ, empty if none does.
func firstDifference(here, there string) string {
	a, b := bytes.Split([]byte(here), []byte("\n")), bytes.Split([]byte(there), []byte("\n"))
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = string(a[i])
		}
		if i < len(b) {
			y = string(b[i])
		}
		if x != y {
			return fmt.Sprintf("it has %.200q, the learner %.200q", x, y)
		}
	}
	return ""
}
