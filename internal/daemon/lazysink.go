package daemon

import (
	"context"
	"sync"

	"github.com/webhook-bridge/bridge/sinks"
)

// newLane returns a sink that opens when it is used. A sink that resumes is a [sinks.Resumer] before it is open, too.
func newLane(resumes bool, open func(context.Context) (sinks.Sink, error)) sinks.Sink {
	l := newLazySink(open)
	if resumes {
		return lazyResumer{l}
	}
	return l
}

// lazyResumer is a lazySink whose sink is a [sinks.Resumer]. Its first Resume opens it.
type lazyResumer struct{ *lazySink }

// Resume implements [sinks.Resumer].
func (l lazyResumer) Resume(ctx context.Context) (sinks.Reached, bool, error) {
	r, err := l.resumer(ctx)
	if err != nil {
		return sinks.Reached{}, false, err
	}
	return r.Resume(ctx)
}

// MoveTo implements [sinks.Resumer].
func (l lazyResumer) MoveTo(ctx context.Context, p sinks.Position) error {
	r, err := l.resumer(ctx)
	if err != nil {
		return err
	}
	return r.MoveTo(ctx, p)
}

func (l lazyResumer) resumer(ctx context.Context) (sinks.Resumer, error) {
	s, err := l.opened(ctx)
	if err != nil {
		return nil, err
	}
	return s.(sinks.Resumer), nil // openSink has checked it.
}

// lazySink is opened by the first call that can. Until then calls fail in a way that is tried again.
type lazySink struct {
	open func(context.Context) (sinks.Sink, error)
	life context.Context // done when closed
	end  context.CancelFunc

	mu   sync.Mutex
	sink sinks.Sink // nil until opened
}

func newLazySink(open func(context.Context) (sinks.Sink, error)) *lazySink {
	l := &lazySink{open: open}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

// Deliver implements [sinks.Sink].
func (l *lazySink) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	s, err := l.opened(ctx)
	if err != nil {
		return 0, err
	}
	return s.Deliver(ctx, events)
}

// Prepare implements [sinks.Preparer], for a sink that is one.
func (l *lazySink) Prepare(events []sinks.Record) {
	l.mu.Lock()
	p, ok := l.sink.(sinks.Preparer)
	l.mu.Unlock()
	if ok {
		p.Prepare(events)
	}
}

func (l *lazySink) opened(ctx context.Context) (sinks.Sink, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.life.Err() != nil {
		return nil, sinks.ErrClosed
	}
	if l.sink != nil {
		return l.sink, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.life, cancel)()
	s, err := l.open(ctx)
	if err != nil {
		if l.life.Err() != nil {
			err = sinks.ErrClosed
		}
		return nil, err
	}
	l.sink = s
	return s, nil
}

// Close implements [sinks.Sink].
func (l *lazySink) Close() error {
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink == nil {
		return nil
	}
	return l.sink.Close()
}
