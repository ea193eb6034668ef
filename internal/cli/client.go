package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/near"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// defaultGRPC is where a server listens by default.
const defaultGRPC = "127.0.0.1:9090"

// maxEventSize is the largest message a client takes: a batch, or one event of the largest body that a source may allow,
// which an unmapped event carries whole.
const maxEventSize = 128 << 20

// clientFlags says which server to talk to.
type clientFlags struct {
	config, addr, ca string
	tls              bool
	// cert and key are the files of a client certificate. principal chooses whose token of the configuration is sent.
	cert, key, principal string
	// operator is set for commands whose calls accept the operators' tokens, and subscriber for those that accept subscribers' credentials.
	operator, subscriber bool
	flags                *pflag.FlagSet
}

func (c *clientFlags) register(fs *pflag.FlagSet) {
	configFlag(fs, &c.config)
	c.flags = fs
	fs.StringVar(&c.addr, "addr", "", "the server's gRPC `address` (default: from the configuration, otherwise "+defaultGRPC+");\n"+
		"if the server requires a bearer token, it is read from the environment\nvariable BRIDGE_TOKEN, otherwise from the configuration")
	fs.BoolVar(&c.tls, "tls", false, "use TLS, and trust the system's certificates")
	caFlag(fs, &c.ca)
	if !c.subscriber {
		return // Operators have tokens only.
	}
	fs.StringVar(&c.principal, "principal", "", "send the token of this `principal` of the configuration, in place of BRIDGE_TOKEN")
	fs.StringVar(&c.cert, "cert", "", "use TLS, and show the client certificate in this PEM `file` in place of a token")
	fs.StringVar(&c.key, "key", "", "the private key of the certificate, a PEM `file`")
}

// serverConfig returns the configuration of the server to call: the one that -c names, otherwise bridge.yaml if it is there and no
// address is given. It is nil if there is none. Only what a client needs is read: the rest is the server's to judge. The problems are those
// of tokens.
func (c *clientFlags) serverConfig(env environment) (*config.Config, []config.Problem, error) {
	named := c.flags.Changed("config")
	if !named && c.addr != "" {
		return nil, nil, nil
	}
	if _, err := os.Stat(c.config); err != nil && !named {
		return nil, nil, nil // no file, no configuration
	}
	cfg, problems, err := config.LoadClient(c.config, "grpc", env.lookup)
	if err == nil {
		return cfg, problems, nil
	}
	err = configRefused(c.config, env, err)
	if !named {
		fmt.Fprintf(env.stderr, "%s is read because it is in this folder; --addr ADDRESS calls a server without it\n", c.config)
	}
	return nil, nil, err
}

// server is a connection to a server, and what is known of it.
type server struct {
	*grpc.ClientConn

	addr   string
	secure bool
	// token is where the bearer token is from, in words; empty without a token.
	token    string
	operator bool
	// certificate: a client certificate is shown.
	certificate bool
	witness     *witness
}

// dial returns a connection to the server. A bearer token comes from BRIDGE_TOKEN, otherwise from the configuration.
func (c *clientFlags) dial(env environment) (*server, error) {
	cfg, problems, err := c.serverConfig(env)
	if err != nil {
		return nil, err
	}
	s := &server{addr: c.addr, operator: c.operator && !c.subscriber, certificate: c.cert != "", witness: &witness{}}
	certificates, err := c.certificates()
	if err != nil {
		return nil, err
	}
	if c.principal != "" && cfg == nil {
		return nil, errors.New("--principal takes a token from the configuration: name that with -c")
	}
	ca, token := c.ca, ""
	if cfg != nil {
		if s.addr == "" {
			s.addr = dialable(cfg.Listen.GRPC.Addr)
		}
		if t := cfg.Listen.GRPC.TLS; t != nil && ca == "" {
			// The server's own file: enough for a certificate that signed itself, and the system's are trusted too.
			ca = t.CertFile
		}
		tokens, err := c.tokensOf(cfg)
		if err != nil {
			return nil, err
		}
		if texts := secret.Reveal(tokens); len(texts) > 0 { // a token's file may be empty
			token, s.token = texts[0], "from the configuration" //nolint:gosec // the words name a place
		}
	}
	if s.addr == "" {
		s.addr = defaultGRPC
	}
	// The server judges a call with a token by the token alone.
	if t, ok := env.lookup("BRIDGE_TOKEN"); ok && t != "" && !s.certificate && c.principal == "" {
		token, s.token = t, "from BRIDGE_TOKEN"
	}
	if token == "" && !s.certificate {
		for _, problem := range problems {
			fmt.Fprintf(env.stderr, "warning: no token is sent: %s\n", problem)
		}
	}
	s.secure = c.tls || ca != "" || s.certificate
	if token != "" && !s.secure && !config.IsLoopback(s.addr) {
		return nil, errors.New("a token is sent over TLS or to a loopback address only; use --tls or --ca")
	}
	return s, s.connect(ca, token, certificates)
}

