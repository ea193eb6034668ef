package grpcstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// These tests run in a synctest bubble, where time is exact.

func nothingPasses() *streamv1.Filter { return &streamv1.Filter{Types: []string{"order.*"}} }

func every(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

func TestSubscribedDeclaresTheHeartbeat(t *testing.T) {
	for _, c := range []struct {
		asked *durationpb.Duration
		want  time.Duration
	}{
		{nil, 10 * time.Second},
		{every(100 * time.Millisecond), 100 * time.Millisecond},
		{every(5 * time.Minute), 5 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			stream := tail(t, New(memlog.New("log"), Config{}), &streamv1.TailRequest{HeartbeatInterval: c.asked})
			subscribed := receiveSubscribed(t, stream)
			if got := subscribed.GetHeartbeatInterval().AsDuration(); got != c.want {
				t.Errorf("interval is %v, want %v", got, c.want)
			}
			for range 3 {
				began := time.Now()
				if beat := receiveHeartbeat(t, stream); beat.GetToken() != subscribed.GetToken() || beat.GetLag() != 0 {
					t.Errorf("heartbeat is %v, want the start", beat)
				}
				if got := time.Since(began); got != c.want {
					t.Errorf("heartbeat came after %v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestHeartbeatWaitsWhileThereAreEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		stream := tail(t, New(log, Config{}), &streamv1.TailRequest{})
		receiveSubscribed(t, stream)
		var last string
		for n := range 5 {
			<-time.After(9 * time.Second)
			appendEvents(t, log, n, n+1)
			delivered := receiveEvents(t, stream, 1)
			wantEvents(t, delivered, n)
			last = delivered[0].GetToken()
		}
		quiet := time.Now()
		if beat := receiveHeartbeat(t, stream); beat.GetToken() != last {
			t.Errorf("heartbeat's token is %q, the last event's %q", beat.GetToken(), last)
		}
		if got := time.Since(quiet); got != 10*time.Second {
			t.Errorf("heartbeat came %v after the last event", got)
		}
	})
}

func TestHeartbeatAdvancesWhenNothingPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		server := New(log, Config{})
		stream := tail(t, server, &streamv1.TailRequest{Filter: nothingPasses()})
		tokens := []string{receiveSubscribed(t, stream).GetToken()}
		for n := range 3 {
			appendEvents(t, log, n, n+1)
			tokens = append(tokens, receiveHeartbeat(t, stream).GetToken())
		}
		s := tokensOf(log, nothingPasses())
		for n, token := range tokens {
			if want := s.at(sinks.Position(n + 1)); token != want {
				t.Errorf("token %d is %q, want %q", n, token, want)
			}
		}
		// Retention does not affect a stream that has already passed the removed events.
		log.Expire(4)
		stream = tail(t, server, &streamv1.TailRequest{Filter: nothingPasses(), Start: fromToken(tokens[3])})
		receiveSubscribed(t, stream)
		receiveHeartbeat(t, stream)
	})
}

// slowLog needs time for each read, as a disk does.
type slowLog struct {
	*memlog.Log
	each time.Duration
}

func (l slowLog) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	select {
	case <-time.After(l.each):
	case <-ctx.Done():
	}
	return l.Log.Read(ctx, from, records)
}

func TestHeartbeatComesDuringALongScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const end = 20 * readRecords
		log := memlog.New("log")
		appendEvents(t, log, 0, end)
		stream := tail(t, New(slowLog{log, 3 * time.Second}, Config{}), &streamv1.TailRequest{Filter: nothingPasses()})
		if subscribed := receiveSubscribed(t, stream); subscribed.GetLag() != end {
			t.Errorf("lag is %d, want %d", subscribed.GetLag(), end)
		}
		s := tokensOf(log, nothingPasses())
		for beats := 1; beats <= 5; beats++ {
			began := time.Now()
			beat := receiveHeartbeat(t, stream)
			if got := time.Since(began); got > 12*time.Second {
				t.Errorf("heartbeat came after %v", got)
			}
			looked := 4 * readRecords * beats // Four reads of 3 s are the first to make 10 s.
			if beat.GetLag() != uint64(end-looked) || beat.GetToken() != s.at(sinks.Position(looked+1)) {
				t.Errorf("heartbeat after %d events is %v", looked, beat)
			}
		}
	})
}

