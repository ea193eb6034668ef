package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
)

// A Deliver returns how many events it delivered, and the caller continues after them.
func Example() {
	ctx := context.Background()
	store := memory.NewStore()
	sink, err := memory.Open(ctx, store, memory.Config{MaxEvent: 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sink.Close()

	var events []sinks.Record
	for i, encoded := range []string{"\n\x05first", "\n\x15much too large for it", "\n\x05third"} {
		r, err := sinks.NewRecord(sinks.Position(i+1), []byte(encoded))
		if err != nil {
			fmt.Println(err)
			return
		}
		events = append(events, r)
	}
	n, err := sink.Deliver(ctx, events)
	fmt.Println(n, errors.Is(err, sinks.ErrPermanent), err)

	store.Break()
	n, err = sink.Deliver(ctx, events[2:])
	fmt.Println(n, errors.Is(err, sinks.ErrPermanent), err)

	store.Repair()
	n, err = sink.Deliver(ctx, events[2:])
	fmt.Println(n, err, len(store.Records()))
	// Output:
	// 1 true memory: deliver: event at 2 has 23 bytes, more than 16
	// 0 false memory: store is unreachable
	// 1 <nil> 2
}
