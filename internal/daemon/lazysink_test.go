package daemon

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
)

// A log without events, for sinks that resume.

func (j *flakyJournal) ID() string                                { return "log" }
func (j *flakyJournal) Mark(p sinks.Position) sinks.Mark          { return sinks.Mark{Position: p} }
func (j *flakyJournal) Resolve(context.Context, sinks.Mark) error { return nil }
func (c *flakyClaim) Moved() bool                                 { return false }
func (c *flakyClaim) Save(context.Context, sinks.Position) error  { return nil }

// resuming is a kind of sink that stores its position in memory.
func resuming(store *memory.Store, open func() error) SinkKind {
	return SinkKind{
		Name:    "file",
		Resumes: func(config.Sink) bool { return true },
		Open: func(ctx context.Context, _ config.Sink, from sinks.Origin) (sinks.Sink, error) {
			if err := open(); err != nil {
				return nil, err
			}
			return memory.OpenResumer(ctx, store, from, memory.Config{})
		},
	}
}

// A sink that resumes is opened when its destination is asked, and is asked again until it can be opened.
func TestLazyResumer(t *testing.T) {
	store := memory.NewStore()
	away := true
	kind := resuming(store, func() error {
		if away {
			return errAway
		}
		return nil
	})
	plugins := Plugins{Sinks: []SinkKind{kind}}
	cfg := config.Sink{File: &config.File{}}
	ctx := t.Context()
	lane := newLane(plugins.resumes(cfg), func(ctx context.Context) (sinks.Sink, error) {
		return plugins.openSink(ctx, cfg, sinks.Origin{Log: &flakyJournal{}, Sink: "orders"})
	})
	r, ok := lane.(sinks.Resumer)
	if !ok {
		t.Fatal("the sink does not resume")
	}
	if _, _, err := r.Resume(ctx); !errors.Is(err, errAway) {
		t.Errorf("resume while it cannot be opened: %v", err)
	}
	if err := r.MoveTo(ctx, 3); !errors.Is(err, errAway) {
		t.Errorf("move while it cannot be opened: %v", err)
	}
	away = false
	if _, found, err := r.Resume(ctx); found || err != nil {
		t.Errorf("resume: %t, %v", found, err)
	}
	if err := r.MoveTo(ctx, 3); err != nil {
		t.Error(err)
	}
	if at, _ := store.Reached("orders"); at.Mark.Position != 3 {
		t.Errorf("the destination is at %d", at.Mark.Position)
	}
	if err := lane.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Resume(ctx); !errors.Is(err, sinks.ErrClosed) {
		t.Errorf("resume after close: %v", err)
	}
}

// The settings decide whether a sink resumes, not its type.
func TestSinkThatCouldResume(t *testing.T) {
	kind := resuming(memory.NewStore(), func() error { return nil })
	kind.Resumes = nil
	plugins := Plugins{Sinks: []SinkKind{kind}}
	cfg := config.Sink{File: &config.File{}, Concurrency: 4}
	s, err := plugins.openSink(t.Context(), cfg, sinks.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	if _, resumes := s.(sinks.Resumer); resumes {
		t.Error("the sink resumes")
	}
	if faults := plugins.checkSink(cfg); len(faults) > 0 {
		t.Errorf("four lanes: %v", faults)
	}

	kind.Resumes = func(config.Sink) bool { return true }
	kind.Open = func(ctx context.Context, _ config.Sink, _ sinks.Origin) (sinks.Sink, error) {
		return memory.Open(ctx, memory.NewStore(), memory.Config{})
	}
	plugins = Plugins{Sinks: []SinkKind{kind}}
	if _, err := plugins.openSink(t.Context(), cfg, sinks.Origin{}); err == nil {
		t.Error("a sink that does not resume is opened as one that does")
	}
	if faults := plugins.checkSink(cfg); len(faults) != 1 || faults[0].Key != "concurrency" {
		t.Errorf("four lanes of a sink that resumes: %v", faults)
	}
}

// A sink whose destination was taken over is opened again: at once, and then every few seconds.
func TestFencedSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, opened := memory.NewStore(), atomic.Int64{}
		var fenced atomic.Bool
		kind := resuming(store, func() error { opened.Add(1); return nil })
		open := kind.Open
		kind.Open = func(ctx context.Context, cfg config.Sink, from sinks.Origin) (sinks.Sink, error) {
			s, err := open(ctx, cfg, from)
			return fencedResumer{s.(sinks.Resumer), &fenced}, err
		}
		fenced.Store(true)
		j, log := &flakyJournal{}, &logBuffer{}
		pushing(t, j, log, kind)
		wait(time.Minute)
		if n := opened.Load(); n < 5 || n > 20 {
			t.Errorf("opened %d times in a minute", n)
		}
		fenced.Store(false)
		wait(claimRetryMost)
		n := opened.Load()
		wait(time.Hour)
		if opened.Load() != n {
			t.Error("opened again, and not fenced")
		}
		if log.lines("taken its destination over") == 0 {
			t.Error("the log does not say that the destination was taken over")
		}
	})
}

type fencedResumer struct {
	sinks.Resumer

	fenced *atomic.Bool
}

func (f fencedResumer) Resume(ctx context.Context) (sinks.Reached, bool, error) {
	if f.fenced.Load() {
		return sinks.Reached{}, false, sinks.ErrFenced
	}
	return f.Resumer.Resume(ctx)
}

// preparing is a sink that counts what it has to prepare.
type preparing struct {
	sinks.Sink
	prepared *int
}

func (p preparing) Prepare(events []sinks.Record) { *p.prepared += len(events) }

// A lazy sink passes on what is to be prepared, once it is open, and if the sink prepares at all.
func TestLazySinkPrepares(t *testing.T) {
	count := 0
	plain, err := memory.Open(t.Context(), memory.NewStore(), memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []sinks.Sink{preparing{plain, &count}, plain} {
		lane := newLane(false, func(context.Context) (sinks.Sink, error) { return s, nil })
		p, ok := lane.(sinks.Preparer)
		if !ok {
			t.Fatal("a lazy sink does not pass events on")
		}
		p.Prepare(make([]sinks.Record, 3))
		if _, err := lane.Deliver(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		p.Prepare(make([]sinks.Record, 2))
	}
	if count != 2 {
		t.Errorf("%d events prepared, want 2", count)
	}
}
