package grpcstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// These tests go over the network.

func TestStartsWhereAskedThenGoesOn(t *testing.T) {
	const kept, end = 3, 8 // Events 3 to 7 are kept.
	log := memlog.New("log")
	appendEvents(t, log, 0, end)
	log.Expire(kept + 1)
	v := serve(t, New(log, Config{}))
	at := func(offset time.Duration) *streamv1.Start {
		return &streamv1.Start{At: &streamv1.Start_Time{Time: timestamppb.New(began.Add(offset))}}
	}
	s := tokensOf(log, nil)
	for _, c := range []struct {
		name  string
		start *streamv1.Start
		first int
	}{
		{"empty request", nil, kept},
		{"earliest", &streamv1.Start{At: &streamv1.Start_Earliest{Earliest: &streamv1.Earliest{}}}, kept},
		{"latest", fromLatest(), end},
		{"time of an event", at(5 * time.Second), 5},
		{"time between events", at(5*time.Second + 1), 6},
		{"time before all", at(-time.Hour), kept},
		{"time after all", at(time.Hour), end},
		{"token of the earliest", fromToken(s.at(kept + 1)), kept},
		{"token of an event", fromToken(s.at(7)), 6},
		{"token of the last event", fromToken(s.at(end + 1)), end},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := v.tail(t, &streamv1.TailRequest{Start: c.start})
			subscribed := receiveSubscribed(t, stream)
			bounds := log.Bounds()
			if want := uint64(bounds.Next) - 1 - uint64(c.first); subscribed.GetLag() != want {
				t.Errorf("lag is %d, want %d", subscribed.GetLag(), want)
			}
			if want := s.at(sinks.Position(c.first + 1)); subscribed.GetToken() != want {
				t.Errorf("start is %q, want %q", subscribed.GetToken(), want)
			}
			wantEvents(t, receiveEvents(t, stream, end-c.first), numbers(c.first, end)...)
		})
	}

	stream := v.tail(t, &streamv1.TailRequest{Start: fromLatest()})
	receiveSubscribed(t, stream)
	for n := end; n < end+3; n++ {
		appendEvents(t, log, n, n+1)
		wantEvents(t, receiveEvents(t, stream, 1), n)
	}
}

