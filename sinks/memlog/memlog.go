// Package memlog is a [sinks.Log] in memory. It is the reference implementation of the contract, and the log for tests.
package memlog

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// maxReadBytes limits the size of the events that one Read returns. A larger event is returned alone.
const maxReadBytes = 1 << 20

// Log is a log in memory. It is safe for concurrent use.
type Log struct {
	id string

	mu      sync.Mutex
	first   sinks.Position // Of records[0].
	records []sinks.Record
	epochs  []epoch       // In order. The first one starts at 1.
	more    chan struct{} // Closed and replaced when waiting readers must read again.
	closed  bool
}

// epoch is the events from position start on, up to the next epoch's.
type epoch struct {
	name  sinks.Epoch
	start sinks.Position
}

// New returns an empty log in its first epoch. Positions start at 1.
func New(id string) *Log { return open(id, 1, nil, nil) }

// open returns a log with these records, the first one at position first. A new epoch starts at its end.
func open(id string, first sinks.Position, records []sinks.Record, epochs []epoch) *Log {
	l := &Log{id: id, first: first, records: records, more: make(chan struct{})}
	l.epochs = append(slices.Clone(epochs), epoch{name: newEpoch(), start: l.next()})
	return l
}

func newEpoch() sinks.Epoch {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // Never fails.
		if e := sinks.Epoch(binary.BigEndian.Uint64(b[:])); e != 0 {
			return e
		}
	}
}

// Restore returns a log as it is after the restore of a backup of this one: it has the events before next, the same ID, and a
// new epoch. This log does not change.
func (l *Log) Restore(next sinks.Position) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = min(max(next, l.first), l.next())
	begun := sort.Search(len(l.epochs), func(i int) bool { return l.epochs[i].start >= next })
	return open(l.id, l.first, slices.Clone(l.records[:next-l.first]), slices.Clone(l.epochs[:begun]))
}

// Append adds events at the end, in one step, and returns the first one's position. It stores copies. It fails when an event
// cannot be encoded or when the log is closed; then it adds no event.
func (l *Log) Append(events ...*eventv1.Event) (sinks.Position, error) {
	added := make([]sinks.Record, len(events))
	for i, e := range events {
		encoded, err := proto.Marshal(e)
		if err != nil {
			return 0, fmt.Errorf("memlog: append: %w", err)
		}
		if added[i], err = sinks.NewRecord(0, encoded); err != nil {
			return 0, fmt.Errorf("memlog: append: %w", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, sinks.ErrClosed
	}
	at := l.next()
	for i := range added {
		added[i].Position = at + sinks.Position(i)
	}
	l.records = append(l.records, added...)
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
	l.records = slices.Clone(l.records[p-l.first:])
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

// Mark implements [sinks.Log].
func (l *Log) Mark(p sinks.Position) sinks.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sinks.Mark{Epoch: l.epochBefore(p), Position: p}
}

// epochBefore returns the epoch of the event before p, or 0 when p is the first position of all.
func (l *Log) epochBefore(p sinks.Position) sinks.Epoch {
	for _, e := range slices.Backward(l.epochs) {
		if e.start < p {
			return e.name
		}
	}
	return 0
}

// Resolve implements [sinks.Log].
func (l *Log) Resolve(ctx context.Context, m sinks.Mark) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.checkReadable(m.Position); err != nil {
		return err
	}
	// For a reader that has seen no event, or does not know the epoch, only the position is checked.
	if known := l.epochBefore(m.Position); m.Epoch != 0 && known != 0 && m.Epoch != known {
		return sinks.ErrForked
	}
	return nil
}

// checkReadable returns the reason why the log cannot be read at p, or nil.
func (l *Log) checkReadable(p sinks.Position) error {
	switch {
	case l.closed:
		return sinks.ErrClosed
	case max(p, 1) < l.first:
		return sinks.ErrExpired
	case p > l.next():
		return sinks.ErrFuture
	}
	return nil
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
	i := sort.Search(len(l.records), func(i int) bool { return !l.records[i].Header.ReceivedAt.Before(t) })
	return l.first + sinks.Position(i), nil
}

// Read implements [sinks.Log].
func (l *Log) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	for {
		if err := ctx.Err(); err != nil {
			return records, err
		}
		read, more, err := l.readNow(max(from, 1), records)
		if err != nil || more == nil {
			return read, err
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// readNow appends the events from position from on. If there is none yet, it returns a channel that is closed when the
// caller must read again.
func (l *Log) readNow(from sinks.Position, records []sinks.Record) ([]sinks.Record, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.checkReadable(from); err != nil {
		return records, nil, err
	}
	if from == l.next() {
		return records, l.more, nil
	}
	there := l.records[from-l.first:]
	n, size := 0, 0
	for n < min(len(there), cap(records)-len(records)) {
		size += len(there[n].Encoded)
		if n > 0 && size > maxReadBytes {
			break
		}
		n++
	}
	return append(records, there[:n]...), nil, nil
}

func (l *Log) next() sinks.Position { return l.first + sinks.Position(len(l.records)) }

func (l *Log) wake() {
	close(l.more)
	l.more = make(chan struct{})
}
