package grpcstream

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

// chooser makes batches of the events that one client may see and wants. It belongs to one goroutine.
type chooser struct {
	*Reader

	payload streamv1.Payload
}

// batch makes a batch of the first records, which start at a position, and returns the position behind what it has looked at. It looks at
// one record at least.
func (c *chooser) batch(ctx context.Context, from sinks.Position, records []sinks.Record) (batch, sinks.Position, error) {
	if payload.Stored(c.payload) {
		return c.storedBatch(ctx, from, records)
	}
	var b batch
	next := from
	for i := range records {
		seen, passes, err := c.Visible(&records[i], next)
		if err != nil {
			return batch{}, from, err
		}
		if !passes {
			next++
			continue
		}
		d := delivered{event: seen.Encoded}
		if c.payload == streamv1.Payload_PAYLOAD_HEADERS {
			d.event = payload.Headers(d.event)
		}
		if b.full(d) {
			break
		}
		if b.empty() {
			b.grow(d, records[i+1:])
		}
		next++
		b.add(c.Reader, next, d)
	}
	return b, next, nil
}

// storedBatch is batch for payloads that must be looked up.
func (c *chooser) storedBatch(ctx context.Context, from sinks.Position, records []sinks.Record) (batch, sinks.Position, error) {
	var b batch
	var chosen []sinks.Record
	next := from
	for i := range records {
		seen, passes, err := c.Visible(&records[i], next)
		if err != nil {
			return batch{}, from, err
		}
		next++
		if passes {
			chosen = append(chosen, seen)
		}
	}
	if len(chosen) == 0 {
		return b, next, nil
	}
	found, err := c.server.payloads.Lookup(ctx, c.payload, c.view.viewer.Personal(), chosen, batchBytes)
	if err != nil {
		return batch{}, from, err
	}
	for i, p := range found {
		rest, err := proto.Marshal(&streamv1.DeliveredEvent{Vendor: p.Vendor, Raw: p.Raw, PayloadMissing: p.Missing})
		if err != nil {
			return batch{}, from, fmt.Errorf("grpcstream: encode payload: %w", err)
		}
		d := delivered{event: payload.Headers(chosen[i].Encoded), rest: rest}
		if b.full(d) {
			return b, chosen[i].Position, nil
		}
		b.add(c.Reader, chosen[i].Position+1, d)
	}
	if len(found) < len(chosen) {
		next = chosen[len(found)].Position
	}
	return b, next, nil
}
