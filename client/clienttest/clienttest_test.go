package clienttest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/webhook-bridge/bridge/client"
	"github.com/webhook-bridge/bridge/client/clienttest"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// orders returns events of a few subjects, which are numbered.
func orders(from, to int) (events []*eventv1.Event) {
	for n := from; n < to; n++ {
		events = append(events, &eventv1.Event{
			Type: "order.changed", Subject: fmt.Sprintf("order/%d", n%7), SubjectVersion: strconv.Itoa(n),
			Data: &eventv1.Event_Order{Order: &eventv1.Order{Id: strconv.Itoa(n)}},
		})
	}
	return events
}

// record has the orders that handlers got, by subject.
type record struct {
	mu       sync.Mutex
	subjects map[string][]string
	n        int
}

func (r *record) handle(_ context.Context, e *eventv1.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.subjects == nil {
		r.subjects = make(map[string][]string)
	}
	r.subjects[e.GetSubject()] = append(r.subjects[e.GetSubject()], e.GetOrder().GetId())
	r.n++
	return nil
}

// wantAll checks that each order came, those of a subject in order. A repetition repeats one that came before; exactly: there is none.
func (r *record) wantAll(t *testing.T, n int, exactly bool) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make(map[string]bool)
	for subject, ids := range r.subjects {
		last := -1
		for _, id := range ids {
			var number int
			if _, err := fmt.Sscan(id, &number); err != nil {
				t.Fatal(err)
			}
			if !seen[id] && number < last {
				t.Errorf("%s: %s came first after %d", subject, id, last)
			}
			seen[id] = true
			last = max(last, number)
		}
	}
	if len(seen) != n || exactly && r.n != n {
		t.Errorf("%d of %d orders came, %d times: %v", len(seen), n, r.n, slices.Sorted(maps.Keys(seen)))
	}
}

// subscribe runs subscriptions until the test ends, and returns what ends them before.
func subscribe(t *testing.T, members int, cfg client.Config, handle client.Handler) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range members {
		running.Go(func() {
			if err := client.Subscribe(ctx, cfg, handle); !errors.Is(err, context.Canceled) {
				t.Errorf("subscribe: %v", err)
			}
		})
	}
	end = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(end)
	return end
}

func TestGroupOverDeploys(t *testing.T) {
	server := clienttest.New(t)
	var got record
	end := subscribe(t, 3, server.Config(client.Config{Group: "billing"}), got.handle)
	for n := range 5 {
		server.Publish(orders(40*n, 40*n+40)...)
		server.AwaitHandled("billing")
		server.Restart()
	}
	end()
	got.wantAll(t, 200, true)
}

func TestGroupOverCrashes(t *testing.T) {
	server := clienttest.New(t)
	var got record
	end := subscribe(t, 3, server.Config(client.Config{Group: "billing"}), got.handle)
	for n := range 10 {
		server.Publish(orders(40*n, 40*n+40)...)
		server.Kill()
	}
	server.AwaitHandled("billing")
	end()
	got.wantAll(t, 400, false)
}

func TestAloneOverDeploysAndCrashes(t *testing.T) {
	server := clienttest.New(t)
	var got record
	handled := make(chan struct{}, 1000)
	cfg := server.Config(client.Config{Filter: &streamv1.Filter{Types: []string{"order.*"}}})
	end := subscribe(t, 1, cfg, func(ctx context.Context, e *eventv1.Event) error {
		defer func() { handled <- struct{}{} }()
		return got.handle(ctx, e)
	})
	for n := range 6 {
		server.Publish(&eventv1.Event{Type: "unmapped", Subject: "test/x", Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{}}})
		server.Publish(orders(40*n, 40*n+40)...)
		for range 40 {
			<-handled
		}
		if n%2 == 0 {
			server.Restart()
		} else {
			server.Kill()
		}
	}
	end()
	got.wantAll(t, 240, true)
}

