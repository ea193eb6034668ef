// Package tail keeps the newest events of a log in memory, for many readers at once.
//
// A [Log] stands in front of another log and is one itself. One goroutine reads the other log, and all readers near its end share what that
// goroutine has read: an event is read from the storage once, however many readers get it. A reader that is further behind reads the
// storage, as it would without this package.
//
// # Promises
//
// Those of [sinks.Log], which are the other log's: the tail shows only what it has read there, so only what is durable, and it asks that
// log for everything else: bounds, marks, and what has expired. While the other log cannot be read, readers ask it themselves and
// get its errors.
//
// # Memory
//
// The tail has at most the bytes that it was made with, what readers derive from its events included, and one read of the other log (see
// [sinks.Log]). A reader that holds a record keeps it, and its neighbours of the same read, after the tail has let it go.
package tail

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// DefaultBytes is a good size.
	DefaultBytes = 64 << 20
	// readRecords is the number of events in one read of the other log.
	readRecords = 512
	// maxReadBytes limits the size of the events that one Read returns. A larger event is returned alone.
	maxReadBytes = 1 << 20
	// overhead is the memory of an event that is not its encoding.
	overhead = int(unsafe.Sizeof(entry{}))
	// minPause and maxPause are the pauses between attempts to read a log that fails.
	minPause, maxPause = 100 * time.Millisecond, 5 * time.Second
)

// Log is a [sinks.Log] that has the newest events of another one in memory. It is safe for concurrent use.
type Log struct {
	sinks.Log

	limit   int
	hits    atomic.Uint64
	misses  atomic.Uint64
	changed atomic.Pointer[chan struct{}] // Closed and replaced with each change of what follows.

	mu      sync.RWMutex
	running bool // The tail follows the other log. Otherwise readers do that themselves.
	ring    ring
}

// New returns a tail of at most the given bytes in front of a log. Until [Log.Run] it has no events. It starts no goroutine.
func New(log sinks.Log, bytes int) *Log {
	l := &Log{Log: log, limit: bytes}
	changed := make(chan struct{})
	l.changed.Store(&changed)
	return l
}

// Run fills the tail until ctx is done or the other log is closed. Then readers read the other log.
func (l *Log) Run(ctx context.Context) {
	defer l.stop()
	records := make([]sinks.Record, 0, readRecords)
	pause := minPause
	next := l.begin()
	for {
		read, err := l.Log.Read(ctx, next, records)
		if len(read) > 0 && err == nil {
			l.add(read)
			next = read[len(read)-1].Position + 1
			clear(read)
			pause = minPause
			continue
		}
		l.stop()
		if ctx.Err() != nil || errors.Is(err, sinks.ErrClosed) {
			return
		}
		// What cannot be read is passed by, so the tail begins again at the end.
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, maxPause)
		}
		next = l.begin()
	}
}

// begin makes the tail empty, at the other log's end, and returns this position.
func (l *Log) begin() sinks.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.Log.Bounds().Next
	l.ring, l.running = newRing(next), true
	l.wake()
	return next
}

func (l *Log) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.running = ring{}, false
	l.wake()
}

// add appends records that follow the last one.
func (l *Log) add(records []sinks.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range records {
		l.ring.add(&records[i], l)
	}
	l.ring.shrink(l.limit)
	l.wake()
}

// Charge implements [sinks.MemoOwner]: it counts what readers derive from the event at p.
func (l *Log) Charge(p sinks.Position, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring.charge(p, bytes)
	l.ring.shrink(l.limit)
}

// wake tells waiting readers that something has changed. The caller has the lock.
func (l *Log) wake() {
	changed := make(chan struct{})
	close(*l.changed.Swap(&changed))
}

// Await returns a channel that is closed when there may be an event at p to read, or when a read there may fail. It costs no goroutine and
// no timer.
func (l *Log) Await(p sinks.Position) <-chan struct{} {
	changed := *l.changed.Load()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.running || p != l.ring.next {
		return closed
	}
	return changed
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Read implements [sinks.Log].
func (l *Log) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	from = max(from, 1)
	for {
		if err := ctx.Err(); err != nil {
			return records, err
		}
		// Loaded before the look, so that a change in between is seen.
		changed := *l.changed.Load()
		read, wait := l.readNow(from, records)
		switch {
		case !wait && len(read) == len(records):
			l.misses.Add(1)
			return l.Log.Read(ctx, from, records)
		case !wait:
			l.hits.Add(1)
			return read, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return records, ctx.Err()
		}
	}
}

// readNow appends what the tail has from a position on, or says that the reader must wait for it. Without either, the other log must be
// asked.
func (l *Log) readNow(from sinks.Position, records []sinks.Record) (read []sinks.Record, wait bool) {
	// Retention may have removed what is still in memory.
	earliest := l.Log.Bounds().Earliest
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case !l.running || from < max(l.ring.first, earliest) || from > l.ring.next || len(records) == cap(records):
		return records, false
	case from == l.ring.next:
		return records, true
	}
	size := 0
	for p := from; p < l.ring.next && len(records) < cap(records); p++ {
		r := &l.ring.at(p).record
		if size += len(r.Encoded); p > from && size > maxReadBytes {
			break
		}
		records = append(records, *r)
	}
	return records, false
}

// Stats describes a tail.
type Stats struct {
	// Bytes is the memory that it takes, Events how many events it has.
	Bytes, Events int
	// Hits is how many reads it has answered since the start, Misses how many it has passed to the other log.
	Hits, Misses uint64
}

// Stats describes the tail now.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return Stats{Bytes: l.ring.bytes, Events: int(l.ring.next - l.ring.first), Hits: l.hits.Load(), Misses: l.misses.Load()}
}
