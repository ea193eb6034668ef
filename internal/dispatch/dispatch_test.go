package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

var errDown = errors.New("destination is down")

func TestDelivers(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		d := r.dispatcher(t, Config{Batch: Batch{Count: 7}})
		stop := started(t, d)
		r.append(t, orders(20, 3)...)
		synctest.Wait()
		r.append(t, orders(3, 3)...)
		synctest.Wait()
		diff(t, "received", r.received(), through(1, 23))
		stop()
		diff(t, "cursor", r.saved(t), 24)
		got := d.Stats()
		diff(t, "stats", got, Stats{Position: 24, Delivered: 23})
	})
}

// Operators see why the sink fails, from the first attempt that failed until one succeeds.
func TestProblem(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(2, 2)...)
		var fails atomic.Pointer[error]
		next := r.sink(t)
		s := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			if err := fails.Load(); err != nil {
				return 0, *err
			}
			return next.Deliver(ctx, events)
		})
		long := fmt.Errorf("wrong \xff password %s", strings.Repeat("ž", 300))
		fails.Store(&long)
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}})
		stop := started(t, d)
		synctest.Wait()
		diff(t, "attempts", len(s.attempts()), 1)
		problem := d.Problem()
		if !strings.HasPrefix(problem, "wrong \uFFFD password ž") || !strings.HasSuffix(problem, "ž…") || len(problem) > maxProblem || !utf8.ValidString(problem) {
			t.Errorf("the problem is %q", problem)
		}
		pause := error(&sinks.RetryAfterError{After: time.Minute, Err: errDown})
		fails.Store(&pause)
		sleep(50 * time.Second)
		diff(t, "problem", d.Problem(), pause.Error())
		fails.Store(nil)
		sleep(5 * time.Minute)
		diff(t, "problem after a success", d.Problem(), "")
		stop()
	})
}

// Errors are tried again for as long as it takes, from the first event that was not taken.
func TestRetries(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 2)...)
		r.store.BreakAfter(4)
		d := r.dispatcher(t, Config{})
		stop := started(t, d)
		synctest.Wait()
		diff(t, "while it is down", r.received(), through(1, 4))
		sleep(48 * time.Hour)
		diff(t, "two days later", r.received(), through(1, 4))
		r.store.Repair()
		sleep(30 * time.Second)
		synctest.Wait()
		diff(t, "after repair", r.received(), through(1, 10))
		stop()
		if n := d.Stats().Retries; n < 48*3600/30 {
			t.Errorf("%d retries in two days", n)
		}
	})
}

// At the first start and at a later one, after a stop and after a crash, delivery goes on where the cursor stands.
func TestRestart(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 2)...)
		r.store.BreakAfter(4)
		stop := started(t, r.dispatcher(t, Config{}))
		synctest.Wait()
		stop()
		diff(t, "cursor", r.saved(t), 5)
		r.store.BreakAfter(3)

		end := start(t, r.dispatcher(t, Config{}))
		synctest.Wait()
		r.mu.Lock()
		r.saveFails = 1 // as a crash would
		r.mu.Unlock()
		if err := end(); !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("run whose cursor cannot be saved: %v", err)
		}
		diff(t, "cursor after the crash", r.saved(t), 5)
		r.store.Repair()
		stop = started(t, r.dispatcher(t, Config{}))
		synctest.Wait()
		stop()
		diff(t, "received", r.received(), slices.Concat(through(1, 7), through(5, 10)))
		diff(t, "cursor at the end", r.saved(t), 11)
	})
}

func TestParked(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(500, 5)...)
		var failing atomic.Bool
		failing.Store(true)
		next := refusing(r.sink(t), 1, 250, 251, 500)
		s := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			i := slices.IndexFunc(events, func(r sinks.Record) bool { return r.Position == 250 })
			if !failing.Load() || i < 0 {
				return next.Deliver(ctx, events)
			}
			n, err := next.Deliver(ctx, events[:i])
			if err == nil {
				err = errDown
			}
			return n, err
		})
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Breaker: Breaker{Failures: 100}, Backoff: Backoff{time.Second, time.Second}})
		began := time.Now()
		stop := started(t, d)
		sleep(11500 * time.Millisecond) // twelve attempts
		failing.Store(false)
		sleep(time.Second)
		synctest.Wait()
		stop()
		diff(t, "received", r.received(), slices.Concat(through(2, 249), through(252, 499)))
		diff(t, "cursor", r.saved(t), 501)
		diff(t, "parked", r.parkedAt(t), []sinks.Position{1, 250, 251, 500})
		diff(t, "count", d.Stats().Parked, 4)

		after := func(n int) *timestamppb.Timestamp { return timestamppb.New(began.Add(time.Duration(n) * time.Second)) }
		want := &journalv1.Parked{
			Sink: sinkName, Position: 250, Reason: "no room for 250",
			FirstAttemptAt: after(0), LastAttemptAt: after(12), AttemptCount: 13,
		}
		for i := 3; i < 12; i++ {
			want.Attempts = append(want.Attempts, &journalv1.Attempt{At: after(i), Error: errDown.Error()})
		}
		want.Attempts = append(want.Attempts, &journalv1.Attempt{At: after(12), Error: "no room for 250"})
		got := r.parked(t)[1]
		event, err := sinks.Record{Encoded: got.GetEvent()}.Event()
		if err != nil || event.GetSubject() != "order/4" {
			t.Errorf("parked event: %v, %v", event, err)
		}
		got.Event, got.ParkedAt = nil, nil
		diff(t, "what is known of it", got, want)
		diff(t, "attempts kept in memory", r.longestStory, triesKept)
	})
}

