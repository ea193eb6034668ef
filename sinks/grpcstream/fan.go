package grpcstream

import (
	"context"
	"sync"
	"sync/atomic"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// nearEvents is how far from the log's end a stream may be to share its batches with others.
	nearEvents = 4096
	// fanBytesPerStream bounds the batches that streams share, and fanBytes those of all streams of one kind, but for the newest one.
	fanBytesPerStream, fanBytes = 2 * batchBytes, 8 << 20
	// worthMerging is how many further events a batch must get to be made again.
	worthMerging = 8
)

// kind is all that the batches of a stream depend on. Streams of one kind share them.
type kind struct {
	filter  string // Its canonical encoding.
	rules   any    // What the viewer may see.
	payload streamv1.Payload
}

// fans are the batches of all kinds.
type fans struct {
	mu   sync.Mutex
	open map[kind]*fan
}

// join returns the batches of a kind. The stream must leave.
func (f *fans) join(k kind) *fan {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = make(map[kind]*fan)
	}
	n := f.open[k]
	if n == nil {
		n = &fan{kind: k, at: make(map[sinks.Position]*shared), ends: make(map[sinks.Position]int), fits: readRecords}
		f.open[k] = n
	}
	n.streams.Add(1)
	return n
}

func (f *fans) leave(n *fan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n.streams.Add(-1) == 0 {
		delete(f.open, n.kind)
	}
}

// fan has the newest batches of one kind, so that each is made once, and sent by all streams that get to its start. A stream that begins in the
// middle of a batch gets to the start of another one soon, since a batch is cut where another one ends.
type fan struct {
	kind    kind
	streams atomic.Int64 // Changed under fans.mu.

	mu    sync.Mutex
	at    map[sinks.Position]*shared // By the first position.
	ends  map[sinks.Position]int     // How many of the batches in order end at a position.
	order []*shared                  // From the oldest on.
	bytes int                        // Of order.
	fits  sinks.Position             // How many positions a full batch had last.
}

// shared is a batch that several streams send.
type shared struct {
	start sinks.Position
	made  chan struct{} // Closed when the rest is there. It does not change after that.
	next  sinks.Position
	batch batch
	err   error
	// abandoned: the stream that made it has ended, so the error is its own.
	abandoned bool

	fan      *fan
	prepared preparedBatch
	memo     sinks.Memo // What streams without gRPC make of it.
	size     int        // Of the batch in order, or 0. Guarded by fan.mu.
}

// maker makes a batch from a position on. It looks at nothing at or behind the end.
type maker func(from, end sinks.Position) (batch, sinks.Position, error)

// get returns the batch that starts at a position. The log's end is at next. If another stream is making it, it waits.
func (f *fan) get(ctx context.Context, from, next sinks.Position, produce maker) (*shared, error) {
	for {
		s, end, mine := f.claim(from, next)
		if mine {
			f.fill(ctx, s, end, produce)
			return s, s.err
		}
		select {
		case <-s.made:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !s.abandoned {
			return s, s.err
		}
	}
}

// claim returns the batch at a position, and whether the caller must make it.
func (f *fan) claim(from, next sinks.Position) (s *shared, end sinks.Position, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s = f.at[from]; s != nil && !s.small(next) {
		return s, 0, false
	}
	s = &shared{start: from, made: make(chan struct{}), fan: f}
	s.memo.Begin(s, from)
	f.at[from] = s
	return s, f.cut(from, next), true
}

// small reports whether a batch was made when there were few events, and would be much larger now.
func (s *shared) small(next sinks.Position) bool {
	select {
	case <-s.made:
	default:
		return false
	}
	more := int64(next) - int64(s.next)
	return more >= worthMerging && more >= int64(s.next-s.start) && len(s.batch.wire) < batchBytes/2 && s.next-s.start < readRecords/2
}

// cut returns where a batch should end: at the log's end, or where another batch ends in its second half, so that the streams of both go
// on together.
func (f *fan) cut(from, next sinks.Position) sinks.Position {
	if next <= from+f.fits {
		return next
	}
	for p := from + f.fits; p > from+f.fits/2; p-- {
		if f.ends[p] > 0 {
			return p
		}
	}
	// A little more than fits, to learn when more does.
	return min(next, from+min(f.fits+f.fits/8+1, readRecords))
}

// fill makes a batch, and keeps it for others if there are any.
func (f *fan) fill(ctx context.Context, s *shared, end sinks.Position, produce maker) {
	s.batch, s.next, s.err = produce(s.start, end)
	s.abandoned = s.err != nil && ctx.Err() != nil
	f.mu.Lock()
	defer f.mu.Unlock()
	close(s.made)
	if s.err != nil {
		f.drop(s)
		return
	}
	f.order = append(f.order, s)
	f.ends[s.next]++
	// Twice its encoding, since gRPC's form is kept with it, and the batch itself.
	s.size = 2*cap(s.batch.wire) + 256
	f.bytes += s.size
	if s.next < end || end-s.start > f.fits {
		f.fits = s.next - s.start
	}
	f.shrink()
}

// shrink removes the oldest batches until the rest has the size. The newest one stays, however large it is, where other streams may get to
// it: each would make its own otherwise. The caller has the lock.
func (f *fan) shrink() {
	streams := int(f.streams.Load())
	for limit := min(streams*fanBytesPerStream, fanBytes); f.bytes > limit && (len(f.order) > 1 || streams == 1); {
		oldest := f.order[0]
		f.order[0] = nil
		f.order = f.order[1:]
		f.bytes -= oldest.size
		oldest.size = 0
		oldest.memo.Forget()
		if f.ends[oldest.next]--; f.ends[oldest.next] == 0 {
			delete(f.ends, oldest.next)
		}
		f.drop(oldest)
	}
}

// drop forgets a batch, unless another one has its place.
func (f *fan) drop(s *shared) {
	if f.at[s.start] == s {
		delete(f.at, s.start)
	}
}

// Charge implements [sinks.MemoOwner].
func (s *shared) Charge(_ sinks.Position, bytes int) {
	s.fan.mu.Lock()
	defer s.fan.mu.Unlock()
	if s.size > 0 {
		s.size += bytes
		s.fan.bytes += bytes
		s.fan.shrink()
	}
}

// Shared is a response that several streams send. A [grpc.ServerStream] whose context does not come from gRPC gets it in SendMsg.
type Shared struct {
	*streamv1.TailResponse
	batch *shared
}

// Once returns what encode makes of the response, as text for example. The first stream calls it, for each key, and the others share the
// result: it must not be changed. The key must be comparable, and its type the caller's own.
func (s *Shared) Once(key any, encode func() ([]byte, error)) ([]byte, error) {
	return sinks.Derive(&sinks.Record{Memo: &s.batch.memo}, key, func() ([]byte, int, error) {
		text, err := encode()
		return text, cap(text), err
	})
}
