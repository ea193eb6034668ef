package s3_test

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/s3"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

func TestResumer(t *testing.T) {
	for _, format := range []string{"jsonl", "parquet"} {
		t.Run(format, func(t *testing.T) {
			sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
				s, _ := newSite(tb, format)
				return s.harness(tb, true)
			}, sinktest.Features{TotalOrder: true, SharedDestination: true})
		})
	}
}

func TestSink(t *testing.T) {
	sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
		s, _ := newSite(tb, "jsonl")
		return s.harness(tb, false)
	}, sinktest.Features{TotalOrder: true})
}

// marks is a log with one epoch.
type marks struct{}

func (marks) ID() string                       { return "log" }
func (marks) Mark(p sinks.Position) sinks.Mark { return sinks.Mark{Epoch: 1<<64 - 1, Position: p} }

var origin = sinks.Origin{Log: marks{}, Sink: "archive"}

// batch returns events of the positions from first to last. Each hour has ten of them.
func batch(tb testing.TB, first, last int) []sinks.Record {
	tb.Helper()
	var all []sinks.Record
	for p := first; p <= last; p++ {
		encoded, err := proto.Marshal(&eventv1.Event{
			Id: strconv.Itoa(p), Type: "unmapped", Source: "till",
			ReceivedAt: timestamppb.New(time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC).Add(time.Duration(p-1) * 6 * time.Minute)),
			Data:       &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{}},
		})
		if err != nil {
			tb.Fatal(err)
		}
		r, err := sinks.NewRecord(sinks.Position(p), encoded)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// ids returns the ids of all events that the storage has.
func (s *site) ids(tb testing.TB) (all []string) {
	tb.Helper()
	events, err := s.received(s.read)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range events {
		all = append(all, e.GetId())
	}
	return all
}

// The answer of each request is lost once, and then each request fails once. Either the sink goes on, or the process ends and another one
// takes its place. No event is missing or there twice.
func TestEveryRequestFails(t *testing.T) {
	const last = 30 // Three objects: with the state, and what Resume sends, about 20 requests.
	var want []string
	for p := range last {
		want = append(want, strconv.Itoa(p+1))
	}
	for _, restarts := range []bool{false, true} {
		for n := 1; n <= 24; n++ {
			for name, fault := range map[string]func(*site){"lost": func(s *site) { s.lose(n) }, "failed": func(s *site) { s.fail(n - 1) }} {
				s, _ := newSite(t, "jsonl")
				fault(s)
				deliverAll(t, s, restarts, last)
				if diff := cmp.Diff(want, s.ids(t)); diff != "" {
					t.Fatalf("request %d %s, restarts %t (-want +got):\n%s", n, name, restarts, diff)
				}
			}
		}
	}
}

// deliverAll delivers as a dispatcher does. After a failure the storage is repaired.
func deliverAll(t *testing.T, s *site, restarts bool, last int) {
	t.Helper()
	open := func() *s3.Resumer {
		r, err := s3.OpenResumer(t.Context(), origin, s.config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		return r
	}
	sink, next := open(), 1
	resumed := false
	for failures := 0; next <= last; {
		if failures > 3 {
			t.Fatal("it does not recover")
		}
		if !resumed {
			reached, found, err := sink.Resume(t.Context())
			if err != nil {
				failures++
				s.fail(-1)
				if restarts {
					sink = open()
				}
				continue
			}
			if resumed = true; found {
				next = int(reached.Mark.Position)
			}
			continue
		}
		n, err := sink.Deliver(t.Context(), batch(t, next, last))
		next += n
		if err != nil {
			failures++
			s.fail(-1)
			if resumed = false; restarts {
				sink = open()
			}
		}
	}
}

// A request of a process that froze before it was sent arrives after another process took over: it changes nothing.
func TestLateRequest(t *testing.T) {
	s, _ := newSite(t, "parquet")
	frozen, err := s3.OpenResumer(t.Context(), origin, s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	if _, _, err := frozen.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.fail(1) // The state is written, the object is not.
	if n, err := frozen.Deliver(t.Context(), batch(t, 1, 5)); n != 0 || err == nil {
		t.Fatalf("%d, %v", n, err)
	}
	s.fail(-1)
	deliverAll(t, s, false, 5)
	if n, err := frozen.Deliver(t.Context(), batch(t, 1, 5)); n != 0 || err == nil {
		t.Errorf("the frozen one delivers: %d, %v", n, err)
	}
	if diff := cmp.Diff([]string{"1", "2", "3", "4", "5"}, s.ids(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The object that was given up is there, without events, so that it cannot be written any more.
	if names := s.names(); len(names) != 2 || !strings.Contains(names[0], "00001-") {
		t.Errorf("objects: %q", names)
	}
}

// Storage that ignores conditions is found out before the first event.
func TestConditionsIgnored(t *testing.T) {
	s, b := newSite(t, "jsonl")
	b.ignoresConditions = true
	r, err := s3.OpenResumer(t.Context(), origin, s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := r.Resume(t.Context()); err == nil || !strings.Contains(err.Error(), "set delivery to at_least_once") {
		t.Error(err)
	}
	if n, err := r.Deliver(t.Context(), batch(t, 1, 1)); n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
}

// An object has the events of one hour, and its name says which.
func TestNames(t *testing.T) {
	s, _ := newSite(t, "jsonl")
	sink, err := s3.Open(t.Context(), origin, s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	events := batch(t, 9, 21)
	events = slices.Insert(events, 4, batch(t, 3, 3)...) // A late one does not begin another object.
	if n, err := sink.Deliver(t.Context(), events); n != len(events) || err != nil {
		t.Fatal(n, err)
	}
	var got []string
	for _, name := range s.names() {
		dir, file := path.Split(name)
		parts := strings.Split(file, "-")
		got = append(got, dir+strings.Join(parts[:3], "-")+" "+parts[4])
	}
	want := []string{
		"bridge/dt=2026-11-27/hour=10/archive-00000000000000000009-00000000000000000010 1.jsonl.zst",
		"bridge/dt=2026-11-27/hour=11/archive-00000000000000000011-00000000000000000020 2.jsonl.zst",
		"bridge/dt=2026-11-27/hour=12/archive-00000000000000000021-00000000000000000021 3.jsonl.zst",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		config s3.Config
		keys   []string
	}{
		"good": {s3.Config{Bucket: "b", Prefix: "a/b", Endpoint: "https://s3.example:9000"}, nil},
		"all": {s3.Config{
			Bucket: "a/b", Prefix: "/x", Endpoint: "https://u:p@s3.example", Format: "csv", Timeout: -1, TLS: &clienttls.Files{KeyFile: "x"},
		}, []string{"bucket", "prefix", "endpoint", "format", "timeout", "tls.cert_file"}},
		"nothing": {s3.Config{}, []string{"bucket"}},
	} {
		var keys []string
		for _, problem := range c.config.Check() {
			if at, ok := errors.AsType[*sinks.KeyError](problem); ok {
				keys = append(keys, at.Key)
			}
		}
		if diff := cmp.Diff(c.keys, keys); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
