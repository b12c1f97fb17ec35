package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"cps/examples/internal/finetune"
	"cps/noise"
)

// How a worker becomes a member of a session. It asks hello and gets a greeting; it makes
// the configuration, draws the known rollout, and asks prove with the digest; it gets a
// number and a key for its answers, or is refused with the reason. Everything is JSON, by
// request and reply.
type (
	helloRequest struct{ Worker string }

	greeting struct {
		Session  string
		Settings settings
		Config   string // finetune.Config.String: what differs can be named
		Probe    uint64 // noise of the known rollout
	}

	proveRequest struct {
		Worker, Session string
		Config          string // digest of the configuration
		Proof           string // digest of the known rollout
	}

	admission struct {
		Refused string // the reason; empty: the worker is a member
		Member  uint32
		Key     string // of its answers, 32 bytes in hexadecimal
		Weights int    // of the policy
	}
)

// sessionOver is the one reason for which a worker tries again.
const sessionOver = "the session is over: say hello again"

// maxMessage bounds the messages of the handshake and of a drop.
const maxMessage = 64 << 10

// maxMembers is the number of admissions of a session: what its memory is bounded by.
const maxMembers = 1_000_000

var workerName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// A member is a worker that has proved itself.
type member struct {
	id      uint32
	name    string
	key     []byte
	dropped bool

	parts, samples int // that were taken
	checked        int // of the parts
	unchecked      int // of the parts of earlier iterations
	last           time.Time
}

// A roster is the members of a session. It may be used concurrently.
type roster struct {
	session [sessionSize]byte
	greet   greeting
	digest  string // of the configuration
	proof   string // what every worker must find
	weights int

	mu      sync.Mutex
	members []*member // number i is member i+1
	banned  map[string]string
}

func newRoster(s settings, c finetune.Config, key noise.Key, proof string, weights int) *roster {
	r := &roster{digest: digest(c), proof: proof, weights: weights, banned: map[string]string{}}
	copy(r.session[:], newKey(sessionSize))
	r.greet = greeting{Session: r.name(), Settings: s, Config: c.String(), Probe: uint64(key)}
	return r
}

// name returns the session in hexadecimal.
func (r *roster) name() string { return hex.EncodeToString(r.session[:]) }

// hello answers a helloRequest.
func (r *roster) hello(b []byte) (greeting, error) {
	var q helloRequest
	if err := unmarshal(b, maxMessage, &q); err != nil {
		return greeting{}, err
	}
	return r.greet, nil
}

// prove answers a proveRequest. m is the new member, nil if the worker is refused.
func (r *roster) prove(b []byte) (a admission, m *member) {
	var q proveRequest
	if err := unmarshal(b, maxMessage, &q); err != nil {
		return admission{Refused: "the request cannot be read: " + err.Error()}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !workerName.MatchString(q.Worker):
		return admission{Refused: fmt.Sprintf("the name %.80q is not 1 to 64 letters, digits, dots, - and _", q.Worker)}, nil
	case q.Session != r.name():
		return admission{Refused: sessionOver}, nil
	case r.banned[q.Worker] != "":
		return admission{Refused: fmt.Sprintf("worker %s was dropped: %s", q.Worker, r.banned[q.Worker])}, nil
	case q.Config != r.digest:
		return admission{Refused: fmt.Sprintf("worker %s makes another configuration of the settings: it is another build of this program", q.Worker)}, nil
	case q.Proof != r.proof:
		return admission{Refused: fmt.Sprintf("worker %s does not draw the learner's bits: the known rollout has the digest %.16s there and %.16s at the learner; its network, program or processor differs", q.Worker, q.Proof, r.proof)}, nil
	case len(r.members) >= maxMembers:
		return admission{Refused: fmt.Sprintf("the session has had %d workers, and takes no more: restart the learner with -resume", maxMembers)}, nil
	}
	m = &member{id: uint32(len(r.members) + 1), name: q.Worker, key: newKey(keySize), last: time.Now()}
	r.members = append(r.members, m)
	return admission{Member: m.id, Key: hex.EncodeToString(m.key), Weights: r.weights}, m
}

// sender returns the member that made an answer. Where there is none the error says why.
func (r *roster) sender(a answer, message []byte) (*member, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.session != r.session || a.member == 0 || int(a.member) > len(r.members) {
		return nil, errStranger
	}
	m := r.members[a.member-1]
	if !authentic(message, m.key) {
		return nil, errForged
	}
	if m.dropped {
		return nil, errDropped
	}
	m.last = time.Now()
	return m, nil
}

var (
	errStranger = errors.New("the worker is none of this session")
	errDropped  = errors.New("the worker was dropped")
)

// taken counts an answer that was taken.
func (r *roster) taken(m *member, samples int, checked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.parts++
	m.samples += samples
	if checked {
		m.checked++
	} else {
		m.unchecked++
	}
}

// drop ends the membership of m, and of all with its name, for the session. It returns the
// number of its parts that were taken and never checked.
func (r *roster) drop(m *member, reason string) (unchecked int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.banned[m.name] = strings.ToValidUTF8(reason, "?")
	for _, other := range r.members {
		if other.name == m.name {
			other.dropped = true
			unchecked += other.unchecked
		}
	}
	return unchecked
}

// list returns copies of the members that were heard of since a time.
func (r *roster) list(since time.Time) []member {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []member
	for _, m := range r.members {
		if !m.dropped && m.last.After(since) {
			all = append(all, *m)
		}
	}
	return all
}

// named returns the numbers of the members with a name.
func (r *roster) named(name string) []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []uint32
	for _, m := range r.members {
		if m.name == name {
			all = append(all, m.id)
		}
	}
	return all
}

// latest returns the number of the last member with a name; 0 if there is none, or it was
// dropped.
func (r *roster) latest(name string) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.members) - 1; i >= 0; i-- {
		if m := r.members[i]; m.name == name && !m.dropped {
			return m.id
		}
	}
	return 0
}
