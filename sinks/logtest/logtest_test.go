package logtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"path"
	"strings"
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
	id      func() string
	bounds  func() sinks.Bounds
	mark    func(sinks.Position) sinks.Mark
	resolve func(context.Context, sinks.Mark) error
	seek    func(context.Context, time.Time) (sinks.Position, error)
	read    func(context.Context, sinks.Position, []sinks.Record) ([]sinks.Record, error)
}

func (b *broken) ID() string                       { return b.id() }
func (b *broken) Bounds() sinks.Bounds             { return b.bounds() }
func (b *broken) Mark(p sinks.Position) sinks.Mark { return b.mark(p) }
func (b *broken) Resolve(ctx context.Context, m sinks.Mark) error {
	return b.resolve(ctx, m)
}

func (b *broken) Seek(ctx context.Context, t time.Time) (sinks.Position, error) {
	return b.seek(ctx, t)
}

func (b *broken) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	return b.read(ctx, from, records)
}

// onHeaders makes a fault that changes the headers of events that were read.
func onHeaders(change func(*sinks.Header)) func(b *broken) {
	return func(b *broken) {
		b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
			records, err := b.Log.Read(ctx, from, to)
			for i := range records {
				change(&records[i].Header)
			}
			return records, err
		}
	}
}

// forgives makes a fault that resolves marks which the good log refuses with an error.
func forgives(refused error) func(b *broken) {
	return func(b *broken) {
		b.resolve = func(ctx context.Context, m sinks.Mark) error {
			if err := b.Log.Resolve(ctx, m); !errors.Is(err, refused) {
				return err
			}
			return nil
		}
	}
}

// open returns a harness for a log with a fault. Logs that are restored from it have the fault too.
func open(log *memlog.Log, fault func(b *broken)) Harness {
	b := &broken{
		Log: log, id: log.ID, bounds: log.Bounds, mark: log.Mark, resolve: log.Resolve, seek: log.Seek, read: log.Read,
	}
	fault(b)
	return Harness{
		Log: b,
		Append: func(events ...*eventv1.Event) {
			if _, err := log.Append(events...); err != nil {
				panic(err)
			}
		},
		Expire: log.Expire,
		Backup: func() func() Harness {
			next := log.Bounds().Next
			return func() Harness { return open(log.Restore(next), fault) }
		},
		Close: log.Close,
	}
}

func none(*broken) {}

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
		"zero": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				if from == 0 {
					return to, sinks.ErrExpired
				}
				return b.Log.Read(ctx, from, to)
			}
		}},
		"waits": {func(b *broken) {
			b.read = func(ctx context.Context, from sinks.Position, to []sinks.Record) ([]sinks.Record, error) {
				if from >= b.Log.Bounds().Next {
					return to, errors.New("nothing there")
				}
				return b.Log.Read(ctx, from, to)
			}
		}, func(b *broken) { // Wakes its readers without an event.
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
		"header": {
			onHeaders(func(h *sinks.Header) { *h = sinks.Header{} }),
			onHeaders(func(h *sinks.Header) { h.Connector, h.VendorEvent = h.VendorEvent, h.Connector }),
			onHeaders(func(h *sinks.Header) { h.Supersedes = nil }),
			onHeaders(func(h *sinks.Header) { h.OccurredAt = h.ReceivedAt }),
			onHeaders(func(h *sinks.Header) { h.ReceivedAt = h.ReceivedAt.In(time.FixedZone("", 3600)) }),
			onHeaders(func(h *sinks.Header) { h.OccurredAt = h.OccurredAt.Add(1) }),
		},
		"header memory": {onHeaders(func(h *sinks.Header) { h.Subject = bytes.Clone(h.Subject) })},
		"mark": {func(b *broken) {
			b.mark = func(p sinks.Position) sinks.Mark { return b.Log.Mark(p + 1) }
		}, func(b *broken) {
			b.mark = func(p sinks.Position) sinks.Mark { return sinks.Mark{Position: p} }
		}, func(b *broken) { // Names another epoch each time.
			b.mark = func(p sinks.Position) sinks.Mark {
				return sinks.Mark{Epoch: memlog.New("other").Mark(2).Epoch, Position: p}
			}
		}},
		"resolve": {func(b *broken) { // Refuses the end with ErrFuture.
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if m.Position == b.Log.Bounds().Next {
					return sinks.ErrFuture
				}
				return b.Log.Resolve(ctx, m)
			}
		}, func(b *broken) { // Has no mark for a reader that has seen nothing.
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if m.Epoch == 0 {
					return sinks.ErrForked
				}
				return b.Log.Resolve(ctx, m)
			}
		}, func(b *broken) { // Resolves a mark that it does not know.
			b.bounds = func() sinks.Bounds {
				bounds := b.Log.Bounds()
				bounds.Next = max(bounds.Next-1, 1)
				return bounds
			}
		}},
		"resolve without epoch": {func(b *broken) {
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if m.Epoch == 0 && m.Position > 1 {
					return sinks.ErrForked
				}
				return b.Log.Resolve(ctx, m)
			}
		}, func(b *broken) {
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if m.Epoch == 0 {
					return nil
				}
				return b.Log.Resolve(ctx, m)
			}
		}},
		"resolve future": {forgives(sinks.ErrFuture), func(b *broken) { // Still refuses a mark after the event has come.
			var refused sinks.Position
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				err := b.Log.Resolve(ctx, m)
				if errors.Is(err, sinks.ErrFuture) && refused == 0 {
					refused = m.Position
				}
				if m.Position == refused {
					return sinks.ErrFuture
				}
				return err
			}
		}},
		"resolve foreign": {forgives(sinks.ErrForked), func(b *broken) {
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if err := b.Log.Resolve(ctx, m); !errors.Is(err, sinks.ErrForked) {
					return err
				}
				return sinks.ErrFuture
			}
		}},
		"resolve expired": {forgives(sinks.ErrExpired), func(b *broken) { // Checks the epoch first.
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if m.Epoch != 0 && m.Epoch != b.Log.Mark(m.Position).Epoch {
					return sinks.ErrForked
				}
				return b.Log.Resolve(ctx, m)
			}
		}, func(b *broken) { // Checks the last event that the reader saw, not the next one.
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if m.Position > 1 && m.Position <= b.Log.Bounds().Earliest {
					return sinks.ErrExpired
				}
				return b.Log.Resolve(ctx, m)
			}
		}, func(b *broken) { // Forgets the epoch of an event with the event.
			b.mark = func(p sinks.Position) sinks.Mark {
				m := b.Log.Mark(p)
				if earliest := b.Log.Bounds().Earliest; p > 1 && p == earliest {
					m.Epoch = otherThan(m.Epoch)
				}
				return m
			}
		}},
		"resolve closed": {forgives(sinks.ErrClosed)},
		"restore": {func(b *broken) { // Knows only its last epoch.
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if m.Epoch != 0 && m.Epoch != b.Log.Mark(b.Log.Bounds().Next).Epoch {
					return sinks.ErrForked
				}
				return b.Log.Resolve(ctx, m)
			}
		}, func(b *broken) { // Gets a new ID at each open.
			id := rand.Text()
			b.id = func() string { return id }
		}, func(b *broken) { // Names the epoch of the event after the position.
			b.mark = func(p sinks.Position) sinks.Mark {
				return sinks.Mark{Epoch: b.Log.Mark(p + 1).Epoch, Position: p}
			}
		}},
		"restore loses": {forgives(sinks.ErrFuture), forgives(sinks.ErrForked), func(b *broken) { // Does not know where an epoch ends.
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				err := b.Log.Resolve(ctx, m)
				for p := sinks.Position(1); p <= m.Position && errors.Is(err, sinks.ErrForked); p++ {
					if b.Log.Mark(p).Epoch == m.Epoch {
						return nil
					}
				}
				return err
			}
		}},
		"restored twice": {func(b *broken) { // Numbers its epochs, so that they are not random.
			b.mark = func(p sinks.Position) sinks.Mark {
				count, last := sinks.Epoch(0), sinks.Epoch(0)
				for q := sinks.Position(2); q <= p; q++ {
					if e := b.Log.Mark(q).Epoch; e != last {
						count, last = count+1, e
					}
				}
				return sinks.Mark{Epoch: count, Position: p}
			}
			b.resolve = func(ctx context.Context, m sinks.Mark) error {
				if err := b.Log.Resolve(ctx, sinks.Mark{Position: m.Position}); err != nil {
					return err
				}
				if m.Epoch != 0 && m != b.mark(m.Position) {
					return sinks.ErrForked
				}
				return nil
			}
		}},
	}
	for _, c := range checks {
		good := open(memlog.New("log"), none)
		if err := c.run(t.Context(), good); err != nil {
			t.Errorf("%s: a good log fails: %v", c.name, err)
		}
		if len(faults[c.name]) == 0 {
			t.Errorf("%s: no fault shows that it can fail", c.name)
		}
		for i, fault := range faults[c.name] {
			bad := open(memlog.New("log"), fault)
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
	readNothing := func(b *broken) {
		b.read = func(_ context.Context, _ sinks.Position, to []sinks.Record) ([]sinks.Record, error) { return to, nil }
	}
	for _, c := range checks {
		switch c.name {
		case "bounds of an empty log", "id", "seek", "mark":
			continue // They do not read.
		}
		if strings.HasPrefix(c.name, "resolve") || strings.HasPrefix(c.name, "restore") {
			continue // Nor do these.
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if err := c.run(ctx, open(memlog.New("log"), readNothing)); err == nil {
			t.Errorf("%s: passes without an event", c.name)
		}
		cancel()
	}
}

// Cases that need a function which the harness does not have are reported as skipped; they do not pass.
func TestSkipped(t *testing.T) {
	var skipped []string
	t.Run("without", func(t *testing.T) {
		Run(t, func(t *testing.T) Harness {
			h := open(memlog.New("log"), none)
			h.Expire, h.Backup = nil, nil
			t.Cleanup(func() {
				if t.Skipped() {
					skipped = append(skipped, path.Base(t.Name()))
				}
			})
			return h
		})
	})
	want := []string{"expired", "resolve_expired", "restore", "restore_loses", "restored_twice"}
	if diff := cmp.Diff(want, skipped); diff != "" {
		t.Errorf("skipped cases (-want +got):\n%s", diff)
	}
}
