package grpcstream

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

func stopLatest() *streamv1.Stop {
	return &streamv1.Stop{At: &streamv1.Stop_Latest{Latest: &streamv1.Latest{}}}
}

func stopTime(t time.Time) *streamv1.Stop {
	return &streamv1.Stop{At: &streamv1.Stop_Time{Time: timestamppb.New(t)}}
}

func stopToken(token string) *streamv1.Stop {
	return &streamv1.Stop{At: &streamv1.Stop_Token{Token: token}}
}

// receiveStop receives the last heartbeat, which has the token of a position, and the end.
func receiveStop(tb testing.TB, r receiver, token string, p sinks.Position) {
	tb.Helper()
	if beat := receiveHeartbeat(tb, r); beat.GetToken() != token || beat.GetPosition() != uint64(p) {
		tb.Errorf("last heartbeat is %v, want position %d", beat, p)
	}
	if m, err := r.Recv(); err != nil && !errors.Is(err, io.EOF) || err == nil && m != nil {
		tb.Errorf("received %v, %v after the last heartbeat", m, err)
	}
}

// A stream ends at its stop, with status OK, after a heartbeat that has the token there.
func TestStopsWhereAsked(t *testing.T) {
	const kept, end = 3, 300 // Events 3 to 299 are kept: more than one batch, and more than one read.
	log := memlog.New("log")
	appendEvents(t, log, 0, end)
	log.Expire(kept + 1)
	v := serve(t, New(log, Config{}))
	s := tokensOf(log, nil)
	at := func(n int) time.Time { return began.Add(time.Duration(n) * time.Second) }
	for _, c := range []struct {
		name        string
		start       *streamv1.Start
		stop        *streamv1.Stop
		first, last int // The events from first up to, not including, last.
	}{
		{"latest", nil, stopLatest(), kept, end},
		{"latest at once", fromLatest(), stopLatest(), end, end},
		{"time of an event", nil, stopTime(at(200)), kept, 200},
		{"time between events", nil, stopTime(at(200).Add(1)), kept, 201},
		{"time before all", nil, stopTime(at(-100)), kept, kept},
		{"time that has passed, after all", nil, stopTime(at(1000)), kept, end},
		{"token", nil, stopToken(s.at(101)), kept, 100},
		{"token of the last event", nil, stopToken(s.at(end + 1)), kept, end},
		{"token of the start", fromToken(s.at(101)), stopToken(s.at(101)), 100, 100},
		{"token behind the start", fromToken(s.at(101)), stopToken(s.at(51)), 100, 100},
		{"token that is no longer kept", nil, stopToken(s.at(2)), kept, kept},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := v.tail(t, &streamv1.TailRequest{Start: c.start, Stop: c.stop})
			receiveSubscribed(t, stream)
			if c.last > c.first {
				wantEvents(t, receiveEvents(t, stream, c.last-c.first), numbers(c.first, c.last)...)
			}
			receiveStop(t, stream, s.at(sinks.Position(c.last+1)), sinks.Position(c.last+1))
		})
	}
	filter := nothingPasses()
	filtered := tokensOf(log, filter)
	for name, stop := range map[string]*streamv1.Stop{
		"latest": stopLatest(), "time": stopTime(at(200)), "token": stopToken(filtered.at(201)),
	} {
		t.Run("nothing passes, "+name, func(t *testing.T) {
			last := sinks.Position(201)
			if name == "latest" {
				last = end + 1
			}
			stream := v.tail(t, &streamv1.TailRequest{Filter: filter, Stop: stop})
			receiveSubscribed(t, stream)
			receiveStop(t, stream, filtered.at(last), last)
		})
	}
}

// Two streams that meet at a place have every event once.
func TestStopAndStartMeet(t *testing.T) {
	const end = 50
	log := memlog.New("log")
	appendEvents(t, log, 0, end)
	v := serve(t, New(log, Config{}))
	for n := range end + 1 {
		place := timestamppb.New(began.Add(time.Duration(n) * time.Second))
		before := v.tail(t, &streamv1.TailRequest{Stop: &streamv1.Stop{At: &streamv1.Stop_Time{Time: place}}})
		receiveSubscribed(t, before)
		if n > 0 {
			wantEvents(t, receiveEvents(t, before, n), numbers(0, n)...)
		}
		token := receiveHeartbeat(t, before).GetToken()
		after := v.tail(t, &streamv1.TailRequest{Start: &streamv1.Start{At: &streamv1.Start_Time{Time: place}}, Stop: stopLatest()})
		if got := receiveSubscribed(t, after).GetToken(); got != token {
			t.Errorf("one ends at %q, the other one starts at %q", token, got)
		}
		if n < end {
			wantEvents(t, receiveEvents(t, after, end-n), numbers(n, end)...)
		}
	}
}

