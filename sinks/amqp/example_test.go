package amqp_test

import (
	"context"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks/amqp"
)

// A sink opens also while its destination is away.
func ExampleOpen() {
	ctx := context.Background()
	c := amqp.Config{Brokers: []string{"127.0.0.1:5672"}, Exchange: "bridge", Declare: "topic", RoutingKey: "{source}.{type}"}
	sink, err := amqp.Open(ctx, c)
	if err != nil {
		panic(err)
	}
	n, err := sink.Deliver(ctx, nil)
	fmt.Println(n, err, sink.Close())
	// Output: 0 <nil> <nil>
}
