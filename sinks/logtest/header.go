package logtest

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// fullEvent has every field of the header.
func fullEvent() *eventv1.Event {
	return &eventv1.Event{
		Id:             "0d6f2a10-7f5e-5b7e-9d6c-0123456789ab",
		Type:           "order.changed",
		Source:         "till",
		Connector:      "kasafik",
		VendorEvent:    "orders",
		Subject:        "order/1",
		SubjectVersion: "9007199254740993",
		OccurredAt:     timestamppb.New(began.Add(-time.Hour - 1)),
		ReceivedAt:     timestamppb.New(began),
		WebhookId:      "0197a3c2-5b1e-7c3d-8e4f-0123456789ab",
		Supersedes:     "0d6f2a10-7f5e-5b7e-9d6c-ba9876543210",
		Stale:          true,
		Traceparent:    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Data:           &eventv1.Event_Order{Order: &eventv1.Order{Id: "1"}},
	}
}

// readFull appends two events with full headers and one with none, and reads them.
func readFull(ctx context.Context, h Harness) ([]sinks.Record, error) {
	first := h.Log.Bounds().Next
	// Each event has its own time: a log may use the time to tell webhooks apart.
	bare := &eventv1.Event{ReceivedAt: timestamppb.New(began.Add(time.Second))}
	last := fullEvent()
	last.ReceivedAt = timestamppb.New(began.Add(2 * time.Second))
	h.Append(fullEvent())
	h.Append(bare)
	h.Append(last)
	var records []sinks.Record
	for p := first; p < first+3; p++ {
		read, err := h.Log.Read(ctx, p, make([]sinks.Record, 0, 1))
		if err := some(read, err, p); err != nil {
			return nil, err
		}
		records = append(records, read[0])
	}
	return records, nil
}

func readsHeader(ctx context.Context, h Harness) error {
	records, err := readFull(ctx, h)
	if err != nil {
		return err
	}
	for _, r := range records {
		event, err := r.Event()
		if err != nil {
			return err
		}
		if err := sameTexts(r.Header, event); err != nil {
			return err
		}
		if err := sameTime("occurred_at", r.Header.OccurredAt, event.GetOccurredAt()); err != nil {
			return err
		}
		if err := sameTime("received_at", r.Header.ReceivedAt, event.GetReceivedAt()); err != nil {
			return err
		}
	}
	return nil
}

func sameTexts(h sinks.Header, e *eventv1.Event) error {
	for name, pair := range map[string][2]string{
		"id":              {string(h.ID), e.GetId()},
		"type":            {string(h.Type), e.GetType()},
		"source":          {string(h.Source), e.GetSource()},
		"connector":       {string(h.Connector), e.GetConnector()},
		"vendor_event":    {string(h.VendorEvent), e.GetVendorEvent()},
		"subject":         {string(h.Subject), e.GetSubject()},
		"subject_version": {string(h.SubjectVersion), e.GetSubjectVersion()},
		"webhook_id":      {string(h.WebhookID), e.GetWebhookId()},
		"supersedes":      {string(h.Supersedes), e.GetSupersedes()},
		"traceparent":     {string(h.Traceparent), e.GetTraceparent()},
	} {
		if pair[0] != pair[1] {
			return fmt.Errorf("%s is %q in the header, %q in the event", name, pair[0], pair[1])
		}
	}
	if h.Stale != e.GetStale() {
		return fmt.Errorf("stale is %v in the header, %v in the event", h.Stale, e.GetStale())
	}
	return nil
}

func sameTime(name string, got time.Time, want *timestamppb.Timestamp) error {
	if want == nil && got.IsZero() {
		return nil
	}
	if want == nil || !got.Equal(want.AsTime()) || got.Location() != time.UTC {
		return fmt.Errorf("%s is %v in the header, %v in the event", name, got, want)
	}
	return nil
}

func sharesMemory(ctx context.Context, h Harness) error {
	records, err := readFull(ctx, h)
	if err != nil {
		return err
	}
	for _, r := range records {
		for name, field := range map[string][]byte{
			"id": r.Header.ID, "type": r.Header.Type, "source": r.Header.Source, "connector": r.Header.Connector,
			"vendor_event": r.Header.VendorEvent, "subject": r.Header.Subject, "subject_version": r.Header.SubjectVersion,
			"webhook_id": r.Header.WebhookID, "supersedes": r.Header.Supersedes,
		} {
			if len(field) > 0 && !within(r.Encoded, field) {
				return fmt.Errorf("%s of the event at %d is a copy", name, r.Position)
			}
		}
	}
	return nil
}

// within reports whether the memory of part begins in that of whole.
func within(whole, part []byte) bool {
	for i := range whole {
		if &whole[i] == &part[0] {
			return true
		}
	}
	return false
}
