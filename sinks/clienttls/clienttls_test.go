package clienttls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/webhook-bridge/bridge/internal/certs/certstest"
	"github.com/webhook-bridge/bridge/sinks"
)

func TestProblems(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.pem")
	for name, c := range map[string]struct {
		files Files
		want  []string
	}{
		"nothing set":          {Files{}, nil},
		"no certificate":       {Files{CAFile: empty}, []string{"tls.ca_file"}},
		"no file":              {Files{CAFile: missing}, []string{"tls.ca_file"}},
		"only the key":         {Files{KeyFile: empty}, []string{"tls.cert_file"}},
		"only the cert":        {Files{CertFile: empty}, []string{"tls.key_file"}},
		"not a pair":           {Files{CertFile: empty, KeyFile: empty}, []string{"tls.cert_file"}},
		"all are told at once": {Files{CAFile: missing, CertFile: missing, KeyFile: missing}, []string{"tls.ca_file", "tls.cert_file"}},
	} {
		_, problems := c.files.Config("tls")
		var got []string
		for _, p := range problems {
			if at, ok := errors.AsType[*sinks.KeyError](p); ok {
				got = append(got, at.Key)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: problems of %v, want %v", name, got, c.want)
		}
	}
}

// Client and server authenticate each other with the files. A renewed certificate counts for the next connection.
func TestHandshake(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	authority := certstest.New(t, "authority")
	if err := os.WriteFile(at("ca.pem"), authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	authority.WriteServer(t, at("client.pem"), at("client.key"))
	clients := x509.NewCertPool()
	clients.AddCert(authority.Cert)
	server := authority.Issue(t, x509.Certificate{DNSNames: []string{"sink.test"}})
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	serials := make(chan string, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serials <- serialOfPeer(conn)
		}
	}()

	config, problems := Files{CAFile: at("ca.pem"), CertFile: at("client.pem"), KeyFile: at("client.key"), ServerName: "sink.test"}.Config("tls")
	if problems != nil {
		t.Fatal(problems)
	}
	dial := func() string {
		conn, err := tls.Dial("tcp", listener.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return <-serials
	}
	first := dial()
	authority.WriteServer(t, at("client.pem"), at("client.key"))
	if second := dial(); first == "" || second == "" || first == second {
		t.Errorf("serial numbers of the client's certificates: %q, %q", first, second)
	}
}

// serialOfPeer returns the serial number of the client's certificate, or "" if there was no handshake.
func serialOfPeer(conn net.Conn) string {
	defer conn.Close()
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return ""
	}
	if err := secured.Handshake(); err != nil {
		return ""
	}
	return secured.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
