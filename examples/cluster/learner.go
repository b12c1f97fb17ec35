package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"cps/examples/internal/digits"
	"cps/examples/internal/finetune"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// learnerOptions are those of a learner besides what it trains.
type learnerOptions struct {
	queues
	part    int           // samples of a part
	check   float64       // fraction of the answers that is computed again
	silence time.Duration // without an answer, after which open parts are published again
}

// A learner is the trainer's end: its draw is a [finetune.Trainer.Remote]. One iteration at a
// time is under way.
type learner struct {
	o       learnerOptions
	config  finetune.Config
	nc      *nats.Conn
	js      jetstream.JetStream
	roster  *roster
	metrics *metrics
	say     func(format string, args ...any)

	link     *link
	checker  *checker
	versions versions
	attempt  int // of publishing, in this session
	answers  jetstream.MessagesContext
	trouble  string // the last one that was told
}

// newLearner starts a session on a server, and answers workers that want to join until nc is
// closed. What an earlier session of the run left on the server is deleted.
func newLearner(ctx context.Context, o learnerOptions, s settings, nc *nats.Conn, m *metrics, say func(format string, args ...any)) (*learner, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	net, err := digits.Velocity()
	if err != nil {
		return nil, err
	}
	if err := o.checkSize(config, nc.MaxPayload()); err != nil {
		return nil, err
	}
	key := randomNoise()
	p, err := proof(ctx, config, key)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	l := &learner{
		o: o, config: config, nc: nc, js: js, metrics: m, say: say, link: watch(nc),
		roster:  newRoster(s, config, key, p, len(net.Params())),
		checker: newChecker(o.check),
	}
	// A second learner would delete the work of the first. Where there is none the server says so
	// at once; one that does not reply is gone, and the server does not know it yet.
	q := marshal(helloRequest{Worker: "learner"})
	if _, err := nc.Request(o.hello(), q, 5*time.Second); err == nil {
		return nil, fmt.Errorf("another learner is at work on this server with -prefix %s: take another prefix", o.prefix)
	}
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	if err := l.listen(); err != nil {
		return nil, err
	}
	return l, nil
}

// begin makes the streams of the session, on a server that may be starting.
func (l *learner) begin(ctx context.Context) error {
	_, err := l.js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fmt.Errorf("the server has no JetStream for this user: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = l.retry(limited, func(ctx context.Context) error {
		if err := errors.Join(l.o.removeQueues(ctx, l.js), l.o.removeVersions(ctx, l.js)); err != nil {
			return err
		}
		return l.o.ensure(ctx, l.js)
	})
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case l.trouble != "":
		return fmt.Errorf("the server does not take the run's streams: %s", l.trouble)
	}
	return fmt.Errorf("the server does not take the run's streams: %w", err) // it did not reply even once
}

// checkSize reports parts whose answers are larger than a server's messages.
func (o learnerOptions) checkSize(c finetune.Config, payload int64) error {
	if o.part < 1 || o.part > maxSamples {
		return fmt.Errorf("-part %d is not in [1, %d]", o.part, maxSamples)
	}
	var size int64
	for it := range 2 { // the first latents are not sent, which a window at the start has
		shape, err := c.Shape(it, min(o.part, c.Prompts*c.Group))
		if err != nil {
			return err
		}
		size = max(size, int64(answerSize(shape)))
	}
	if size > payload {
		return fmt.Errorf("-part %d: an answer would have %d bytes, and the server takes messages of %d: take a smaller part", o.part, size, payload)
	}
	if o.backlog < 2*size {
		return fmt.Errorf("-backlog %d holds no two answers of %d bytes", o.backlog, size)
	}
	if n := (c.Prompts*c.Group + o.part - 1) / o.part; n > maxOpenParts {
		return fmt.Errorf("-part %d: an iteration would have %d parts, more than %d: take a larger part", o.part, n, maxOpenParts)
	}
	return nil
}

// listen answers workers that want to join.
func (l *learner) listen() error {
	reply := func(m *nats.Msg, v any) {
		if err := m.Respond(marshal(v)); err != nil {
			l.say("a worker that wants to join gets no reply: %v", err)
		}
	}
	if _, err := l.nc.Subscribe(l.o.hello(), func(m *nats.Msg) {
		g, err := l.roster.hello(m.Data)
		if err != nil {
			l.say("a worker's greeting cannot be read: %v", err)
			return
		}
		reply(m, g)
	}); err != nil {
		return err
	}
	_, err := l.nc.Subscribe(l.o.prove(), func(m *nats.Msg) {
		if name := l.namesake(m.Data); name != "" {
			refused := fmt.Sprintf("a worker with the name %s is at work already: choose another -name", name)
			reply(m, admission{Refused: refused})
			l.say("refused: %s", refused)
			return
		}
		a, joined := l.roster.prove(m.Data)
		reply(m, a)
		if joined == nil {
			l.say("refused: %s", a.Refused)
			return
		}
		l.say("worker %s joins", joined.name)
	})
	return err
}

