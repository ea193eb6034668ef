package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// ledger is what members of a group were given and acknowledged.
type ledger struct {
	t  *testing.T
	mu sync.Mutex
	// begun are the events whose acknowledgement was sent, and done those for which it was answered with success.
	begun, done map[sinks.Position]bool
	// last is the last event of each subject that was acknowledged.
	last map[string]sinks.Position
	// enough is closed when some events were acknowledged.
	enough chan struct{}
	after  int
}

// deliver notes a delivery. strict is set for the instance that is not killed: the other one may end what it had begun.
func (l *ledger) deliver(d *groups.Delivery, strict bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, subject := d.Record.Position, string(d.Record.Header.Subject)
	if strict && l.done[p] {
		l.t.Errorf("position %d was delivered after its acknowledgement was answered", p)
	}
	if strict && p < l.last[subject] {
		l.t.Errorf("position %d of %s was delivered after position %d was acknowledged", p, subject, l.last[subject])
	}
	l.begun[p] = true
}

func (l *ledger) acknowledged(d *groups.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, subject := d.Record.Position, string(d.Record.Header.Subject)
	l.done[p] = true
	l.last[subject] = max(l.last[subject], p)
	if len(l.done) == l.after {
		close(l.enough)
	}
}

// member takes deliveries and acknowledges them until its instance or the test ends.
func (l *ledger) member(ctx context.Context, m *groups.Manager, strict bool) {
	for ctx.Err() == nil {
		member, err := m.Join(ctx, groups.Request{Group: "group"})
		for err == nil {
			var batch groups.Batch
			batch, err = member.Next(ctx, groups.Budget{Events: 5})
			for _, d := range batch.Deliveries {
				l.deliver(&d, strict)
				receipt, failed := member.Answer(groups.Answer{IDs: []string{d.ID}})
				if failed != nil {
					l.t.Errorf("answer: %v", failed)
					continue
				}
				if result, failed := receipt.Wait(ctx); failed == nil && result.Accepted == 1 {
					l.acknowledged(&d)
				}
			}
		}
	}
}

// TestMembersAtTwoInstances: members of one group hang on two instances, and one of these is killed. The other delivers what was not
// acknowledged, and nothing else.
func TestMembersAtTwoInstances(t *testing.T) {
	const events, subjects = 300, 20
	s := newSite(t, pgtest.Shared(t))
	a, b := s.open(brief), s.open(brief)
	l := &ledger{
		t: t, begun: map[sinks.Position]bool{}, done: map[sinks.Position]bool{}, last: map[string]sinks.Position{},
		enough: make(chan struct{}), after: events / 3,
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	managers := map[*Journal]*groups.Manager{}
	for _, j := range []*Journal{a, b} {
		m, err := groups.New(groups.Config{
			Groups: j, Letters: j, Log: j,
			Compile: func([]byte) (groups.Predicate, error) { return func(*sinks.Record) bool { return true }, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		managers[j] = m
		running.Go(func() { _ = m.Run(ctx) })
		for range 2 {
			running.Go(func() { l.member(ctx, m, j == b) })
		}
	}
	for i := range events {
		appendTo(t, a, typedEntry(t, fmt.Sprint("subject ", i%subjects)))
	}
	<-l.enough
	a.abandon()
	await(t, "all events are dealt with", func() bool {
		info, err := managers[b].Get(ctx, "group")
		return err == nil && info.Lag == 0
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := sinks.Position(1); p <= events; p++ {
		if !l.begun[p] {
			t.Errorf("position %d was delivered to nobody", p)
		}
	}
}

// typedEntry is an entry with an event of a subject.
func typedEntry(t *testing.T, subject string) journal.Entry {
	t.Helper()
	e := newEntry()
	encoded, err := proto.Marshal(&eventv1.Event{Id: e.Webhook.GetId(), Type: "type", Source: "source", Subject: subject})
	if err != nil {
		t.Fatal(err)
	}
	e.Events = [][]byte{encoded}
	return e
}
