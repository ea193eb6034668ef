package subscribe

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// "Subscribed comes before any event, with the exact start." "Nothing that is appended after subscribed was sent is missed, also where
// the start is the log's end."
func TestAloneFromLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 5)
		c := subscribe(t, newAlone(log, nil), &streamv1.SubscribeStart{From: fromLatest(), Credit: &streamv1.Credit{Events: 10}})
		s := c.subscribed()
		if s.GetPosition() != 6 || s.GetEarliest() != 1 || s.GetLatest() != 6 || s.GetEpoch() == 0 || s.GetLag() != 0 || s.GetMember() != "" {
			t.Errorf("subscribed is %v", s)
		}
		appendEvents(t, log, 5, 7)
		wantEvents(t, c.deliveries(2), 5, 6)
		// A client that lost the stream before the first event resumes at the exact start.
		again := subscribe(t, newAlone(log, nil), &streamv1.SubscribeStart{From: fromToken(s.GetToken()), Credit: &streamv1.Credit{Events: 1}})
		again.subscribed()
		wantEvents(t, again.deliveries(1), 5)
	})
}

// "Without a group, the client keeps the position: each Delivery has a token."
func TestAloneTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 300)
		s := newAlone(log, nil)
		c := subscribe(t, s, &streamv1.SubscribeStart{Credit: &streamv1.Credit{Events: 1000}})
		c.subscribed()
		all := c.deliveries(300)
		wantEvents(t, all, numbers(0, 300)...)
		for _, n := range []int{0, 127, 128, 299} {
			d := all[n]
			if d.GetId() != "" || d.GetAttempt() != 0 || d.GetFirstDeliveredAt() != nil || d.GetReplayed() {
				t.Errorf("delivery %d is one of a group: %v", n, d)
			}
			resumed := subscribe(t, s, &streamv1.SubscribeStart{From: fromToken(d.GetToken()), Credit: &streamv1.Credit{Events: 1}})
			if got := resumed.subscribed().GetPosition(); got != uint64(n+2) {
				t.Errorf("position %d after event %d", got, n)
			}
			resumed.cancel()
		}
		c.ack("none")
		c.wantEnd(codes.InvalidArgument)
	})
}

// "The server sends nothing without credit." "The server may send while both sums are positive, so the last event may exceed the sum of
// bytes."
func TestCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 20)
		c := subscribe(t, newAlone(log, nil), &streamv1.SubscribeStart{HeartbeatInterval: every(time.Minute)})
		c.subscribed()
		synctest.Wait()
		c.nothing()
		c.credit(3, 0)
		wantEvents(t, c.deliveries(3), 0, 1, 2)
		synctest.Wait()
		c.nothing()
		c.credit(0, 1) // From here on bytes are counted, and there is no credit for events.
		synctest.Wait()
		c.nothing()
		c.credit(100, 0)
		wantEvents(t, c.deliveries(1), 3) // It is larger than a byte.
		synctest.Wait()
		c.nothing()
		c.credit(0, 1_000_000)
		wantEvents(t, c.deliveries(16), numbers(4, 20)...)
	})
}

// "At most a million in sum. At most 1 GiB in sum. More than the server accepts ends the stream with INVALID_ARGUMENT."
func TestCreditIsBounded(t *testing.T) {
	for _, given := range [][]*streamv1.Credit{
		{{Events: 1_000_001}},
		{{Events: 1_000_000}, {Events: 1}},
		{{Bytes: 1<<30 + 1}},
		{{Bytes: 1 << 30}, {Bytes: 1}},
		{{Bytes: 1 << 63}},
		{{Bytes: 1 << 30}, {Bytes: 1<<64 - 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := subscribe(t, newAlone(memlog.New("log"), nil), &streamv1.SubscribeStart{})
			c.subscribed()
			c.caughtUp()
			for _, g := range given {
				c.credit(g.GetEvents(), g.GetBytes())
			}
			c.wantEnd(codes.InvalidArgument)
		})
	}
}

// "Sent at each declared interval, also while events are sent."
func TestHeartbeatsAmongEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		c := subscribe(t, newAlone(log, nil), &streamv1.SubscribeStart{
			Credit: &streamv1.Credit{Events: 1000}, HeartbeatInterval: every(3 * time.Second),
		})
		c.subscribed()
		for n := range 10 {
			appendEvents(t, log, n, n+1)
			wantEvents(t, c.deliveries(1), n)
			<-time.After(time.Second)
			if n%3 != 2 {
				continue
			}
			if got := c.heartbeat(); got.GetPosition() != uint64(n+2) {
				t.Errorf("after event %d: heartbeat is %v", n, got)
			}
		}
	})
}

