package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

// run runs a command without a configuration, and returns its exit code and what it wrote to standard error.
func run(t *testing.T, ctx context.Context, args ...string) (code int, stderr string) { //nolint:revive // t comes first in helpers
	t.Helper()
	var out, errs bytes.Buffer
	env := Environment{LookupEnv: func(string) (string, bool) { return "", false }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	return Run(ctx, vendors(), args, env), errs.String()
}

// listen returns a listener on a free loopback port, which is closed at the test's end.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// certificate makes a certificate that signed itself, and returns it with its PEM file.
func certificate(t *testing.T, change func(*x509.Certificate)) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// refusing is an operator's service that answers each call with an error.
type refusing struct {
	adminv1.UnimplementedAdminServiceServer

	err error
}

func (r refusing) ListSinks(context.Context, *adminv1.ListSinksRequest) (*adminv1.ListSinksResponse, error) {
	return nil, r.err
}

// serveGRPC serves s until the test's end, and returns its address.
func serveGRPC(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) string {
	t.Helper()
	l := listen(t)
	s := grpc.NewServer(options...)
	register(s)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestUnreachableServers: each way to reach no server is told by what was tried, the address, and what to do. gRPC's own words for
// it are not shown.
func TestUnreachableServers(t *testing.T) {
	t.Parallel()
	none := func(*grpc.Server) {}
	self, selfFile := certificate(t, func(*x509.Certificate) {})
	elsewhere, elsewhereFile := certificate(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"bridge.example.com"} })
	expired, expiredFile := certificate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	secured := func(c tls.Certificate) string {
		return serveGRPC(t, none, grpc.Creds(credentials.NewServerTLSFromCert(&c)))
	}
	web := func(l net.Listener) string {
		s := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
		return l.Addr().String()
	}
	closed := listen(t)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	hangsUp := listen(t)
	go func() {
		for {
			c, err := hangsUp.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"refused":             {[]string{"--addr", closed.Addr().String()}, "no server answers at " + closed.Addr().String() + ": is `bridge serve` running?"},
		"plain to TLS":        {[]string{"--addr", secured(self)}, "uses TLS: --tls trusts the system's certificates, --ca FILE"},
		"TLS to plain":        {[]string{"--addr", serveGRPC(t, none), "--tls"}, "does not use TLS: leave out --tls and --ca"},
		"unknown authority":   {[]string{"--addr", secured(self), "--tls"}, "signed by an authority that this machine does not know: --ca FILE"},
		"another host's":      {[]string{"--addr", secured(elsewhere), "--ca", elsewhereFile}, "is for another host: "},
		"expired":             {[]string{"--addr", secured(expired), "--ca", expiredFile}, "has expired, or is not valid yet"},
		"HTTP":                {[]string{"--addr", web(listen(t))}, "is an HTTP server, not the gRPC listener of a Bridge"},
		"TLS to HTTP":         {[]string{"--addr", web(listen(t)), "--tls"}, "is an HTTP server without TLS"},
		"HTTPS":               {[]string{"--addr", web(tls.NewListener(listen(t), serverTLS(self))), "--ca", selfFile}, "is an HTTP server, not the gRPC listener"},
		"plain to HTTPS":      {[]string{"--addr", web(tls.NewListener(listen(t), serverTLS(self)))}, "uses TLS: --tls"},
		"hangs up":            {[]string{"--addr", hangsUp.Addr().String()}, "accepts connections, but does not answer as the gRPC listener"},
		"hangs up on TLS":     {[]string{"--addr", hangsUp.Addr().String(), "--tls"}, "no connection to " + hangsUp.Addr().String()},
		"older server":        {[]string{"--addr", serveGRPC(t, none)}, "does not know this call: it has another version"},
		"mute":                {[]string{"--addr", listen(t).Addr().String()}, "accepts connections, but does not answer"},
		"token without TLS":   {[]string{"--addr", "192.0.2.1:9090"}, "a token is sent over TLS or to a loopback address only; use --tls or --ca"},
		"certificate missing": {[]string{"--addr", closed.Addr().String(), "--ca", filepath.Join(t.TempDir(), "none.pem")}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			env := Environment{
				LookupEnv: func(k string) (string, bool) { return "a-token", k == "BRIDGE_TOKEN" && name == "token without TLS" },
				Stdin:     strings.NewReader(""), Stdout: &stderr, Stderr: &stderr,
			}
			commands := [][]string{{"sinks", "list"}, {"tail", "--no-follow"}}
			if name == "mute" {
				commands = commands[:1] // It takes the seconds that a connection may take.
			}
			for _, command := range commands {
				stderr.Reset()
				code := Run(t.Context(), vendors(), append(command, tt.args...), env)
				if code != exitFailed || !strings.Contains(stderr.String(), tt.says) {
					t.Errorf("%v: exit code %d, want %q:\n%s", command, code, tt.says, &stderr)
				}
				for _, raw := range []string{"rpc error", "desc = ", "Unavailable", "transport:", "Unimplemented:"} {
					if strings.Contains(stderr.String(), raw) {
						t.Errorf("%v: gRPC's own words:\n%s", command, &stderr)
					}
				}
			}
		})
	}
}

