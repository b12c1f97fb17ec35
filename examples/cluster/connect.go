package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// access says how to reach a server, and as whom.
type access struct {
	url   string
	token string // file; empty: none
	creds string // file of NATS credentials; empty: none
	tls   tlsFiles
}

// options returns the client's options. A connection is never given up: the server may come
// back, on the same address, with another token in the file.
func (a access) options(name string) ([]nats.Option, error) {
	all := []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(3),
	}
	if a.token != "" {
		if _, err := readToken(a.token); err != nil {
			return nil, err
		}
		all = append(all, nats.TokenHandler(func() string {
			token, _ := readToken(a.token) // of a file that was good: the server refuses an empty one
			return token
		}))
	}
	if a.creds != "" {
		all = append(all, nats.UserCredentials(a.creds))
	}
	config, err := a.tls.client()
	if err != nil {
		return nil, err
	}
	if config != nil {
		all = append(all, nats.Secure(config))
	}
	return all, nil
}

// connect connects to the server, and waits for one that is not there yet, which it tells
// once. What waiting will not change is an error.
func (a access) connect(ctx context.Context, name string, say func(format string, args ...any), more ...nats.Option) (*nats.Conn, error) {
	options, err := a.options(name)
	if err != nil {
		return nil, err
	}
	options = append(options, more...)
	told := ""
	for {
		nc, err := nats.Connect(a.url, options...)
		switch {
		case err == nil:
			return nc, nil
		case errors.As(err, new(*url.Error)): // whose text has the whole address
			return nil, fmt.Errorf("-url %s: take nats://HOST:PORT", a.shown())
		case hopeless(err):
			return nil, fmt.Errorf("-url %s: %w", a.shown(), err)
		case err.Error() != told:
			told = err.Error()
			say("waiting for a server at %s: %v", a.shown(), err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// shown returns the addresses without secrets. A name without a password is a token.
func (a access) shown() string {
	var all []string
	for _, address := range strings.Split(a.url, ",") {
		address = strings.TrimSpace(address)
		if !strings.Contains(address, "://") {
			address = "nats://" + address // as the client does
		}
		u, err := url.Parse(address)
		if err != nil {
			return "(an address that cannot be read)"
		}
		if u.User != nil {
			u.User = url.User("xxxxx")
		}
		all = append(all, u.String())
	}
	return strings.Join(all, ",")
}

// hopeless reports whether an error of a first connection is one that waiting does not end:
// a wrong token or certificate.
func hopeless(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
	)
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) ||
		errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &host)
}

// inProcess connects to a server of this process, past the network.
func inProcess(s *server.Server, token, name string) (*nats.Conn, error) {
	options := []nats.Option{nats.Name(name), nats.InProcessServer(s), nats.MaxReconnects(-1)}
	if token != "" {
		options = append(options, nats.Token(token))
	}
	return nats.Connect("", options...)
}

// A link watches a connection. When it was lost and is there again, the server may have lost
// everything: what waits for a reply is ended, for none may come.
type link struct {
	mu     sync.Mutex
	broken bool
	cancel context.CancelFunc // of the operation under way; nil: none
}

func watch(nc *nats.Conn) *link {
	l := &link{}
	nc.SetReconnectHandler(func(*nats.Conn) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.broken = true
		if l.cancel != nil {
			l.cancel()
		}
	})
	return l
}

// guard returns a context of an operation, which ends when the connection was lost. done
// must be called at its end. There is one operation at a time.
func (l *link) guard(ctx context.Context) (guarded context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel = cancel
	return ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cancel = nil
		cancel()
	}
}

// lost reports whether the connection was lost since the last takeLost.
func (l *link) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// takeLost is lost, which it makes false.
func (l *link) takeLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.broken
	l.broken = false
	return was
}

// pause waits, and returns the error of a context that ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
