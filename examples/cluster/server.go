package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serverOptions say how a NATS server is run in this process.
type serverOptions struct {
	listen string // host:port; port 0: a free one
	store  string // folder of JetStream
	token  string // that clients must present; empty: none is asked for
	tls    tlsFiles
	memory int64 // bytes of memory storage; 0: three quarters of the machine's
	say    func(format string, args ...any)
}

// newServer runs a NATS server with JetStream.
func newServer(o serverOptions) (*server.Server, error) {
	host, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		return nil, fmt.Errorf("-listen %q is not HOST:PORT: %w", o.listen, err)
	}
	number, err := strconv.Atoi(port)
	if err != nil || number < 0 || number > 65535 {
		return nil, fmt.Errorf("-listen %q: the port is not in [0, 65535]", o.listen)
	}
	if number == 0 {
		number = server.RANDOM_PORT
	}
	config, err := o.tls.server()
	if err != nil {
		return nil, err
	}
	if config == nil && !loopback(host) {
		o.say("warning: the server listens on %s without TLS: anyone on the way reads the token and the weights (-tls-cert, -tls-key)", o.listen)
	}
	log := &serverLog{say: o.say}
	s, err := server.NewServer(&server.Options{
		ServerName: "cps", Host: host, Port: number, Authorization: o.token, TLSConfig: config, TLSTimeout: 10, AuthTimeout: 10,
		JetStream: true, StoreDir: o.store, JetStreamMaxMemory: o.memory,
		NoSigs:                 true, // signals are this program's own to handle
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.SetLogger(log, false, false)
	s.Start()
	for range 200 {
		if s.ReadyForConnections(100 * time.Millisecond) {
			return s, nil
		}
		if f := log.fatal(); f != "" {
			s.Shutdown()
			return nil, fmt.Errorf("server: %s (-listen %s)", f, o.listen)
		}
	}
	s.Shutdown()
	return nil, errors.New("server: it is not ready after 20 s")
}

// addresses returns the address of a server for clients on this machine, and for those on
// others. They differ if it listens on all of the machine's addresses.
func addresses(s *server.Server) (here, there string) {
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		panic("cluster: " + err.Error()) // the server made it
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsUnspecified() {
		return u.String(), u.String()
	}
	at := func(host string) string {
		return (&url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(host, u.Port())}).String()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "HOST"
	}
	return at("127.0.0.1"), at(host)
}

// loopback reports whether a host is this machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A serverLog passes the server's warnings and errors on, and keeps the last fatal one.
type serverLog struct {
	say func(format string, args ...any)

	mu   sync.Mutex
	last string
}

func (l *serverLog) Noticef(string, ...any)       {}
func (l *serverLog) Debugf(string, ...any)        {}
func (l *serverLog) Tracef(string, ...any)        {}
func (l *serverLog) Warnf(f string, args ...any)  { l.say("server: "+f, args...) }
func (l *serverLog) Errorf(f string, args ...any) { l.say("server: "+f, args...) }
func (l *serverLog) Fatalf(f string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = fmt.Sprintf(f, args...)
}

func (l *serverLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// tlsFiles are PEM files of one end of a connection, a server's or a client's. Empty names
// are files that are not used.
type tlsFiles struct {
	cert, key, ca string
	name          string // that the server's certificate must have; empty: the host of its address
}

// own loads the certificate of this end.
func (f tlsFiles) own() ([]tls.Certificate, error) {
	if (f.cert == "") != (f.key == "") {
		return nil, errors.New("-tls-cert and -tls-key go together")
	}
	if f.cert == "" {
		return nil, nil
	}
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert, -tls-key: %w", err)
	}
	return []tls.Certificate{c}, nil
}

// trusted loads the authorities that the other end must be certified by.
func (f tlsFiles) trusted() (*x509.CertPool, error) {
	if f.ca == "" {
		return nil, nil
	}
	b, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("-tls-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("-tls-ca: %s has no certificate", f.ca)
	}
	return pool, nil
}

// server returns the server's configuration, nil without a certificate. With authorities,
// clients must have a certificate of theirs.
func (f tlsFiles) server() (*tls.Config, error) {
	own, err := f.own()
	if err != nil {
		return nil, err
	}
	pool, err := f.trusted()
	if err != nil {
		return nil, err
	}
	if own == nil {
		if pool != nil {
			return nil, errors.New("-tls-ca: a server needs -tls-cert and -tls-key, too")
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: own}
	if pool != nil {
		c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// client returns a client's configuration, nil if no file or name is given: then TLS is used if the
// server asks for it, with the machine's authorities.
func (f tlsFiles) client() (*tls.Config, error) {
	own, err := f.own()
	if err != nil {
		return nil, err
	}
	pool, err := f.trusted()
	if err != nil {
		return nil, err
	}
	if own == nil && pool == nil && f.name == "" {
		return nil, nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: own, RootCAs: pool, ServerName: f.name}, nil
}

// nameAt returns the name by which clients know the certificate of a server that they reach at
// a host: none if it is certified for that host, or has no name.
func (f tlsFiles) nameAt(host string) (string, error) {
	own, err := f.own()
	if err != nil || own == nil {
		return "", err
	}
	switch leaf := own[0].Leaf; {
	case leaf.VerifyHostname(host) == nil:
		return "", nil
	case len(leaf.DNSNames) > 0:
		return strings.Replace(leaf.DNSNames[0], "*", "local", 1), nil // any host of a wildcard
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String(), nil
	}
	return "", nil
}

// makeToken returns the token in a file, which it makes, for this user alone, if it is not
// there. A learner that is started again finds its token, and its workers find it.
func makeToken(file string) (string, error) {
	if token, err := readToken(file); !errors.Is(err, os.ErrNotExist) {
		return token, err
	}
	b := make([]byte, 32)
	rand.Read(b)
	token := hex.EncodeToString(b)
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return "", fmt.Errorf("-token: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("-token: %w", err)
	}
	_, err = f.WriteString(token + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(file)
		return "", fmt.Errorf("-token: %w", err)
	}
	return token, nil
}

// readToken returns the token in a file.
func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("-token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \t\r\n") || len(token) > 1024 {
		return "", fmt.Errorf("-token: %s does not hold one word", file)
	}
	return token, nil
}
