package pebble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// workload is a bounded run of appends: plain, several at once, of several events, quarantined, some of these released
// later, without events, some corrected later, with drift, and large enough in all that Pebble turns its log and flushes
// several times.
type workload struct {
	// entries are received; the entries that one of calls names are received in one step.
	entries []journal.Entry
	calls   [][]int
	// later is an operation on an entry after it was received.
	later map[int]journal.Entry

	mu sync.Mutex
	// acked are the entries that were accepted, and delivered what a reader was given, both in order of time.
	acked     []acked
	delivered []sinks.Record
}

type acked struct {
	entry int
	// later is true when the state is the result of such an operation.
	later   bool
	receipt journal.Receipt
}

const workloadWriters = 4

// unsteady is a clock that is put back by two hours and forward again, every few readings.
func unsteady() func() time.Time {
	var readings atomic.Int64
	return func() time.Time {
		if readings.Add(1)/16%2 == 1 {
			return time.Now().Add(-2 * time.Hour)
		}
		return time.Now()
	}
}

func newWorkload(n int) *workload {
	w := &workload{later: make(map[int]journal.Entry)}
	for i := range n {
		e := drifting(i, plain(i))
		e.Keys = append(e.Keys, journal.Key{Hash: hash("delivery", i), Window: time.Hour})
		if i%14 == 13 {
			e.Keys[0] = w.entries[i-1].Keys[0] // one of the two is a revision
		}
		w.entries = append(w.entries, e)
		switch i % 14 {
		case 1:
			w.later[i] = corrected(i, 0)
		case 5:
			w.later[i] = corrected(i, 2, 0)
		case 10:
			w.later[i] = released(i, 2)
		}
		if at := i % 14; at > 7 && at < 12 { // 7 to 11 come at once
			last := &w.calls[len(w.calls)-1]
			*last = append(*last, i)
		} else {
			w.calls = append(w.calls, []int{i})
		}
	}
	return w
}

func plain(i int) journal.Entry {
	switch i % 7 {
	case 3:
		return quarantined(i)
	case 5:
		return entry(i, 3000, 3)
	case 6:
		return entry(i, 300, 0)
	default:
		return entry(i, 600, 1)
	}
}

func drifting(i int, e journal.Entry) journal.Entry {
	if i%3 == 1 {
		drifted(e, journalv1.DriftKind_DRIFT_KIND_UNKNOWN, "$.new")
	}
	if i%6 == 1 {
		drifted(e, journalv1.DriftKind_DRIFT_KIND_TYPE, "$.items[].price")
	}
	return e
}

func (w *workload) events() (n int) {
	for i, e := range w.entries {
		n += len(e.Events) + len(w.later[i].Events)
	}
	return n
}

// run appends all entries from several goroutines, some twice at the same instant, again when that failed, while a reader
// follows and saves its cursor.
func (w *workload) run(t *testing.T, j *Journal) {
	var wg sync.WaitGroup
	for k := range workloadWriters {
		wg.Go(func() {
			for i := k; i < len(w.calls); i += workloadWriters {
				if i%3 == 0 {
					wg.Go(func() { w.append(t, j, w.calls[i]) })
				}
				w.append(t, j, w.calls[i])
			}
		})
	}
	wg.Go(func() { w.follow(t, j) })
	wg.Wait()
}

func (w *workload) append(t *testing.T, j *Journal, call []int) {
	receipts, err := persist(j, func() ([]journal.Receipt, error) { return w.receive(context.Background(), j, call) })
	if err != nil {
		t.Errorf("append: %v", err)
		return
	}
	w.mu.Lock()
	for k, i := range call {
		w.acked = append(w.acked, acked{entry: i, receipt: receipts[k]})
	}
	w.mu.Unlock()
	for _, i := range call {
		e, ok := w.later[i]
		if !ok {
			continue
		}
		r, err := persist(j, func() (journal.Receipt, error) { return j.Append(context.Background(), e) })
		if e.Operation == journal.Release && errors.Is(err, journal.ErrNotFound) { // released before
			r, err = journal.Receipt{Duplicate: true}, nil
		}
		if err != nil {
			t.Errorf("append what came later: %v", err)
			return
		}
		w.mu.Lock()
		w.acked = append(w.acked, acked{entry: i, later: true, receipt: r})
		w.mu.Unlock()
	}
}