// serverTLS is a TLS server's configuration for HTTP/1.1.
func serverTLS(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
}

// TestRefusals: each answer of a server is told in words.
func TestRefusals(t *testing.T) {
	for code, says := range map[codes.Code]string{
		codes.Unauthenticated:    "requires a bearer token: set BRIDGE_TOKEN, or name the server's configuration with -c",
		codes.PermissionDenied:   "does not permit this: the reason",
		codes.Unimplemented:      "does not know this call",
		codes.Unavailable:        "cannot do this now: the reason",
		codes.Internal:           "has an internal error: the reason",
		codes.DataLoss:           "is damaged: the reason",
		codes.NotFound:           "bridge sinks list: the reason",
		codes.FailedPrecondition: "bridge sinks list: the reason",
		codes.DeadlineExceeded:   "did not answer in time",
	} {
		addr := serveGRPC(t, func(s *grpc.Server) {
			adminv1.RegisterAdminServiceServer(s, refusing{err: status.Error(code, "the reason")})
		})
		exit, stderr := run(t, t.Context(), "sinks", "list", "--addr", addr)
		if exit != exitFailed || !strings.Contains(stderr, says) || strings.Contains(stderr, code.String()+":") {
			t.Errorf("%v: exit code %d, want %q:\n%s", code, exit, says, stderr)
		}
	}
	addr := serveGRPC(t, func(s *grpc.Server) {
		adminv1.RegisterAdminServiceServer(s, refusing{err: status.Error(codes.NotFound, "")})
	})
	if _, stderr := run(t, t.Context(), "sinks", "list", "--addr", addr); !strings.Contains(stderr, "answered NotFound without a reason") {
		t.Errorf("an answer without a text: %s", stderr)
	}
}

// blocking is an operator's service that answers when the caller is gone.
type blocking struct {
	adminv1.UnimplementedAdminServiceServer

	called chan struct{}
}

func (b blocking) ListSinks(ctx context.Context, _ *adminv1.ListSinksRequest) (*adminv1.ListSinksResponse, error) {
	close(b.called)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestInterrupted: a command that a signal ends says so in one word, with an exit code of its own.
func TestInterrupted(t *testing.T) {
	service := blocking{called: make(chan struct{})}
	addr := serveGRPC(t, func(s *grpc.Server) { adminv1.RegisterAdminServiceServer(s, service) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-service.called
		cancel()
	}()
	code, stderr := run(t, ctx, "sinks", "list", "--addr", addr)
	if code != exitInterrupted || stderr != "bridge sinks list: interrupted before the end\n" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestUnresolvedNames: a name without a host, and one that cannot be resolved now.
func TestUnresolvedNames(t *testing.T) {
	for says, err := range map[string]error{
		`there is no host "bridge.example"`:      &net.DNSError{Err: "no such host", Name: "bridge.example", IsNotFound: true},
		"cannot be resolved now (server misbeha": &net.DNSError{Err: "server misbehaving", Name: "bridge.example"},
		"does not answer: a firewall may drop":   &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"has expired":                            x509.CertificateInvalidError{Reason: x509.Expired},
		"is not valid: x509":                     x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign},
	} {
		got := callRemedies.problem("bridge.example:9090", fmt.Errorf("dial: %w", err))
		if got == nil || !strings.Contains(got.Error(), says) {
			t.Errorf("%v: %v, want %q", err, got, says)
		}
	}
	if got := callRemedies.problem("bridge.example:9090", nil); got != nil {
		t.Errorf("a problem without an error: %v", got)
	}
}

// TestNoPluginsNoPanic: a program without connectors has all commands.
func TestNoPluginsNoPanic(t *testing.T) {
	var out bytes.Buffer
	env := Environment{LookupEnv: func(string) (string, bool) { return "", false }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
	if code := Run(t.Context(), daemon.Plugins{}, []string{"connectors", "list"}, env); code != exitOK {
		t.Errorf("exit code %d: %s", code, &out)
	}
}
