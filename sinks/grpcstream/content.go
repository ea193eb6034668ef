package grpcstream

import (
	"context"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

// Content is the part of an event that a client gets.
type Content struct {
	// Event is a bridge.event.v1.Event in wire format.
	Event []byte
	// Payload is empty unless the client asked for one.
	Payload payload.Payload
}

// Content returns what a client gets of an event that it may see, as [View.Seen] returns it. [Server.MayHave] decides before that whether
// it may have the payload.
func (s *Server) Content(ctx context.Context, v *View, want streamv1.Payload, seen sinks.Record) (Content, error) {
	if payload.Canonical(want) {
		return Content{Event: seen.Encoded}, nil
	}
	c := Content{Event: payload.Headers(seen.Encoded)}
	if !payload.Stored(want) {
		return c, nil
	}
	found, err := s.payloads.Lookup(ctx, want, v.viewer.Personal(), []sinks.Record{seen}, batchBytes)
	if err != nil {
		return Content{}, err
	}
	c.Payload = found[0]
	return c, nil
}