func (w *workload) receive(ctx context.Context, j *Journal, call []int) ([]journal.Receipt, error) {
	if len(call) == 1 {
		r, err := j.Append(ctx, w.entries[call[0]])
		return []journal.Receipt{r}, err
	}
	var entries []journal.Entry
	for _, i := range call {
		entries = append(entries, w.entries[i])
	}
	return j.AppendAll(ctx, entries)
}

// persist calls f until the journal is available.
func persist[T any](j *Journal, f func() (T, error)) (T, error) {
	for {
		changed := j.changed()
		v, err := f()
		if !errors.Is(err, journal.ErrUnavailable) {
			return v, err
		}
		if !j.Stats().Available {
			<-changed
		}
	}
}

func (w *workload) follow(t *testing.T, j *Journal) {
	c, err := retry(func() (journal.Claim, error) {
		if err := j.Register(context.Background(), "reader", 1, journal.Hold); err != nil {
			return nil, err
		}
		return j.Claim(context.Background(), "reader")
	})
	if err != nil {
		t.Error(err)
		return
	}
	for next := sinks.Position(1); int(next) <= w.events(); {
		got, err := j.Read(context.Background(), next, make([]sinks.Record, 0, 5))
		if errors.Is(err, os.ErrNotExist) {
			continue // The disk has dropped a file, and there was no attempt to write since.
		}
		if err != nil {
			t.Errorf("read: %v", err)
			return
		}
		w.mu.Lock()
		w.delivered = append(w.delivered, got...)
		w.mu.Unlock()
		next += sinks.Position(len(got))
		if _, err := retry(func() (struct{}, error) { return struct{}{}, c.Save(context.Background(), next) }); err != nil {
			t.Errorf("save: %v", err)
			return
		}
	}
}

// retry calls f until it is available.
func retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !errors.Is(err, journal.ErrUnavailable) {
			return v, err
		}
		runtime.Gosched()
	}
}

// presence says where an entry's first event lies, and that of what came later; 0 if it has none, absent if it is not there.
type presence struct{ first, later sinks.Position }

const absent = ^sinks.Position(0)

// verify checks that the journal holds all of the first acked and delivered ones, every entry whole or not at all, what was
// appended at once all or none, and the drift of exactly these, and then that it goes on: all is there once when it was
// appended again.
func (w *workload) verify(t *testing.T, j *Journal, acked []acked, delivered []sinks.Record) {
	t.Helper()
	records := readAll(t, j)
	for _, want := range delivered {
		if i := int(want.Position - 1); i >= len(records) {
			t.Fatalf("position %d was delivered and is lost", want.Position)
		} else {
			same(t, fmt.Sprintf("delivered at %d", want.Position), eventOf(t, records[i]), eventOf(t, want))
		}
	}
	present := w.whole(t, j, records)
	for _, a := range acked {
		first, e := present[a.entry].first, w.entries[a.entry]
		if a.later {
			first, e = present[a.entry].later, w.later[a.entry]
		}
		if first == absent {
			t.Fatalf("entry %d (later: %v) was acknowledged and is lost", a.entry, a.later)
		}
		if len(e.Events) > 0 && !a.receipt.Duplicate && first != a.receipt.First {
			t.Fatalf("entry %d (later: %v) lies at %d, acknowledged at %d", a.entry, a.later, first, a.receipt.First)
		}
	}
	w.counted(t, j, present)
	next := j.Bounds().Next
	for _, call := range w.calls {
		w.again(t, j, call, present, next)
	}
	if got := len(readAll(t, j)); got != w.events() {
		t.Fatalf("%d events, want %d", got, w.events())
	}
	w.counted(t, j, make([]presence, len(w.entries)))
}

