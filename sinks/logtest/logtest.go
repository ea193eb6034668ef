// Package logtest is the test kit for implementations of [sinks.Log]. Each case quotes the sentence of the contract that it
// checks.
package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// limit is the time for one case. A log that hangs fails the case, and the tests go on.
const limit = 30 * time.Second

// Harness is a fresh, empty log, with functions that change it from outside.
type Harness struct {
	// Log is the log under test.
	Log sinks.Log
	// Append adds events at the log's end and returns when they are durable.
	Append func(events ...*eventv1.Event)
	// Expire drops the events before p and returns when they are gone. Cases that need it are skipped when it is nil.
	Expire func(p sinks.Position)
	// Backup makes a backup of the log as it is now. The function that it returns restores the backup: it opens a log from
	// the backup, with the same ID, and returns a harness for it. It may be called several times; each call opens a separate
	// log, and the cases do not use the first log any more. Cases that need Backup are skipped when it is nil.
	Backup func() (restore func() Harness)
	// Close closes the log.
	Close func()
}

type check struct {
	name, rule string
	run        func(ctx context.Context, h Harness) error
	needs      need
}

// need names a function of the harness that a case needs.
type need string

const (
	nothing   need = ""
	canExpire need = "Expire"
	canBackup need = "Backup"
)

// missing reports whether the harness does not have the function that a case needs.
func (h Harness) missing(n need) bool {
	return n == canExpire && h.Expire == nil || n == canBackup && h.Backup == nil
}

var checks = []check{
	{"bounds of an empty log", "the events from Earliest up to, not including, Next can be read", emptyBounds, nothing},
	{"id", "ID identifies the log for as long as its data live", sameID, nothing},
	{"order", "Read appends to records the events from position from on, in order", readsInOrder, nothing},
	{"capacity", "Read appends at most up to cap(records)", readsUpToCap, nothing},
	{"appends", "Read appends to records and returns the extended slice", readExtends, nothing},
	{"large", "Read appends about a mebibyte of events, but always at least one", readsBoundedBytes, nothing},
	{"zero", "Position 0 reads as 1", readsZero, nothing},
	{"waits", "When there is none yet it waits for one", readWaits, nothing},
	{"gives up", "Read waits until ctx is done; then it returns ctx's error", readGivesUp, nothing},
	{"future", "ErrFuture means that the position lies past the log's end", readFuture, nothing},
	{"expired", "ErrExpired means that events at the position were in the log and are no longer kept", readExpired, canExpire},
	{"closed", "ErrClosed means that the log is closed, or is closing", readClosed, nothing},
	{"seek", "Seek returns the position of the first event received at t or later, or the log's end", seeks, nothing},
	{"concurrent", "Log is safe for concurrent use", concurrently, nothing},
	{"header", "Header is the part of the event that routes it; a field that the event does not have is empty", readsHeader, nothing},
	{"header memory", "Header shares the memory of Record.Encoded", sharesMemory, nothing},
	{"mark", "Mark names the epoch of the last of the events before the position; an epoch is never 0", marks, nothing},
	{"resolve", "Resolve reports whether a reader can continue at a mark; then Bounds().Next is at least the mark's position", resolves, nothing},
	{"resolve without epoch", "Epoch 0 stands for an unknown epoch", resolvesUnknown, nothing},
	{"resolve future", "ErrFuture means that the position lies past the log's end", resolvesFuture, nothing},
	{"resolve foreign", "ErrForked means that the mark belongs to a state of the log that is gone", resolvesForeign, nothing},
	{"resolve expired", "ErrExpired means that events at the position are no longer kept; the position is checked before the epoch", resolvesExpired, canExpire},
	{"resolve closed", "ErrClosed means that the log is closed, or is closing", resolvesClosed, nothing},
	{"restore", "An epoch is the events from one opening of the log to the next; marks of earlier ones stay good", restores, canBackup},
	{"restore loses", "ErrForked means that the log was restored from a backup that is older than the mark", restoreLoses, canBackup},
	{"restored twice", "two logs that go on from one backup have different epochs", restoredTwice, canBackup},
}

// Run runs every case against a log of its own, which open makes.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			h := open(t)
			if h.missing(c.needs) {
				t.Skipf("the harness has no %s\nrule: %s", c.needs, c.rule)
			}
			failed := make(chan error, 1)
			go func() { failed <- c.run(ctx, h) }()
			select {
			case err := <-failed:
				if err != nil {
					t.Errorf("%v\nrule: %s", err, c.rule)
				}
			case <-time.After(limit + time.Second):
				t.Fatalf("hangs\nrule: %s", c.rule)
			}
		})
	}
}

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event returns the nth event; they are received a second apart.
func event(n int) *eventv1.Event {
	return &eventv1.Event{
		Id:         fmt.Sprintf("0d6f2a10-7f5e-5b7e-9d6c-%012d", n),
		Type:       "shipment.ordered",
		Source:     "returns",
		Subject:    fmt.Sprintf("shipment/%d", n%7),
		ReceivedAt: timestamppb.New(began.Add(time.Duration(n) * time.Second)),
	}
}

