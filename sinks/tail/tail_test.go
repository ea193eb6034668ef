package tail_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/logtest"
	"github.com/webhook-bridge/bridge/sinks/memlog"
	"github.com/webhook-bridge/bridge/sinks/tail"
)

// A tail is a log like the one behind it, whether it has all events, hardly any, or does not run.
func TestLog(t *testing.T) {
	for name, bytes := range map[string]int{"large": tail.DefaultBytes, "tiny": 2000, "empty": 0, "idle": -1} {
		t.Run(name, func(t *testing.T) {
			logtest.Run(t, func(t *testing.T) logtest.Harness { return harness(t, memlog.New(t.Name()), bytes) })
		})
	}
}

func harness(t *testing.T, log *memlog.Log, bytes int) logtest.Harness {
	t.Helper()
	l := tail.New(log, bytes)
	if bytes >= 0 {
		run(t, l)
	}
	return logtest.Harness{
		Log: l,
		Append: func(events ...*eventv1.Event) {
			t.Helper()
			add(t, log, events...)
		},
		Expire: func(p sinks.Position) { log.Expire(p) },
		Backup: func() func() logtest.Harness {
			next := log.Bounds().Next
			return func() logtest.Harness { return harness(t, log.Restore(next), bytes) }
		},
		Close: log.Close,
	}
}

// run fills the tail until the test ends.
func run(t *testing.T, l *tail.Log) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func add(t *testing.T, log *memlog.Log, events ...*eventv1.Event) {
	t.Helper()
	if _, err := log.Append(events...); err != nil {
		t.Error(err)
	}
}

func event(n int) *eventv1.Event {
	return &eventv1.Event{Id: strconv.Itoa(n), Type: "shipment.ordered"}
}

// counted is a log that counts its reads, and may fail.
type counted struct {
	*memlog.Log

	reads atomic.Int64
	err   atomic.Pointer[error]
}

func (c *counted) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	c.reads.Add(1)
	if err := c.err.Load(); err != nil {
		return records, *err
	}
	return c.Log.Read(ctx, from, records)
}

func (c *counted) fail(err error) {
	if err == nil {
		c.err.Store(nil)
		return
	}
	c.err.Store(&err)
}

// Many readers near the end cost the other log the reads of one, and decode each event once.
func TestReadersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const readers, events = 50, 40
		log := &counted{Log: memlog.New("log")}
		l := tail.New(log, tail.DefaultBytes)
		run(t, l)
		synctest.Wait()
		seen := make([][]*eventv1.Event, readers)
		var wg sync.WaitGroup
		for i := range readers {
			wg.Go(func() {
				for next := sinks.Position(1); next <= events; {
					read, err := l.Read(t.Context(), next, make([]sinks.Record, 0, 7))
					if err != nil {
						t.Error(err)
						return
					}
					for j := range read {
						e, err := read[j].Decoded()
						if err != nil || e.GetId() != fmt.Sprint(next) {
							t.Errorf("event %d is %v, %v", next, e, err)
						}
						seen[i] = append(seen[i], e)
						next++
					}
				}
			})
		}
		for n := range events {
			synctest.Wait()
			add(t, log.Log, event(n+1))
		}
		wg.Wait()
		for i := range readers {
			for n, e := range seen[i] {
				if e != seen[0][n] {
					t.Fatalf("reader %d has an event %d of its own", i, n+1)
				}
			}
		}
		if n := log.reads.Load(); n > events+1 {
			t.Errorf("%d reads for %d events", n, events)
		}
		if s := l.Stats(); s.Events != events || s.Hits < events*readers/7 || s.Misses != 0 {
			t.Errorf("stats are %+v", s)
		}
	})
}