// "Heartbeats at the declared interval; they move the position even when the filter matches nothing", also without credit.
func TestAloneHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 500)
		s := newAlone(log, nil)
		f := &streamv1.Filter{Types: []string{"order.*"}}
		c := subscribe(t, s, &streamv1.SubscribeStart{Filter: f, HeartbeatInterval: every(3 * time.Second)})
		if got := c.subscribed().GetHeartbeatInterval().AsDuration(); got != 3*time.Second {
			t.Errorf("interval %v", got)
		}
		if got := c.caughtUp().GetPosition(); got != 501 {
			t.Errorf("caught up at %d", got)
		}
		for n := range 3 {
			began := time.Now()
			beat := c.heartbeat()
			if got := time.Since(began); got != 3*time.Second {
				t.Errorf("heartbeat after %v", got)
			}
			if beat.GetPosition() != uint64(501+n) || beat.GetLag() != 0 || beat.GetOldestUnackedAge() != nil {
				t.Errorf("heartbeat is %v", beat)
			}
			resumed := subscribe(t, s, &streamv1.SubscribeStart{Filter: f, From: fromToken(beat.GetToken())})
			if got := resumed.subscribed().GetPosition(); got != beat.GetPosition() {
				t.Errorf("resumed at %d", got)
			}
			resumed.cancel()
			appendEvents(t, log, 500+n, 501+n)
		}
	})
}

// A heartbeat never passes an event that the client has no credit for.
func TestHeartbeatStopsAtWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 10)
		f := &streamv1.Filter{Subjects: []string{"shipment/3"}}
		c := subscribe(t, newAlone(log, nil), &streamv1.SubscribeStart{Filter: f})
		c.subscribed()
		if beat := c.heartbeat(); beat.GetPosition() != 4 || beat.GetLag() != 7 {
			t.Errorf("heartbeat is %v", beat)
		}
		c.credit(10, 0)
		wantEvents(t, c.deliveries(2), 3, 7)
		if beat := c.heartbeat(); beat.GetPosition() != 11 {
			t.Errorf("heartbeat is %v", beat)
		}
	})
}

// "Everything that was in the log was looked at. Sent once, and again after each fell_behind."
func TestCaughtUpAndFellBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 3)
		c := subscribe(t, newAlone(log, nil), &streamv1.SubscribeStart{Credit: &streamv1.Credit{Events: 4}, HeartbeatInterval: every(5 * time.Minute)})
		c.subscribed()
		if c.receive().GetBatch() == nil || c.receive().GetCaughtUp().GetPosition() != 4 {
			t.Fatal("caught_up does not follow the last event")
		}
		appendEvents(t, log, 3, 3+behindLag)
		if got := len(c.receive().GetBatch().GetDeliveries()); got != 1 {
			t.Fatalf("%d events", got)
		}
		// It has no credit, and 9,999 events wait: not yet.
		<-time.After(time.Minute)
		synctest.Wait()
		c.nothing()
		appendEvents(t, log, 3+behindLag, 4+behindLag)
		if m := c.receive().GetFellBehind(); m.GetPosition() != 5 || m.GetLag() != behindLag {
			t.Fatalf("fell_behind is %v", m)
		}
		c.credit(100_000, 0)
		c.deliveries(behindLag)
		if got := c.receive().GetCaughtUp().GetPosition(); got != 5+behindLag {
			t.Errorf("caught up at %d", got)
		}
		synctest.Wait()
		c.nothing()
	})
}

// "A position no longer kept is POSITION_EXPIRED with the earliest one, unless the client chose EARLIEST or LATEST."
func TestAloneExpired(t *testing.T) {
	for _, open := range []bool{false, true} {
		for policy, want := range map[streamv1.OnExpired]uint64{
			streamv1.OnExpired_ON_EXPIRED_UNSPECIFIED: 0, streamv1.OnExpired_ON_EXPIRED_FAIL: 0,
			streamv1.OnExpired_ON_EXPIRED_EARLIEST: 8, streamv1.OnExpired_ON_EXPIRED_LATEST: 11,
		} {
			synctest.Test(t, func(t *testing.T) {
				log := memlog.New("log")
				appendEvents(t, log, 0, 10)
				s := newAlone(log, nil)
				start := &streamv1.SubscribeStart{Credit: &streamv1.Credit{Events: 2}, OnExpired: policy}
				c := subscribe(t, s, start)
				c.subscribed()
				token := c.deliveries(2)[1].GetToken()
				log.Expire(8)
				if open {
					c.credit(10, 0)
				} else {
					c.cancel()
					start.From = fromToken(token)
					c = subscribe(t, s, start)
				}
				if want == 0 {
					st := c.wantEnd(codes.OutOfRange)
					detail, ok := st.Details()[0].(*streamv1.PositionExpired)
					if !ok || detail.GetReason() != "POSITION_EXPIRED" {
						t.Fatalf("details %v", st.Details())
					}
					c = subscribe(t, s, &streamv1.SubscribeStart{From: fromToken(detail.GetEarliestToken())})
					if got := c.subscribed().GetPosition(); got != 8 {
						t.Errorf("earliest_token is at %d", got)
					}
					return
				}
				if got := c.subscribed(); got.GetPosition() != want {
					t.Errorf("open %v, %v: goes on at %d, want %d", open, policy, got.GetPosition(), want)
				}
			})
		}
	}
}