func appendEvents(h Harness, n int) {
	for i := range n {
		h.Append(event(i))
	}
}

func emptyBounds(_ context.Context, h Harness) error {
	before := h.Log.Bounds()
	if before.Earliest != before.Next || before.Earliest == 0 {
		return fmt.Errorf("bounds of an empty log are %+v, want equal and greater than 0", before)
	}
	appendEvents(h, 3)
	want := sinks.Bounds{Earliest: before.Earliest, Next: before.Next + 3}
	if got := h.Log.Bounds(); got != want {
		return fmt.Errorf("bounds after three events are %+v, want %+v", got, want)
	}
	return nil
}

func sameID(_ context.Context, h Harness) error {
	id := h.Log.ID()
	appendEvents(h, 1)
	if id == "" || h.Log.ID() != id {
		return fmt.Errorf("id was %q and is %q", id, h.Log.ID())
	}
	return nil
}

func readsInOrder(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Earliest
	appendEvents(h, 20)
	for from := range 20 {
		next := first + sinks.Position(from)
		for n := from; n < 20; {
			records, err := h.Log.Read(ctx, next, make([]sinks.Record, 0, 7))
			if err := some(records, err, next); err != nil {
				return err
			}
			for _, r := range records {
				if err := same(r, next, event(n)); err != nil {
					return err
				}
				next++
				n++
			}
		}
	}
	return nil
}

func same(r sinks.Record, p sinks.Position, want *eventv1.Event) error {
	got, err := r.Event()
	if err != nil {
		return err
	}
	if r.Position != p {
		return fmt.Errorf("position %d, want %d", r.Position, p)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		return fmt.Errorf("event at %d (-want +got):\n%s", p, diff)
	}
	return nil
}

// some returns an error unless a Read at p has returned events.
func some(records []sinks.Record, err error, p sinks.Position) error {
	if err != nil {
		return fmt.Errorf("read at %d: %w", p, err)
	}
	if len(records) == 0 {
		return fmt.Errorf("read at %d returned no event and no error", p)
	}
	return nil
}

// one returns an error unless a Read at p, with room for one event, has returned want.
func one(records []sinks.Record, err error, p sinks.Position, want *eventv1.Event) error {
	if err := some(records, err, p); err != nil {
		return err
	}
	if len(records) > 1 {
		return fmt.Errorf("read at %d returned %d events, there was room for one", p, len(records))
	}
	return same(records[0], p, want)
}

// fill reads until the records are full. A read may return fewer than there are.
func fill(ctx context.Context, h Harness, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	for len(records) < cap(records) {
		before := len(records)
		read, err := h.Log.Read(ctx, from, records)
		switch {
		case err != nil:
			return nil, err
		case len(read) <= before:
			return nil, fmt.Errorf("a read at %d extended %d records to %d", from, before, len(read))
		}
		from, records = from+sinks.Position(len(read)-before), read
	}
	return records, nil
}

func readsUpToCap(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Earliest
	appendEvents(h, 5)
	records, err := fill(ctx, h, first, make([]sinks.Record, 0, 2))
	if err != nil {
		return err
	}
	if len(records) != 2 {
		return fmt.Errorf("read %d records, want 2", len(records))
	}
	return nil
}

func readExtends(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Earliest
	appendEvents(h, 5)
	records, err := fill(ctx, h, first, make([]sinks.Record, 0, 2))
	if err != nil {
		return err
	}
	records = append(make([]sinks.Record, 0, 4), records...)
	if records, err = fill(ctx, h, first+2, records); err != nil {
		return err
	}
	if len(records) != 4 {
		return fmt.Errorf("read up to %d records, want 4", len(records))
	}
	for i, r := range records {
		if err := same(r, first+sinks.Position(i), event(i)); err != nil {
			return err
		}
	}
	return nil
}

func readsBoundedBytes(ctx context.Context, h Harness) error {
	const each = 600 << 10
	first := h.Log.Bounds().Earliest
	sizes := []int{each, each, each, 3 << 20, each}
	for i, size := range sizes {
		e := event(i)
		e.Data = &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: string(make([]byte, size))}}
		h.Append(e)
	}
	for next := first; next < first+sinks.Position(len(sizes)); {
		records, err := h.Log.Read(ctx, next, make([]sinks.Record, 0, 10))
		if err := some(records, err, next); err != nil {
			return err
		}
		total := 0
		for _, r := range records {
			total += len(r.Encoded)
		}
		if len(records) > 1 && total > 2<<20 {
			return fmt.Errorf("read %d events of %d bytes in all", len(records), total)
		}
		next += sinks.Position(len(records))
	}
	return nil
}

func readsZero(ctx context.Context, h Harness) error {
	appendEvents(h, 2)
	records, err := h.Log.Read(ctx, 0, make([]sinks.Record, 0, 1))
	return one(records, err, 1, event(0))
}

