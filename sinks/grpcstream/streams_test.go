package grpcstream

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// TestMaximumAge: each stream ends with a goodbye at an age of its own, about the maximum, and goes on with the token.
func TestMaximumAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = time.Hour
		log := memlog.New("log")
		server := New(log, Config{Streams: NewStreams(StreamsConfig{MaxAge: age})})
		ages := make(map[time.Duration]bool)
		for range 20 {
			began := time.Now()
			stream := tail(t, server, &streamv1.TailRequest{HeartbeatInterval: every(5 * time.Minute)})
			token := receiveSubscribed(t, stream).GetToken()
			m := receive(t, stream)
			for m.GetHeartbeat() != nil {
				m = receive(t, stream)
			}
			lived := time.Since(began)
			if g := m.GetGoodbye(); g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_MAX_AGE || g.GetToken() != token {
				t.Fatalf("received %v, want a goodbye for the age", m)
			}
			wantEnd(t, stream, codes.Unavailable, "maximum age")
			if lived < age*9/10 || lived > age*11/10 {
				t.Errorf("stream ended after %v", lived)
			}
			ages[lived] = true
		}
		if len(ages) < 10 {
			t.Errorf("20 streams have %d ages", len(ages))
		}
	})
}

// TestMaximumAgeOfWhatIsStuck: a client that does not read gets no goodbye, and the stream ends all the same.
func TestMaximumAgeOfWhatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = time.Hour
		log := memlog.New("log")
		appendEvents(t, log, 0, 5)
		server := New(log, Config{Streams: NewStreams(StreamsConfig{MaxAge: age})})
		began := time.Now()
		stuck := tail(t, server, &streamv1.TailRequest{})
		receiveSubscribed(t, stuck)
		<-stuck.ended
		if lived := time.Since(began); lived > age*11/10+ageGrace {
			t.Errorf("stream ended after %v", lived)
		}
		wantEnd(t, stuck, codes.Unavailable, "maximum age")
		synctest.Wait()
		if got := server.Stats().Open; got != 0 {
			t.Errorf("%d streams are open", got)
		}
	})
}

// TestGoodbyeNamesItsCause: programs learn why a stream ends.
func TestGoodbyeNamesItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		server := New(log, Config{})
		stream := tail(t, server, &streamv1.TailRequest{})
		receiveSubscribed(t, stream)
		go func() { _ = server.Shutdown(t.Context()) }()
		if g := receive(t, stream).GetGoodbye(); g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_DRAIN {
			t.Errorf("goodbye is %v", g)
		}
		<-stream.ended
		stream = tail(t, New(log, Config{}), &streamv1.TailRequest{})
		receiveSubscribed(t, stream)
		log.Close()
		if g := receive(t, stream).GetGoodbye(); g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_JOURNAL {
			t.Errorf("goodbye is %v", g)
		}
	})
}