// A time in the future is waited for: for the first event that is received then, or for the time and the patience that late ones get.
func TestStopInTheFuture(t *testing.T) {
	for _, comes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			log := memlog.New("log")
			in := func(d time.Duration) { // An event is received now, in d after the start.
				e := event(1)
				e.ReceivedAt = timestamppb.New(time.Now().Add(d))
				add(t, log, e)
			}
			at := time.Now().Add(40 * time.Minute) // Before the stream's maximum age.
			in(0)
			stream := tail(t, New(log, Config{}), &streamv1.TailRequest{Stop: stopTime(at), HeartbeatInterval: every(5 * time.Minute)})
			receiveSubscribed(t, stream)
			receiveEvents(t, stream, 1)
			<-time.After(20 * time.Minute)
			for range 3 {
				receiveHeartbeat(t, stream)
			}
			in(0)
			receiveEvents(t, stream, 1)
			if comes {
				in(40 * time.Minute)
				in(0)
			}
			for {
				m, err := stream.Recv()
				if err != nil || m == nil {
					if err != nil {
						t.Errorf("stream ended with %v", err)
					}
					break
				}
				if beat := m.GetHeartbeat(); beat.GetPosition() != 3 {
					t.Errorf("received %v", m)
				}
			}
			if late := time.Until(at.Add(stopGrace)); !comes && late != 0 || comes && late <= 0 {
				t.Errorf("stream ended %v before the time and its patience", late)
			}
		})
	}
}

// A stop does not hide that retention has overtaken the stream.
func TestRetentionBeforeTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const end = 4 * readRecords
		log := memlog.New("log")
		appendEvents(t, log, 0, end)
		stream := tail(t, New(log, Config{}), &streamv1.TailRequest{Stop: stopLatest()})
		receiveSubscribed(t, stream)
		synctest.Wait()
		log.Expire(end)
		for range end {
			m, err := stream.Recv()
			if err != nil {
				break
			}
			if m.GetEvents() == nil {
				t.Fatalf("received %v", m)
			}
		}
		wantEnd(t, stream, codes.OutOfRange, "POSITION_EXPIRED")
	})
}

func TestRefusedStops(t *testing.T) {
	log := memlog.New("log")
	appendEvents(t, log, 0, 10)
	v := serve(t, New(log, Config{}))
	for _, c := range []struct {
		name string
		stop *streamv1.Stop
		code codes.Code
		text string
	}{
		{"no place", &streamv1.Stop{}, codes.InvalidArgument, "stop.at"},
		{"no time", &streamv1.Stop{At: &streamv1.Stop_Time{Time: &timestamppb.Timestamp{Nanos: -1}}}, codes.InvalidArgument, "stop.time"},
		{"damaged token", stopToken(tokensOf(log, nil).at(5)[:20]), codes.InvalidArgument, "cut"},
		{"another filter", stopToken(tokensOf(log, nothingPasses()).at(5)), codes.FailedPrecondition, "another filter"},
		{"another journal", stopToken(tokensOf(memlog.New("other"), nil).at(5)), codes.FailedPrecondition, "another journal"},
		{"past the end", stopToken(tokensOf(log, nil).at(12)), codes.FailedPrecondition, "past the journal's end"},
	} {
		t.Run(c.name, func(t *testing.T) { wantEnd(t, v.tail(t, &streamv1.TailRequest{Stop: c.stop}), c.code, c.text) })
	}
}

// The log's end is the storage's end, not the end that this instance knows of.
func TestStopsAtTheEndOfTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lateLog{Log: memlog.New("log")}
		appendEvents(t, log.Log, 0, 5)
		log.known.Store(3)
		stream := tail(t, New(log, Config{}), &streamv1.TailRequest{Stop: stopLatest()})
		receiveSubscribed(t, stream)
		wantEvents(t, receiveEvents(t, stream, 5), numbers(0, 5)...)
		receiveStop(t, stream, tokensOf(log, nil).at(6), 6)

		log.known.Store(3)
		latest := tail(t, New(log, Config{}), &streamv1.TailRequest{Start: fromLatest()})
		if got := receiveSubscribed(t, latest); got.GetPosition() != 6 || got.GetLatest() != 6 {
			t.Errorf("a stream from the end starts with %v", got)
		}
	})
}

// The earliest time that there is, is a stop too, in a log without events.
func TestStopsAtTheEarliestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		stream := tail(t, New(log, Config{}), &streamv1.TailRequest{Stop: stopTime(time.Time{})})
		receiveSubscribed(t, stream)
		began := time.Now()
		receiveStop(t, stream, tokensOf(log, nil).at(1), 1)
		if took := time.Since(began); took != 0 {
			t.Errorf("it ended after %v", took)
		}
	})
}
