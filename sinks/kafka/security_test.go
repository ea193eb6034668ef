package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
)

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			f := newFake(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "bridge", "right"), kfake.SeedTopics(1, topic))
			config := kafka.Config{Brokers: f.brokers(), Topic: topic, Required: true}
			config.SASL = &kafka.SASL{Mechanism: mechanism, Username: "bridge", Password: "right"}
			s := openSink(t, config)
			if n, err := s.Deliver(t.Context(), records(t, numbered(1, "1"))); n != 1 {
				t.Fatal(err)
			}
			config.SASL = &kafka.SASL{Mechanism: mechanism, Username: "bridge", Password: "wrong-hunter2"}
			refused(t, config, "hunter2")
		})
	}
}

// refused checks that neither Open nor Deliver succeeds, that the error is not permanent, and that it shows no secret.
func refused(t *testing.T, config kafka.Config, secret string) {
	t.Helper()
	config.Required = true
	_, err := kafka.Open(t.Context(), config)
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("Open: %v", err)
	}
	config.Required = false
	n, err := openSink(t, config).Deliver(t.Context(), records(t, numbered(1, "1")))
	if n != 0 || err == nil || errors.Is(err, sinks.ErrPermanent) || strings.Contains(err.Error(), secret) {
		t.Errorf("Deliver: %d, %v", n, err)
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pair := selfSigned(t, cert, key)
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	f := newFake(t, kfake.SeedTopics(1, topic), kfake.ListenFn(net.Listen), kfake.NumBrokers(1), kfake.TLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}))
	config := kafka.Config{Brokers: f.ListenAddrs(), Topic: topic, Required: true, TLS: &kafka.TLS{CAFile: cert, CertFile: cert, KeyFile: key}}
	s := openSink(t, config)
	if n, err := s.Deliver(t.Context(), records(t, numbered(1, "1"))); n != 1 {
		t.Fatal(err)
	}
	for name, bad := range map[string]*kafka.TLS{
		"unknown authority":     {CertFile: cert, KeyFile: key},
		"another name":          {CAFile: cert, CertFile: cert, KeyFile: key, ServerName: "kafka.example"},
		"no client certificate": {CAFile: cert},
		"no TLS":                nil,
	} {
		t.Run(name, func(t *testing.T) {
			config.TLS = bad
			refused(t, config, "PRIVATE")
		})
	}
}

// selfSigned writes a certificate that is its own authority, for both ends of a loopback connection.
func selfSigned(t *testing.T, certFile, keyFile string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafka"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unreachable := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{topic, "{source}"} {
		refused(t, kafka.Config{Brokers: []string{unreachable}, Topic: name}, "password")
	}
	f := newFake(t, kfake.SeedTopics(1, topic))
	s := openSink(t, kafka.Config{Brokers: append([]string{unreachable}, f.brokers()...), Topic: topic, Required: true})
	push(t, s, records(t, numbered(1, "1")))
}
