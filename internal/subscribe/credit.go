package subscribe

import (
	"context"
	"fmt"
	"sync"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// The largest credit that a client may have given and the server not used.
const (
	maxCreditEvents = 1_000_000
	maxCreditBytes  = 1 << 30
)

// credit is the client's permission to send. It is safe for concurrent use.
type credit struct {
	// more gets a value after credit was added.
	more chan struct{}

	mu     sync.Mutex
	events int64
	// bytes is counted once a Credit had bytes. It may become negative, by the last event.
	bytes   int64
	counted bool
}

func newCredit() *credit { return &credit{more: make(chan struct{}, 1)} }

// add adds what the client gave. Its errors are for the client.
func (c *credit) add(given *streamv1.Credit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Each of them is checked alone first, so that no sum overflows.
	if given.GetBytes() > maxCreditBytes || c.bytes+int64(given.GetBytes()) > maxCreditBytes {
		return fmt.Errorf("credit.bytes: the sum is more than %d", maxCreditBytes)
	}
	if c.events+int64(given.GetEvents()) > maxCreditEvents {
		return fmt.Errorf("credit.events: the sum is more than %d", maxCreditEvents)
	}
	c.events += int64(given.GetEvents())
	c.bytes += int64(given.GetBytes())
	c.counted = c.counted || given.GetBytes() > 0
	select {
	case c.more <- struct{}{}:
	default:
	}
	return nil
}

// left returns how many events may be sent now, and how many bytes. 0 events is no credit. The last event may exceed the bytes.
func (c *credit) left() (events, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.events <= 0 || c.counted && c.bytes <= 0:
		return 0, 0
	case c.counted:
		return int(c.events), int(c.bytes)
	default:
		return int(c.events), maxCreditBytes
	}
}

// use takes what was sent.
func (c *credit) use(events, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events -= int64(events)
	if c.counted {
		c.bytes -= int64(bytes)
	}
}

// waiting returns a context that is done when credit was added.
func (c *credit) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-c.more:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