func TestReadSlowerThanTheHeartbeatStillAdvances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 3*readRecords)
		server := New(slowLog{log, 3 * time.Second}, Config{})
		stream := tail(t, server, &streamv1.TailRequest{Filter: nothingPasses(), HeartbeatInterval: every(time.Second)})
		receiveSubscribed(t, stream)
		for lag := 2 * readRecords; lag >= 0; lag -= readRecords {
			if beat := receiveHeartbeat(t, stream); beat.GetLag() != uint64(lag) {
				t.Errorf("heartbeat is %v, want lag %d", beat, lag)
			}
		}
	})
}

func TestRetentionOvertakesAnOpenStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const end = 4 * readRecords
		log := memlog.New("log")
		appendEvents(t, log, 0, end)
		server := New(log, Config{})
		stream := tail(t, server, &streamv1.TailRequest{})
		receiveSubscribed(t, stream)
		synctest.Wait() // The stream blocks with the events of one batch, since the client does not receive yet.
		log.Expire(3*readRecords + 1)
		sent := receive(t, stream).GetEvents().GetEvents()
		if len(sent) == 0 || len(sent) > readRecords {
			t.Fatalf("%d events were sent", len(sent))
		}
		wantEvents(t, sent, numbers(0, len(sent))...)
		st := wantEnd(t, stream, codes.OutOfRange, "POSITION_EXPIRED")
		detail, ok := st.Details()[0].(*streamv1.PositionExpired)
		if !ok {
			t.Fatalf("details are %v", st.Details())
		}
		stream = tail(t, server, &streamv1.TailRequest{Start: fromToken(detail.GetEarliestToken())})
		receiveSubscribed(t, stream)
		wantEvents(t, receiveEvents(t, stream, readRecords), numbers(3*readRecords, end)...)
	})
}

func TestShutdownSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 5)
		server := New(log, Config{})
		idle := tail(t, server, &streamv1.TailRequest{})
		receiveSubscribed(t, idle)
		last := receiveEvents(t, idle, 5)[4].GetToken()
		filtered := tail(t, server, &streamv1.TailRequest{Filter: nothingPasses()})
		receiveSubscribed(t, filtered)
		synctest.Wait()

		ended := make(chan error, 1)
		go func() { ended <- server.Shutdown(t.Context()) }()
		goodbye := receive(t, idle).GetGoodbye()
		if goodbye.GetToken() != last || goodbye.GetReason() == "" {
			t.Errorf("goodbye is %v, want the token %q", goodbye, last)
		}
		wantEnd(t, idle, codes.Unavailable, "shutting down")
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("shutdown returned %v before all streams had gone", err)
		default:
		}
		skipped := receive(t, filtered).GetGoodbye().GetToken()
		s := tokensOf(log, nothingPasses())
		if skipped != s.at(6) {
			t.Errorf("goodbye's token is %q, want one after all five events", skipped)
		}
		wantEnd(t, filtered, codes.Unavailable, "shutting down")
		if err := <-ended; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		wantEnd(t, tail(t, server, &streamv1.TailRequest{}), codes.Unavailable, "shutting down")

		appendEvents(t, log, 5, 7)
		next := tail(t, New(log, Config{}), &streamv1.TailRequest{Start: fromToken(goodbye.GetToken())})
		receiveSubscribed(t, next)
		wantEvents(t, receiveEvents(t, next, 2), 5, 6)
	})
}

func TestShutdownDoesNotWaitForWhatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 5)
		server := New(log, Config{})
		stuck := tail(t, server, &streamv1.TailRequest{})
		receiveSubscribed(t, stuck)
		synctest.Wait() // It is in Send now.
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown returned %v", err)
		}
		if got := time.Since(began); got != 3*time.Second {
			t.Errorf("shutdown took %v", got)
		}
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("second shutdown: %v", err)
		}
		<-stuck.ended
		wantEnd(t, stuck, codes.Unavailable, "shutting down")
		if got := server.Stats().Open; got != 0 {
			t.Errorf("%d streams are open", got)
		}
	})
}

func TestClosedLogSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		server := New(log, Config{})
		stream := tail(t, server, &streamv1.TailRequest{})
		token := receiveSubscribed(t, stream).GetToken()
		log.Close()
		if goodbye := receive(t, stream).GetGoodbye(); goodbye.GetToken() != token {
			t.Errorf("goodbye is %v", goodbye)
		}
		wantEnd(t, stream, codes.Unavailable, "closing")
	})
}

func TestClientEndsItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		server := New(log, Config{Streams: NewStreams(StreamsConfig{Max: 1})})
		for range 3 {
			waiting := tail(t, server, &streamv1.TailRequest{})
			receiveSubscribed(t, waiting)
			wantEnd(t, tail(t, server, &streamv1.TailRequest{}), codes.ResourceExhausted, "limit")
			waiting.cancel()
			<-waiting.ended
			wantEnd(t, waiting, codes.Canceled, "")
		}
		appendEvents(t, log, 0, 5)
		sending := tail(t, server, &streamv1.TailRequest{})
		receiveSubscribed(t, sending)
		synctest.Wait()
		sending.cancel()
		<-sending.ended
		if got := server.Stats(); got != (Stats{}) {
			t.Errorf("stats are %+v", got)
		}
	})
}

func TestStatsTellTheLargestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 5)
		server := New(log, Config{})
		receiveSubscribed(t, tail(t, server, &streamv1.TailRequest{Start: fromLatest()}))
		behind := tail(t, server, &streamv1.TailRequest{})
		receiveSubscribed(t, behind)
		synctest.Wait()
		if got, want := server.Stats(), (Stats{Open: 2, MaxLag: 5}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
		receiveEvents(t, behind, 5)
		synctest.Wait()
		if got, want := server.Stats(), (Stats{Open: 2}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
	})
}

// brokenLog is a log whose Read returns what the test says.
type brokenLog struct {
	*memlog.Log
	read func(records []sinks.Record) ([]sinks.Record, error)
}

func (l brokenLog) Read(_ context.Context, _ sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	return l.read(records)
}

func TestFailureOfTheLogIsLoggedAndNotSent(t *testing.T) {
	for _, c := range []struct {
		name, logged string
		read         func([]sinks.Record) ([]sinks.Record, error)
	}{
		{"error", "disk on fire", func([]sinks.Record) ([]sinks.Record, error) { return nil, errors.New("disk on fire") }},
		{"gap", "position 3 instead of 2", func(records []sinks.Record) ([]sinks.Record, error) {
			return append(records, sinks.Record{Position: 1}, sinks.Record{Position: 3}), nil
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var logged bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&logged, nil))
			stream := tail(t, New(brokenLog{memlog.New("log"), c.read}, Config{Logger: logger}), &streamv1.TailRequest{})
			receiveSubscribed(t, stream)
			st := wantEnd(t, stream, codes.Internal, "journal cannot be read")
			if strings.Contains(st.Message(), c.logged) || !strings.Contains(logged.String(), c.logged) {
				t.Errorf("%s: client got %q, logged %q", c.name, st.Message(), logged.String())
			}
		})
	}
}

