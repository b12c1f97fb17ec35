package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mistake on the command line names the flag, and says what is right.
func TestBadOptions(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"lerner", `"lerner" is no role`},
		{"-colour", "flag provided but not defined: -colour"},
		{"seven", `"seven" is no role`},
		{"-seed 3 seven", `unexpected argument "seven"`},
		{"-seed -1", "take a whole number"},
		{"-reward beauty", `reward "beauty" is none of class`},
		{"-eta 1.5", "eta 1.5 is not in [0, 1]"},
		{"-eta NaN", "eta NaN"},
		{"-steps 0", "-steps 0"},
		{"-group 1", "Group 1 is not in [2"},
		{"-prompts -1", "Prompts -1"},
		{"-rate 0", "-rate 0 is not positive"},
		{"-rate NaN", "Rate NaN"},
		{"-sliding -1", "-sliding -1 is negative"},
		{"-sliding 99", "99"},
		{"-iterations 0", "-iterations 0 is not positive"},
		{"-out=", "-out is empty"},
		{"-workers -1", "-workers -1 is not in [0, "},
		{"-check 2", "-check 2 is not in [0, 1]"},
		{"-check NaN", "-check NaN is not in [0, 1]"},
		{"-silence 1ms", "-silence 1ms is less than 100ms"},
		{"-ack-wait 10ms", "-ack-wait 10ms is less than 1s"},
		{"-storage disk", `-storage "disk" is neither memory nor file`},
		{"-prefix a.b", `-prefix "a.b" is not`},
		{"-prefix=", `-prefix "" is not`},
		{"-pace -1s", "-pace -1s is negative"},
		{"-creds f", "-creds is for -url"},
		{"worker -name a/b", `-name "a/b" is not`},
		{"worker -iterations 3", "flag provided but not defined: -iterations"},
		{"single -workers 3", "flag provided but not defined: -workers"},
		{"measure -what all", `-what "all" is none of throughput, parts, weights`},
	} {
		_, err := parse(strings.Fields(c.args), io.Discard)
		if !errors.As(err, &usageError{}) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want a usage error with %q", c.args, err, c.want)
		}
	}
	for _, r := range roles {
		if r.name == roleFetch {
			continue // which needs flags
		}
		var help strings.Builder
		if _, err := parse([]string{r.name, "-h"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), r.about) {
			t.Errorf("%s -h: %v, %q", r.name, err, &help)
		}
		if o, err := parse([]string{r.name}, io.Discard); err != nil || o.role != r.name {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

// A part whose answer is larger than the server's messages is an error before anything
// begins.
func TestSizes(t *testing.T) {
	o, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.settings.config()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		want    string
		part    int
		payload int64
		backlog int64
	}{
		{"", 12, 1 << 20, 64 << 20},
		{"-part 0 is not in [1, 4096]", 0, 1 << 20, 64 << 20},
		{"-part 5000 is not in", 5000, 1 << 20, 64 << 20},
		{"take a smaller part", 120, 100_000, 64 << 20},
		{"holds no two answers", 12, 1 << 20, 30_000},
	} {
		l := o.learnerOptions
		l.part, l.backlog = x.part, x.backlog
		if err := l.checkSize(c, x.payload); (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("part %d: error %v, want %q", x.part, err, x.want)
		}
	}
}

// A checkpoint is never overwritten by another run.
func TestCheckpointThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run.checkpoint"), []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	o, err := parse([]string{"single", "-out", dir, "-iterations", "1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "-resume goes on with it") {
		t.Errorf("error %v", err)
	}
	o.resume = true
	if err := run(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "not a checkpoint") {
		t.Errorf("error %v", err)
	}
}

// A token is made once, for this user alone, and what is no token is an error.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "token")
	one, err := makeToken(file)
	if err != nil || len(one) != 64 {
		t.Fatalf("%q, %v", one, err)
	}
	if two, err := makeToken(file); err != nil || two != one {
		t.Errorf("%q, %v, want %q", two, err, one)
	}
	for _, text := range []string{"", " \n", "two words", strings.Repeat("x", 2000)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := makeToken(file); err == nil || !strings.Contains(err.Error(), "does not hold one word") {
			t.Errorf("%.10q: %.10q, %v", text, got, err)
		}
	}
}

// Files of TLS that do not go together are named.
func TestTLSFiles(t *testing.T) {
	if _, err := (tlsFiles{cert: "x"}).server(); err == nil || !strings.Contains(err.Error(), "-tls-cert and -tls-key go together") {
		t.Errorf("error %v", err)
	}
	file := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (tlsFiles{ca: file}).client(); err == nil || !strings.Contains(err.Error(), "has no certificate") {
		t.Errorf("error %v", err)
	}
	if _, err := (tlsFiles{ca: "nowhere"}).client(); err == nil || !strings.Contains(err.Error(), "-tls-ca: open nowhere") {
		t.Errorf("error %v", err)
	}
	if c, err := (tlsFiles{}).server(); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
}

// Passwords and tokens do not show.
func TestShown(t *testing.T) {
	for address, want := range map[string]string{
		"nats://127.0.0.1:4222":                   "nats://127.0.0.1:4222",
		"nats://me:secret@a:1,tls://you:secret@b": "nats://xxxxx@a:1,tls://xxxxx@b",
		"nats://secret@a:1":                       "nats://xxxxx@a:1",
		"secret@a:1, you:secret@b":                "nats://xxxxx@a:1,nats://xxxxx@b",
		"a":                                       "nats://a",
		"nats://me:secret@a:1,:%":                 "(an address that cannot be read)",
	} {
		if got := (access{url: address}).shown(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The error about an address that cannot be read does not have its secrets, either.
func TestBadAddress(t *testing.T) {
	_, err := access{url: "nats://me:secret@a:%"}.connect(t.Context(), "test", t.Logf)
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "take nats://HOST:PORT") {
		t.Errorf("error %v", err)
	}
}

// A token's file that is missing or bad is an error at once, before any server is looked for.
func TestBadTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	a := access{url: "nats://127.0.0.1:1", token: file}
	if _, err := a.connect(t.Context(), "test", t.Logf); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "-token: ") {
		t.Errorf("missing: error %v", err)
	}
	if err := os.WriteFile(file, []byte("two words"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.connect(t.Context(), "test", t.Logf); err == nil || !strings.Contains(err.Error(), "does not hold one word") {
		t.Errorf("two words: error %v", err)
	}
}

// A worker of the learner's gets the address, which may have secrets, past its command line.
func TestLocalAddress(t *testing.T) {
	const address = "nats://secret@127.0.0.1:4222"
	o, err := parse([]string{"-url", address}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	args := o.access.args(o)
	if strings.Contains(strings.Join(args, " "), "secret") {
		t.Errorf("the arguments %q have the secret", args)
	}
	name, value, _ := strings.Cut(o.access.variable(), "=")
	t.Setenv(name, value)
	w, err := parse(append([]string{"worker", "-child"}, args...), io.Discard)
	if err != nil || w.url != address {
		t.Errorf("the worker's address is %q, %v", w.url, err)
	}
}
