package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

// makePair writes a new certificate and its key into dir.
func makePair(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}

func TestTLS(t *testing.T) {
	cert, key := makePair(t, t.TempDir())
	_, other := makePair(t, t.TempDir())
	parse := func(cert, key string) (*Config, error) {
		text := fmt.Sprintf(`
listen:
  grpc: "0.0.0.0:9090"
  tls: {grpc: {cert_file: %q, key_file: %q}}
access: {tokens: [0123456789abcdef]}
sources: [{name: a, connector: retino, auth: {none: {}}}]
`, cert, key)
		return Parse("x.yaml", []byte(text), os.LookupEnv, known)
	}
	cfg, err := parse(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Listen.GRPC.TLS; got == nil || got.CertFile != cert || got.KeyFile != key {
		t.Errorf("TLS is %v", got)
	}
	for _, test := range []struct{ cert, key, want string }{
		{cert, other, "x.yaml:4:15: listen.tls.grpc: the private key does not belong to the certificate"},
		{key, cert, "x.yaml:4:15: listen.tls.grpc: the files are not a certificate and a private key in PEM"},
	} {
		if _, err := parse(test.cert, test.key); fmt.Sprint(err) != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

func TestCollide(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{":80", ":80", true},
		{":80", ":81", false},
		{":0", ":0", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{":80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "0.0.0.0:80", true},
		{"[::]:80", "10.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"localhost:80", "[::1]:80", true},
		{"localhost:80", "10.0.0.1:80", false},
		{"broken", "broken", false},
	} {
		if got := collide(test.a, test.b); got != test.want {
			t.Errorf("collide(%s, %s) = %t", test.a, test.b, got)
		}
	}
}

// Only a loopback address, in any notation, needs no TLS and no token.
func TestGuarded(t *testing.T) {
	for addr, guarded := range map[string]bool{
		"127.0.0.1:9090": false, "127.8.8.8:9090": false, "[::1]:9090": false, "localhost:9090": false,
		"[::ffff:127.0.0.1]:9090": false,
		":9090":                   true, "0.0.0.0:9090": true, "[::]:9090": true, "10.0.0.1:9090": true, "localhost.example:9090": true,
	} {
		text := fmt.Sprintf("listen: {grpc: %q}\nsources: [{name: a, connector: retino, auth: {none: {}}}]\n", addr)
		if _, err := Parse("x.yaml", []byte(text), os.LookupEnv, known); (err != nil) != guarded {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