// The cursor is not saved past a refused event that is not parked yet, and the events behind it wait.
func TestParkedBeforeCursor(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 2)...)
		r.parkFails = 5
		r.beforeParking = func() { r.saves = append(r.saves, 0) }
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{refusing(r.sink(t), 4)}, SaveInterval: time.Millisecond})
		stop := started(t, d)
		sleep(time.Second)
		diff(t, "received before", r.received(), through(1, 3))
		diff(t, "cursor before", r.saved(t), 4)
		sleep(time.Minute)
		stop()
		diff(t, "received", r.received(), slices.Concat(through(1, 3), through(5, 10)))
		diff(t, "parked", r.parkedAt(t), []sinks.Position{4})
		diff(t, "saves, and 0 for tries to park", r.saves, []sinks.Position{0, 4, 0, 0, 0, 0, 0, 11})
	})
}

// A subject that does not get through holds up its own lane only, and the cursor.
func TestStuckSubject(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		const lanes, window = 4, 100
		r.append(t, orders(300, 10)...)
		stuck := func(e sinks.Record) bool {
			event, err := e.Event()
			return err != nil || event.GetSubject() == "order/6"
		}
		var all []sinks.Sink
		for range lanes {
			next := r.sink(t)
			all = append(all, newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
				if i := slices.IndexFunc(events, stuck); i >= 0 {
					n, err := next.Deliver(ctx, events[:i])
					return n, errors.Join(err, errDown)
				}
				return next.Deliver(ctx, events)
			}))
		}
		d := r.dispatcher(t, Config{Sinks: all, Window: window, Batch: Batch{Count: 10}})
		stop := started(t, d)
		sleep(time.Hour)
		synctest.Wait()
		mine := laneOf(headerAt(t, r, 7), lanes)
		got := map[sinks.Position]bool{}
		for _, p := range r.received() {
			got[p] = true
		}
		for p := sinks.Position(1); p <= window; p++ {
			if elsewhere := laneOf(headerAt(t, r, p), lanes) != mine; elsewhere && !got[p] {
				t.Errorf("position %d of another lane was not delivered", p)
			}
		}
		if past := sinks.Position(7 + window + 10); slices.Max(r.received()) >= past {
			t.Errorf("a lane went on to %d, further than the window", slices.Max(r.received()))
		}
		diff(t, "cursor", r.saved(t), 7)
		stats := d.Stats()
		diff(t, "breaker", stats.Breaker >= HalfOpen, true)
		diff(t, "lag", stats.LagEvents, 294)
		stop()

		stop = started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{r.sink(t), r.sink(t), r.sink(t)}}))
		synctest.Wait()
		stop()
		checkOrder(t, r, nil)
		diff(t, "cursor at the end", r.saved(t), 301)
	})
}

