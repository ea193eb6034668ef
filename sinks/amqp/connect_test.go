package amqp_test

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/certs/certstest"
	"github.com/webhook-bridge/bridge/sinks/amqp"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
)

// Each broker proves its own name: that of the one before it does not count.
func TestNamesOfBrokers(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certstest.New(t, "authority").WriteServer(t, cert, key)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	names := make(chan string, 8)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			names <- hello.ServerName
			return nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if conn, ok := conn.(*tls.Conn); ok {
				_ = conn.HandshakeContext(context.Background())
			}
			_ = conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = amqp.Open(t.Context(), amqp.Config{
		Brokers: []string{"localhost:" + port, "127.0.0.1:" + port}, TLS: &clienttls.Files{}, RoutingKey: "events", Required: true, Timeout: 10 * time.Second,
	})
	if err == nil || strings.Count(err.Error(), "connect to") != 2 {
		t.Errorf("open: %v", err)
	}
	// An address is no name of a client's greeting.
	if first, second := <-names, <-names; first != "localhost" || second != "" {
		t.Errorf("the brokers were asked for %q and %q", first, second)
	}
}