// A tail keeps to its size, with what readers derive, and older events come from the other log.
func TestSizeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, events = 200_000, 400
		log := &counted{Log: memlog.New("log")}
		l := tail.New(log, limit)
		run(t, l)
		synctest.Wait()
		for n := range events {
			e := event(n)
			e.Subject = strings.Repeat("x", 4000)
			add(t, log.Log, e)
			synctest.Wait()
			if s := l.Stats(); s.Bytes > limit || s.Bytes < 0 {
				t.Fatalf("%d bytes after %d events", s.Bytes, n)
			}
		}
		kept := l.Stats().Events
		if kept < limit/10_000 || kept > limit/4000 {
			t.Errorf("%d events are kept", kept)
		}
		log.reads.Store(0)
		read(t, l, events-1)
		if n := log.reads.Load(); n != 0 {
			t.Errorf("an event in memory cost %d reads", n)
		}
		read(t, l, 3)
		if n := log.reads.Load(); n != 1 {
			t.Errorf("an old event cost %d reads", n)
		}
		for p := events - kept + 2; p <= events; p++ {
			r := read(t, l, p)
			if _, err := r.Decoded(); err != nil {
				t.Fatal(err)
			}
			if s := l.Stats(); s.Bytes > limit {
				t.Fatalf("%d bytes with decoded events", s.Bytes)
			}
		}
		if s := l.Stats(); s.Events >= kept/2 {
			t.Errorf("%d of %d events are kept beside their decoded forms", s.Events, kept)
		}
	})
}

func read(t *testing.T, l sinks.Log, p int) sinks.Record {
	t.Helper()
	records, err := l.Read(t.Context(), sinks.Position(p), make([]sinks.Record, 0, 1))
	if err != nil || len(records) != 1 || records[0].Position != sinks.Position(p) {
		t.Fatalf("read %d: %v, %v", p, records, err)
	}
	return records[0]
}

// What retention has removed is expired, also while it is in memory.
func TestExpiredInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		l := tail.New(log, tail.DefaultBytes)
		run(t, l)
		synctest.Wait()
		add(t, log, event(1), event(2), event(3))
		synctest.Wait()
		log.Expire(3)
		if _, err := l.Read(t.Context(), 2, make([]sinks.Record, 0, 1)); !errors.Is(err, sinks.ErrExpired) {
			t.Errorf("an expired event gives %v", err)
		}
		read(t, l, 3)
	})
}

// While the other log fails, readers get its errors at once. When it answers again, the tail goes on.
func TestOtherLogFails(t *testing.T) {
	for _, failure := range []error{
		sinks.ErrUnavailable, sinks.ErrExpired, &sinks.DamagedError{Position: 2}, &sinks.LostError{From: 2, To: 3}, errors.New("a disk"),
	} {
		synctest.Test(t, func(t *testing.T) {
			log := &counted{Log: memlog.New("log")}
			l := tail.New(log, tail.DefaultBytes)
			run(t, l)
			synctest.Wait()
			add(t, log.Log, event(1))
			synctest.Wait()
			await := l.Await(2)
			waiting := make(chan error, 1)
			log.fail(failure)
			add(t, log.Log, event(2)) // The tail's read that waits gets this one, the next one fails.
			synctest.Wait()
			<-await
			go func() {
				_, err := l.Read(t.Context(), 3, make([]sinks.Record, 0, 1))
				waiting <- err
			}()
			if err := <-waiting; !errors.Is(err, failure) {
				t.Errorf("a reader gets %v, want %v", err, failure)
			}
			select {
			case <-l.Await(3):
			default:
				t.Error("readers wait for a tail that does not run")
			}
			log.fail(nil)
			read(t, l, 2)
			<-time.After(time.Minute) // The longest pause is over.
			synctest.Wait()
			log.reads.Store(0)
			add(t, log.Log, event(3), event(4))
			synctest.Wait()
			read(t, l, 3)
			read(t, l, 4)
			if n := log.reads.Load(); n != 1 {
				t.Errorf("%v: %d reads for what the tail has again", failure, n)
			}
		})
	}
}

// Await tells a reader of an event, of the end, and not too early.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		l := tail.New(log, tail.DefaultBytes)
		run(t, l)
		synctest.Wait()
		told := func(c <-chan struct{}) bool {
			synctest.Wait()
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
		first := l.Await(1)
		if told(first) {
			t.Error("told of an event that is not there")
		}
		add(t, log, event(1))
		if !told(first) || !told(l.Await(1)) || told(l.Await(2)) {
			t.Error("not told of an event, or of one that is not there")
		}
		second := l.Await(2)
		log.Close()
		if !told(second) || !told(l.Await(2)) {
			t.Error("not told of the end")
		}
	})
}
