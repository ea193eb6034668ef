package nats_test

import (
	"context"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks/nats"
)

// A sink opens also while its destination is away.
func ExampleOpen() {
	ctx := context.Background()
	c := nats.Config{Servers: []string{"127.0.0.1:4222"}, Subject: "bridge.{source}.{type}"}
	sink, err := nats.Open(ctx, c)
	if err != nil {
		panic(err)
	}
	n, err := sink.Deliver(ctx, nil)
	fmt.Println(n, err, sink.Close())
	// Output: 0 <nil> <nil>
}
