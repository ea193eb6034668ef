package redis_test

import (
	"context"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
	"github.com/webhook-bridge/bridge/sinks/redis"
)

// A sink opens also while its destination is away.
func ExampleOpen() {
	ctx := context.Background()
	c := redis.Config{Addresses: []string{"127.0.0.1:6379"}, Stream: "bridge:events"}
	sink, err := redis.Open(ctx, c, sinks.Origin{Log: memlog.New("log"), Sink: "live"})
	if err != nil {
		panic(err)
	}
	n, err := sink.Deliver(ctx, nil)
	fmt.Println(n, err, sink.Close())
	// Output: 0 <nil> <nil>
}
