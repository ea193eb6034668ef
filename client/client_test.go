package client

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// handled are the ids of events in the order in which a handler got them.
type handled struct {
	mu  sync.Mutex
	ids []string
}

func (h *handled) add(e *eventv1.Event) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = append(h.ids, e.GetId())
	return len(h.ids)
}

func (h *handled) want(t *testing.T, ids string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := strings.Join(h.ids, " "); got != ids {
		t.Errorf("handled %q, want %q", got, ids)
	}
}

func quick(cfg Config) Config {
	cfg.MinBackoff, cfg.MaxBackoff = time.Millisecond, 2*time.Millisecond
	return cfg
}

func TestResumesWithoutAGroup(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	var froms []string
	begin := func(s *scene) {
		froms = append(froms, s.start.GetFrom().GetToken())
		s.subscribed()
	}
	conn := play(t,
		func(s *scene) error { // Nothing came: the next one begins at the same place.
			begin(s)
			return status.Error(codes.Unavailable, "away")
		},
		func(s *scene) error {
			begin(s)
			s.deliver(1, 2)
			s.credited(2)
			return status.Error(codes.Internal, "broken")
		},
		func(s *scene) error {
			begin(s)
			s.heartbeat("far behind")
			s.deliver(3)
			s.credited(1)
			s.goodbye()
			return status.Error(codes.Unavailable, "goodbye")
		},
		func(s *scene) error {
			begin(s)
			s.heartbeat("farther")
			s.deliver(4)
			return s.hang()
		},
	)
	tokens := File(filepath.Join(t.TempDir(), "token"))
	var got handled
	err := Subscribe(ctx, quick(Config{Conn: conn, Tokens: tokens}), func(_ context.Context, e *eventv1.Event) error {
		if got.add(e) == 4 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	got.want(t, "1 2 3 4")
	if want := []string{"", "at the start", "behind 2", "behind 3"}; !slices.Equal(froms, want) {
		t.Errorf("the connections began at %q, want %q", froms, want)
	}
	if token, err := tokens.Load(t.Context()); token != "behind 4" || err != nil {
		t.Errorf("the file has %q, %v", token, err)
	}
}

func TestFailedEventBlocksTheOthersWithoutAGroup(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	conn := play(t, func(s *scene) error {
		s.subscribed()
		s.deliver(1, 2, 3)
		return s.hang()
	})
	var got handled
	var attempts []int
	err := Subscribe(ctx, quick(Config{Conn: conn}), func(ctx context.Context, e *eventv1.Event) error {
		got.add(e)
		attempt := DeliveryFrom(ctx).Attempt
		attempts = append(attempts, attempt)
		switch {
		case e.GetId() == "1" && attempt < 3:
			return errors.New("not yet")
		case e.GetId() == "2":
			return Skip(errors.New("not for us"))
		case e.GetId() == "3":
			return Park(errors.New("poison"))
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "poison") {
		t.Errorf("a parked event ended with %v", err)
	}
	got.want(t, "1 1 1 2 3")
	if !slices.Equal(attempts, []int{1, 2, 3, 1, 1}) {
		t.Errorf("attempts are %v", attempts)
	}
}

func TestOutcomesInAGroup(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	results := make(chan []*streamv1.Nack, 1)
	conn := play(t, func(s *scene) error {
		s.subscribed()
		s.deliver(1, 2, 3, 4, 5)
		acks, nacks, _ := s.acknowledged(5)
		if !slices.Equal(acks, []string{"delivery 1"}) {
			t.Errorf("acknowledged %q", acks)
		}
		results <- nacks
		cancel()
		return s.hang()
	})
	err := Subscribe(ctx, Config{Conn: conn, Group: "workers"}, func(_ context.Context, e *eventv1.Event) error {
		switch e.GetId() {
		case "2":
			return errors.New("plain")
		case "3":
			return fmt.Errorf("wrapped: %w", RetryAfter(errors.New("later"), time.Minute))
		case "4":
			return Park(errors.New("poison"))
		case "5":
			return Skip(nil)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	nacks := <-results
	slices.SortFunc(nacks, func(a, b *streamv1.Nack) int { return strings.Compare(a.GetIds()[0], b.GetIds()[0]) })
	for i, want := range []string{
		"delivery 2 NACK_ACTION_RETRY 0s plain", "delivery 3 NACK_ACTION_RETRY 1m0s wrapped: later",
		"delivery 4 NACK_ACTION_PARK 0s poison", "delivery 5 NACK_ACTION_SKIP 0s no reason given",
	} {
		n := nacks[i]
		if got := fmt.Sprint(n.GetIds()[0], " ", n.GetAction(), " ", n.GetDelay().AsDuration(), " ", n.GetReason()); got != want {
			t.Errorf("the server got %q, want %q", got, want)
		}
	}
}

func TestTwoMissedHeartbeatsAreDeath(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	released := make(chan struct{})
	conn := play(t,
		func(s *scene) error { // It says nothing more.
			s.subscribedEvery(50 * time.Millisecond)
			s.deliver(1)
			return s.hang()
		},
		func(s *scene) error {
			<-released // The handler of the dead connection has ended.
			s.subscribed()
			s.deliver(1)
			acks, _, _ := s.acknowledged(1)
			if len(acks) == 1 {
				cancel()
			}
			return s.hang()
		},
	)
	var got handled
	var dead error
	err := Subscribe(ctx, quick(Config{Conn: conn, Group: "workers", OnStatus: func(s Status) {
		if s.Err != nil && dead == nil {
			dead = s.Err
		}
	}}), func(ctx context.Context, e *eventv1.Event) error {
		if got.add(e) == 1 {
			<-ctx.Done()
			close(released)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(dead, errSilent) {
		t.Errorf("it ended with %v; the connection with %v", err, dead)
	}
	got.want(t, "1 1")
}

func TestEndWaitsForHandlersAndConfirmations(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	var got handled
	confirmed := make(chan bool, 1)
	conn := play(t, func(s *scene) error {
		s.subscribed()
		s.deliver(1, 2)
		acks, _, _ := s.acknowledged(1)
		confirmed <- slices.Equal(acks, []string{"delivery 1"})
		return s.hang()
	})
	var last Status
	err := Subscribe(ctx, Config{Conn: conn, Group: "workers", Concurrency: 1, OnStatus: func(s Status) { last = s }},
		func(ctx context.Context, e *eventv1.Event) error {
			got.add(e)
			cancel()
			return ctx.Err() // Not done yet: the grace lasts.
		})
	if !errors.Is(err, context.Canceled) || !<-confirmed {
		t.Errorf("it ended with %v, or what was handled was not confirmed", err)
	}
	got.want(t, "1")
	if last.Handled != 1 || last.Connected || last.Outstanding != 0 {
		t.Errorf("the last status is %+v", last)
	}
}

func TestGraceEnds(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	conn := play(t, func(s *scene) error {
		s.subscribed()
		s.deliver(1)
		return s.hang()
	})
	err := Subscribe(ctx, Config{Conn: conn, Group: "workers", Grace: time.Millisecond}, func(ctx context.Context, _ *eventv1.Event) error {
		cancel()
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestErrorsThatEnd(t *testing.T) {
	detailed, err := status.New(codes.OutOfRange, "POSITION_EXPIRED").WithDetails(&streamv1.PositionExpired{EarliestToken: "earliest"})
	if err != nil {
		t.Fatal(err)
	}
	for _, refusal := range []error{
		detailed.Err(), status.Error(codes.Unauthenticated, "no"), status.Error(codes.PermissionDenied, "no"),
		status.Error(codes.FailedPrecondition, "no"), status.Error(codes.NotFound, "no"),
		status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)"),
	} {
		ctx, cancel := testContext(t)
		err := Subscribe(ctx, Config{Conn: play(t, func(*scene) error { return refusal })}, func(context.Context, *eventv1.Event) error { return nil })
		cancel()
		if status.Code(err) != status.Code(refusal) {
			t.Errorf("%v ended it with %v", refusal, err)
		}
		var expired *ExpiredError
		if errors.As(err, &expired) != (status.Code(refusal) == codes.OutOfRange) || expired != nil && expired.Earliest != "earliest" {
			t.Errorf("%v ended it with %+v", refusal, expired)
		}
	}
}

// A server may take a token back: the next connection presents the new one.
func TestTokenThatIsReplaced(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	conn := play(t,
		func(s *scene) error {
			s.subscribed()
			return status.Error(codes.Unauthenticated, "the token was removed")
		},
		func(s *scene) error {
			s.subscribed()
			cancel()
			return s.hang()
		})
	if err := Subscribe(ctx, quick(Config{Conn: conn}), func(context.Context, *eventv1.Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestNoMoreThanTheCreditIsHere(t *testing.T) {
	ctx, cancel := testContext(t)
	defer cancel()
	conn := play(t, func(s *scene) error {
		if got := s.start.GetCredit().GetEvents(); got != 3 {
			t.Errorf("the first credit is %d", got)
		}
		s.subscribed()
		s.deliver(1, 2, 3)
		_, _, credit := s.acknowledged(3)
		if credit += s.credited(3 - credit); credit != 3 {
			t.Errorf("%d were given back", credit)
		}
		cancel()
		return s.hang()
	})
	if err := Subscribe(ctx, Config{Conn: conn, Group: "workers", Concurrency: 2, Outstanding: 3}, func(context.Context, *eventv1.Event) error {
		return nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Target":      {},
		"Concurrency": {Target: "x:1", Concurrency: 2},
		"Policy":      {Target: "x:1", Policy: &streamv1.GroupPolicy{}},
		"Tokens":      {Target: "x:1", Group: "g", Tokens: File("x")},
	} {
		if err := Subscribe(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestTokenNeedsAProtectedConnection(t *testing.T) {
	for target, secure := range map[string]bool{
		"127.0.0.1:9090": true, "[::1]:9090": true, "localhost:1": true, "bridge.internal:9090": false, "10.0.0.1:9090": false, "unix:///x": false,
	} {
		b := bearer{token: func() string { return "secret" }, secure: isLoopback(target)}
		if _, err := b.GetRequestMetadata(t.Context()); (err == nil) != secure {
			t.Errorf("%s: %v", target, err)
		}
	}
}
