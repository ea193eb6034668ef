// Package memlog is a [sinks.Log] in memory: the reference for what the contract means, and the log of tests that need one.
package memlog

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// maxReadBytes is how much one Read returns, or one event more.
const maxReadBytes = 1 << 20

// Log is a log in memory. It is safe for concurrent use.
type Log struct {
	id string

	mu      sync.Mutex
	first   sinks.Position // Of entries[0].
	entries []entry
	more    chan struct{} // Closed, and made anew, when there is something to wake readers for.
	closed  bool
}

type entry struct {
	encoded  []byte
	received time.Time
}

// New returns an empty log. Positions start at 1.
func New(id string) *Log { return &Log{id: id, first: 1, more: make(chan struct{})} }

// Append adds events at the end, all at once, and returns the first one's position. It keeps copies. It fails when an event
// cannot be encoded or the log is closed, and then adds none.
func (l *Log) Append(events ...*eventv1.Event) (sinks.Position, error) {
	added := make([]entry, len(events))
	for i, e := range events {
		encoded, err := proto.Marshal(e)
		if err != nil {
			return 0, fmt.Errorf("memlog: append: %w", err)
		}
		added[i] = entry{encoded: encoded, received: e.GetReceivedAt().AsTime()}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, sinks.ErrClosed
	}
	at := l.next()
	l.entries = append(l.entries, added...)
	l.wake()
	return at, nil
}

// Expire drops the events before position p, as retention does.
func (l *Log) Expire(p sinks.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p = min(p, l.next())
	if p <= l.first {
		return
	}
	l.entries = append([]entry(nil), l.entries[p-l.first:]...)
	l.first = p
	l.wake()
}

// Close ends all reads with ErrClosed.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

// ID implements [sinks.Log].
func (l *Log) ID() string { return l.id }

// Bounds implements [sinks.Log].
func (l *Log) Bounds() sinks.Bounds {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sinks.Bounds{Earliest: l.first, Next: l.next()}
}

// Seek implements [sinks.Log].
func (l *Log) Seek(ctx context.Context, t time.Time) (sinks.Position, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, sinks.ErrClosed
	}
	i := sort.Search(len(l.entries), func(i int) bool { return !l.entries[i].received.Before(t) })
	return l.first + sinks.Position(i), nil
}

// Read implements [sinks.Log].
func (l *Log) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	for {
		if err := ctx.Err(); err != nil {
			return records, err
		}
		read, more, err := l.take(from, records)
		if err != nil || more == nil {
			return read, err
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// take reads what is there. If nothing is there yet, it returns what to wait for.
func (l *Log) take(from sinks.Position, records []sinks.Record) ([]sinks.Record, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return records, nil, sinks.ErrClosed
	case from < l.first:
		return records, nil, sinks.ErrExpired
	case from > l.next():
		return records, nil, sinks.ErrFuture
	case from == l.next():
		return records, l.more, nil
	}
	size := 0
	for i, e := range l.entries[from-l.first:] {
		size += len(e.encoded)
		if len(records) == cap(records) || i > 0 && size > maxReadBytes {
			break
		}
		records = append(records, sinks.Record{Position: from + sinks.Position(i), Encoded: e.encoded})
	}
	return records, nil, nil
}

func (l *Log) next() sinks.Position { return l.first + sinks.Position(len(l.entries)) }

func (l *Log) wake() {
	close(l.more)
	l.more = make(chan struct{})
}
