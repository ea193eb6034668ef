// Command go handles the events of a group, with the client in package client.
//
//	go run ./docs/examples/go 127.0.0.1:9090 go-example
//
// With a CA's certificates in the file that BRIDGE_CA names, the connection uses TLS. BRIDGE_TOKEN has the bearer token to present.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/webhook-bridge/bridge/client"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: go ADDRESS GROUP")
	}
	cfg := client.Config{
		Target: args[0],
		Group:  args[1],
		Token:  func() string { return os.Getenv("BRIDGE_TOKEN") },
		Logger: slog.Default(), // says why it connects again
	}
	if file := os.Getenv("BRIDGE_CA"); file != "" {
		ca, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
		if !cfg.TLS.RootCAs.AppendCertsFromPEM(ca) {
			return fmt.Errorf("%s has no certificate", file)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// An error of the handler brings the event back, after a pause.
	return client.Subscribe(ctx, cfg, func(_ context.Context, e *eventv1.Event) error {
		if s := e.GetShipment(); s != nil {
			slog.Info("tracked", "number", s.GetTrackingNumber())
		}
		_, err := fmt.Fprintln(stdout, e.GetId(), e.GetType(), e.GetSubject())
		return err
	})
}
