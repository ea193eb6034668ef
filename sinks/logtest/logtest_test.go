package logtest

import (
	"context"
	"errors"
	"path"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// broken is a good log with one fault.
type broken struct {
	*memlog.Log
	id     func() string
	bounds func() sinks.Bounds
	seek   func(context.Context, time.Time) (sinks.Position, error)
	read   func(context.Context, sinks.Position, []sinks.Record) ([]sinks.Record, error)
}

func (b *broken) ID() string           { return b.id() }
func (b *broken) Bounds() sinks.Bounds { return b.bounds() }
func (b *broken) Seek(ctx context.Context, t time.Time) (sinks.Position, error) {
	return b.seek(ctx, t)
}

func (b *broken) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	return b.read(ctx, from, records)
}

func open() (Harness, *broken) {
	log := memlog.New("log")
	b := &broken{Log: log, id: log.ID, bounds: log.Bounds, seek: log.Seek, read: log.Read}
	return Harness{
		Log: b,
		Append: func(events ...*eventv1.Event) {
			if _, err := log.Append(events...); err != nil {
				panic(err)
			}
		},
		Expire: log.Expire,
		Close:  log.Close,
	}, b
}

// Each fault fails the case that is meant for it.
func TestFaultsAreFound(t *testing.T) {
	faults := map[string][]func(b *broken){
		"bounds of an empty log": {func(b *broken) {
			b.bounds = func() sinks.Bounds { return sinks.Bounds{Earliest: 1, Next: 2} }
		}},
		"id": {func(b *broken) { b.id = func() string { return "" } }},
		"order": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				records, err := b.Log.Read(ctx, from, to)
				if len(records) > 1 {
					records[0], records[1] = records[1], records[0]
				}
				return records, err
			}
		}},
		"capacity": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, _ []sinks.Record) ([]sinks.Record, error) {
				return b.Log.Read(ctx, from, make([]sinks.Record, 0, 100))
			}
		}},
		"appends": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				return b.Log.Read(ctx, from, to[:0])
			}
		}},
		"large": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				records, err := b.Log.Read(ctx, from, to)
				for err == nil && len(records) < cap(to) && from+sinks.Position(len(records)) < b.Log.Bounds().Next {
					records, err = b.Log.Read(ctx, from+sinks.Position(len(records)), records)
				}
				return records, err
			}
		}},
		"waits": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				if from >= b.Log.Bounds().Next {
					return to, errors.New("nothing there")
				}
				return b.Log.Read(ctx, from, to)
			}
		}, func(b *broken) { // Wakes its readers with empty hands.
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				waits := from == b.Log.Bounds().Next
				records, err := b.Log.Read(ctx, from, to)
				if waits {
					records = to
				}
				return records, err
			}
		}},
		"gives up": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				records, err := b.Log.Read(ctx, from, to)
				if ctx.Err() != nil {
					err = nil
				}
				return records, err
			}
		}},
		"future": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				return b.Log.Read(ctx, min(from, b.Log.Bounds().Earliest), to)
			}
		}},
		"expired": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				return b.Log.Read(ctx, max(from, b.Log.Bounds().Earliest), to)
			}
		}},
		"closed": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				records, err := b.Log.Read(ctx, from, to)
				if errors.Is(err, sinks.ErrClosed) {
					err = errors.New("closed")
				}
				return records, err
			}
		}, func(b *broken) { // Fails readers that are waiting in another way than later ones.
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				_, was := b.Log.Seek(ctx, began)
				records, err := b.Log.Read(ctx, from, to)
				if was == nil && errors.Is(err, sinks.ErrClosed) {
					err = errors.New("gone")
				}
				return records, err
			}
		}},
		"seek": {func(b *broken) {
			b.seek = func(ctx context.Context, t time.Time) (sinks.Position, error) {
				return b.Log.Seek(ctx, t.Add(time.Nanosecond))
			}
		}},
		"concurrent": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				records, err := b.Log.Read(ctx, from, to)
				if from > 100 && len(records) > 0 {
					records[0].Encoded = records[0].Encoded[:len(records[0].Encoded)-1]
				}
				return records, err
			}
		}},
	}
	for _, c := range checks {
		good, _ := open()
		if err := c.run(t.Context(), good); err != nil {
			t.Errorf("%s: a good log fails: %v", c.name, err)
		}
		if len(faults[c.name]) == 0 {
			t.Errorf("%s: no fault shows that it can fail", c.name)
		}
		for i, fault := range faults[c.name] {
			bad, b := open()
			fault(b)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			if err := c.run(ctx, bad); err == nil {
				t.Errorf("%s: fault %d is not found", c.name, i)
			}
			cancel()
		}
	}
}

// A log that returns nothing, and no error either, fails each case that reads, and neither hangs nor panics.
func TestNothing(t *testing.T) {
	for _, c := range checks {
		if c.name == "bounds of an empty log" || c.name == "id" || c.name == "seek" {
			continue // They do not read.
		}
		h, b := open()
		b.read = func(_ context.Context, _ sinks.Position, to []sinks.Record) ([]sinks.Record, error) { return to, nil }
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if err := c.run(ctx, h); err == nil {
			t.Errorf("%s: passes without an event", c.name)
		}
		cancel()
	}
}

// What a harness cannot do is skipped for all to see; it does not pass.
func TestSkipped(t *testing.T) {
	var skipped []string
	t.Run("without Expire", func(t *testing.T) {
		Run(t, func(t *testing.T) Harness {
			h, _ := open()
			h.Expire = nil
			t.Cleanup(func() {
				if t.Skipped() {
					skipped = append(skipped, path.Base(t.Name()))
				}
			})
			return h
		})
	})
	if diff := cmp.Diff([]string{"expired"}, skipped); diff != "" {
		t.Errorf("skipped cases (-want +got):\n%s", diff)
	}
}