func numbers(from, to int) []int {
	var all []int
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

func TestEveryTokenResumesAfterItsEvent(t *testing.T) {
	const end = 10
	log := memlog.New("log")
	appendEvents(t, log, 0, end)
	v := serve(t, New(log, Config{}))
	stream := v.tail(t, &streamv1.TailRequest{})
	tokens := []string{receiveSubscribed(t, stream).GetToken()}
	for _, d := range receiveEvents(t, stream, end) {
		tokens = append(tokens, d.GetToken())
	}
	for n, token := range tokens {
		stream := v.tail(t, &streamv1.TailRequest{Start: fromToken(token)})
		if again := receiveSubscribed(t, stream).GetToken(); again != token {
			t.Errorf("resumed at %q, asked for %q", again, token)
		}
		wantEvents(t, receiveEvents(t, stream, end-n), numbers(n, end)...)
	}
}

// A client that is killed at random and resumes with the token of the last event it kept has every event once, in order.
func TestResumedAtRandomHasEverythingOnce(t *testing.T) {
	const end = 3000
	rng := rand.New(rand.NewPCG(7, 11))
	log := memlog.New("log")
	server := New(log, Config{})
	v := serve(t, server)
	go func() {
		for n := 0; n < end; n += 10 {
			appendEvents(t, log, n, n+10)
		}
	}()
	filter := &streamv1.Filter{Types: []string{"shipment.*"}}
	var start *streamv1.Start
	handled, streams := 0, 0
	for handled < end {
		ctx, kill := context.WithCancel(t.Context())
		stream, err := v.client.Tail(ctx, &streamv1.TailRequest{Start: start, Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		streams++
		receiveSubscribed(t, stream)
		for left := 1 + rng.IntN(150); left > 0 && handled < end; {
			m := receive(t, stream)
			for _, d := range m.GetEvents().GetEvents()[:min(left, len(m.GetEvents().GetEvents()))] {
				wantEvents(t, []*streamv1.DeliveredEvent{d}, handled)
				start = fromToken(d.GetToken())
				handled++
				left--
			}
		}
		kill()
	}
	if streams < 10 {
		t.Errorf("only %d streams", streams)
	}
}

func TestFiltersChoose(t *testing.T) {
	log := memlog.New("log")
	var events []*eventv1.Event
	for n := range 300 {
		e := event(n)
		e.Type = []string{"order.changed", "order.deleted", "shipment.ordered", "unmapped"}[n%4]
		e.Source = []string{"till", "diner", "loyalty"}[n%3]
		e.Subject = []string{"order/1", "order/2", "order/3", "order/4", "order/5"}[n%5]
		events = append(events, e)
	}
	add(t, log, events...)
	v := serve(t, New(log, Config{}))
	for _, c := range []struct {
		name   string
		filter *streamv1.Filter
		passes func(*eventv1.Event) bool
	}{
		{"all", &streamv1.Filter{}, func(*eventv1.Event) bool { return true }},
		{"type", &streamv1.Filter{Types: []string{"order.*"}}, func(e *eventv1.Event) bool { return strings.HasPrefix(e.GetType(), "order.") }},
		{"types", &streamv1.Filter{Types: []string{"*", "**.ordered"}}, func(e *eventv1.Event) bool {
			return e.GetType() == "unmapped" || e.GetType() == "shipment.ordered"
		}},
		{"source", &streamv1.Filter{Sources: []string{"diner"}}, func(e *eventv1.Event) bool { return e.GetSource() == "diner" }},
		{"subjects", &streamv1.Filter{Subjects: []string{"order/2", "order/5"}}, func(e *eventv1.Event) bool {
			return e.GetSubject() == "order/2" || e.GetSubject() == "order/5"
		}},
		{"every list", &streamv1.Filter{Types: []string{"order.*"}, Sources: []string{"till"}, Subjects: []string{"order/1"}}, func(e *eventv1.Event) bool {
			return strings.HasPrefix(e.GetType(), "order.") && e.GetSource() == "till" && e.GetSubject() == "order/1"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := v.tail(t, &streamv1.TailRequest{Filter: c.filter})
			receiveSubscribed(t, stream)
			var want []string
			for _, e := range events {
				if c.passes(e) {
					want = append(want, e.GetId())
				}
			}
			if len(want) == 0 {
				t.Fatal("nothing passes: this shows nothing")
			}
			delivered := receiveEvents(t, stream, len(want))
			for i, d := range delivered {
				if d.GetEvent().GetId() != want[i] {
					t.Fatalf("event %d is %v, want %s", i, d.GetEvent(), want[i])
				}
			}
			// A token resumes within the filtered stream.
			stream = v.tail(t, &streamv1.TailRequest{Filter: c.filter, Start: fromToken(delivered[0].GetToken())})
			receiveSubscribed(t, stream)
			if rest := receiveEvents(t, stream, len(want)-1); rest[0].GetEvent().GetId() != want[1] {
				t.Errorf("resumed with %v, want %s", rest[0].GetEvent(), want[1])
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	log := memlog.New("log")
	appendEvents(t, log, 0, 10)
	log.Expire(4)
	v := serve(t, New(log, Config{}))
	filter := &streamv1.Filter{Types: []string{"order.*"}}
	ours := tokensOf(log, nil)
	filtered := tokensOf(log, filter)
	foreign := tokensOf(memlog.New("other"), nil)
	token := func(s marker, p sinks.Position) *streamv1.TailRequest {
		return &streamv1.TailRequest{Start: fromToken(s.at(p))}
	}
	for _, c := range []struct {
		name string
		req  *streamv1.TailRequest
		code codes.Code
		text string
	}{
		{"start without a place", &streamv1.TailRequest{Start: &streamv1.Start{}}, codes.InvalidArgument, "start.at"},
		{"empty token", &streamv1.TailRequest{Start: fromToken("")}, codes.InvalidArgument, "start.token"},
		{"huge token", &streamv1.TailRequest{Start: fromToken(strings.Repeat("A", 513))}, codes.InvalidArgument, "start.token"},
		{"truncated token", &streamv1.TailRequest{Start: fromToken(ours.at(5)[:20])}, codes.InvalidArgument, "cut"},
		{"damaged token", &streamv1.TailRequest{Start: fromToken(strings.Repeat("A", tokenLen))}, codes.InvalidArgument, "damaged"},
		{"token of another journal", token(foreign, 5), codes.FailedPrecondition, "another journal"},
		{"token of another filter", token(filtered, 5), codes.FailedPrecondition, "another filter"},
		{"token without its filter", &streamv1.TailRequest{Start: fromToken(ours.at(5)), Filter: filter}, codes.FailedPrecondition, "another filter"},
		{"cut to the old length", &streamv1.TailRequest{Start: fromToken(ours.at(5)[:oldTokenLen])}, codes.InvalidArgument, "cut"},
		{"damaged old token", &streamv1.TailRequest{Start: fromToken(strings.Repeat("A", oldTokenLen))}, codes.InvalidArgument, "damaged"},
		{"old token past the end", &streamv1.TailRequest{Start: fromToken(oldToken(ours.tokens, 12))}, codes.FailedPrecondition, "past the journal's end"},
		{"old token no longer kept", &streamv1.TailRequest{Start: fromToken(oldToken(ours.tokens, 3))}, codes.OutOfRange, "POSITION_EXPIRED"},
		{"old token of another filter", &streamv1.TailRequest{Start: fromToken(oldToken(filtered.tokens, 5))}, codes.FailedPrecondition, "another filter"},
		{"token past the end", token(ours, 12), codes.FailedPrecondition, "past the journal's end"},
		{"token no longer kept", token(ours, 3), codes.OutOfRange, "POSITION_EXPIRED"},
		{"malformed pattern", &streamv1.TailRequest{Filter: &streamv1.Filter{Types: []string{"ok", "ord*"}}}, codes.InvalidArgument, "filter.types[1]"},
		{"empty pattern", &streamv1.TailRequest{Filter: &streamv1.Filter{Types: []string{""}}}, codes.InvalidArgument, "filter.types[0]"},
		{"empty source", &streamv1.TailRequest{Filter: &streamv1.Filter{Sources: []string{""}}}, codes.InvalidArgument, "filter.sources[0]"},
		{"too many subjects", &streamv1.TailRequest{Filter: &streamv1.Filter{Subjects: strings.Split(strings.Repeat("a,", 100)+"a", ",")}}, codes.InvalidArgument, "filter.subjects"},
		{"heartbeat too often", &streamv1.TailRequest{HeartbeatInterval: durationpb.New(99 * time.Millisecond)}, codes.InvalidArgument, "heartbeat_interval"},
		{"heartbeat too seldom", &streamv1.TailRequest{HeartbeatInterval: durationpb.New(301 * time.Second)}, codes.InvalidArgument, "heartbeat_interval"},
		{"heartbeat of zero", &streamv1.TailRequest{HeartbeatInterval: &durationpb.Duration{}}, codes.InvalidArgument, "heartbeat_interval"},
		{"heartbeat that is none", &streamv1.TailRequest{HeartbeatInterval: &durationpb.Duration{Seconds: 1, Nanos: -1}}, codes.InvalidArgument, "heartbeat_interval"},
		{"time that is none", &streamv1.TailRequest{Start: &streamv1.Start{At: &streamv1.Start_Time{Time: &timestamppb.Timestamp{Nanos: -1}}}}, codes.InvalidArgument, "start.time"},
	} {
		t.Run(c.name, func(t *testing.T) { wantEnd(t, v.tail(t, c.req), c.code, c.text) })
	}
}

// The log was restored from a backup, and other events got the positions of the lost events.
func TestTokenOfALostState(t *testing.T) {
	const backup, lost = 6, 9 // The next positions of the backup and of the lost log.
	log := memlog.New("log")
	appendEvents(t, log, 0, 10)
	restored := log.Restore(backup)
	v := serve(t, New(restored, Config{}))
	gone := &streamv1.TailRequest{Start: fromToken(tokensOf(log, nil).at(lost))}
	wantEnd(t, v.tail(t, gone), codes.FailedPrecondition, "past the journal's end")
	appendEvents(t, restored, 20, 26)
	wantEnd(t, v.tail(t, gone), codes.FailedPrecondition, "restored from a backup")

	for p := sinks.Position(1); p <= backup; p++ {
		for _, token := range []string{tokensOf(log, nil).at(p), tokensOf(restored, nil).at(p)} {
			stream := v.tail(t, &streamv1.TailRequest{Start: fromToken(token)})
			receiveSubscribed(t, stream)
			want := append(numbers(int(p)-1, backup-1), numbers(20, 26)...)
			delivered := receiveEvents(t, stream, len(want))
			wantEvents(t, delivered, want...)
			for i, d := range delivered { // Of both epochs.
				if want := tokensOf(restored, nil).at(p + sinks.Position(i) + 1); d.GetToken() != want {
					t.Fatalf("token %d after a start at %d is %q, want %q", i, p, d.GetToken(), want)
				}
			}
		}
	}
}

// Services have stored tokens of the first version, which have no epoch.
func TestOldTokenResumes(t *testing.T) {
	const end = 10
	filter := &streamv1.Filter{Types: []string{"shipment.*"}}
	log := memlog.New("log")
	appendEvents(t, log, 0, end)
	v := serve(t, New(log, Config{}))
	s := tokensOf(log, filter)
	for n := range end + 1 {
		p := sinks.Position(n + 1)
		stream := v.tail(t, &streamv1.TailRequest{Filter: filter, Start: fromToken(oldToken(s.tokens, p))})
		if got := receiveSubscribed(t, stream).GetToken(); got != s.at(p) {
			t.Errorf("resumed at %q, want %q", got, s.at(p))
		}
		wantEvents(t, receiveEvents(t, stream, end-n), numbers(n, end)...)
	}
}

// lateLog is an instance that does not know the last events until it asks the storage.
type lateLog struct {
	*memlog.Log
	known atomic.Uint64
}

func (l *lateLog) Bounds() sinks.Bounds {
	bounds := l.Log.Bounds()
	bounds.Next = sinks.Position(l.known.Load())
	return bounds
}

func (l *lateLog) Resolve(ctx context.Context, m sinks.Mark) error {
	l.known.Store(uint64(l.Log.Bounds().Next))
	return l.Log.Resolve(ctx, m)
}

// An instance does not refuse a token only because its own view of the log's end is older.
func TestTokenPastTheKnownEndResumes(t *testing.T) {
	log := &lateLog{Log: memlog.New("log")}
	appendEvents(t, log.Log, 0, 10)
	log.known.Store(3)
	v := serve(t, New(log, Config{}))
	stream := v.tail(t, &streamv1.TailRequest{Start: fromToken(tokensOf(log, nil).at(8))})
	receiveSubscribed(t, stream)
	wantEvents(t, receiveEvents(t, stream, 3), numbers(7, 10)...)
}

func TestExpiredTellsWhereToGoOn(t *testing.T) {
	filter := &streamv1.Filter{Types: []string{"shipment.*"}}
	log := memlog.New("log")
	s := tokensOf(log, filter)
	appendEvents(t, log, 0, 10)
	log.Expire(4)
	v := serve(t, New(log, Config{}))
	st := wantEnd(t, v.tail(t, &streamv1.TailRequest{Filter: filter, Start: fromToken(s.at(3))}), codes.OutOfRange, "POSITION_EXPIRED")
	detail, ok := st.Details()[0].(*streamv1.PositionExpired)
	if !ok || detail.GetReason() != "POSITION_EXPIRED" || !detail.GetEarliestReceivedAt().AsTime().Equal(began.Add(3*time.Second)) {
		t.Fatalf("detail is %v", st.Details())
	}
	stream := v.tail(t, &streamv1.TailRequest{Filter: filter, Start: fromToken(detail.GetEarliestToken())})
	receiveSubscribed(t, stream)
	wantEvents(t, receiveEvents(t, stream, 7), numbers(3, 10)...)

	log.Expire(11)
	st = wantEnd(t, v.tail(t, &streamv1.TailRequest{Filter: filter, Start: fromToken(s.at(3))}), codes.OutOfRange, "POSITION_EXPIRED")
	detail, ok = st.Details()[0].(*streamv1.PositionExpired)
	if !ok || detail.EarliestReceivedAt != nil || detail.GetEarliestToken() != s.at(11) {
		t.Fatalf("detail of an empty journal is %v", st.Details())
	}
}

func TestResponsesStaySmallButForOneLargeEvent(t *testing.T) {
	log := memlog.New("log")
	appendEvents(t, log, 0, 500)
	large := event(500)
	large.Data = &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: strings.Repeat("x", 5<<20)}}
	add(t, log, large)
	appendEvents(t, log, 501, 600)
	v := serve(t, New(log, Config{}))

	stream, err := v.client.Tail(t.Context(), &streamv1.TailRequest{}, grpc.MaxCallRecvMsgSize(16<<20))
	if err != nil {
		t.Fatal(err)
	}
	receiveSubscribed(t, stream)
	responses, before := 0, ""
	for n := 0; n < 600; responses++ {
		m := receive(t, stream)
		events := m.GetEvents().GetEvents()
		if size := proto.Size(m); size > 32<<10 && len(events) > 1 {
			t.Fatalf("a response of %d events has %d bytes", len(events), size)
		}
		for _, d := range events {
			if n == 500 {
				if len(d.GetEvent().GetUnmapped().GetJson()) != 5<<20 {
					t.Fatal("the large event is not whole")
				}
			} else {
				wantEvents(t, []*streamv1.DeliveredEvent{d}, n)
			}
			if n == 499 {
				before = d.GetToken()
			}
			n++
		}
	}
	if responses > 60 {
		t.Errorf("%d responses for 600 events: they are not sent in batches", responses)
	}

	// With gRPC's default limit, the client itself refuses the large one.
	refused := v.tail(t, &streamv1.TailRequest{Start: fromToken(before)})
	receiveSubscribed(t, refused)
	wantEnd(t, refused, codes.ResourceExhausted, "larger than max")
}

func TestClientThatDoesNotReadHoldsUpNobody(t *testing.T) {
	const end = 5000 // Over 3 MB.
	log := memlog.New("log")
	appendEvents(t, log, 0, end)
	server := New(log, Config{})
	v := serve(t, server)
	v.client = v.dial(t, grpc.WithStaticStreamWindowSize(64<<10)) // Otherwise it grows with the stream that reads.
	stuck := v.tail(t, &streamv1.TailRequest{})

	// On the same connection.
	stream := v.tail(t, &streamv1.TailRequest{})
	receiveSubscribed(t, stream)
	wantEvents(t, receiveEvents(t, stream, end), numbers(0, end)...)
	appendEvents(t, log, end, end+10)
	wantEvents(t, receiveEvents(t, stream, 10), numbers(end, end+10)...)
	if got := server.Stats(); got.Open != 2 || got.MaxLag < end/2 {
		t.Errorf("stats are %+v, want 2 streams, one of them far behind", got)
	}

	// What did not read so far finds everything.
	receiveSubscribed(t, stuck)
	wantEvents(t, receiveEvents(t, stuck, end+10), numbers(0, end+10)...)
}

func TestShutdownCutsClientThatDoesNotRead(t *testing.T) {
	const end = 5000
	log := memlog.New("log")
	appendEvents(t, log, 0, end)
	server := New(log, Config{})
	v := serve(t, server)
	v.client = v.dial(t, grpc.WithStaticStreamWindowSize(64<<10)) // Otherwise it grows with the stream that reads.
	stuck := v.tail(t, &streamv1.TailRequest{})
	stream := v.tail(t, &streamv1.TailRequest{})
	receiveSubscribed(t, stream)
	receiveEvents(t, stream, end) // By now, the other one is stuck.

	cause := errors.New("out of patience")
	impatient, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, cause)
	defer cancel()
	if err := server.Shutdown(impatient); !errors.Is(err, cause) {
		t.Errorf("shutdown with a client that does not read returned %v, want %v", err, cause)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Errorf("a stream is left after it was cut: %v", err)
	}
	if got := server.Stats().Open; got != 0 {
		t.Errorf("%d streams are open after shutdown", got)
	}

	if receive(t, stream).GetGoodbye() == nil {
		t.Error("the client that reads got no goodbye")
	}
	wantEnd(t, stream, codes.Unavailable, "shutting down")
	receiveSubscribed(t, stuck)
	last := drain(t, stuck)
	if last >= end {
		t.Errorf("the client that did not read got all %d events: it was not stuck", last)
	}
	wantEnd(t, v.tail(t, &streamv1.TailRequest{}), codes.Unavailable, "shutting down")
}

// drain receives until the stream ends, which must be because the server shuts down, and counts the events.
func drain(tb testing.TB, r receiver) int {
	tb.Helper()
	for n := 0; ; {
		m, err := r.Recv()
		if err != nil {
			return n
		}
		for _, d := range m.GetEvents().GetEvents() {
			wantEvents(tb, []*streamv1.DeliveredEvent{d}, n)
			n++
		}
	}
}

func TestCancelledClientFreesItsStream(t *testing.T) {
	log := memlog.New("log")
	server := New(log, Config{Streams: NewStreams(StreamsConfig{Max: 2})})
	v := serve(t, server)
	ctx, cancel := context.WithCancel(t.Context())
	first, err := v.client.Tail(ctx, &streamv1.TailRequest{})
	if err != nil {
		t.Fatal(err)
	}
	receiveSubscribed(t, first)
	receiveSubscribed(t, v.tail(t, &streamv1.TailRequest{}))
	wantEnd(t, v.tail(t, &streamv1.TailRequest{}), codes.ResourceExhausted, "limit")

	cancel()
	<-v.ended // The refused one.
	<-v.ended
	receiveSubscribed(t, v.tail(t, &streamv1.TailRequest{}))
	wantEnd(t, v.tail(t, &streamv1.TailRequest{}), codes.ResourceExhausted, "limit")
}
