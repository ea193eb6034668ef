package admin

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// maxDeliveries is how many of a webhook's events are shown with what became of them.
const maxDeliveries = 100

// deliveries returns what became of an event at each sink.
func (s *Server) deliveries(ctx context.Context, readers []journal.ReaderState, p sinks.Position, e *eventv1.Event) ([]*adminv1.Delivery, error) {
	var all []*adminv1.Delivery
	for _, r := range readers {
		d := &adminv1.Delivery{Sink: r.Name, State: "delivered"}
		if r.Position <= p {
			d.State = "pending"
		} else if r.Missed > 0 {
			missed, err := s.missed(ctx, r.Name, p)
			if err != nil {
				return nil, err
			}
			if missed {
				d.State = "missed"
			}
		}
		leftOut, err := s.leftOut(r.Name, p, e)
		switch {
		case err != nil:
			return nil, err
		case leftOut:
			d.State = "left_out"
		case r.Parked > 0:
			// A sink may have several events under way: what is parked may lie beyond its position.
			parked, err := s.journal.Parked(ctx, r.Name, p, 1)
			if err != nil {
				return nil, err
			}
			if len(parked) > 0 && parked[0].GetPosition() == uint64(p) {
				d.State, d.Reason = "parked", parked[0].GetReason()
			}
		}
		all = append(all, d)
	}
	return all, nil
}

// missed reports whether an event lies in a gap of a sink.
func (s *Server) missed(ctx context.Context, sink string, p sinks.Position) (bool, error) {
	gaps, err := s.journal.Gaps(ctx, sink)
	if err != nil {
		return false, err
	}
	for _, g := range gaps {
		if g.GetFrom() <= uint64(p) && uint64(p) < g.GetTo() {
			return true, nil
		}
	}
	return false, nil
}

// leftOut reports whether a sink's route does not choose an event.
func (s *Server) leftOut(sink string, p sinks.Position, e *eventv1.Event) (bool, error) {
	configured := s.sinks()
	i := slices.IndexFunc(configured, func(c Sink) bool { return c.Name == sink })
	if i < 0 || configured[i].Choose == nil {
		return false, nil
	}
	encoded, err := proto.Marshal(e)
	if err != nil {
		return false, err
	}
	record, err := sinks.NewRecord(p, encoded)
	if err != nil {
		return false, err
	}
	chosen, err := configured[i].Choose(&record)
	// The dispatcher parks an event that a route cannot judge.
	return err == nil && !chosen, nil
}