// again appends once more what is present as said, and no position before next is given to it.
func (w *workload) again(t *testing.T, j *Journal, call []int, present []presence, next sinks.Position) {
	t.Helper()
	receipts, err := w.receive(t.Context(), j, call)
	if err != nil {
		t.Fatal(err)
	}
	for k, i := range call {
		there := present[i].first != absent
		if there != receipts[k].Duplicate || there != receipts[0].Duplicate {
			t.Fatalf("entry %d of %v is present: %v, a duplicate: %v, the first: %v", i, call, there, receipts[k].Duplicate, receipts[0].Duplicate)
		}
		later := journal.Receipt{}
		if e, ok := w.later[i]; ok {
			there := present[i].later != absent
			later, err = j.Append(t.Context(), e)
			if e.Operation == journal.Release && there {
				if !errors.Is(err, journal.ErrNotFound) {
					t.Fatalf("entry %d released again: %v", i, err)
				}
			} else if err != nil || later.Duplicate != there {
				t.Fatalf("entry %d has what came later: %v, now %+v, %v", i, there, later, err)
			}
		}
		for _, r := range []journal.Receipt{receipts[k], later} {
			if r.First != 0 && r.First < next {
				t.Fatalf("position %d is used again", r.First)
			}
		}
	}
}

// whole returns where every entry lies, and checks that all of it is there, once.
func (w *workload) whole(t *testing.T, j *Journal, records []sinks.Record) []presence {
	t.Helper()
	byID := make(map[string]sinks.Record)
	for _, r := range records {
		byID[eventOf(t, r).GetId()] = r
	}
	if len(byID) != len(records) {
		t.Fatalf("%d events, %d ids", len(records), len(byID))
	}
	present := make([]presence, len(w.entries))
	for i, e := range w.entries {
		first, later := place(t, byID, e), absent
		l, ok := w.later[i]
		if ok {
			later = place(t, byID, l)
		}
		got, err := j.Webhook(t.Context(), e.Webhook.GetId())
		if errors.Is(err, journal.ErrNotFound) {
			if len(e.Events) > 0 && first != absent || later != absent {
				t.Fatalf("entry %d has events and no webhook", i)
			}
			present[i] = presence{absent, absent}
			continue
		}
		if err != nil || first == absent {
			t.Fatalf("entry %d is there without its events, or: %v", i, err)
		}
		present[i] = presence{first, later}
		want := stored(e, first)
		if l.Operation == journal.Release && later != absent {
			want = stored(l, later)
		}
		same(t, "webhook", got, want)
		if l.Operation == journal.Correct {
			var want []journal.Correction
			for k, index := range l.Indexes {
				if later != absent {
					want = append(want, journal.Correction{Index: index, Position: later + sinks.Position(k)})
				}
			}
			corrections, err := j.Corrections(t.Context(), e.Webhook.GetId())
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "corrections", corrections, want)
		}
	}
	return present
}

// place returns where an entry's events lie, one behind the other, or that they are absent, all of them.
func place(t *testing.T, byID map[string]sinks.Record, e journal.Entry) sinks.Position {
	t.Helper()
	if len(e.Events) == 0 {
		return 0
	}
	first := absent
	for k := range e.Events {
		want := decodedEvent(e.Events[k])
		r, ok := byID[want.GetId()]
		if k == 0 && ok {
			first = r.Position
		}
		if ok != (first != absent) || ok && r.Position != first+sinks.Position(k) {
			t.Fatalf("%s has events in part: %d is there: %v, at %d", e.Webhook.GetId(), k, ok, r.Position)
		}
		if ok {
			same(t, "event", eventOf(t, r), want)
		}
	}
	return first
}

// counted checks that the drift is that of the entries which are present.
func (w *workload) counted(t *testing.T, j *Journal, present []presence) {
	t.Helper()
	want := make(map[string]uint64)
	for i, e := range w.entries {
		for _, d := range e.Webhook.GetDrift() {
			if present[i].first != absent {
				want[d.GetKind().String()+d.GetPath()]++
			}
		}
	}
	counts, err := j.Drift(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for _, c := range counts {
		got[c.GetKind().String()+c.GetPath()] = c.GetCount()
	}
	diff(t, "drift", got, want)
	if t.Failed() {
		t.FailNow()
	}
}

// same is diff for many large messages, which are nearly always equal.
func same(t *testing.T, what string, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		diff(t, what, got, want)
	}
}
