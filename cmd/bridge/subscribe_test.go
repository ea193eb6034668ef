package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// member is a member of a group, over the network.
type member struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[streamv1.SubscribeRequest, streamv1.SubscribeResponse]
}

// joinGroup subscribes to a group of the server, and receives subscribed. The stream ends with the context.
func joinGroup(ctx context.Context, t *testing.T, p *process, start *streamv1.SubscribeStart) *member {
	t.Helper()
	conn, err := grpc.NewClient(p.addr("grpc"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := streamv1.NewEventStreamServiceClient(conn).Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t, stream}
	m.send(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: start}})
	if first := m.receive(); first.GetSubscribed() == nil {
		t.Fatalf("the first message is %v", first)
	}
	return m
}

func (m *member) send(r *streamv1.SubscribeRequest) {
	m.t.Helper()
	if err := m.stream.Send(r); err != nil {
		_, err = m.stream.Recv()
		m.t.Fatal(err)
	}
}

func (m *member) receive() *streamv1.SubscribeResponse {
	m.t.Helper()
	r, err := m.stream.Recv()
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// take receives at least n events, acknowledges them all, waits for the results, and returns the ids of the events.
func (m *member) take(n int) (events []string) {
	m.t.Helper()
	for waiting := 0; len(events) < n || waiting > 0; {
		r := m.receive()
		if r.GetAckResult() != nil {
			waiting--
			if stale := r.GetAckResult().GetStale(); len(stale) > 0 {
				m.t.Errorf("%d acknowledgements are stale", len(stale))
			}
		}
		all := r.GetBatch().GetDeliveries()
		if len(all) == 0 {
			continue
		}
		for _, d := range all {
			events = append(events, d.GetEvent().GetId())
		}
		waiting++
		m.send(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Ack{Ack: &streamv1.Ack{
			Which: &streamv1.Ack_UpTo{UpTo: all[len(all)-1].GetId()},
		}}})
	}
	return events
}

// TestGroupSurvivesKill kills the server while a group has acknowledged a part of the events, and has others outstanding: what was
// acknowledged never comes again, and all else does.
func TestGroupSurvivesKill(t *testing.T) {
	const events, taken = 300, 120
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	p := startBridge(t, retinoConfig(dir))
	l := &load{addr: p.addr("webhooks"), connections: 4, limit: events}
	l.run(ctx)
	seen := make(map[string]int)
	first := joinGroup(ctx, t, p, &streamv1.SubscribeStart{Group: "billing", Credit: &streamv1.Credit{Events: taken}})
	for _, id := range first.take(taken) {
		seen[id]++
	}
	first.send(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Credit{Credit: &streamv1.Credit{Events: 50, Bytes: 1 << 20}}})
	for first.receive().GetBatch() == nil { // outstanding when the server dies
	}
	p.kill()

	p = startBridge(t, retinoConfig(dir))
	second := joinGroup(ctx, t, p, &streamv1.SubscribeStart{Group: "billing", Credit: &streamv1.Credit{Events: 1000}})
	for _, id := range second.take(events - taken) {
		seen[id]++
	}
	if len(seen) != events {
		t.Errorf("%d different events came, want %d", len(seen), events)
	}
	for id, times := range seen {
		if times > 1 {
			t.Errorf("the event %s came %d times, and was acknowledged", id, times)
		}
	}
}

// TestGroupFromLatestMissesNothing: a webhook that is answered after subscribed was received comes, also where the group begins at the log's
// end.
func TestGroupFromLatestMissesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := startBridge(t, retinoConfig(t.TempDir()))
	busy := &load{addr: p.addr("webhooks"), connections: 2}
	busy.next.Store(1_000_000)
	loading, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		busy.run(loading)
	}()
	defer func() {
		stop()
		<-ended
	}()
	for n := range int64(20) {
		m := joinGroup(ctx, t, p, &streamv1.SubscribeStart{
			Group: fmt.Sprintf("group-%d", n), Credit: &streamv1.Credit{Events: 1_000_000},
			From: &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}},
		})
		one := &load{addr: p.addr("webhooks"), connections: 1, limit: n + 1}
		one.next.Store(n)
		one.run(ctx)
		if one.ok.Load() != 1 {
			t.Fatal("the webhook was refused")
		}
		for found := false; !found; {
			for _, d := range m.receive().GetBatch().GetDeliveries() {
				found = found || d.GetEvent().GetShipment().GetId() == shipmentID(n+1)
			}
		}
		if err := m.stream.CloseSend(); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}
