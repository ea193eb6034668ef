package main

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// ledger has the webhooks that were answered with success, and the shipments that were delivered.
type ledger struct {
	mu           sync.Mutex
	acknowledged map[string]bool
	delivered    map[string]int
	order        []string // event ids as delivered
}

func newLedger() *ledger {
	return &ledger{acknowledged: map[string]bool{}, delivered: map[string]int{}}
}

func (l *ledger) acknowledge(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged[shipmentID(n)] = true
}

func (l *ledger) deliver(e *eventv1.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered[e.GetShipment().GetId()]++
	l.order = append(l.order, e.GetId())
}

func (l *ledger) missing() (missing, twice int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.acknowledged {
		if l.delivered[id] == 0 {
			missing++
		}
	}
	for _, times := range l.delivered {
		if times > 1 {
			twice++
		}
	}
	return missing, twice
}

// TestKillUnderLoad kills the server with SIGKILL under load, again and again. Every webhook that was answered with success
// must be there, once, and a reader that resumes by its token must see no gap and nothing twice.
func TestKillUnderLoad(t *testing.T) {
	rounds, span := 2, 300*time.Millisecond
	if os.Getenv("BRIDGE_TEST_LONG") != "" {
		rounds, span = 12, time.Second
	}
	dir := t.TempDir()
	seen := newLedger()
	subscriber := &reader{handle: seen.deliver}
	var sent int64
	for range rounds {
		p := startBridge(t, retinoConfig(dir))
		l := &load{addr: p.addr("webhooks"), connections: 32, acknowledged: seen.acknowledge}
		l.next.Store(sent)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { l.run(ctx) })
		wg.Go(func() { subscriber.read(ctx, t, p.addr("grpc")) })
		select {
		case <-time.After(span):
		case <-p.exited:
			t.Fatal("the server ended by itself")
		}
		p.kill()
		cancel()
		wg.Wait()
		sent = l.next.Load()
		if l.ok.Load() == 0 {
			t.Fatal("no webhook was acknowledged")
		}
	}

	p := startBridge(t, retinoConfig(dir))
	subscriber.untilIdle = true
	subscriber.read(t.Context(), t, p.addr("grpc"))
	missing, twice := seen.missing()
	t.Logf("%d kills: %d webhooks sent, %d acknowledged, %d events delivered, %d acknowledged but missing, %d delivered twice",
		rounds, sent, len(seen.acknowledged), len(seen.order), missing, twice)
	if missing != 0 || twice != 0 {
		t.FailNow()
	}

	// All of it again, as a vendor would who got no answer: it must not come twice.
	again := &load{addr: p.addr("webhooks"), connections: 32, limit: sent, acknowledged: seen.acknowledge}
	again.run(t.Context())
	subscriber.read(t.Context(), t, p.addr("grpc"))
	missing, twice = seen.missing()
	t.Logf("sent again: %d acknowledged, %d events delivered, %d missing, %d twice",
		len(seen.acknowledged), len(seen.order), missing, twice)
	if missing != 0 || twice != 0 || int64(len(seen.acknowledged)) != sent {
		t.FailNow()
	}
	sameOrder(t.Context(), t, p.addr("grpc"), seen.order)
}

// sameOrder reads the whole log again: a reader that was cut off and resumed must have seen exactly this.
func sameOrder(ctx context.Context, t *testing.T, addr string, want []string) {
	t.Helper()
	var got []string
	fresh := &reader{untilIdle: true, handle: func(e *eventv1.Event) { got = append(got, e.GetId()) }}
	fresh.read(ctx, t, addr)
	if len(got) != len(want) {
		t.Fatalf("the log has %d events where a resumed reader saw %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("event %d is %s in the log, but a resumed reader saw %s", i, got[i], want[i])
		}
	}
}
