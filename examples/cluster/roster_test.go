package main

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"cps/examples/internal/finetune"
)

func testRoster() *roster {
	return newRoster(defaultSettings(), finetune.Config{}, 5, "proof", 10)
}

func ask(r *roster, change func(*proveRequest)) (admission, *member) {
	q := proveRequest{Worker: "w", Session: r.name(), Config: r.digest, Proof: "proof"}
	if change != nil {
		change(&q)
	}
	return r.prove(marshal(q))
}

// Who does not prove what the learner knows is refused, with the reason.
func TestProve(t *testing.T) {
	r := testRoster()
	for _, c := range []struct {
		want   string
		change func(*proveRequest)
	}{
		{"the name \"\" is not", func(q *proveRequest) { q.Worker = "" }},
		{"the name \"a b\" is not", func(q *proveRequest) { q.Worker = "a b" }},
		{"the name \"\\x1b", func(q *proveRequest) { q.Worker = "\x1b[31m" }},
		{sessionOver, func(q *proveRequest) { q.Session = strings.Repeat("0", 32) }},
		{"worker w makes another configuration", func(q *proveRequest) { q.Config = "x" }},
		{"worker w does not draw the learner's bits", func(q *proveRequest) { q.Proof = "x" }},
		{"worker w does not draw the learner's bits", func(q *proveRequest) { q.Proof = "" }},
	} {
		if a, m := ask(r, c.change); m != nil || a.Key != "" || !strings.Contains(a.Refused, c.want) {
			t.Errorf("%+v, want a refusal with %q", a, c.want)
		}
	}
	if a, m := r.prove([]byte("{}x")); m != nil || a.Refused == "" {
		t.Errorf("%+v", a)
	}
}

// An answer is its member's alone, and of nobody once that is dropped.
func TestSender(t *testing.T) {
	r := testRoster()
	admit := func(name string) (*member, []byte) {
		a, m := ask(r, func(q *proveRequest) { q.Worker = name })
		key, err := hex.DecodeString(a.Key)
		if m == nil || err != nil || a.Member != m.id || a.Weights != 10 {
			t.Fatalf("%+v, %v", a, err)
		}
		return m, key
	}
	one, key := admit("one")
	two, other := admit("two")
	again, _ := admit("two") // started again
	sent := func(session [sessionSize]byte, id uint32, key []byte) (*member, error) {
		b := answer{session: session, member: id, failure: "x"}.seal(key)
		a, err := decodeAnswer(b)
		if err != nil {
			t.Fatal(err)
		}
		return r.sender(a, b)
	}
	if m, err := sent(r.session, one.id, key); m != one || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
	for _, c := range []struct {
		session [sessionSize]byte
		id      uint32
		key     []byte
		want    error
	}{
		{r.session, one.id, other, errForged},
		{r.session, 0, key, errStranger},
		{r.session, 4, key, errStranger},
		{r.session, 1 << 31, key, errStranger},
		{[sessionSize]byte{}, one.id, key, errStranger},
	} {
		if m, err := sent(c.session, c.id, c.key); m != nil || !errors.Is(err, c.want) {
			t.Errorf("%+v, %v, want %v", m, err, c.want)
		}
	}
	r.taken(two, 5, false)
	r.taken(again, 5, false)
	r.taken(again, 5, true)
	if n := r.drop(two, "it lied"); n != 2 {
		t.Errorf("%d parts were taken unchecked, want 2", n)
	}
	if _, err := sent(r.session, two.id, other); !errors.Is(err, errDropped) {
		t.Errorf("after the drop: %v", err)
	}
	if a, m := ask(r, func(q *proveRequest) { q.Worker = "two" }); m != nil || !strings.Contains(a.Refused, "worker two was dropped: it lied") {
		t.Errorf("it comes back: %+v", a)
	}
	if l := r.list(time.Now().Add(-time.Minute)); len(l) != 1 || l[0].name != "one" {
		t.Errorf("the list is %+v", l)
	}
	if l := r.list(time.Now().Add(time.Minute)); len(l) != 0 {
		t.Errorf("those of the future are %+v", l)
	}
}

// The first answer of a worker is always checked, and of the others the fraction.
func TestChecker(t *testing.T) {
	for _, fraction := range []float64{0, 0.25, 1} {
		c, n := newChecker(fraction), 0
		const all = 10_000
		for range all {
			if !c.wants(0) {
				t.Fatal("a first answer is not checked")
			}
			if c.wants(1) {
				n++
			}
		}
		// Ten standard deviations.
		if got := float64(n) / all; got < fraction-0.044 || got > fraction+0.044 || fraction == 0 && n > 0 || fraction == 1 && n < all {
			t.Errorf("fraction %v: %v are checked", fraction, got)
		}
	}
}
