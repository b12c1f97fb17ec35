package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// names are those of all that a run has on a server. Runs with different prefixes do not
// meet.
type names struct{ prefix string }

var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

func newNames(prefix string) (names, error) {
	if !prefixPattern.MatchString(prefix) {
		return names{}, fmt.Errorf("-prefix %q is not 1 to 32 letters, digits, - and _", prefix)
	}
	return names{prefix}, nil
}

func (n names) workStream() string   { return n.prefix + "-work" }
func (n names) answerStream() string { return n.prefix + "-answers" }
func (n names) work() string         { return n.prefix + ".work" }
func (n names) answers() string      { return n.prefix + ".answers" }
func (n names) hello() string        { return n.prefix + ".hello" }
func (n names) prove() string        { return n.prefix + ".prove" }

// dropped is where a member hears that it was dropped.
func (n names) dropped(session string, member uint32) string {
	return fmt.Sprintf("%s.dropped.%s.%d", n.prefix, session, member)
}

// alive is where a member answers as long as it is there.
func (n names) alive(session string, member uint32) string {
	return fmt.Sprintf("%s.alive.%s.%d", n.prefix, session, member)
}

// bucket is the object store of a version of the policy. Half of the digest names it; the
// whole is checked when it is read.
func (n names) bucket(version string) string { return n.prefix + "-policy-" + version[:32] }

// ofPolicy reports whether a stream is the bucket of a version.
func (n names) ofPolicy(stream string) (bucket string, ok bool) {
	bucket, ok = strings.CutPrefix(stream, "OBJ_")
	version, is := strings.CutPrefix(bucket, n.prefix+"-policy-")
	return bucket, ok && is && isHex(version, 16)
}

// Consumers: all workers share one, so that the limit of consumers of a stream is none of
// workers.
const (
	workConsumer   = "workers"
	answerConsumer = "learner"
)

// Limits on the server. By default a consumer keeps 512 requests that wait and 1000 messages
// that are not acknowledged, which would be limits of workers.
const (
	maxWorkers   = 10_000
	maxOpenParts = 100_000
	maxRequest   = time.Minute // that a worker waits for its next message
)

// queues say how streams are made.
type queues struct {
	names
	storage jetstream.StorageType
	ackWait time.Duration // after which a part goes to another worker, unless the first says that it is at it
	backlog int64         // bytes of answers that wait for the learner, beyond which workers wait
}

// ensure makes the streams and consumers that are not there: at the start, and after a
// server lost them.
func (q queues) ensure(ctx context.Context, js jetstream.JetStream) error {
	for _, s := range []jetstream.StreamConfig{
		{Name: q.workStream(), Subjects: []string{q.work()}, MaxMsgs: maxOpenParts},
		{Name: q.answerStream(), Subjects: []string{q.answers()}, MaxBytes: q.backlog},
	} {
		s.Storage, s.Retention, s.Discard = q.storage, jetstream.WorkQueuePolicy, jetstream.DiscardNew
		if _, err := js.CreateOrUpdateStream(ctx, s); err != nil {
			return fmt.Errorf("stream %s: %w", s.Name, err)
		}
	}
	if _, err := js.CreateOrUpdateConsumer(ctx, q.workStream(), jetstream.ConsumerConfig{
		Durable: workConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: q.ackWait,
		MaxAckPending: maxWorkers, MaxWaiting: maxWorkers, MaxRequestExpires: maxRequest,
	}); err != nil {
		return fmt.Errorf("consumer %s: %w", workConsumer, err)
	}
	if _, err := js.CreateOrUpdateConsumer(ctx, q.answerStream(), jetstream.ConsumerConfig{
		Durable: answerConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute,
	}); err != nil {
		return fmt.Errorf("consumer %s: %w", answerConsumer, err)
	}
	return nil
}

// removeQueues deletes the streams, with all that waits there.
func (q queues) removeQueues(ctx context.Context, js jetstream.JetStream) error {
	for _, s := range []string{q.workStream(), q.answerStream()} {
		if err := js.DeleteStream(ctx, s); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream %s is to be made anew: %w", s, err)
		}
	}
	return nil
}

// purgeWork deletes the messages of work. Workers go on with those that they have.
func (n names) purgeWork(ctx context.Context, js jetstream.JetStream) error {
	s, err := js.Stream(ctx, n.workStream())
	if err == nil {
		err = s.Purge(ctx)
	}
	if err != nil {
		return fmt.Errorf("stream %s: what waits there cannot be deleted: %w", n.workStream(), err)
	}
	return nil
}

// removeVersions deletes all versions of the policy.
func (n names) removeVersions(ctx context.Context, js jetstream.JetStream) error {
	list := js.StreamNames(ctx)
	var buckets []string
	for stream := range list.Name() {
		if b, ok := n.ofPolicy(stream); ok {
			buckets = append(buckets, b)
		}
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("streams: %w", err)
	}
	for _, b := range buckets {
		if err := deleteBucket(ctx, js, b); err != nil {
			return fmt.Errorf("old policy %s: %w", b, err)
		}
	}
	return nil
}
