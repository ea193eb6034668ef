package groups

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/memgroups"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// rig is a log, a store of groups, and managers over both.
type rig struct {
	t     *testing.T
	log   *memlog.Log
	store *memgroups.Store

	mu    sync.Mutex
	stops []func()
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, log: memlog.New("log"), store: memgroups.New(time.Now)}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	r.mu.Lock()
	stops := r.stops
	r.stops = nil
	r.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// node is a manager with its part of the store.
type node struct {
	*Manager
	instance *memgroups.Instance
	stop     func()
}

// compile makes predicates of tests: the filter is a part of the event's type.
func compile(filter []byte) (Predicate, error) {
	if len(filter) == 0 {
		return func(*sinks.Record) bool { return true }, nil
	}
	return func(r *sinks.Record) bool { return strings.Contains(string(r.Header.Type), string(filter)) }, nil
}

// start starts a manager. It ends with the test at the latest.
func (r *rig) start(name string) *node {
	r.t.Helper()
	return r.startOver(name, func(g journal.Groups) journal.Groups { return g })
}

// startOver starts a manager over what breaks makes of the store.
func (r *rig) startOver(name string, breaks func(journal.Groups) journal.Groups) *node {
	r.t.Helper()
	instance := r.store.Open(name)
	m, err := New(Config{Groups: breaks(instance), Letters: instance, Log: r.log, Compile: compile, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = m.Run(ctx) })
	n := &node{Manager: m, instance: instance, stop: func() { cancel(); done.Wait() }}
	r.mu.Lock()
	r.stops = append(r.stops, n.stop)
	r.mu.Unlock()
	return n
}

// add appends one event for each subject.
func (r *rig) add(subjects ...string) {
	r.t.Helper()
	for _, s := range subjects {
		_, err := r.log.Append(&eventv1.Event{
			Id: fmt.Sprint(r.log.Bounds().Next), Type: "order.created", Source: "shop", Subject: s,
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (n *node) join(t *testing.T, req Request) *Member {
	t.Helper()
	if req.Group == "" {
		req.Group = "g"
	}
	m, err := n.Join(t.Context(), req)
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	return m
}

// next returns deliveries within d, and none when there is none.
func next(t *testing.T, m *Member, d time.Duration) []Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for {
		b, err := m.Next(ctx, Budget{Events: 1000})
		if err != nil {
			if ctx.Err() == nil {
				t.Fatalf("next: %v", err)
			}
			return nil
		}
		if len(b.Deliveries) > 0 {
			return b.Deliveries
		}
	}
}

// positions are those of deliveries.
func positions(ds []Delivery) string {
	var s []string
	for _, d := range ds {
		s = append(s, fmt.Sprintf("%d/%d", d.Record.Position, d.Attempt))
	}
	return strings.Join(s, " ")
}

func answer(t *testing.T, m *Member, a Answer) Result {
	t.Helper()
	r, err := m.Answer(a)
	if err != nil {
		t.Fatalf("answer: %v", err)
	}
	res, err := r.Wait(t.Context())
	if err != nil {
		t.Fatalf("answer: %v", err)
	}
	return res
}

func ids(ds ...Delivery) (all []string) {
	for _, d := range ds {
		all = append(all, d.ID)
	}
	return all
}

// bubble runs a test in a bubble with its own time.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		f(t, r)
		r.stop()
	})
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}
