package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

func TestKit(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"events":           func(c *Config) { c.State = nil },
		"events and state": func(c *Config) { c.State = &State{Kinds: []string{"order", "payment", "loyalty_points_change"}} },
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(tb testing.TB) sinktest.Harness { return harness(tb, change) }, sinktest.Features{
				TotalOrder: true, ExactlyOnce: true, SharedDestination: true,
			})
		})
	}
}

func harness(tb testing.TB, change func(*Config)) sinktest.Harness {
	s := shared(tb)
	return sinktest.Harness{
		OpenFrom: func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
			c := s.config()
			change(&c)
			return Open(ctx, from, c)
		},
		Received: s.received,
		Backup:   func() { s.backUp(tb) },
		Restore:  func() { s.restore(tb) },
		Break:    s.proxy.Refuse,
		Stall:    s.proxy.Freeze,
		Repair:   func() { s.proxy.Accept(); s.proxy.Thaw() },
		Crash:    s.proxy.Cut,
		Poison:   func() sinks.Record { return record(tb, 0, tooLong()) },
	}
}

// tooLong returns an event whose subject is too long for an index.
func tooLong() *eventv1.Event {
	var noise strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&noise, "%08x", uint32(i)*2654435761)
	}
	return &eventv1.Event{
		Id: "0d6f2a10-7f5e-5b7e-9d6c-ffffffffffff", Type: "unmapped", Source: "shop", Subject: "x/" + noise.String(),
		ReceivedAt: timestamppb.New(time.Unix(1, 0)), Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: "{}"}},
	}
}
