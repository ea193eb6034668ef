package daemon

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/logtest"
)

// TestStreamLog holds the journal to what sinks are promised of a log. Its events expire by the journal's own retention.
func TestStreamLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		k := &keeper{now: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)}
		j, err := journal.Open(t.Context(), journal.Config{
			Dir:       t.TempDir(),
			Retention: journal.Retention{Age: keptFor},
			Interval:  time.Millisecond,
			Now:       k.clock,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = j.Close() })
		k.journal = j
		return logtest.Harness{
			Log:    streamLog{j},
			Append: func(events ...*eventv1.Event) { k.add(t, events) },
			Expire: func(p sinks.Position) { k.expire(t, journal.Position(p)) },
			Close:  func() { _ = j.Close() },
		}
	})
}

// keptFor is how long the journal keeps events here.
const keptFor = 24 * time.Hour

// keeper fills a journal by a clock of its own, on which a second passes with each webhook.
type keeper struct {
	journal *journal.Journal

	mu  sync.Mutex
	now time.Time
	// committed is when the webhook was committed whose first event is at the position.
	committed map[journal.Position]time.Time
}

func (k *keeper) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *keeper) add(t *testing.T, events []*eventv1.Event) {
	t.Helper()
	k.mu.Lock()
	k.now = k.now.Add(time.Second)
	at := k.now
	k.mu.Unlock()
	receipt, err := k.journal.Append(t.Context(), entryOf(at, events))
	if err != nil {
		t.Errorf("append: %v", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.committed == nil {
		k.committed = map[journal.Position]time.Time{}
	}
	k.committed[receipt.First] = at
}

// expire lets time pass until p is the oldest event that is young enough, and waits for the journal to notice.
func (k *keeper) expire(t *testing.T, p journal.Position) {
	t.Helper()
	k.mu.Lock()
	at, ok := k.committed[p]
	k.now = at.Add(keptFor)
	k.mu.Unlock()
	if !ok {
		t.Errorf("no webhook begins at position %d", p)
		return
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for k.journal.Bounds().Earliest < p {
		select {
		case <-look.C:
		case <-t.Context().Done():
			t.Errorf("events before %d did not expire", p)
			return
		}
	}
}

// entryOf is a webhook received at a time that no other one was received at.
func entryOf(at time.Time, events []*eventv1.Event) journal.Entry {
	e := journal.Entry{
		Webhook: &journalv1.Webhook{
			Id: uuid.Must(uuid.NewV7()).String(), Source: "test", ReceivedAt: timestamppb.New(at),
		},
		Events: events,
		Window: time.Hour,
	}
	copy(e.Key[:], fmt.Sprintf("%016d", at.Unix()))
	return e
}
