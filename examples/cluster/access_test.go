//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// An authority certifies.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// make writes NAME.pem and NAME.key.
func (a *authority) make(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

// With TLS at both ends a run ends as without; who has no certificate, or trusts another
// authority, does not get in.
func TestTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	for _, x := range []*authority{a, other} {
		x.make("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
		x.make("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	b := newBench(t, 12)
	l := b.learner("-tls-cert", a.file("server.pem"), "-tls-key", a.file("server.key"), "-tls-ca", a.file("ca.pem"), "-workers", "1", "-pace", "50ms")
	l.says("worker local-1 joins")
	none := b.worker("", "", "-tls-ca", a.file("ca.pem"))
	none.says("waiting for a server at .*certificate|cluster: -url .*certificate")
	wrong := b.worker("", "", "-tls-ca", other.file("ca.pem"), "-tls-cert", a.file("client.pem"), "-tls-key", a.file("client.key"))
	wrong.says("cluster: -url nats://.*certificate")
	if status := wrong.ends(); status != 1 {
		t.Errorf("a worker that trusts another authority ends with status %d", status)
	}
	b.worker("", "", "-tls-ca", a.file("ca.pem"), "-tls-cert", a.file("client.pem"), "-tls-key", a.file("client.key"))
	l.says("worker worker-3 joins")
	b.equal(l)
	if strings.Contains(none.text(), "joins") {
		t.Error("a worker without a certificate joined")
	}
}

// A server that listens on all addresses is reached by workers on this machine at loopback,
// though its certificate is for another name; others are told the machine's name.
func TestListenEverywhere(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	a := newAuthority(t)
	a.make("server", &x509.Certificate{DNSNames: []string{"*.example.org"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	for name, flags := range map[string][]string{
		"plain": nil,
		"TLS":   {"-tls-cert", a.file("server.pem"), "-tls-key", a.file("server.key"), "-tls-ca", a.file("ca.pem")},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			l := b.learner(append(flags, "-listen", "0.0.0.0:0", "-workers", "1")...)
			l.says("for more workers: go run . worker -url (nats|tls)://" + regexp.QuoteMeta(host) + ":[1-9]")
			b.equal(l)
		})
	}
}

// Local workers that can never connect are given up, and the learner says why.
func TestHopelessWorkers(t *testing.T) {
	if !*long {
		t.Skip("takes 15 s: -long")
	}
	a := newAuthority(t)
	a.make("server", &x509.Certificate{DNSNames: []string{"example.org"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	b := newBench(t, 2)
	l := b.learner("-tls-cert", a.file("server.pem"), "-tls-key", a.file("server.key"), "-tls-ca", a.file("ca.pem"), "-tls-name", "example.com", "-workers", "1")
	l.says("certificate is valid for example.org, not example.com")
	l.says("worker local-1 is not started again: it ended 5 times, each within a minute, the last time with exit status 1")
}

// Who does not have the token does not get in, and is told at once.
func TestToken(t *testing.T) {
	b := newBench(t, 3)
	if err := os.Remove(b.token()); err != nil {
		t.Fatal(err)
	}
	l := b.learner()
	l.says("server: nats")
	if i, err := os.Stat(b.token()); err != nil || i.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("the token's file: %v, %v", i, err)
	}
	file := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(file, []byte("guess\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := b.worker("", "", "-token", file)
	w.says("cluster: -url nats://.*: nats: Authorization Violation")
	if status := w.ends(); status != 1 {
		t.Errorf("a worker with another token ends with status %d", status)
	}
	second := start(t, "", "", "second", "-out", t.TempDir(), "-iterations", "3", "-workers", "0", "-url", "nats://"+b.address, "-token", b.token())
	second.says("another learner is at work on this server with -prefix cps: take another prefix")
	// Under another prefix a second run does not disturb the first.
	other := *b
	other.dir, other.extra = t.TempDir(), []string{"-seed", "7"}
	o := other.learner("-url", "nats://"+b.address, "-token", b.token(), "-prefix", "other")
	o.says("metrics")
	other.t = t
	start(t, "", "", "worker of other", "worker", "-url", "nats://"+b.address, "-token", b.token(), "-prefix", "other")
	other.equal(o)
	b.worker("", "")
	b.equal(l)
}

// A port that is taken is an error that says so.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := start(t, "", "", "learner", "-out", t.TempDir(), "-listen", l.Addr().String())
	p.says("cluster: server: .*address already in use.* \\(-listen " + l.Addr().String())
	if status := p.ends(); status != 1 {
		t.Errorf("status %d", status)
	}
}

// Learner and workers have credentials of a NATS account; who has none does not get in.
func TestCredentials(t *testing.T) {
	b := newBench(t, 3)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	operator, err := nkeys.CreateOperator()
	must(err)
	account, err := nkeys.CreateAccount()
	must(err)
	system, err := nkeys.CreateAccount() // which JetStream needs
	must(err)
	user, err := nkeys.CreateUser()
	must(err)
	public := func(k nkeys.KeyPair) string {
		p, err := k.PublicKey()
		must(err)
		return p
	}
	oc := jwt.NewOperatorClaims(public(operator))
	_, err = oc.Encode(operator)
	must(err)
	ac := jwt.NewAccountClaims(public(account))
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	signed, err := ac.Encode(operator)
	must(err)
	accounts := &server.MemAccResolver{}
	must(accounts.Store(public(account), signed))
	signed, err = jwt.NewAccountClaims(public(system)).Encode(operator)
	must(err)
	must(accounts.Store(public(system), signed))
	signed, err = jwt.NewUserClaims(public(user)).Encode(account)
	must(err)
	seed, err := user.Seed()
	must(err)
	text, err := jwt.FormatUserConfig(signed, seed)
	must(err)
	creds := filepath.Join(t.TempDir(), "user.creds")
	must(os.WriteFile(creds, text, 0o600))

	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		TrustedOperators: []*jwt.OperatorClaims{oc}, AccountResolver: accounts, SystemAccount: public(system),
	})
	must(err)
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	b.address = s.Addr().String()
	l := b.learner("-url", s.ClientURL(), "-creds", creds, "-workers", "1", "-pace", "20ms")
	l.says("worker local-1 joins")
	none := b.worker("", "", "-token", "")
	none.says("cluster: -url nats://.*: nats: Authorization Violation")
	b.worker("", "", "-token", "", "-creds", creds)
	b.equal(l)
}

// A server without JetStream is an error that says so.
func TestNoJetStream(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	p := start(t, "", "", "learner", "-out", t.TempDir(), "-url", s.ClientURL(), "-workers", "0")
	p.says("cluster: the server has no JetStream for this user")
	if status := p.ends(); status != 1 {
		t.Errorf("status %d", status)
	}
}

// One command runs all of it, and workers of the learner's do not outlive it.
func TestOneCommand(t *testing.T) {
	b := newBench(t, 20)
	l := b.learner("-workers", "3", "-pace", "20ms")
	l.says("worker local-3 joins")
	if !l.reaches(iterationsDone, 1) {
		t.Fatal("the run was too short")
	}
	l.Process.Signal(os.Interrupt)
	l.says("interrupted after iteration")
	if status := l.ends(); status != 0 {
		t.Errorf("status %d", status)
	}
	l = b.learner("-workers", "2", "-resume")
	b.equal(l)
	l.says("local-2 +[1-9]")
}

// A policy that diverges ends the run with the reason, as in one process: its workers are
// not to blame.
func TestDiverged(t *testing.T) {
	b := newBench(t, 5, "-rate", "10")
	l := b.learner("-workers", "2")
	if status := l.ends(); status != 1 {
		t.Errorf("status %d", status)
	}
	l.says("training has diverged: take a smaller -rate than 10")
	if strings.Contains(l.text(), "dropped") {
		t.Error("a worker was dropped")
	}
}