// namesake returns the name in a proveRequest if a member with that name is there, and is not
// dropped. Otherwise one worker could have another dropped. Of a member that ended the server
// says at once that nobody hears; one that does not reply has ended, or stands still.
func (l *learner) namesake(message []byte) string {
	var q proveRequest
	if err := unmarshal(message, maxMessage, &q); err != nil {
		return "" // which the roster reports
	}
	id := l.roster.latest(q.Worker)
	if id == 0 {
		return ""
	}
	if _, err := l.nc.Request(l.o.alive(l.roster.name(), id), nil, time.Second); err != nil {
		return ""
	}
	return q.Worker
}

// retry does something until it succeeds, with growing pauses, and tells each new trouble
// once.
func (l *learner) retry(ctx context.Context, do func(context.Context) error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		guarded, done := l.link.guard(ctx)
		err := do(guarded)
		done()
		if err == nil {
			if l.trouble != "" {
				l.say("the server works again")
			}
			l.trouble = ""
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err.Error() != l.trouble {
			l.trouble = err.Error()
			l.say("the server does not do what it should, trying again: %v", err)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// A round is an iteration that is being drawn.
type round struct {
	*ledger
	rollout   *finetune.Rollout
	version   string
	weights   []byte
	published map[jobID]time.Time
}

// draw has the samples of an iteration drawn and scored by workers. It returns when all are
// there, or ctx is done, or a part cannot be drawn even here.
func (l *learner) draw(ctx context.Context, r *finetune.Rollout) error {
	weights, version := encodeWeights(r.Net)
	d := &round{ledger: newLedger(), rollout: r, version: version, weights: weights, published: map[jobID]time.Time{}}
	for first := 0; first < r.Len(); first += l.o.part {
		p := r.Part(first, min(first+l.o.part, r.Len()))
		shape, err := l.config.Shape(p.Iteration, len(p.Samples))
		if err != nil {
			return err
		}
		j := newJob(l.roster.name(), version, p)
		d.add(j.id(l.roster.digest), entry{job: j, first: first, shape: shape})
	}
	l.metrics.open.Set(float64(d.open))
	if err := l.publish(ctx, d, false); err != nil {
		return err
	}
	heard, patience := time.Now(), l.o.silence
	for d.open > 0 {
		m, err := l.next(ctx)
		if err != nil {
			return err
		}
		if m != nil {
			taken, err := l.receive(ctx, d, m.Data())
			if err != nil {
				return err
			}
			if taken { // what is not breaks no silence, however much comes
				heard, patience = time.Now(), l.o.silence
			}
			m.Ack() // if it fails the answer comes again, as a duplicate
		}
		lost := l.link.lost()
		if d.open == 0 || !lost && time.Since(heard) < patience {
			continue
		}
		again := patience > l.o.silence
		if !lost {
			l.say("no answer for %v: publishing %d open parts again (%d workers were heard of in the last minute)", patience, d.open, len(l.roster.list(time.Now().Add(-time.Minute))))
			patience = min(2*patience, max(l.o.silence, 5*time.Minute))
		}
		if err := l.publish(ctx, d, again); err != nil {
			return err
		}
		heard = time.Now()
	}
	return nil
}

// publish stores the version and publishes all open parts, on streams that it makes where
// they are lost. What waited there is deleted first: it is among the open parts, or was
// answered meanwhile. Message ids differ from one attempt to the next, and from one session to the
// next: the server would take equal ones for duplicates of work that is lost.
//
// With anew, and after the connection was lost, it makes the streams anew. A server that
// crashed may have consumers that are ahead of their streams, and what is on it is published
// again anyway. The stored version is read then, for it may be damaged; a sound one stays,
// since workers may be loading it.
func (l *learner) publish(ctx context.Context, d *round, anew bool) error {
	check := false
	return l.retry(ctx, func(ctx context.Context) error {
		anew = l.link.takeLost() || anew
		if anew {
			check = true
			l.stop()
			if err := l.o.removeQueues(ctx, l.js); err != nil {
				return err
			}
		}
		if err := l.o.ensure(ctx, l.js); err != nil {
			return err
		}
		anew = false
		if err := l.versions.publish(ctx, l.js, l.o.queues, d.version, int64(len(d.weights)), check, bytes.NewReader(d.weights)); err != nil {
			return err
		}
		if err := l.o.purgeWork(ctx, l.js); err != nil {
			return err
		}
		l.attempt++
		for _, id := range d.missing() {
			if err := l.publishPart(ctx, d, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// publishPart publishes an open part. A queue that is full holds it already, or others that
// come before it: the part is published again after a silence.
func (l *learner) publishPart(ctx context.Context, d *round, id jobID) error {
	message := marshal(d.parts[id].job)
	_, err := l.js.Publish(ctx, l.o.work(), message, jetstream.WithMsgID(fmt.Sprintf("%v.%s.%d", id, l.roster.name(), l.attempt)))
	if isFull(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("work: %w", err)
	}
	d.published[id] = time.Now()
	l.metrics.published.Inc()
	return nil
}

// isFull reports whether a stream refused a message because it holds as many as it may.
func isFull(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeStoreFailed && (api.Description == "maximum messages exceeded" || api.Description == "maximum bytes exceeded")
}

// codeStoreFailed is the server's JSStreamStoreFailedF.
const codeStoreFailed = 10077

// next returns the next answer, or nil if none came within a moment.
func (l *learner) next(ctx context.Context) (jetstream.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	const wait = 250 * time.Millisecond
	if l.link.lost() {
		l.stop()
		return nil, nil // draw publishes again
	}
	if l.answers == nil {
		c, err := l.consumer(ctx)
		if err != nil {
			return nil, pause(ctx, wait)
		}
		l.answers, err = c.Messages(jetstream.PullMaxMessages(16), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
		if err != nil {
			return nil, pause(ctx, wait)
		}
	}
	m, err := l.answers.Next(jetstream.NextMaxWait(wait))
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, nats.ErrTimeout):
		return nil, nil
	}
	l.stop() // the server lost its consumer, or is not there
	return nil, pause(ctx, wait)
}

func (l *learner) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return l.js.Consumer(ctx, l.o.answerStream(), answerConsumer)
}

// stop ends the iterator over answers.
func (l *learner) stop() {
	if l.answers != nil {
		l.answers.Stop()
		l.answers = nil
	}
}

// receive does what an answer asks for, and reports whether it was taken. The error is one
// that ends the run: a part that cannot be drawn here either.
func (l *learner) receive(ctx context.Context, d *round, message []byte) (taken bool, err error) {
	a, err := decodeAnswer(message)
	if err != nil {
		l.count(damaged)
		return false, nil
	}
	e := d.parts[a.job]
	m, err := l.roster.sender(a, message)
	if err != nil {
		// Whoever did this may have taken the message of work. Publishing it for every such
		// answer would multiply them: a silence tells what is missing.
		l.count(map[error]string{errStranger: stranger, errForged: forged, errDropped: lying}[err])
		return false, nil
	}
	switch {
	case e == nil:
		l.count(stale)
		return false, nil
	case e.done:
		l.count(duplicate)
		return false, nil
	}
	part := d.rollout.Part(e.first, e.first+len(e.job.Samples))
	if err := a.decodeBody(message, e.shape); err != nil {
		l.count(damaged)
		return false, l.drop(ctx, d, m, err.Error())
	}
	check := a.outcome == nil || l.checker.wants(m.parts)
	if check {
		l.metrics.rechecks.Inc()
		lie, err := recheck(ctx, l.config, d.rollout.Net, part, &a)
		if err != nil {
			return false, err
		}
		if lie != "" {
			l.count(lying)
			return false, l.drop(ctx, d, m, lie)
		}
	}
	if err := d.rollout.Put(e.first, a.outcome); err != nil {
		l.count(damaged)
		return false, l.drop(ctx, d, m, err.Error())
	}
	d.take(a.job, m.id, check)
	l.roster.taken(m, len(part.Samples), check)
	l.count(accepted)
	l.metrics.open.Set(float64(d.open))
	if at, ok := d.published[a.job]; ok { // not if the queue was full, and had it from before
		l.metrics.round.Observe(time.Since(at).Seconds())
	}
	return true, nil
}

func (l *learner) count(outcome string) { l.metrics.answers.WithLabelValues(outcome).Inc() }

// drop goes on without a worker: what it answered in this iteration and nobody checked is to
// be drawn again.
func (l *learner) drop(ctx context.Context, d *round, m *member, reason string) error {
	before := l.roster.drop(m, reason)
	again := 0
	for _, other := range l.roster.named(m.name) {
		again += d.revoke(other)
	}
	l.say("worker %s is dropped: %s", m.name, reason)
	l.say("%d of its parts of this iteration are drawn again", again+1)
	if before > again {
		l.say("warning: %d of its parts of earlier iterations were taken unchecked: go back to a checkpoint of before it joined if they matter, or raise -check", before-again)
	}
	for _, id := range l.roster.named(m.name) {
		l.nc.Publish(l.o.dropped(l.roster.name(), id), marshal(admission{Refused: reason}))
	}
	l.metrics.open.Set(float64(d.open))
	return l.publish(ctx, d, false)
}

// close ends the session: no iterator, and nothing of the run on the server.
func (l *learner) close(ctx context.Context) {
	l.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := errors.Join(l.o.removeQueues(ctx, l.js), l.o.removeVersions(ctx, l.js)); err != nil {
		l.say("the run's streams stay on the server: %v", err)
	}
}

// fractionOK reports whether x is a fraction.
func fractionOK(x float64) bool { return !math.IsNaN(x) && 0 <= x && x <= 1 }
