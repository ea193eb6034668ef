// Command go handles the events of a group, with the client in package client.
//
//	go run ./docs/examples/go 127.0.0.1:9090 billing
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/webhook-bridge/bridge/client"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: go ADDRESS GROUP")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := client.Config{Target: args[0], Group: args[1], Token: func() string { return os.Getenv("BRIDGE_TOKEN") }}
	return client.Subscribe(ctx, cfg, func(_ context.Context, e *eventv1.Event) error {
		fmt.Println(e.GetId(), e.GetType(), e.GetSubject())
		return nil
	})
}