// reading is a Read that waits for its first event.
type reading struct {
	records []sinks.Record
	err     error
	done    chan struct{} // Closed when Read has returned.
}

// notifying is a context that closes waiting when its Done is first called.
type notifying struct {
	context.Context
	once    sync.Once
	waiting chan struct{}
}

// Done implements [context.Context].
func (w *notifying) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waiting) })
	return w.Context.Done()
}

// waitAt starts a Read at p, where there is no event yet, and returns when Read waits. To wait until ctx is done, a log must
// call ctx.Done; that shows that it waits.
func waitAt(ctx context.Context, log sinks.Log, p sinks.Position) (*reading, error) {
	r := &reading{done: make(chan struct{})}
	w := &notifying{Context: ctx, waiting: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.records, r.err = log.Read(w, p, make([]sinks.Record, 0, 1))
	}()
	select {
	case <-w.waiting:
		return r, nil
	case <-r.done:
		early := fmt.Errorf("read at %d, where there is no event yet, returned %d events without waiting", p, len(r.records))
		return nil, errors.Join(early, r.err)
	}
}

func readWaits(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	for n := range 3 {
		p := first + sinks.Position(n)
		r, err := waitAt(ctx, h.Log, p)
		if err != nil {
			return err
		}
		h.Append(event(n))
		<-r.done
		if err := one(r.records, r.err, p, event(n)); err != nil {
			return err
		}
	}
	return nil
}

func readGivesUp(ctx context.Context, h Harness) error {
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err := h.Log.Read(soon, h.Log.Bounds().Next, make([]sinks.Record, 0, 1))
	if err := returned("after its deadline", err, context.DeadlineExceeded); err != nil {
		return err
	}
	soon, cancel = context.WithCancel(ctx)
	cancel()
	_, err = h.Log.Read(soon, h.Log.Bounds().Next, make([]sinks.Record, 0, 1))
	return returned("when cancelled", err, context.Canceled)
}

// returned returns an error unless Read returned want.
func returned(when string, got, want error) error {
	if errors.Is(got, want) {
		return nil
	}
	return fmt.Errorf("%s Read returned %q, want %q", when, fmt.Sprint(got), want.Error())
}

func readFuture(ctx context.Context, h Harness) error {
	appendEvents(h, 2)
	_, err := h.Log.Read(ctx, h.Log.Bounds().Next+1, make([]sinks.Record, 0, 1))
	return returned("past the end", err, sinks.ErrFuture)
}

func readExpired(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Earliest
	appendEvents(h, 5)
	h.Expire(first + 3)
	if got := h.Log.Bounds(); got.Next != first+5 || got.Earliest != first+3 {
		return fmt.Errorf("bounds are %+v, want %d and %d", got, first+3, first+5)
	}
	_, err := h.Log.Read(ctx, first+2, make([]sinks.Record, 0, 1))
	if err := returned("before the earliest", err, sinks.ErrExpired); err != nil {
		return err
	}
	records, err := h.Log.Read(ctx, first+3, make([]sinks.Record, 0, 1))
	return one(records, err, first+3, event(3))
}

func readClosed(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	r, err := waitAt(ctx, h.Log, first)
	if err != nil {
		return err
	}
	h.Close()
	<-r.done
	if err := returned("a waiting", r.err, sinks.ErrClosed); err != nil {
		return err
	}
	_, err = h.Log.Read(ctx, first, make([]sinks.Record, 0, 1))
	return returned("a later", err, sinks.ErrClosed)
}

func seeks(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Earliest
	appendEvents(h, 4)
	for _, c := range []struct {
		offset time.Duration
		want   sinks.Position
	}{
		{-time.Hour, first},
		{0, first},
		{time.Nanosecond, first + 1},
		{2 * time.Second, first + 2},
		{3 * time.Second, first + 3},
		{3*time.Second + time.Nanosecond, first + 4},
		{time.Hour, first + 4},
	} {
		got, err := h.Log.Seek(ctx, began.Add(c.offset))
		if err != nil {
			return err
		}
		if got != c.want {
			return fmt.Errorf("seek %v after the first event: %d, want %d", c.offset, got, c.want)
		}
	}
	return nil
}

func concurrently(ctx context.Context, h Harness) error {
	const events, readers = 200, 4
	first := h.Log.Bounds().Next
	failed := make([]error, readers)
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			records := make([]sinks.Record, 0, 16)
			for n := 0; n < events; {
				read, err := h.Log.Read(ctx, first+sinks.Position(n), records)
				if err := some(read, err, first+sinks.Position(n)); err != nil {
					failed[i] = err
					return
				}
				for _, r := range read {
					if err := same(r, first+sinks.Position(n), event(n)); err != nil {
						failed[i] = err
						return
					}
					n++
				}
			}
		})
	}
	for n := 0; n < events; n += 5 {
		batch := make([]*eventv1.Event, 5)
		for i := range batch {
			batch[i] = proto.CloneOf(event(n + i))
		}
		h.Append(batch...)
	}
	wg.Wait()
	return errors.Join(failed...)
}