// certificates returns the client certificate, if one is given.
func (c *clientFlags) certificates() ([]tls.Certificate, error) {
	switch {
	case c.cert == "" && c.key == "":
		return nil, nil
	case c.cert == "" || c.key == "":
		return nil, errors.New("--cert and --key belong together: a client certificate and its private key")
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("--cert and --key: %w", err)
	}
	return []tls.Certificate{pair}, nil
}

// tokensOf returns the tokens of the configuration that open the server's service. There are none where a client certificate is shown,
// or where one of several principals must be chosen.
func (c *clientFlags) tokensOf(cfg *config.Config) ([]secret.Value, error) {
	a := cfg.Access
	switch {
	case c.cert != "":
		return nil, nil
	case c.principal == "" && c.operator && len(a.AdminTokens) > 0:
		return a.AdminTokens, nil
	case !c.subscriber:
		return a.Tokens, nil
	case c.principal == "" && len(a.Principals) == 1:
		return a.Principals[0].Tokens, nil
	case c.principal == "":
		return a.Tokens, nil
	}
	names := make([]string, len(a.Principals))
	for i, p := range a.Principals {
		names[i] = p.Name
		switch {
		case p.Name != c.principal:
		case len(p.Tokens) == 0:
			return nil, fmt.Errorf("the principal %q has no token, only certificates: show one with --cert and --key", p.Name)
		default:
			return p.Tokens, nil
		}
	}
	return nil, fmt.Errorf("the configuration has no principal %q%s", c.principal, near.List(c.principal, names))
}

// connect makes the client's connection, which is opened at the first call.
func (s *server) connect(ca, token string, certificates []tls.Certificate) error {
	creds, err := transportCredentials(s.secure, ca, certificates)
	if err != nil {
		return err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(witnessedTLS{creds, s.witness}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxEventSize)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{token: token, secure: s.secure}))
	}
	target := s.addr
	if host, _, err := net.SplitHostPort(s.addr); err == nil && !strings.Contains(host, "/") && !proxied(s.addr) {
		// The dialer resolves the name itself, and so has the reason if it cannot.
		target = "passthrough:///" + s.addr
		options = append(options, grpc.WithContextDialer(s.witness.dial))
	}
	s.ClientConn, err = grpc.NewClient(target, options...)
	return err
}

func transportCredentials(secure bool, ca string, certificates []tls.Certificate) (credentials.TransportCredentials, error) {
	if !secure {
		return insecure.NewCredentials(), nil
	}
	config, err := clientTLS(ca)
	if err != nil {
		return nil, err
	}
	config.Certificates = certificates
	return credentials.NewTLS(config), nil
}

// clientTLS trusts the system's certificates and, if ca is not empty, those in that file.
func clientTLS(ca string) (*tls.Config, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: holds no PEM certificate", ca)
		}
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// dialable turns an address to listen on into one to call: every address becomes this machine.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// loadConfig loads a configuration and checks it against the connectors and sinks that this program has. Its problems are printed,
// one a line.
func loadConfig(path string, env environment) (*config.Config, error) {
	cfg, err := env.plugins.LoadConfig(path, env.lookup)
	if err != nil {
		return nil, configRefused(path, env, err)
	}
	return cfg, nil
}

// configRefused prints why a configuration cannot be used.
func configRefused(path string, env environment, err error) error {
	fmt.Fprintln(env.stderr, err)
	if _, missing := os.Stat(path); errors.Is(missing, fs.ErrNotExist) {
		fmt.Fprintln(env.stderr, "-c FILE names another configuration, and bridge init writes a new one")
	}
	return &reportedError{exitUsage}
}

// bearer is the token as a client's credentials.
type bearer struct {
	token  string
	secure bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }
