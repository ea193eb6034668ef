package pebble

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
	"github.com/webhook-bridge/bridge/sinks"
)

func TestAppendAndRead(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	entries := []journal.Entry{entry(1, 100, 1), entry(2, 100, 3), quarantined(3), entry(4, 100, 0), entry(5, 100, 2)}
	check := func(j *Journal) {
		t.Helper()
		diff(t, "bounds", j.Bounds(), sinks.Bounds{Earliest: 1, Next: 7})
		diff(t, "events", decoded(t, readAll(t, j)), events(entries...))
		for i, first := range []sinks.Position{1, 2, 0, 0, 5} {
			w, err := j.Webhook(t.Context(), entries[i].Webhook.GetId())
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "webhook", w, stored(entries[i], first))
		}
	}
	receipts := appendAll(t, j, entries...)
	diff(t, "receipts", receipts, []journal.Receipt{{First: 1}, {First: 2}, {}, {}, {First: 5}})
	check(j)
	id := j.ID()
	shut(t, j)

	j = open(t, testConfig(fs))
	check(j)
	if j.ID() != id || len(id) != 32 {
		t.Errorf("identity %q after %q", j.ID(), id)
	}
	diff(t, "duplicates", appendAll(t, j, entries...), []journal.Receipt{{Duplicate: true}, {Duplicate: true}, {Duplicate: true}, {Duplicate: true}, {Duplicate: true}})
	diff(t, "next", appendAll(t, j, entry(6, 10, 1)), []journal.Receipt{{First: 7}})
}

func TestAppendRefusesWhatCannotBeStored(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	cases := map[string]func(*journal.Entry){
		"no id":        func(e *journal.Entry) { e.Webhook.Id = "" },
		"version 4":    func(e *journal.Entry) { e.Webhook.Id = "f47ac10b-58cc-4372-a567-0e02b2c3d479" },
		"short window": func(e *journal.Entry) { e.Keys[0].Window = time.Second - 1 },
		"long window":  func(e *journal.Entry) { e.Keys[0].Window = 168*time.Hour + 1 },
		"no key":       func(e *journal.Entry) { e.Keys = nil },
	}
	for name, spoil := range cases {
		e := entry(1, 10, 1)
		spoil(&e)
		if _, err := j.Append(t.Context(), e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	diff(t, "bounds", j.Bounds(), sinks.Bounds{Earliest: 1, Next: 1})
}

func TestReadErrors(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	appendAll(t, j, entry(1, 10, 2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	room := make([]sinks.Record, 0, 1)
	for _, c := range []struct {
		name string
		ctx  context.Context
		from sinks.Position
		want error
	}{
		{"past the end", t.Context(), 4, sinks.ErrFuture},
		{"at the end, done", ctx, 3, context.Canceled},
		{"done", ctx, 1, context.Canceled},
	} {
		if got, err := j.Read(c.ctx, c.from, room); !errors.Is(err, c.want) || len(got) > 0 {
			t.Errorf("%s: %d records, %v", c.name, len(got), err)
		}
	}
	if got, err := j.Read(t.Context(), 0, room); err != nil || len(got) != 1 || got[0].Position != 1 {
		t.Errorf("position 0: %v, %v", got, err)
	}
	got, err := j.Read(t.Context(), 2, append(make([]sinks.Record, 0, 3), sinks.Record{Position: 9}))
	if err != nil || len(got) != 2 || got[0].Position != 9 || got[1].Position != 2 {
		t.Errorf("appending: %v, %v", got, err)
	}
	shut(t, j)
	if _, err := j.Read(t.Context(), 1, room); !errors.Is(err, sinks.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestReadWaits(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	type result struct {
		records []sinks.Record
		err     error
	}
	const readers = 8
	results := make(chan result)
	read := func(ctx context.Context, from sinks.Position) {
		r, err := j.Read(ctx, from, make([]sinks.Record, 0, 4))
		results <- result{r, err}
	}
	for range readers {
		go read(t.Context(), 1)
	}
	e := entry(1, 10, 1)
	appendAll(t, j, e)
	for range readers {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		diff(t, "records", decoded(t, r.records), events(e))
	}
	ctx, cancel := context.WithCancel(t.Context())
	go read(ctx, 2)
	cancel()
	if r := <-results; !errors.Is(r.err, context.Canceled) {
		t.Errorf("cancelled: %v", r.err)
	}
	go read(t.Context(), 2)
	shut(t, j)
	if r := <-results; !errors.Is(r.err, sinks.ErrClosed) {
		t.Errorf("closed: %v", r.err)
	}
}

func TestReadIsBounded(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	for i := range 40 {
		e := entry(i, 10, 1)
		edited(e, 0, func(event *eventv1.Event) {
			event.Data = &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: string(make([]byte, 100<<10))}}
		})
		appendAll(t, j, e)
	}
	got, err := j.Read(t.Context(), 1, make([]sinks.Record, 0, 40))
	if err != nil || len(got) != 10 {
		t.Errorf("%d records of 100 KiB, %v, want 10", len(got), err)
	}
	diff(t, "all", len(readAll(t, j)), 40)
}

func TestLargeEntries(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	// The largest takes Pebble's way for large batches.
	entries := []journal.Entry{entry(1, 1<<20, 1), entry(2, 24<<20, 1), entry(3, 100, 1)}
	appendAll(t, j, entries...)
	shut(t, j)
	j = open(t, testConfig(fs))
	for i, e := range entries {
		w, err := j.Webhook(t.Context(), e.Webhook.GetId())
		if err != nil {
			t.Fatal(err)
		}
		diff(t, "body", len(w.GetBody()), len(e.Webhook.GetBody()))
		diff(t, "position", w.GetFirstPosition(), uint64(i+1))
	}
}

func TestSeek(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	j := open(t, cfg)
	// Received in the order 0 1 3 2 4, a second apart, and committed half a second later, but 3 and 2 together.
	for _, i := range []int{0, 1, 3, 2, 4} {
		e := entry(i*1000, 10, 1)
		c.ns.Store(max(c.ns.Load(), e.Webhook.GetReceivedAt().AsTime().Add(time.Second/2).UnixNano()))
		appendAll(t, j, e)
	}
	for _, s := range []struct {
		at   time.Duration
		want sinks.Position
	}{
		{-time.Hour, 1},
		{0, 1},
		{1, 2},
		{time.Second, 2},
		{2 * time.Second, 3},
		{2*time.Second + 1, 3},
		{3*time.Second + 1, 5},
		{4 * time.Second, 5},
		{4*time.Second + 1, 6},
		{time.Hour, 6},
	} {
		if got, err := j.Seek(t.Context(), start.Add(s.at)); err != nil || got != s.want {
			t.Errorf("seek %v: %d, %v, want %d", s.at, got, err, s.want)
		}
	}
}

func TestOneOpener(t *testing.T) {
	for name, cfg := range map[string]Config{
		"memory": testConfig(vfs.NewMem()),
		"disk":   {Dir: t.TempDir()},
	} {
		j := open(t, cfg)
		if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: second opener got %v", name, err)
		}
		appendAll(t, j, entry(1, 10, 1))
		shut(t, j)
		open(t, cfg)
	}
}

func TestNewerFormat(t *testing.T) {
	t.Run("journal", func(t *testing.T) {
		cfg := testConfig(vfs.NewMem())
		j := open(t, cfg)
		b := j.store.db.NewBatch()
		if err := errors.Join(b.Set(keyFormat, []byte{0, 0, 0, format + 1}, nil), j.store.write(b)); err != nil {
			t.Fatal(err)
		}
		shut(t, j)
		if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("pebble", func(t *testing.T) {
		fs := vfs.NewMem()
		shut(t, open(t, testConfig(fs)))
		f, err := fs.Create("journal/marker.format-version.000099.999", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), testConfig(fs)); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCheckpoint(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	entries := []journal.Entry{entry(1, 1000, 1), quarantined(2), entry(3, 1000, 2)}
	appendAll(t, j, entries...)
	if err := j.checkpoint(t.Context(), "backup"); err != nil {
		t.Fatal(err)
	}
	if err := j.checkpoint(t.Context(), "backup"); err == nil {
		t.Error("a second checkpoint overwrote the first")
	}
	appendAll(t, j, entry(4, 10, 1))

	cfg := testConfig(fs)
	cfg.Dir = "backup"
	backup := open(t, cfg)
	diff(t, "identity", backup.ID(), j.ID())
	diff(t, "events", decoded(t, readAll(t, backup)), events(entries...))
	diff(t, "duplicates", appendAll(t, backup, entries...), []journal.Receipt{{Duplicate: true}, {Duplicate: true}, {Duplicate: true}})
	diff(t, "original", j.Bounds().Next, sinks.Position(5))
	if j.Stats().Recoveries != 0 {
		t.Error("the refused checkpoint counted as a failed write")
	}
}

func TestAppendEndsWithContext(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 100 {
		if _, err := j.Append(ctx, entry(i, 10, 1)); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	// Each entry exists whole or not at all: one that was committed all the same is a duplicate now.
	for i := range 100 {
		appendAll(t, j, entry(i, 10, 1))
	}
	diff(t, "events", len(readAll(t, j)), 100)
}

func TestCloseDuringAppends(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	const writers = 16
	var acked sync.Map
	var wg sync.WaitGroup
	running := make(chan struct{}, writers)
	for w := range writers {
		wg.Go(func() {
			for i := w; ; i += writers {
				_, err := j.Append(context.Background(), entry(i, 10, 1))
				if i == w+10*writers {
					running <- struct{}{}
				}
				if errors.Is(err, sinks.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				acked.Store(webhookID(i), true)
			}
		})
	}
	for range writers {
		<-running
	}
	shut(t, j)
	shut(t, j)
	wg.Wait()
	if _, err := j.Append(t.Context(), entry(1, 10, 1)); !errors.Is(err, sinks.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if _, err := j.Webhook(t.Context(), webhookID(1)); !errors.Is(err, sinks.ErrClosed) {
		t.Errorf("webhook after close: %v", err)
	}
	j = open(t, testConfig(fs))
	found := make(map[string]bool)
	for _, r := range readAll(t, j) {
		found[eventOf(t, r).GetWebhookId()] = true
	}
	acked.Range(func(id, _ any) bool {
		if !found[fmt.Sprint(id)] {
			t.Errorf("acknowledged %v is gone", id)
		}
		return true
	})
}

func TestCommitsAndStats(t *testing.T) {
	var total commit.Counts
	bytes := 0
	cfg := testConfig(vfs.NewMem())
	cfg.onCommit = func(c committed) {
		total.Webhooks += c.Webhooks
		total.Events += c.Events
		total.Duplicates += c.Duplicates
		total.Revisions += c.Revisions
		bytes += c.Bytes
	}
	j := open(t, cfg)
	appendAll(t, j, entry(1, 10, 2), entry(2, 10, 1), entry(1, 10, 2), quarantined(3))
	appendAll(t, j, revised(entry(2, 10, 1), 4))
	s := j.Stats()
	if !s.Available || s.Queued != 0 || s.SizeOnDisk == 0 || s.Filter.Keys != 4 || s.Next != 5 {
		t.Errorf("stats %+v", s)
	}
	shut(t, j)
	if bytes == 0 {
		t.Error("no bytes counted")
	}
	diff(t, "commits", total, commit.Counts{Webhooks: 4, Events: 4, Duplicates: 1, Revisions: 1})
}
