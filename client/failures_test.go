package client

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// A server with OnExpired says in the middle of a stream where it goes on. What came before it may not have been handled by then.
func TestMovedPositionWaitsForTheEventsBefore(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	var from string
	conn := play(t,
		func(s *scene) error {
			s.subscribed()
			s.deliver(1, 2)
			s.moved("behind the gap")
			s.credited(1)
			return status.Error(codes.Internal, "broken")
		},
		func(s *scene) error {
			from = s.start.GetFrom().GetToken()
			cancel()
			return s.hang()
		},
	)
	var connections uint64
	err := Subscribe(ctx, quick(Config{Conn: conn, OnStatus: func(s Status) { connections = s.Connections }}),
		func(ctx context.Context, e *eventv1.Event) error {
			if e.GetId() == "2" {
				<-ctx.Done()
			}
			return ctx.Err()
		})
	if !errors.Is(err, context.Canceled) || from != "behind 1" || connections != 1 {
		t.Errorf("it ended with %v after %d connections; the next one began at %q", err, connections, from)
	}
}

// The text of an error is cut between characters, and is UTF-8: otherwise the nack could not be sent, and would end the stream.
func TestReasonsCanBeSent(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("x", maxReason-1) + "é":  strings.Repeat("x", maxReason-1),
		strings.Repeat("x", maxReason-2) + "éa": strings.Repeat("x", maxReason-2) + "é",
		"a\xffb":                                "a\uFFFDb", "": "", "short": "short",
		strings.Repeat("\xff ", maxReason): strings.Repeat("\uFFFD ", maxReason/4),
	} {
		if got := reasonOf(errors.New(text)); got != want || !utf8.ValidString(got) {
			t.Errorf("%q is sent as %q", text, got)
		}
	}
}

// A delivery that comes again while the event is being handled is the same work: its handler is not called twice at a time, and the
// answer is for the newest delivery too.
func TestRedeliveryDuringTheHandler(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	redelivered, answered := make(chan struct{}), make(chan []string, 1)
	conn := play(t, func(s *scene) error {
		s.subscribed()
		s.deliverAs("first", 1)
		s.deliverAs("second", 1)
		s.deliverAs("other", 2)
		acks, _, credit := s.acknowledged(1)
		close(redelivered)
		for len(acks) < 3 {
			more, _, more2 := s.acknowledged(1)
			acks, credit = append(acks, more...), credit+more2
		}
		s.credited(3 - credit)
		answered <- acks
		cancel()
		return s.hang()
	})
	var calls atomic.Int32
	err := Subscribe(ctx, Config{Conn: conn, Group: "workers"}, func(_ context.Context, e *eventv1.Event) error {
		if e.GetId() == "1" {
			calls.Add(1)
			<-redelivered
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls.Load() != 1 {
		t.Errorf("it ended with %v after %d calls", err, calls.Load())
	}
	if acks := <-answered; !slices.Equal(acks, []string{"other", "first", "second"}) {
		t.Errorf("acknowledged %q", acks)
	}
}

// Events of one subject are handled one after the other, also when the server gave up waiting for the first.
func TestSubjectsDoNotOverlap(t *testing.T) {
	q := newQueue()
	event := func(id, source, subject string) *streamv1.Delivery {
		return &streamv1.Delivery{Id: "delivery " + id, Event: &eventv1.Event{Id: id, Source: source, Subject: subject}}
	}
	for _, d := range []*streamv1.Delivery{
		event("1", "a", "order/1"), event("2", "a", "order/1"), event("3", "b", "order/1"), event("4", "a", ""), event("5", "a", ""),
	} {
		q.add(&item{delivery: d})
	}
	var first *item
	for _, want := range []string{"1", "3", "4", "5"} {
		w, _, ok := q.next()
		if !ok || w.delivery.GetEvent().GetId() != want {
			t.Fatalf("got %v, want %s", w.delivery, want)
		}
		if first == nil {
			first = w
		}
	}
	if ids := q.finish(first); !slices.Equal(ids, []string{"delivery 1"}) {
		t.Errorf("the answer is for %q", ids)
	}
	if w, last, ok := q.next(); !ok || !last || w.delivery.GetEvent().GetId() != "2" {
		t.Errorf("got %v, want 2", w)
	}
}

func TestLongestPause(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	conn := play(t, func(s *scene) error {
		s.subscribed()
		s.deliver(1)
		if _, nacks, _ := s.acknowledged(1); len(nacks) != 1 || nacks[0].GetDelay().AsDuration() != 12*time.Hour {
			t.Errorf("the server got %v", nacks)
		}
		cancel()
		return s.hang()
	})
	err := Subscribe(ctx, Config{Conn: conn, Group: "workers"}, func(context.Context, *eventv1.Event) error {
		return RetryAfter(nil, 24*time.Hour)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// The end of the context also ends the opening of a connection.
func TestEndWhileConnecting(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:nowhere", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	began := time.Now()
	if err := Subscribe(ctx, Config{Conn: conn}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A server that ends each stream at once is asked less and less often.
func TestPausesGrowWhileStreamsAreShort(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	var began []time.Time
	conn := play(t, func(s *scene) error {
		began = append(began, time.Now())
		s.subscribed()
		if len(began) == 6 {
			cancel()
			return s.hang()
		}
		return status.Error(codes.Unavailable, "away")
	})
	cfg := Config{Conn: conn, MinBackoff: 2 * time.Millisecond, MaxBackoff: 10 * time.Second}
	if err := Subscribe(ctx, cfg, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	// The fifth pause is at least a half of 32 ms.
	if pause := began[5].Sub(began[4]); pause < 16*time.Millisecond {
		t.Errorf("the fifth pause was %v", pause)
	}
}

func TestNoTokenIsNoCredential(t *testing.T) {
	b := bearer{token: func() string { return "" }}
	if md, err := b.GetRequestMetadata(t.Context()); err != nil || len(md) != 0 {
		t.Errorf("it presents %v, %v", md, err)
	}
}
