package subscribe

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

const (
	// behindLag is how many events make a subscription that had caught up fall behind. It has caught up again when none is left: so
	// it does not change all the time.
	behindLag = 10_000
	// behindCheck is how often a client without credit is looked at.
	behindCheck = time.Second
	// readAtOnce is the largest number of events in one read, and readAtLeast the smallest: a filter may let few pass.
	readAtOnce, readAtLeast = 128, 16
)

// alone is the feed of a client without a group: it reads the log, and the client keeps the position.
type alone struct {
	server    *Server
	view      *grpcstream.View
	payload   streamv1.Payload
	reader    *grpcstream.Reader // Its place is the one to read next, which is ahead of what was sent.
	log       sinks.Log
	onExpired streamv1.OnExpired
	caughtUp  bool
	// pending are records of the last read that were not looked at. Their memory is the log's.
	pending []sinks.Record

	// at is the position of the client: all before it was sent or does not pass.
	at atomic.Uint64
	// tokens guards the reader's tokens.
	tokens sync.Mutex
}

// openAlone begins a subscription without a group.
func (s *Server) openAlone(ctx context.Context, start *streamv1.SubscribeStart) (*alone, *streamv1.Subscribed, error) {
	reader, err := s.tail.NewReader(ctx, start.GetFilter())
	if err != nil {
		return nil, nil, err
	}
	f := &alone{
		server: s, view: s.tail.NewView(ctx), payload: start.GetPayload(), reader: reader, log: s.log, onExpired: start.GetOnExpired(),
	}
	if err := s.tail.MayHave(f.view, f.payload); err != nil {
		return nil, nil, err
	}
	if err := reader.Start(ctx, start.GetFrom()); err != nil {
		if _, err = f.skipped(err); err != nil {
			return nil, nil, reader.Status(ctx, err)
		}
	}
	f.at.Store(uint64(reader.Position()))
	return f, f.subscribed(), nil
}

// subscribed says where the reader is.
func (f *alone) subscribed() *streamv1.Subscribed {
	f.tokens.Lock()
	defer f.tokens.Unlock()
	at, bounds := f.reader.Position(), f.log.Bounds()
	return &streamv1.Subscribed{
		Token: f.reader.Token(at), Position: uint64(at), Lag: f.reader.Lag(),
		Epoch: uint64(f.log.Mark(at).Epoch), Earliest: uint64(bounds.Earliest), Latest: uint64(bounds.Next),
	}
}

// skipped moves the reader over what is no longer kept, if the client chose so. Otherwise it returns err.
func (f *alone) skipped(err error) (moved bool, _ error) {
	if !errors.Is(err, sinks.ErrExpired) {
		return false, err
	}
	var lost *sinks.LostError
	switch f.onExpired {
	case streamv1.OnExpired_ON_EXPIRED_EARLIEST:
		if errors.As(err, &lost) {
			f.reader.Pass(lost.To)
			return true, nil
		}
		f.reader.Pass(f.log.Bounds().Earliest)
		return true, nil
	case streamv1.OnExpired_ON_EXPIRED_LATEST:
		f.reader.Pass(f.log.Bounds().Next)
		return true, nil
	default:
		return false, err
	}
}

func (f *alone) next(ctx context.Context, budget groups.Budget) (chunk, error) {
	for {
		lag := f.reader.Lag()
		if f.caughtUp && lag >= behindLag {
			f.caughtUp = false
			return chunk{behind: true, next: f.reader.Position()}, nil
		}
		if !f.caughtUp && lag == 0 {
			f.caughtUp = true
			return chunk{caughtUp: true, next: f.reader.Position()}, nil
		}
		c, waits, err := f.read(ctx, budget)
		if err != nil {
			if moved, err := f.skipped(err); moved {
				return chunk{moved: f.subscribed(), next: f.reader.Position()}, nil
			} else if err != nil {
				return chunk{}, err
			}
		}
		if !waits {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return chunk{}, ctx.Err()
		case <-time.After(behindCheck):
		}
	}
}

// read returns what passes within the budget, and within one message. waits: the next event passes, and there is no credit for it.
func (f *alone) read(ctx context.Context, budget groups.Budget) (c chunk, waits bool, err error) {
	if len(f.pending) == 0 {
		limit := min(max(budget.Events, readAtLeast), readAtOnce)
		if f.pending, err = f.reader.Read(ctx, time.Now().Add(behindCheck), limit); err != nil {
			return chunk{}, false, err
		}
	}
	f.tokens.Lock()
	defer f.tokens.Unlock()
	begin := f.reader.Position()
	for len(f.pending) > 0 && c.bytes < batchBytes {
		next := f.reader.Position()
		seen, passes, err := f.reader.Visible(&f.pending[0], next)
		if err != nil {
			return chunk{}, false, err
		}
		if passes {
			if c.events >= budget.Events || c.events > 0 && int64(c.bytes) >= budget.Bytes {
				waits = f.reader.Position() == begin
				// It is read again when there is credit.
				f.reader.Release(f.pending)
				f.pending = nil
				break
			}
			d := delivery{token: f.reader.Token(next + 1)}
			if err := f.server.fill(ctx, &d, f.view, f.payload, seen); err != nil {
				return chunk{}, false, err
			}
			c.add(d)
			f.server.trace(&c, &seen.Header)
		}
		f.pending[0] = sinks.Record{}
		f.pending = f.pending[1:]
		f.reader.Pass(next + 1)
	}
	c.next = f.reader.Position()
	return c, waits, nil
}

func (f *alone) sent(c chunk) { f.at.Store(uint64(c.next)) }

func (f *alone) place() place {
	f.tokens.Lock()
	defer f.tokens.Unlock()
	at := sinks.Position(f.at.Load())
	p := place{token: f.reader.Token(at), position: uint64(at)}
	if next := f.log.Bounds().Next; next > at {
		p.lag = uint64(next - at)
	}
	return p
}

func (f *alone) status(ctx context.Context, err error) error { return f.reader.Status(ctx, err) }

var errNoGroup = grpcstream.Invalid(errors.New("there is nothing to acknowledge without a group: keep the token"))

func (*alone) answer(groups.Answer) (*groups.Receipt, error) { return nil, errNoGroup }

func (*alone) patience() time.Duration { return 0 }
func (*alone) waiting() bool           { return false }
func (*alone) leave(context.Context)   {}