// A log that does not answer now ends the stream in a way that a client tries again.
func TestLogIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := brokenLog{memlog.New("log"), func([]sinks.Record) ([]sinks.Record, error) {
			return nil, fmt.Errorf("%w: connection to 10.0.0.7 refused", sinks.ErrUnavailable)
		}}
		stream := tail(t, New(log, Config{}), &streamv1.TailRequest{})
		receiveSubscribed(t, stream)
		if st := wantEnd(t, stream, codes.Unavailable, "try again later"); strings.Contains(st.Message(), "10.0.0.7") {
			t.Errorf("client got %q", st.Message())
		}
	})
}

// hungLog has an event, and a read of it that does not end by itself.
type hungLog struct{ *memlog.Log }

func (hungLog) Bounds() sinks.Bounds { return sinks.Bounds{Earliest: 1, Next: 2} }

func (hungLog) Read(ctx context.Context, _ sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	<-ctx.Done()
	return records, ctx.Err()
}

// A client does not wait without a sign of life for a log that hangs.
func TestLogHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := tail(t, New(hungLog{memlog.New("log")}, Config{}), &streamv1.TailRequest{})
		receiveSubscribed(t, stream)
		began := time.Now()
		wantEnd(t, stream, codes.Unavailable, "try again later")
		if took := time.Since(began); took != readPatience {
			t.Errorf("ended after %s", took)
		}
	})
}

// An event that is damaged ends the stream with its position. The cause is logged and not sent.
func TestDamageEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		log := brokenLog{memlog.New("log"), func([]sinks.Record) ([]sinks.Record, error) {
			return nil, fmt.Errorf("read: %w", &sinks.DamagedError{Position: 17, Err: errors.New("disk on fire")})
		}}
		stream := tail(t, New(log, Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))}), &streamv1.TailRequest{})
		receiveSubscribed(t, stream)
		st := wantEnd(t, stream, codes.DataLoss, "position 17")
		if strings.Contains(st.Message(), "fire") || !strings.Contains(logged.String(), "fire") {
			t.Errorf("client got %q, logged %q", st.Message(), logged.String())
		}
	})
}

// Events that were lost end the stream as expired ones do, and the detail says where the log continues.
func TestLostEventsEndTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 5)
		lossy := brokenLog{log, func([]sinks.Record) ([]sinks.Record, error) {
			return nil, &sinks.LostError{From: 2, To: 4}
		}}
		stream := tail(t, New(lossy, Config{}), &streamv1.TailRequest{})
		receiveSubscribed(t, stream)
		st := wantEnd(t, stream, codes.OutOfRange, "POSITION_EXPIRED")
		detail, ok := st.Details()[0].(*streamv1.PositionExpired)
		if !ok {
			t.Fatalf("details are %v", st.Details())
		}
		stream = tail(t, New(log, Config{}), &streamv1.TailRequest{Start: fromToken(detail.GetEarliestToken())})
		receiveSubscribed(t, stream)
		wantEvents(t, receiveEvents(t, stream, 2), numbers(3, 5)...)
	})
}

// startLog does not find the start of a stream.
type startLog struct {
	*memlog.Log
	find func(context.Context) error
}

func (l startLog) Seek(ctx context.Context, _ time.Time) (sinks.Position, error) {
	return 0, l.find(ctx)
}

// A stream that ends while its start is looked for ends as later, and no end is an error in the log.
func TestEndsBeforeItStarts(t *testing.T) {
	for _, c := range []struct {
		name string
		find func(context.Context) error
		code codes.Code
	}{
		{"the journal closes", func(context.Context) error { return sinks.ErrClosed }, codes.Unavailable},
		{"the client goes", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, codes.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			var logged bytes.Buffer
			server := New(startLog{memlog.New("log"), c.find}, Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			stream := tailWith(t, ctx, server, &streamv1.TailRequest{Start: &streamv1.Start{At: &streamv1.Start_Time{Time: timestamppb.Now()}}})
			wantEnd(t, stream, c.code, "")
			if logged.Len() > 0 {
				t.Errorf("%s: logged %s", c.name, logged.String())
			}
		})
	}
}