func encodedAt(t *testing.T, r *rig, p sinks.Position) []byte {
	t.Helper()
	records, err := r.Read(context.Background(), p, make([]sinks.Record, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	return records[0].Encoded
}

func headerAt(t *testing.T, r *rig, p sinks.Position) *sinks.Header {
	t.Helper()
	record, err := sinks.NewRecord(p, encodedAt(t, r, p))
	if err != nil {
		t.Fatal(err)
	}
	return &record.Header
}

// checkOrder holds what the store has against the journal: each event is there, unless parked, and for each subject they
// are in order but for repeated suffixes.
func checkOrder(t *testing.T, r *rig, parked []sinks.Position) {
	t.Helper()
	rank := map[sinks.Position]int{} // within its subject
	count := map[string]int{}
	for p := sinks.Position(1); p < r.Bounds().Next; p++ {
		event, err := sinks.Record{Encoded: encodedAt(t, r, p)}.Event()
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(parked, p) {
			continue
		}
		count[event.GetSubject()]++
		rank[p] = count[event.GetSubject()]
	}
	last, most := map[string]int{}, map[string]int{}
	for _, record := range r.store.Records() {
		event, err := record.Event()
		if err != nil {
			t.Fatal(err)
		}
		s, n := event.GetSubject(), rank[record.Position]
		if n > last[s]+1 || n == 0 {
			t.Errorf("%s: %d came after %d", s, n, last[s])
		}
		last[s] = n
		most[s] = max(most[s], n)
	}
	diff(t, "subjects, and how many events of each came", most, count)
	diff(t, "which came last", last, count)
}

// Whatever a sink does, in one lane or several, all events arrive or are parked, in order.
func TestRandomFaults(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprint(lanes, " lanes, seed ", seed), func(t *testing.T) {
				run(t, func(t *testing.T, r *rig) { randomFaults(t, r, lanes, seed) })
			})
		}
	}
}

func randomFaults(t *testing.T, r *rig, lanes int, seed uint64) {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	poison := func(p sinks.Position) bool { return p%37 == 5 }
	flaky := func(next sinks.Sink) sinks.Sink {
		return newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			n := slices.IndexFunc(events, func(r sinks.Record) bool { return poison(r.Position) })
			err := sinks.Permanent(errors.New("poison"))
			if n < 0 {
				n, err = len(events), nil
			}
			if roll(3) == 0 {
				n = roll(n + 1)
				err = []error{errDown, context.DeadlineExceeded, &sinks.RetryAfterError{After: time.Second, Err: errDown}, nil}[roll(4)]
			}
			// More may have arrived than is said.
			arrived := n + roll(len(events)-n+1)
			for _, e := range events[:arrived] {
				if poison(e.Position) {
					break
				}
				if _, err := next.Deliver(ctx, []sinks.Record{e}); err != nil {
					t.Error(err)
				}
			}
			return n, err
		})
	}
	total := 0
	for total < 600 {
		var all []sinks.Sink
		for range lanes {
			all = append(all, flaky(r.sink(t)))
		}
		d := r.dispatcher(t, Config{
			Sinks: all, Batch: Batch{Count: 1 + roll(20), Delay: time.Duration(roll(2)) * time.Second}, Window: 200,
			Breaker: Breaker{Failures: 3}, Jitter: func() float64 { return float64(roll(100)) / 100 },
		})
		stop := started(t, d)
		for range 5 {
			n := 1 + roll(60)
			total += n
			r.append(t, orders(n, 13)...)
			sleep(time.Duration(roll(3000)) * time.Millisecond)
		}
		stop()
	}
	d := r.dispatcher(t, Config{Sinks: []sinks.Sink{flaky(r.sink(t))}})
	stop := started(t, d)
	for d.Stats().LagEvents > 0 {
		sleep(time.Minute)
	}
	stop()
	var want []sinks.Position
	for p := sinks.Position(5); p <= sinks.Position(total); p += 37 {
		want = append(want, p)
	}
	diff(t, "parked", r.parkedAt(t), want)
	diff(t, "cursor", r.saved(t), sinks.Position(total+1))
	checkOrder(t, r, want)
}

func TestSinkThatIsClosed(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(3, 3)...)
		s := r.sink(t)
		_ = s.Close()
		err := r.dispatcher(t, Config{Sinks: []sinks.Sink{s, r.sink(t)}}).Run(t.Context())
		if !errors.Is(err, sinks.ErrClosed) || !strings.HasPrefix(err.Error(), "dispatch: orders: ") {
			t.Errorf("run: %v", err)
		}
	})
}

// Sinks that break the contract cannot make the cursor pass what they have not taken.
func TestSinkThatMiscounts(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 2)...)
		answers := []int{-3, 4, 99}
		s := newScript(func(context.Context, []sinks.Record) (int, error) {
			n := answers[0]
			answers = answers[1:]
			return n, nil
		})
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}}))
		sleep(time.Minute)
		stop()
		diff(t, "attempts", s.attempts(), []attempt{
			{0, through(1, 10)}, {100 * time.Millisecond, through(1, 10)}, {200 * time.Millisecond, through(5, 10)},
		})
		diff(t, "cursor", r.saved(t), 11)
	})
}

func TestNewReportsAll(t *testing.T) {
	_, err := New(Config{Batch: Batch{Count: -1}, Backoff: Backoff{Min: time.Hour, Max: time.Minute}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"no name", "no log", "no claim", "no sink", "batch", "backoff"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}
