package client

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

const patience = 30 * time.Second

// script is a server that plays one scene for each connection. The last scene is played for all further ones.
type script struct {
	streamv1.UnimplementedEventStreamServiceServer
	tb     testing.TB
	mu     sync.Mutex
	scenes []func(*scene) error
	played int
}

// scene is one connection, seen from the server.
type scene struct {
	tb     testing.TB
	stream grpc.BidiStreamingServer[streamv1.SubscribeRequest, streamv1.SubscribeResponse]
	start  *streamv1.SubscribeStart
}

func (s *script) Subscribe(stream grpc.BidiStreamingServer[streamv1.SubscribeRequest, streamv1.SubscribeResponse]) error {
	s.mu.Lock()
	play := s.scenes[min(s.played, len(s.scenes)-1)]
	s.played++
	s.mu.Unlock()
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	return play(&scene{tb: s.tb, stream: stream, start: m.GetStart()})
}

// play serves scenes, and returns a connection to them.
func play(tb testing.TB, scenes ...func(*scene) error) grpc.ClientConnInterface {
	tb.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	streamv1.RegisterEventStreamServiceServer(server, &script{tb: tb, scenes: scenes})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient("passthrough:script", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		serving.Wait()
	})
	return conn
}

func (s *scene) send(m *streamv1.SubscribeResponse) {
	if err := s.stream.Send(m); err != nil {
		s.tb.Logf("send: %v", err)
	}
}

// subscribed confirms the subscription, with heartbeats every minute.
func (s *scene) subscribed() { s.subscribedEvery(time.Minute) }

func (s *scene) subscribedEvery(interval time.Duration) {
	s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Subscribed{Subscribed: &streamv1.Subscribed{
		Token: "at the start", HeartbeatInterval: durationpb.New(interval),
	}}})
}

// moved says where a subscription goes on after events that are no longer kept.
func (s *scene) moved(token string) {
	s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Subscribed{Subscribed: &streamv1.Subscribed{
		Token: token, HeartbeatInterval: durationpb.New(time.Minute),
	}}})
}

// deliver delivers events with these numbers.
func (s *scene) deliver(numbers ...int) {
	batch := &streamv1.Batch{}
	for _, n := range numbers {
		d := &streamv1.Delivery{Event: &eventv1.Event{Id: strconv.Itoa(n)}, Attempt: 1}
		if s.start.GetGroup() == "" {
			d.Token = fmt.Sprintf("behind %d", n)
		} else {
			d.Id = fmt.Sprintf("delivery %d", n)
		}
		batch.Deliveries = append(batch.Deliveries, d)
	}
	s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Batch{Batch: batch}})
}

// deliverAs delivers an event with this number to a member of a group, under an id of its own.
func (s *scene) deliverAs(id string, n int) {
	s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Batch{Batch: &streamv1.Batch{Deliveries: []*streamv1.Delivery{
		{Id: id, Event: &eventv1.Event{Id: strconv.Itoa(n)}, Attempt: 1},
	}}}})
}

func (s *scene) heartbeat(token string) {
	s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Heartbeat{Heartbeat: &streamv1.Heartbeat{Token: token, Lag: 7}}})
}

func (s *scene) goodbye() {
	s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Goodbye{Goodbye: &streamv1.Goodbye{Reason: "for the test"}}})
}

func (s *scene) answer(accepted uint32, stale ...string) {
	s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_AckResult{
		AckResult: &streamv1.AckResult{Accepted: accepted, Stale: stale},
	}})
}

// acknowledged receives until n deliveries were acknowledged or refused, answers, and returns them.
func (s *scene) acknowledged(n int) (acks []string, nacks []*streamv1.Nack, credit uint32) {
	for len(acks)+len(nacks) < n {
		m, err := s.stream.Recv()
		if err != nil {
			s.tb.Logf("receive: %v", err)
			return acks, nacks, credit
		}
		switch {
		case m.GetAck() != nil:
			acks = append(acks, m.GetAck().GetIds().GetIds()...)
			s.answer(uint32(len(m.GetAck().GetIds().GetIds())))
		case m.GetNack() != nil:
			nacks = append(nacks, m.GetNack())
			s.answer(1)
		case m.GetCredit() != nil:
			credit += m.GetCredit().GetEvents()
		}
	}
	return acks, nacks, credit
}

// credited receives until so much credit came, and returns how much it was.
func (s *scene) credited(atLeast uint32) (credit uint32) {
	for credit < atLeast {
		m, err := s.stream.Recv()
		if err != nil {
			s.tb.Logf("receive: %v", err)
			return credit
		}
		credit += m.GetCredit().GetEvents()
	}
	return credit
}

// hang waits until the client has gone.
func (s *scene) hang() error {
	<-s.stream.Context().Done()
	return s.stream.Context().Err()
}

// testContext is done when the test takes too long.
func testContext(tb testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(tb.Context(), patience)
}
