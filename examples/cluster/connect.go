package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
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
		all = append(all, nats.TokenHandler(func() string {
			token, _ := readToken(a.token) // the server refuses an empty one
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
		case hopeless(err):
			return nil, fmt.Errorf("-url %s: %w", a.url, err)
		case err.Error() != told:
			told = err.Error()
			say("waiting for a server at %s: %v", a.url, err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// hopeless reports whether an error of a first connection is one that waiting does not end:
// a wrong token, certificate or address.
func hopeless(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
		address     *url.Error
	)
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) ||
		errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &address)
}

// inProcess connects to a server of this process, past the network.
func inProcess(s *server.Server, token, name string) (*nats.Conn, error) {
	options := []nats.Option{nats.Name(name), nats.InProcessServer(s), nats.MaxReconnects(-1)}
	if token != "" {
		options = append(options, nats.Token(token))
	}
	return nats.Connect("", options...)
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
