package pebble

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	// acked are the acknowledged entries, and delivered the records that a reader got, both in order of time.
	acked     []acknowledged
	delivered []sinks.Record
}

type acknowledged struct {
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
		w.acked = append(w.acked, acknowledged{entry: i, receipt: receipts[k]})
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
		w.acked = append(w.acked, acknowledged{entry: i, later: true, receipt: r})
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