func TestDeadLetters(t *testing.T) {
	server := clienttest.New(t)
	server.Publish(orders(0, 20)...)
	poison := true
	var mu sync.Mutex
	var got record
	cfg := server.Config(client.Config{Group: "billing", Policy: &streamv1.GroupPolicy{
		MaxAttempts: 2, MinBackoff: durationpb.New(time.Millisecond), AckDeadline: durationpb.New(time.Minute),
	}})
	subscribe(t, 1, cfg, func(ctx context.Context, e *eventv1.Event) error {
		mu.Lock()
		defer mu.Unlock()
		if poison && e.GetOrder().GetId() == "5" {
			return errors.New("cannot bill it")
		}
		if d := client.DeliveryFrom(ctx); d.Replayed != (e.GetOrder().GetId() == "5") {
			t.Errorf("%s: replayed is %v", e.GetOrder().GetId(), d.Replayed)
		}
		return got.handle(ctx, e)
	})
	server.AwaitHandled("billing")
	got.wantAll(t, 19, true)
	var parked []*streamv1.ParkedEvent
	for p, err := range client.Parked(t.Context(), server.Conn(), "billing") {
		if err != nil {
			t.Fatal(err)
		}
		parked = append(parked, p)
	}
	if len(parked) != 1 || parked[0].GetAttempts() != 2 || parked[0].GetReason() != "cannot bill it" || parked[0].GetEvent().GetOrder().GetId() != "5" {
		t.Fatalf("dead letters are %v", parked)
	}
	mu.Lock()
	poison = false
	mu.Unlock()
	if n, err := client.Replay(t.Context(), server.Conn(), "billing", parked[0].GetPosition()); n != 1 || err != nil {
		t.Errorf("replay: %d, %v", n, err)
	}
	server.AwaitParked("billing", 0)
	got.mu.Lock()
	if got.n != 20 {
		t.Errorf("%d were handled", got.n)
	}
	got.mu.Unlock()
}

func TestExpiredPosition(t *testing.T) {
	server := clienttest.New(t)
	server.Publish(orders(0, 3)...)
	cfg := server.Config(client.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	var got record
	_ = client.Subscribe(ctx, withTokens(cfg, t), func(ctx context.Context, e *eventv1.Event) error {
		defer cancel()
		return got.handle(ctx, e)
	})
	server.Publish(orders(3, 5)...)
	server.Expire()
	server.Publish(orders(5, 6)...)
	var expired *client.ExpiredError
	err := client.Subscribe(t.Context(), withTokens(cfg, t), got.handle)
	if !errors.As(err, &expired) || expired.Earliest == "" {
		t.Fatalf("it ended with %v", err)
	}
	cfg.OnExpired = streamv1.OnExpired_ON_EXPIRED_EARLIEST
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if err := client.Subscribe(ctx, withTokens(cfg, t), func(_ context.Context, e *eventv1.Event) error {
		if e.GetOrder().GetId() != "5" {
			t.Errorf("%s came after the gap", e.GetOrder().GetId())
		}
		cancel()
		return nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

var tokens sync.Map

// withTokens has a subscription remember its position in a file of the test.
func withTokens(cfg client.Config, t *testing.T) client.Config {
	t.Helper()
	file, _ := tokens.LoadOrStore(t.Name(), client.File(t.TempDir()+"/token"))
	cfg.Tokens, _ = file.(client.Tokens)
	return cfg
}

// A program that subscribes must not grow by a server and its databases.
func TestClientPullsInNoServer(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/webhook-bridge/bridge/client")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, no := range []string{"bridge/internal", "bridge/sinks", "bridge/connectors", "pebble", "pgx", "prometheus", "kafka", "cel-go"} {
			if strings.Contains(dep, no) {
				t.Errorf("the client pulls in %s", dep)
			}
		}
	}
}

// TestSlowHandler: a handler that takes longer than the group's deadline is called once, and the events of its subject wait for it.
func TestSlowHandler(t *testing.T) {
	s := clienttest.New(t)
	var got record
	slow := func(ctx context.Context, e *eventv1.Event) error {
		if e.GetOrder().GetId() == "0" {
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return got.handle(ctx, e)
	}
	policy := &streamv1.GroupPolicy{AckDeadline: durationpb.New(2 * time.Second), MinBackoff: durationpb.New(time.Millisecond)}
	defer subscribe(t, 1, s.Config(client.Config{Group: "slow", Policy: policy}), slow)()
	s.Publish(orders(0, 21)...)
	s.AwaitHandled("slow")
	got.wantAll(t, 21, true)
}