// "The first message is start."
func TestStartIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAlone(memlog.New("log"), nil)
		c := dial(t, s)
		c.credit(1, 0)
		c.wantEnd(codes.InvalidArgument)

		c = subscribe(t, s, &streamv1.SubscribeStart{})
		c.subscribed()
		c.caughtUp()
		c.start(&streamv1.SubscribeStart{})
		c.wantEnd(codes.InvalidArgument)

		began := time.Now()
		dial(t, s).wantEnd(codes.DeadlineExceeded)
		if got := time.Since(began); got != startPatience {
			t.Errorf("the server waited %v for a start", got)
		}
		// The client sends no more, and goes on receiving.
		c = subscribe(t, s, &streamv1.SubscribeStart{})
		c.subscribed()
		close(c.half)
		c.caughtUp()
		c.heartbeat()
		c.heartbeat()
	})
}

// "Goodbye on drain", and at the maximum age: with a token that goes on where the stream stopped.
func TestAloneGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 5)
		streams := grpcstream.NewStreams(grpcstream.StreamsConfig{MaxAge: time.Minute, Max: 1})
		s := newAlone(log, streams)
		start := &streamv1.SubscribeStart{Credit: &streamv1.Credit{Events: 2}, HeartbeatInterval: every(5 * time.Minute)}
		c := subscribe(t, s, start)
		c.subscribed()
		token := c.deliveries(2)[1].GetToken()
		subscribe(t, s, start).wantEnd(codes.ResourceExhausted)
		if got := streams.Stats(); got.Open != 1 || got.MaxLag != 3 {
			t.Errorf("stats are %+v", got)
		}
		if g := c.goodbye(); g.GetToken() != token || g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_MAX_AGE {
			t.Errorf("goodbye is %v", g)
		}
		c.wantEnd(codes.Unavailable)

		c = subscribe(t, s, start)
		c.subscribed()
		c.deliveries(2)
		go func() { _ = streams.Shutdown(t.Context()) }()
		if g := c.goodbye(); g.GetToken() != token || g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_DRAIN {
			t.Errorf("goodbye is %v", g)
		}
		c.wantEnd(codes.Unavailable)
		subscribe(t, s, start).wantEnd(codes.Unavailable)
	})
}

// A client that does not read costs a goroutine that is blocked, and its shutdown is not held up.
func TestAloneDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		appendEvents(t, log, 0, 1000)
		s := newAlone(log, nil)
		c := subscribe(t, s, &streamv1.SubscribeStart{Credit: &streamv1.Credit{Events: 1000}})
		c.subscribed()
		synctest.Wait() // It is in Send now.
		<-time.After(10 * time.Minute)
		wantEvents(t, c.deliveries(1000), numbers(0, 1000)...)
	})
}

// "The journal is closing": a goodbye with its cause, with a group and without one.
func TestJournalCloses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start("one")
		c := x.member(t)
		c.subscribed()
		c.caughtUp()
		r.log.Close()
		if g := c.goodbye(); g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_JOURNAL || g.GetToken() != "" {
			t.Errorf("goodbye is %v", g)
		}
		c.wantEnd(codes.Unavailable)
	})
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		c := subscribe(t, newAlone(log, nil), &streamv1.SubscribeStart{})
		token := c.subscribed().GetToken()
		c.caughtUp()
		log.Close()
		if g := c.goodbye(); g.GetCause() != streamv1.GoodbyeCause_GOODBYE_CAUSE_JOURNAL || g.GetToken() != token {
			t.Errorf("goodbye is %v", g)
		}
		c.wantEnd(codes.Unavailable)
	})
}
