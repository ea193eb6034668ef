package main

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks/logtest"
)

// TestStreamLog holds the journal to what sinks are promised of a log.
func TestStreamLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		j, err := journal.Open(t.Context(), journal.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = j.Close() })
		var n atomic.Int64
		return logtest.Harness{
			Log: streamLog{j},
			Append: func(events ...*eventv1.Event) {
				if _, err := j.Append(t.Context(), entryOf(n.Add(1), events)); err != nil {
					t.Errorf("append: %v", err)
				}
			},
			Close: func() { _ = j.Close() },
		}
	})
}

func entryOf(n int64, events []*eventv1.Event) journal.Entry {
	received := timestamppb.New(time.Now())
	if len(events) > 0 && events[0].GetReceivedAt() != nil {
		received = events[0].GetReceivedAt()
	}
	e := journal.Entry{
		Webhook: &journalv1.Webhook{Id: uuid.Must(uuid.NewV7()).String(), Source: "test", ReceivedAt: received},
		Events:  events,
		Window:  time.Hour,
	}
	copy(e.Key[:], fmt.Sprintf("%016d", n))
	return e
}
